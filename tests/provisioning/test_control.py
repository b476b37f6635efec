"""How access servers are told of changes, and another profile, set by staff; no secret is shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ispops.errors import InvalidInput
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import control
from provisioning.models import AaaCredential, AccessServer, Service
from tests import factories
from tests.provisioning import online
from tests.small_isp import SmallIsp

SECRET = "a-secret-of-24-letters-xy"


@pytest.fixture
def bng(isp: SmallIsp) -> AccessServer:
    return online.access_server(None)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def set_control(bng: AccessServer, otto: User, at: datetime, **facts: Any) -> AccessServer:
    asked = {
        "kind": "juniper", "coa_host": "192.0.2.99", "coa_port": 1700, "coa_secret": SECRET,
        "reason": "It is a new router",
    } | facts  # fmt: skip
    return control.set_control(access_server_id=bng.pk, actor=otto, at=at, **asked)


class TestVerb:
    def test_it_is_set_and_noted_without_the_secret(
        self, bng: AccessServer, otto: User, at: datetime
    ) -> None:
        set_control(bng, otto, at)
        bng.refresh_from_db()
        assert (bng.kind, bng.coa_host, bng.coa_port) == ("juniper", "192.0.2.99", 1700)
        assert bng.coa_secret == SECRET
        entry = AuditEntry.objects.get(action="access_server.control_set")
        assert (entry.actor, entry.reason) == (otto, "It is a new router")
        assert entry.detail["takes_changes"] is True
        assert SECRET not in str(entry.detail)

    def test_the_secret_may_stay_or_go(self, bng: AccessServer, otto: User, at: datetime) -> None:
        set_control(bng, otto, at)
        assert set_control(bng, otto, at, coa_secret=None).coa_secret == SECRET
        assert set_control(bng, otto, at, coa_secret="", coa_host="").coa_secret == ""
        bng.refresh_from_db()
        assert (bng.coa_secret, bng.coa_host) == ("", None)

    def test_another_host_needs_the_secret_again(
        self, bng: AccessServer, otto: User, at: datetime
    ) -> None:
        set_control(bng, otto, at)
        for host in ("192.0.2.100", None):
            with pytest.raises(InvalidInput) as refused:
                set_control(bng, otto, at, coa_host=host, coa_secret=None)
            assert refused.value.field == "coa_secret"
        bng.refresh_from_db()
        assert bng.coa_host == "192.0.2.99"
        assert set_control(bng, otto, at, coa_host="192.0.2.100").coa_host == "192.0.2.100"

    def test_sessions_that_ran_on_are_tried(
        self, bng: AccessServer, line: Service, otto: User, at: datetime
    ) -> None:
        stuck = online.session(line, at=at, trouble="server_takes_no_changes")
        elsewhere = online.session(line, at=at, trouble="refused", nas_ip="192.0.2.8")
        set_control(bng, otto, at, coa_secret="")
        stuck.refresh_from_db()
        assert stuck.trouble, "nothing can be tried without a secret"
        set_control(bng, otto, at)
        stuck.refresh_from_db()
        elsewhere.refresh_from_db()
        assert (stuck.trouble, stuck.next_attempt_at) == ("", at)
        assert elsewhere.trouble == "refused"

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"kind": "zyxel"}, "kind"),
            ({"coa_host": "router"}, "coa_host"),
            ({"coa_port": 0}, "coa_port"),
            ({"coa_port": 65536}, "coa_port"),
            ({"coa_secret": "short"}, "coa_secret"),
            ({"coa_secret": "ø" * 20}, "coa_secret"),
            ({"reason": " "}, "reason"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, bng: AccessServer, otto: User, at: datetime, wrong: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            set_control(bng, otto, at, **wrong)
        assert refused.value.field == field
        bng.refresh_from_db()
        assert (bng.kind, bng.coa_secret) == ("mikrotik", "")


class TestConsole:
    @pytest.fixture
    def browser(self, settings: Settings, at: datetime) -> Callable[[str], Client]:
        settings.STAFF_NEED_SECOND_FACTOR = False

        def of(role: str) -> Client:
            client = Client()
            client.force_login(
                factories.staff(role, at=at), "django.contrib.auth.backends.ModelBackend"
            )
            return client

        return of

    def test_operations_say_how_a_server_takes_changes(
        self, browser: Callable[[str], Client], bng: AccessServer
    ) -> None:
        operations = browser(roles.OPERATIONS)
        address = reverse("admin:provisioning_accessserver_set_control", args=[bng.pk])
        asked = {
            "_form_submitted": "True", "kind": "cisco", "coa_host": "", "coa_port": 3799,
            "coa_secret": SECRET, "reason": "It takes changes now",
        }  # fmt: skip
        operations.post(address, asked)
        bng.refresh_from_db()
        assert (bng.kind, bng.coa_secret) == ("cisco", SECRET)
        page = operations.get(reverse("admin:provisioning_accessserver_change", args=[bng.pk]))
        assert SECRET not in page.content.decode()
        operations.post(address, asked | {"coa_secret": "", "takes_none": "on"})
        bng.refresh_from_db()
        assert bng.coa_secret == ""

    def test_operations_give_a_line_another_speed(
        self, browser: Callable[[str], Client], line: Service
    ) -> None:
        login = AaaCredential.objects.get(service=line)
        address = reverse("admin:provisioning_aaacredential_set_profile", args=[login.pk])
        asked = {"download_mbps": 900, "upload_mbps": 90, "reason": "For a trial of a week"}
        browser(roles.OPERATIONS).post(
            address, asked | {"_form_submitted": "True", "sessions_at_once": 2}
        )
        login.refresh_from_db()
        assert (login.download_kbps, login.upload_kbps) == (900_000, 90_000)
        assert login.sessions_at_once == 2

    def test_one_speed_alone_is_none(self, browser: Callable[[str], Client], line: Service) -> None:
        login = AaaCredential.objects.get(service=line)
        address = reverse("admin:provisioning_aaacredential_set_profile", args=[login.pk])
        answer = browser(roles.OPERATIONS).post(
            address, {"_form_submitted": "True", "download_mbps": 9, "reason": "Test"}
        )
        assert "Give both speeds, or none." in answer.content.decode()
        login.refresh_from_db()
        assert login.download_kbps == 500_000

    @pytest.mark.parametrize("name", ["aaacredential_set_profile", "accessserver_set_control"])
    def test_a_csr_does_neither(
        self, browser: Callable[[str], Client], line: Service, bng: AccessServer, name: str
    ) -> None:
        login = AaaCredential.objects.get(service=line)
        key = login.pk if name.startswith("aaa") else bng.pk
        answer = browser(roles.CSR).post(
            reverse(f"admin:provisioning_{name}", args=[key]),
            {
                "_form_submitted": "True", "download_mbps": 9, "upload_mbps": 9, "reason": "x",
                "kind": "nokia", "coa_port": 1,
            },
        )  # fmt: skip
        assert answer.status_code in (302, 403)
        login.refresh_from_db()
        bng.refresh_from_db()
        assert (login.download_kbps, bng.kind) == (500_000, "mikrotik")
