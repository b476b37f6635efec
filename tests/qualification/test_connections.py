"""How a provider is asked is set by verbs: checked, noted, and without showing the token."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, Partner, User
from ispops.parties.roles import OPERATIONS
from qualification import connections
from qualification.models import ProviderConnection
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_partner, make_small_isp

pytestmark = pytest.mark.django_db
GOOD = {"adapter": "tmf645", "base_url": "https://api.copper.example/tmf", "token": "secret-1"}


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture
def otto(db: None) -> User:
    return factories.staff(OPERATIONS, at=LAUNCH)


def make(partner: Partner, **changes: Any) -> ProviderConnection:
    return connections.connect_provider(partner=partner, at=LAUNCH, **(GOOD | changes))


def test_a_provider_is_connected_and_the_token_is_kept_secret(isp: SmallIsp, otto: User) -> None:
    made = make(isp.copper, actor=otto, timeout_seconds="2.5", at_once=3)
    made.refresh_from_db()
    assert (made.token, str(made.timeout_seconds), made.at_once) == ("secret-1", "2.50", 3)
    with connection.cursor() as cursor:
        cursor.execute("SELECT token FROM qualification_providerconnection")
        assert "secret-1" not in cursor.fetchone()[0]
    [note] = AuditEntry.objects.filter(action="connection.created")
    assert (note.actor, note.subject) == (otto, "partner_old-copper")
    assert note.detail == {
        "adapter": "tmf645", "base_url": "https://api.copper.example/tmf", "token": "set",
        "timeout_seconds": "2.5", "at_once": "3",
    }  # fmt: skip


def test_only_an_off_net_network_is_asked_and_only_by_one_connection(isp: SmallIsp) -> None:
    for partner in (isp.fibre, isp.films):
        with pytest.raises(InvalidInput) as refused:
            make(partner)
        assert refused.value.field == "partner"
    make(isp.copper)
    with pytest.raises(connections.ProviderConnected):
        make(isp.copper)
    assert ProviderConnection.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("adapter", "carrier pigeon"), ("base_url", ""), ("base_url", "ftp://a.example"),
        ("base_url", "http://a.example"), ("base_url", "https://10.0.0.1/x"),
        ("base_url", "https://user:x@a.example"), ("base_url", "nothing"),
        ("timeout_seconds", 0), ("timeout_seconds", 31), ("timeout_seconds", "soon"),
        ("give_up_after_seconds", 0), ("give_up_after_seconds", 10**7),
        ("breaker_threshold", 0), ("breaker_pause_seconds", 0), ("at_once", 0), ("at_once", 21),
        ("answer_valid_seconds", 0),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_refused_with_its_field(
    isp: SmallIsp, settings: Settings, field: str, value: object
) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    with pytest.raises(InvalidInput) as refused:
        make(isp.copper, **{field: value})
    assert refused.value.field == field
    assert not ProviderConnection.objects.exists()


@pytest.mark.parametrize("folder", ["", "../up", "a/b"])
def test_a_file_exchange_has_a_folder_of_its_own(isp: SmallIsp, folder: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        make(isp.copper, adapter="files", base_url="", folder=folder)
    assert refused.value.field == "folder"
    make(isp.copper, adapter="files", base_url="", folder="copper")
    other = make_partner("other", "Other", Partner.Kind.NETWORK_PROVIDER, LAUNCH)
    with pytest.raises(InvalidInput, match="Another provider"):
        make(other, adapter="files", base_url="", folder="copper")


def test_a_change_is_noted_with_what_was_before(isp: SmallIsp, otto: User) -> None:
    made = make(isp.copper)
    connections.change_connection(
        connection_id=made.pk, actor=otto, at=LAUNCH, reason="They are slow.",
        timeout_seconds=9, token="", active=True,
    )  # fmt: skip
    made.refresh_from_db()
    assert made.token == "secret-1", "an empty token leaves the one that is there"
    [note] = AuditEntry.objects.filter(action="connection.changed")
    assert note.detail == {"adapter": "tmf645", "timeout_seconds": ["5.00", "9"]}
    assert note.reason == "They are slow."
    connections.change_connection(connection_id=made.pk, actor=otto, at=LAUNCH, token="secret-2")
    made.refresh_from_db()
    assert made.token == "secret-2"
    assert AuditEntry.objects.latest("pk").detail == {"adapter": "tmf645", "token": "set"}
    connections.change_connection(connection_id=made.pk, actor=otto, at=LAUNCH, at_once=2)
    assert AuditEntry.objects.filter(action="connection.changed").count() == 2


def test_another_host_never_gets_the_token_that_is_there(isp: SmallIsp, otto: User) -> None:
    made = make(isp.copper)
    for url in ("https://evil.example/tmf", "https://api.copper.example:8443/tmf"):
        with pytest.raises(InvalidInput) as refused:
            connections.change_connection(connection_id=made.pk, at=LAUNCH, base_url=url, token="")
        assert refused.value.field == "token"
    made.refresh_from_db()
    assert made.base_url == GOOD["base_url"]
    same = "https://API.copper.example:443/tmf/v4"
    connections.change_connection(connection_id=made.pk, at=LAUNCH, base_url=same)
    moved = connections.change_connection(
        connection_id=made.pk, at=LAUNCH, base_url="https://new.example/", token="secret-3"
    )
    assert moved.token == "secret-3"


def test_what_a_connection_has_not_cannot_be_set(isp: SmallIsp) -> None:
    made = make(isp.copper)
    with pytest.raises(TypeError, match="failures"):
        connections.change_connection(connection_id=made.pk, at=LAUNCH, failures=0)


def test_the_database_holds_the_limits(isp: SmallIsp) -> None:
    made = make(isp.copper)
    for change in ({"timeout_seconds": 0}, {"at_once": 0}, {"base_url": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ProviderConnection.objects.filter(pk=made.pk).update(**change)
