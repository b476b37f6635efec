"""Addresses over REST: given and released by their server, and read by who they are of alone."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from ipam.models import AddressServer, Allocation, AllocationHistory
from ispops.models import IdempotentAnswer
from ispops.parties.models import Subscriber
from provisioning.models import DhcpReservation, DhcpServer, Service
from tests import factories
from tests.ipam.ground import mac
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
API = "/api/v1/"


@dataclass
class Line:
    """A live line of the fibre network, and the server that gives its addresses."""

    service: Service
    server: AddressServer

    def ask(self, path: str = "address_assignments", *, key: str = "k-1", **changes: Any) -> Any:
        who = changes.pop("who", None) or as_server(self.server.name)
        body = {"service": self.service.public_id, "device": mac(1)} | changes
        headers = {"Idempotency-Key": key} | who
        return Client().post(API + path, body, content_type="application/json", headers=headers)


def as_server(name: str, secret: str = factories.SECRET) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"}


@pytest.fixture
def line(isp: SmallIsp, asker: Subscriber, now: datetime) -> Line:
    server = factories.address_server(at=now)
    return Line(factories.live_line(isp, asker, at=now), server)


def see(who: dict[str, str], path: str, **query: str) -> Any:
    return Client().get(API + path, query, headers=who)


# --- Address servers ----------------------------------------------------------------------------


def test_a_device_gets_its_addresses_and_the_same_again_after_a_release(line: Line) -> None:
    first = line.ask().json()
    assert (first["outcome"], first["reason"], first["request"]) == ("granted", "", None)
    assert first["ipv4"].startswith("100.64.0.")
    assert first["ipv6_prefix"].startswith("2001:db8:")
    assert first["lease_seconds"] > 0
    released = line.ask("address_releases", key="k-2")
    assert (released.status_code, released.json()["released"]) == (200, 2)
    assert not Allocation.objects.filter(state="active").exists()
    assert set(AllocationHistory.objects.values_list("ended_because", flat=True)) == {
        "released_by_server"
    }
    assert line.ask("address_releases", key="k-3").json()["released"] == 0
    again = line.ask(key="k-4").json()
    assert (again["ipv4"], again["ipv6_prefix"]) == (first["ipv4"], first["ipv6_prefix"])


def test_a_replay_gets_the_first_answer_and_another_body_is_refused(line: Line) -> None:
    first = line.ask()
    line.ask("address_releases", key="k-2")
    again = line.ask()
    assert again.content == first.content
    assert again["Idempotent-Replay"] == "true"
    assert not Allocation.objects.filter(state="active").exists()
    assert line.ask(device=mac(2)).status_code == 409
    nameless = Client().post(
        f"{API}address_releases", {}, content_type="application/json",
        headers=as_server(line.server.name),
    )  # fmt: skip
    assert nameless.status_code == 400


@pytest.mark.parametrize(
    "who",
    [
        {"Authorization": ""},
        as_server("nobody"),
        as_server("north", "a-forged-secret-of-somebody"),
        {"Authorization": "Bearer forged"},
    ],
    ids=["nobody", "unknown", "forged", "a bearer"],
)
def test_who_is_no_server_gets_nothing_and_leaves_nothing(line: Line, who: dict[str, str]) -> None:
    for path in ("address_assignments", "address_releases"):
        assert line.ask(path, who=who).status_code == 401
    assert not Allocation.objects.exists()
    assert not IdempotentAnswer.objects.exists()


def test_another_server_does_not_release_what_it_did_not_give(line: Line) -> None:
    from ipam import allocation

    allocation.create_server(name="south", kind="radius", secret=factories.SECRET)
    line.ask()
    refused = line.ask("address_releases", key="k-2", who=as_server("south"))
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/not_your_pool")
    assert Allocation.objects.filter(state="active").count() == 2
    # It has no pool of its own to give from, either.
    denied = line.ask(key="k-3", who=as_server("south")).json()
    assert (denied["outcome"], denied["ipv4"]) == ("denied", None)


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"service": "svc_nothing"}, 404, "service"),
        ({"service": "svc_" + "0" * 32}, 404, "service"),
        ({"service": None}, 422, "service"),
        ({"device": ""}, 422, "device"),
        ({"device": "x\0y"}, 422, "device"),
        ({"device": "x" * 300}, 422, "device"),
    ],
)
def test_bad_values_are_named_and_nothing_is_written(
    line: Line, changes: dict[str, Any], status: int, field: str
) -> None:
    for path in ("address_assignments", "address_releases"):
        refused = line.ask(path, **changes)
        assert refused.status_code == status
        assert refused.json()["errors"][0]["field"] == field
    assert not Allocation.objects.exists()


def test_a_line_that_is_not_served_gets_a_reason_and_no_address(line: Line) -> None:
    for state, words in (("suspended", "is suspended"), ("ceased", "has been ended")):
        Service.objects.filter(pk=line.service.pk).update(state=state)
        denied = line.ask(key=state).json()
        assert (denied["outcome"], denied["lease_seconds"]) == ("denied", 0)
        assert words in denied["reason"]
    assert not Allocation.objects.exists()


def test_what_a_dhcp_server_is_told_to_keep_is_not_released(isp: SmallIsp, line: Line) -> None:
    server = DhcpServer.objects.create(
        address_server=line.server, provider=isp.fibre, hosts_url="postgresql://u:p@h/kea"
    )
    line.ask()
    DhcpReservation.objects.create(
        service=line.service, dhcp_server=server, device=mac(1), address="100.64.0.9",
        access="open",
    )  # fmt: skip
    refused = line.ask("address_releases", key="k-2")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/kept_by_its_server")
    assert Allocation.objects.filter(state="active").count() == 2


# --- Partners and logins ------------------------------------------------------------------------


@dataclass
class Readers:
    network: dict[str, str]
    other_network: dict[str, str]
    product: dict[str, str]
    owner: dict[str, str]
    stranger: dict[str, str]

    @property
    def others(self) -> list[dict[str, str]]:
        return [self.other_network, self.product, self.stranger]


@pytest.fixture
def readers(
    isp: SmallIsp, asker: Subscriber, token: Callable[..., dict[str, str]], now: datetime
) -> Readers:
    bob = factories.subscriber(at=now, email="bob@example.com")
    return Readers(
        *(token(partner, "ipam:read") for partner in (isp.fibre, isp.copper, isp.films)),
        owner=token(asker.users.get(), "ipam:read"),
        stranger=token(bob.users.get(), "ipam:read"),
    )


def test_each_reads_the_addresses_of_its_own_lines_alone(line: Line, readers: Readers) -> None:
    given = line.ask().json()
    for who in (readers.network, readers.owner):
        items = see(who, "addresses").json()["items"]
        assert [item["address"] for item in items] == [
            given["ipv6_prefix"], f"{given['ipv4']}/32",
        ]  # fmt: skip
        assert {item["service"] for item in items} == {line.service.public_id}
        assert see(who, "addresses", resource_pool="north-dynamic").json()["items"] == items[1:]
        assert see(who, "addresses", service="svc_x").json()["items"] == []
        first = see(who, "addresses", limit="1").json()
        assert Client().get(first["next"], headers=who).json()["items"] == items[1:]
        past = see(who, "address_history", address=given["ipv4"]).json()["items"]
        assert [(item["device"], item["held_to"]) for item in past] == [(mac(1), None)]
    for who in readers.others:
        assert see(who, "addresses").json()["items"] == []
        assert see(who, "address_history", address=given["ipv4"]).json()["items"] == []
        assert see(who, "address_history", service=line.service.public_id).json()["items"] == []


def test_the_history_goes_on_page_by_page(
    line: Line, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ipam import history

    monkeypatch.setattr(history.page_of, "__kwdefaults__", {
        **history.page_of.__kwdefaults__, "most": 1,
    })  # fmt: skip
    line.ask()
    seen, path = [], f"{API}address_history?device={mac(1)}"
    while path:
        page = Client().get(path, headers=readers.network).json()
        seen += [item["address"] for item in page["items"]]
        path = page["next"]
    assert len(seen) == len(set(seen)) == 2


def test_lists_come_as_csv_by_header_or_by_query(line: Line, readers: Readers) -> None:
    given = line.ask().json()
    who, place = readers.network, given["ipv4"]
    for path, query, key in (
        ("addresses", {}, "address"),
        ("address_history", {"address": place}, "address"),
    ):
        asked = see(who, path, format="csv", **query)
        accepted = see(who | {"Accept": "text/csv"}, path, **query)
        for answer in (asked, accepted):
            assert answer["Content-Type"].startswith("text/csv")
            assert "attachment" in answer["Content-Disposition"]
            rows = list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))
            assert f"{place}/32" in {row[key] for row in rows}
    refused = see(who, "addresses", format="xml")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "format")
    empty = b"".join(see(readers.other_network, "addresses", format="csv").streaming_content)
    assert empty.decode().splitlines() == [
        "address,service,device,resource_pool,held_since,lease_ends_at"
    ]


def test_the_history_needs_somebody_and_times_that_are_some(line: Line, readers: Readers) -> None:
    for query, field in (
        ({}, "address"),
        ({"start": "2026-05-04T12:00:00Z"}, "address"),
        ({"address": "nowhere"}, "address"),
        ({"device": mac(1), "start": "soon"}, "start"),
        ({"device": mac(1), "after": "x"}, "after"),
    ):
        refused = see(readers.network, "address_history", **query)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_an_address_server_does_not_read_and_a_reader_does_not_write(
    line: Line, readers: Readers
) -> None:
    assert see(as_server("north"), "addresses").status_code == 401
    assert line.ask(who=readers.network).status_code == 401
