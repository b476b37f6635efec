"""Reservations in Kea's own tables: what is written, what is left alone, and each fault."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg2
import pytest

from ispops.errors import TransientFault
from provisioning.network import kea
from tests import databases

Hosts = Callable[[], list[dict[str, Any]]]
LINE, OTHER = "svc_1", "svc_2"
AT_PORT_7 = kea.Reservation(kea.circuit("barre-1/7"), "100.127.9.70")


@pytest.fixture
def database(kea_url: str) -> kea.Database:
    return kea.Database(kea_url, 1, connect_seconds=3, statement_seconds=3)


def test_a_circuit_gets_its_address(database: kea.Database, hosts: Hosts) -> None:
    said = kea.reserve(database, LINE, AT_PORT_7)
    assert hosts() == [
        {
            "identifier": b"barre-1/7", "type": 2, "subnet": 1, "address": "100.127.9.70",
            "classes": None, "context": '{"isp_ops_line":"svc_1"}',
        }
    ]  # fmt: skip
    assert said == {
        "line": LINE, "subnet_id": 1, "identifier_type": "circuit-id", "identifier": "barre-1/7",
        "ip_address": "100.127.9.70", "client_classes": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "type_", "octets"),
    [
        pytest.param("02:00:00:00:00:01", 0, b"\x02\0\0\0\0\x01", id="hardware address"),
        pytest.param("00010001020000000001", 1, b"\0\x01\0\x01\x02\0\0\0\0\x01", id="DUID"),
        pytest.param("OLT-1/0/7", 2, b"OLT-1/0/7", id="circuit"),
        pytest.param("020000000001", 2, b"020000000001", id="six octets are no DUID"),
    ],
)  # fmt: skip
def test_a_device_is_told_by_its_kind(name: str, type_: int, octets: bytes) -> None:
    assert kea.device(name) == kea.Identifier(type_, octets)


def test_repeating_and_changing_leave_one_row(database: kea.Database, hosts: Hosts) -> None:
    kea.reserve(database, LINE, AT_PORT_7)
    kea.reserve(database, LINE, AT_PORT_7)
    assert len(hosts()) == 1
    kea.reserve(database, LINE, replace(AT_PORT_7, client_class=kea.WALLED_GARDEN))
    assert [(row["address"], row["classes"]) for row in hosts()] == [(None, "walled_garden")]
    moved = replace(AT_PORT_7, identifier=kea.device("02:00:00:00:00:01"), address="100.127.9.71")
    kea.reserve(database, LINE, moved)
    assert [(row["type"], row["address"]) for row in hosts()] == [(0, "100.127.9.71")]


def test_what_an_ended_line_left_gives_way(database: kea.Database, hosts: Hosts) -> None:
    """Its port and its address are somebody else's by now, and its removal comes late."""
    kea.reserve(database, OTHER, AT_PORT_7)
    kea.reserve(database, LINE, replace(AT_PORT_7, address="100.127.9.71"))
    assert [row["context"] for row in hosts()] == ['{"isp_ops_line":"svc_1"}']
    assert kea.remove(database, OTHER) == 0
    assert kea.remove(database, LINE) == 1
    assert kea.remove(database, LINE) == 0
    assert hosts() == []


@pytest.mark.parametrize("client_class", [kea.WALLED_GARDEN, kea.REFUSED, ""])
def test_who_borrows_the_name_of_a_device_takes_nothing_from_it(
    database: kea.Database, hosts: Hosts, client_class: str
) -> None:
    mac = kea.device("02:00:00:00:00:09")
    kea.reserve(database, OTHER, kea.Reservation(mac, "100.127.9.71"))
    borrowed = kea.Reservation(mac, "" if client_class else "100.127.9.72", client_class)
    kea.reserve_further(database, LINE, "02:00:00:00:00:09", borrowed)
    kea.reserve(database, LINE, AT_PORT_7, {"02:00:00:00:00:09": borrowed})
    assert {row["context"]: row["address"] for row in hosts()} == {
        '{"isp_ops_line":"svc_2"}': "100.127.9.71", '{"isp_ops_line":"svc_1"}': "100.127.9.70",
    }  # fmt: skip
    kea.remove(database, OTHER)
    kea.reserve_further(database, LINE, "02:00:00:00:00:09", borrowed)
    kea.reserve_further(database, LINE, "02:00:00:00:00:09", borrowed)
    assert len(hosts()) == 2, "it may have it when nobody else does"


@pytest.mark.parametrize(
    ("identifier", "address", "words"),
    [
        ("camera", "100.127.9.70", "100.127.9.70 for somebody else"),
        ("barre-1/7", "100.127.9.99", "device for somebody else"),
    ],
)
def test_what_others_reserved_stays(
    database: kea.Database, hosts: Hosts, kea_url: str, identifier: str, address: str, words: str
) -> None:
    databases.execute(
        "INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address)"
        f" VALUES ('{identifier}', 2, 1, '{address}'::inet - '0.0.0.0'::inet)",
        kea_url,
    )
    earlier = kea.Reservation(kea.circuit("barre-1/1"), "100.127.9.71")
    kea.reserve(database, LINE, earlier)
    before = hosts()
    with pytest.raises(kea.TakenByOthers, match=words) as refused:
        kea.reserve(database, LINE, AT_PORT_7)
    assert refused.value.request["ip_address"] == "100.127.9.70"
    assert hosts() == before, "what the line had is still there"


def test_another_subnet_is_left_alone(database: kea.Database, hosts: Hosts) -> None:
    kea.reserve(replace(database, subnet_id=2), OTHER, AT_PORT_7)
    kea.reserve(database, LINE, AT_PORT_7)
    assert kea.remove(database, OTHER) == 0
    assert len(hosts()) == 2


def test_a_server_that_is_away_is_a_transient_fault(database: kea.Database) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]  # nobody listens there
        gone = replace(database, url=f"postgresql://u:hush-hush@127.0.0.1:{port}/kea")
        with pytest.raises(TransientFault) as fault:
            kea.reserve(gone, LINE, AT_PORT_7)
    assert "hush-hush" not in str(fault.value)
    assert fault.value.request["identifier"] == "barre-1/7"


def test_a_table_that_is_locked_is_waited_for_in_vain(database: kea.Database, kea_url: str) -> None:
    began = time.monotonic()
    with closing(psycopg2.connect(kea_url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE hosts")
        with pytest.raises(TransientFault, match="statement timeout"):
            kea.reserve(replace(database, statement_seconds=0.3), LINE, AT_PORT_7)
    assert time.monotonic() - began < 10


def test_a_database_of_another_kind_needs_a_person(database: kea.Database) -> None:
    other = replace(database, url=databases.url_of("postgres"))
    with pytest.raises(kea.NotAHostsDatabase, match="hosts"):
        kea.remove(other, LINE)
