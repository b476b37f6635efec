"""The calls of FreeRADIUS, as bodies and statuses over HTTP; bodies as in `test_radius`."""

import io
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from ipam.models import AddressServer, Allocation, OverallocationRequest
from ispops.parties.models import Subscriber
from provisioning import aaa, admission, services
from provisioning.models import AaaCredential, AccessServer, AccountingRecord, Service
from tests import factories
from tests.provisioning import ground, online
from tests.provisioning.conftest import NOON
from tests.provisioning.test_radius import ACCOUNTING
from tests.small_isp import SmallIsp

DEVICE = "AA-BB-CC-00-11-22"
PLAIN = "text/plain; charset=utf-8"


@pytest.fixture(autouse=True)
def _noon() -> Any:
    cache.clear()  # wrong secrets are counted, and it is always noon here
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, radius_server: AddressServer, at: datetime) -> Service:
    return factories.live_line(isp, ada, at=at)


def call(
    web: Client, path: str, body: Any, name: str = "north", secret: str = factories.SECRET
) -> Any:
    import base64

    basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return web.post(
        f"/aaa/{path}",
        body if isinstance(body, bytes) else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Basic {basic}"},
    )


def attributes(**values: Any) -> dict[str, Any]:
    """Attributes in the form of `rlm_rest`."""
    return {
        name.replace("_", "-"): {"type": "string", "value": [value]}
        for name, value in values.items()
    }


def ask(web: Client, line: Service, device: str = DEVICE, **values: Any) -> Any:
    body = {"User_Name": line.credential.username, "Calling_Station_Id": device, **values}
    return call(web, "authorize", attributes(**body))


def said(response: Any) -> dict[str, Any]:
    """The attributes of an answer, each without its wrapping."""
    found = response.json()
    assert all(value["do_xlat"] is False and value["op"] == ":=" for value in found.values())
    return {name: value["value"][0] for name, value in found.items()}


def words(response: Any, status: int = 401) -> str:
    assert response.status_code == status, response.content
    if status == 401:
        found = said(response)
        assert found.keys() == {"reply:Reply-Message"}
        return str(found["reply:Reply-Message"])
    assert response.headers["Content-Type"] == PLAIN
    return str(response.content.decode())


class TestLettingIn:
    def test_a_live_line(self, client: Client, line: Service) -> None:
        response = ask(client, line)
        assert response.status_code == 200
        found = said(response)
        session_class = found.pop("reply:Class")
        assert re.fullmatch(rf"{line.public_id}\.[0-9a-f]{{16}}\.r2", session_class)
        held = {row.family: row.address for row in Allocation.objects.all()}
        assert found == {
            "control:Cleartext-Password": line.credential.secret,
            "reply:Framed-IP-Address": held[4].removesuffix("/32"),
            "reply:Delegated-IPv6-Prefix": held[6],
            "reply:Session-Timeout": 86400,
            "reply:Acct-Interim-Interval": 300,
            "reply:WISPr-Bandwidth-Max-Down": 500_000_000,
            "reply:WISPr-Bandwidth-Max-Up": 500_000_000,
            "reply:Mikrotik-Rate-Limit": "500000k/500000k",
        }

    def test_each_authorisation_has_a_class_of_its_own(self, client: Client, line: Service) -> None:
        first, second = said(ask(client, line)), said(ask(client, line))
        assert first.pop("reply:Class") != second.pop("reply:Class")
        assert first == second

    def test_a_device_may_be_known_by_the_login_alone(self, client: Client, line: Service) -> None:
        body = attributes(User_Name=line.credential.username)
        assert call(client, "authorize", body).status_code == 200
        assert {row.device for row in Allocation.objects.all()} == {line.credential.username}

    @pytest.mark.parametrize("chap", [True, False])
    def test_the_password_is_freeradius_s_business(
        self, client: Client, line: Service, chap: bool
    ) -> None:
        sent = {"CHAP_Password": "0x01ab"} if chap else {"User_Password": line.credential.secret}
        assert ask(client, line, **sent).status_code == 200

    def test_the_price_in_queries(
        self, client: Client, line: Service, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        """The server, the login with its line and plan, and the addresses: one read for all."""
        ask(client, line)
        with django_assert_num_queries(1):
            ask(client, line)

    def test_no_session_and_no_cookie(self, client: Client, line: Service) -> None:
        response = ask(client, line)
        assert not response.cookies
        assert "Cookie" not in response.headers.get("Vary", "")

    def test_a_check_of_csrf_would_stop_every_server(self, line: Service) -> None:
        assert ask(Client(enforce_csrf_checks=True), line).status_code == 200

    def test_a_second_device_goes_to_the_walled_garden(
        self, client: Client, line: Service, settings: Settings
    ) -> None:
        ask(client, line)
        found = said(ask(client, line, device="AA-BB-CC-00-11-33"))
        assert found["reply:Framed-IP-Address"].startswith("10.99.0.")
        assert found["reply:Session-Timeout"] == settings.WALLED_GARDEN_LEASE.total_seconds()
        assert "reply:Delegated-IPv6-Prefix" not in found
        assert OverallocationRequest.objects.get().state == "pending"


class TestWalledGarden:
    @pytest.fixture
    def walled(self, line: Service, at: datetime) -> Service:
        services.open_suspension(
            line=line, reason="non_payment", treatment="walled_garden", note="", at=at
        )
        return line

    def test_a_line_that_has_to_pay_comes_in_to_see_why(
        self, client: Client, walled: Service, settings: Settings
    ) -> None:
        found = said(ask(client, walled))
        assert found["reply:Filter-Id"] == "walled-garden"
        assert found["reply:Mikrotik-Address-List"] == "walled-garden"
        longest = settings.WALLED_GARDEN_SESSION.total_seconds()
        assert found["reply:Session-Timeout"] == longest < 86400
        assert found["reply:Class"].endswith(f".r{AaaCredential.objects.get().revision}")

    def test_a_second_reason_that_blocks_keeps_it_out(
        self, client: Client, walled: Service, at: datetime
    ) -> None:
        services.open_suspension(line=walled, reason="abuse", treatment="block", note="", at=at)
        assert "is suspended" in words(ask(client, walled))

    def test_a_line_that_has_paid_is_let_out(
        self, client: Client, walled: Service, at: datetime
    ) -> None:
        services.close_suspension(line=walled, reason="non_payment", at=at)
        found = said(ask(client, walled))
        assert "reply:Filter-Id" not in found
        assert found["reply:Session-Timeout"] == 86400


class TestKindsOfServer:
    def test_a_registered_one_is_told_in_its_own_words(self, client: Client, line: Service) -> None:
        AccessServer.objects.create(name="mx", nas_ip="192.0.2.7", kind="juniper")
        found = said(ask(client, line, NAS_IP_Address="192.0.2.7"))
        assert found["reply:ERX-Service-Activate:1"] == "speed(500000k,500000k)"
        assert not [name for name in found if "WISPr" in name or "Mikrotik" in name]

    def test_several_values_are_added_one_by_one(self, client: Client, line: Service) -> None:
        AccessServer.objects.create(name="asr", nas_ip="192.0.2.7", kind="cisco")
        told = ask(client, line, NAS_IP_Address="192.0.2.7").json()["reply:Cisco-AVPair"]
        assert told == {
            "op": "+=",
            "value": ["ip:sub-qos-policy-in=up-500000k", "ip:sub-qos-policy-out=down-500000k"],
            "do_xlat": False,
        }

    def test_another_speed_is_given_at_once(self, client: Client, line: Service) -> None:
        AaaCredential.objects.update(download_kbps=1_000, upload_kbps=500)
        assert said(ask(client, line))["reply:Mikrotik-Rate-Limit"] == "500k/1000k"

    def test_it_costs_no_read_of_its_own(
        self, client: Client, line: Service, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        AccessServer.objects.create(name="mx", nas_ip="192.0.2.7", kind="juniper")
        ask(client, line)
        with django_assert_num_queries(1):
            ask(client, line, NAS_IP_Address="192.0.2.7")


class TestAtOnce:
    OTHER = "AA-BB-CC-00-11-33"

    @pytest.fixture(autouse=True)
    def _one_at_once(self, line: Service) -> None:
        AaaCredential.objects.update(sessions_at_once=1)

    def test_another_device_is_turned_away_while_one_is_online(
        self, client: Client, line: Service
    ) -> None:
        online.session(line, at=timezone.now(), calling_station_id=self.OTHER)
        before = ground.rows()
        assert "in use by 1 already" in words(ask(client, line))
        assert ground.rows() == before, "and gets no address"

    def test_the_device_that_comes_back_is_let_in(self, client: Client, line: Service) -> None:
        online.session(line, at=timezone.now(), calling_station_id=DEVICE.lower())
        assert ask(client, line).status_code == 200

    @pytest.mark.parametrize("dead", ["ended", "silent"])
    def test_a_dead_session_does_not_count(self, client: Client, line: Service, dead: str) -> None:
        now = timezone.now()
        if dead == "ended":
            online.session(line, at=now, calling_station_id=self.OTHER, ended_at=now)
        else:
            hour_ago = now - timedelta(hours=1)
            online.session(line, at=hour_ago, calling_station_id=self.OTHER)
        assert ask(client, line).status_code == 200

    def test_another_line_s_sessions_do_not_count(
        self, client: Client, isp: SmallIsp, line: Service, at: datetime
    ) -> None:
        neighbour = factories.live_line(isp, factories.subscriber(at=at, name="Bob"), at=at)
        online.session(neighbour, at=timezone.now(), calling_station_id=self.OTHER)
        assert ask(client, line).status_code == 200


class TestTurningAway:
    def test_a_stranger_gets_no_address(self, client: Client, line: Service) -> None:
        before = ground.rows()
        response = call(client, "authorize", attributes(User_Name="mallory"))
        assert words(response) == admission.UNKNOWN
        assert ground.rows() == before

    def test_a_wrong_password_gets_no_address(self, client: Client, line: Service) -> None:
        """And is not told that the login exists."""
        before = ground.rows()
        assert words(ask(client, line, User_Password="guess")) == admission.UNKNOWN
        assert ground.rows() == before

    def test_a_suspended_line(self, client: Client, line: Service, at: datetime) -> None:
        services.suspend(service=line, reason="unpaid", at=at)
        before = ground.rows()
        assert words(ask(client, line)) == ("This line is suspended. Please call +1 800 555 0142.")
        assert ground.rows() == before

    def test_a_line_that_has_ended(self, client: Client, line: Service, at: datetime) -> None:
        services.cease(service=line, at=at)
        assert "has been ended" in words(ask(client, line))
        assert not Allocation.objects.filter(state="active").exists()

    def test_a_line_that_is_not_live_yet(
        self, client: Client, isp: SmallIsp, ada: Subscriber, line: Service, at: datetime
    ) -> None:
        from provisioning import execution

        order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        execution.run_due(at=at, limit=3)
        early = order.items.get().service
        assert early is not None
        assert "not switched on yet" in words(ask(client, early))

    def test_a_login_that_was_switched_off(self, client: Client, line: Service) -> None:
        AaaCredential.objects.update(enabled=False)
        assert "not switched on" in words(ask(client, line))

    def test_a_device_that_cannot_be_one(self, client: Client, line: Service) -> None:
        assert "device cannot be served" in words(ask(client, line, device="00:00:00:00:00:00"))

    def test_an_empty_pool(self, client: Client, isp: SmallIsp, line: Service) -> None:
        """The server of the south has no pools at all."""
        from ipam import allocation

        allocation.create_server(name="south", kind="radius", secret=factories.SECRET)
        body = attributes(User_Name=line.credential.username, Calling_Station_Id=DEVICE)
        assert "south has no pool" in words(call(client, "authorize", body, name="south"))

    @pytest.mark.parametrize(
        "name", ["%{User-Name}", "a\x00b", "a\ud800", "x" * 10_000, "'; DROP TABLE", "Ada", " "]
    )
    def test_hostile_names(self, client: Client, line: Service, name: str) -> None:
        response = call(client, "authorize", attributes(User_Name=name))
        assert words(response) == admission.UNKNOWN

    def test_a_long_refusal_fits_an_attribute(
        self, client: Client, line: Service, settings: Settings, at: datetime
    ) -> None:
        settings.SUPPORT_PHONE = "ø" * 200
        services.suspend(service=line, reason="unpaid", at=at)
        told = words(ask(client, line))
        assert len(told.encode()) in (252, 253)


class TestServers:
    @pytest.mark.parametrize("path", ["authorize", "accounting"])
    @pytest.mark.parametrize(
        "header",
        ["", "Basic", "Basic !!!", "Basic bm9ydGg=", "Basic bm9ydGg6Z3Vlc3M=", "Bearer x",
         "Basic /////w==", "Basic OA==", "Basic bgBvOm4=", "Basic é"],
    )  # fmt: skip
    def test_an_unknown_server_is_not_a_rejected_subscriber(
        self, client: Client, line: Service, path: str, header: str
    ) -> None:
        """401 would turn subscribers away because of a typing error in our own configuration."""
        before = ground.rows()
        response = client.post(
            f"/aaa/{path}", ACCOUNTING, content_type="application/json",
            headers={"Authorization": header},
        )  # fmt: skip
        assert words(response, 403) == "The address server's name or secret is wrong."
        assert ground.rows() == before

    def test_a_server_that_was_switched_off(
        self, client: Client, line: Service, radius_server: AddressServer
    ) -> None:
        AddressServer.objects.update(active=False)
        assert ask(client, line).status_code == 403

    @pytest.mark.parametrize("path", ["authorize", "accounting"])
    @pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
    def test_only_post(self, client: Client, path: str, method: str) -> None:
        assert getattr(client, method)(f"/aaa/{path}").status_code == 405

    @pytest.mark.parametrize("path", ["authorize", "accounting"])
    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"\xff", b"[" * 60_000, b'{"User-Name": {}}', b"{}",
                 b'{"User-Name": 1.5}', b'{"User-Name": [{"a": 1}]}']
    )  # fmt: skip
    def test_hostile_bodies(self, client: Client, line: Service, path: str, body: bytes) -> None:
        before = ground.rows()
        assert words(call(client, path, body), 400).endswith(".")
        assert ground.rows() == before

    @pytest.mark.parametrize("path", ["authorize", "accounting"])
    def test_a_body_that_is_too_large(self, client: Client, line: Service, path: str) -> None:
        fits = json.dumps({"User-Name": "a", "X": ""})
        for size, status in ((64 * 1024, {401, 400}), (64 * 1024 + 1, {413})):
            body = fits[:-2] + "x" * (size - len(fits)) + fits[-2:]
            assert call(client, path, body.encode()).status_code in status

    def test_our_own_fault_is_no_reject(
        self, client: Client, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ill(**_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(admission, "admit", ill)
        client.raise_request_exception = False
        assert ask(client, line).status_code == 500


class TestAccounting:
    def test_a_message_is_kept_and_then_acknowledged(self, client: Client, line: Service) -> None:
        response = call(client, "accounting", ACCOUNTING)
        assert (response.status_code, response.content) == (204, b"")
        kept = AccountingRecord.objects.get()
        assert kept.received_at == timezone.now()
        assert (kept.username, kept.server.name) == ("alice", "north")

    def test_a_message_that_comes_twice_is_kept_twice(self, client: Client, line: Service) -> None:
        for _ in range(2):
            assert call(client, "accounting", ACCOUNTING).status_code == 204
        first, second = AccountingRecord.objects.order_by("id").values()
        assert first.pop("id") < second.pop("id")
        assert first == second

    def test_the_price_in_queries(
        self, client: Client, line: Service, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(2):
            call(client, "accounting", ACCOUNTING)

    def test_an_ended_line_is_still_accounted(
        self, client: Client, line: Service, at: datetime
    ) -> None:
        services.cease(service=line, at=at + timedelta(seconds=1))
        assert call(client, "accounting", ACCOUNTING).status_code == 204


class TestWithoutDjangosRequest:
    """The way in that `ispops.wsgi` takes; the real one is tried with the real FreeRADIUS."""

    def send(self, body: bytes, method: str = "POST") -> tuple[str, dict[str, str], bytes]:
        import base64

        basic = base64.b64encode(f"north:{factories.SECRET}".encode()).decode()
        heard: list[Any] = []
        parts = aaa.authorize_wsgi(
            {
                "REQUEST_METHOD": method,
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_AUTHORIZATION": f"Basic {basic}",
                "wsgi.input": io.BytesIO(body),
            },
            lambda status, headers: heard.extend([status, dict(headers)]),
        )
        return heard[0], heard[1], b"".join(parts)

    def asked(self, line: Service) -> bytes:
        return json.dumps(attributes(User_Name=line.credential.username)).encode()

    def test_it_answers_as_the_view_does(self, client: Client, line: Service) -> None:
        status, headers, body = self.send(self.asked(line))
        assert (status, headers["Content-Type"]) == ("200 OK", "application/json")
        assert int(headers["Content-Length"]) == len(body)
        by_view = call(client, "authorize", self.asked(line)).json()
        by_wsgi = json.loads(body)
        assert by_wsgi.pop("reply:Class") != by_view.pop("reply:Class")
        assert by_wsgi == by_view

    def test_what_it_does_not_take(self, line: Service) -> None:
        assert self.send(b"", method="GET")[0] == "405 Method Not Allowed"
        assert self.send(b"x" * (aaa.MOST_BODY + 1))[0] == "413 Request Entity Too Large"
        assert self.send(b"{")[0] == "400 Bad Request"

    @pytest.mark.parametrize("fault", [ZeroDivisionError, DatabaseError])
    def test_our_own_fault_is_no_reject(
        self, line: Service, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
    ) -> None:
        def ill(**_: Any) -> None:
            raise fault

        monkeypatch.setattr(aaa.connection, "close", lambda: None)  # it is the test's own
        monkeypatch.setattr(admission, "admit", ill)
        status, _, body = self.send(self.asked(line))
        assert (status, body) == ("500 Internal Server Error", aaa.ILL.body)

    def test_a_lost_connection_is_made_again_once(
        self, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls, closed = admission.find, [], []

        def lost_at_first(**asked: Any) -> Any:
            calls.append(asked)
            if len(calls) == 1:
                raise DatabaseError
            return real(**asked)

        monkeypatch.setattr(aaa.connection, "close", lambda: closed.append(True))
        monkeypatch.setattr(admission, "find", lost_at_first)
        assert self.send(self.asked(line))[0] == "200 OK"
        assert (len(calls), closed) == (2, [True])
