"""The accounting inbox: what is kept of a message."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ipam.models import AddressServer
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, User
from provisioning.accounting import (
    AccessServerExists,
    record_accounting,
    register_access_server,
    set_counters_reversed,
)
from provisioning.models import AccessServer, AccountingRecord
from provisioning.radius import Attributes, Malformed
from tests.provisioning.test_radius import ACCOUNTING

RECEIVED = datetime(2025, 11, 3, 6, 25, 10, tzinfo=UTC)


@pytest.fixture
def server(db: None) -> AddressServer:
    return AddressServer.objects.create(name="north", kind="radius", secret_digest="0" * 64)


def record(server: AddressServer, **values: Any) -> AccountingRecord:
    usual = {"Acct_Status_Type": "Start", "Acct_Session_Id": "s1", "NAS_IP_Address": "10.0.0.1"}
    named = {name.replace("_", "-"): value for name, value in (usual | values).items()}
    kept = record_accounting(server=server, attributes=named, received_at=RECEIVED)
    return AccountingRecord.objects.get(pk=kept.pk)


def test_everything_that_a_real_server_says(server: AddressServer) -> None:
    attributes = Attributes.parse(ACCOUNTING).values
    kept = record_accounting(server=server, attributes=attributes, received_at=RECEIVED)
    row = AccountingRecord.objects.values().get(pk=kept.pk)
    assert len(row.pop("unique_session_id")) == 32
    assert row == {
        "id": kept.pk,
        "server_id": server.pk,
        "status_type": "Interim-Update",
        "session_id": "abc",
        "session_class": "svc_ab",
        "username": "alice",
        "nas_ip": "10.0.0.1",
        "calling_station_id": "",
        "framed_ip": "100.64.0.1",
        "session_seconds": 5,
        "input_octets": 4294967295,
        "output_octets": 0,
        "input_gigawords": 2,
        "output_gigawords": None,
        "terminate_cause": "User-Request",
        "delay_seconds": 3,
        "event_at": datetime(2025, 11, 3, 6, 25, tzinfo=UTC),
        "received_at": RECEIVED,
    }


def test_no_gigawords_is_not_no_gigabytes(server: AddressServer) -> None:
    assert record(server).input_gigawords is None
    assert record(server, Acct_Input_Gigawords=0).input_gigawords == 0


def test_the_id_that_freeradius_makes_is_used(server: AddressServer) -> None:
    kept = record(server, Acct_Unique_Session_Id="9f86d081884c7d659a2feaa0c55ad015")
    assert kept.unique_session_id == "9f86d081884c7d659a2feaa0c55ad015"


@pytest.mark.parametrize(
    "other",
    [{"Acct_Session_Id": "s2"}, {"NAS_IP_Address": "10.0.0.2"}, {"User_Name": "bob"},
     {"NAS_IP_Address": None, "NAS_Identifier": "olt-7"}],
)  # fmt: skip
def test_without_it_sessions_are_told_apart(server: AddressServer, other: dict[str, Any]) -> None:
    first = record(server).unique_session_id
    assert record(server, Acct_Status_Type="Stop").unique_session_id == first
    assert record(server, **other).unique_session_id != first


def test_long_ids_do_not_become_one(server: AddressServer) -> None:
    first = record(server, Acct_Session_Id="x" * 200 + "1", Acct_Unique_Session_Id="y" * 99 + "1")
    second = record(server, Acct_Session_Id="x" * 200 + "2", Acct_Unique_Session_Id="y" * 99 + "2")
    assert first.session_id != second.session_id
    assert first.unique_session_id != second.unique_session_id


def test_other_long_text_is_cut(server: AddressServer) -> None:
    kept = record(
        server, User_Name="u" * 300, Calling_Station_Id="c" * 300, Class="k" * 300,
        Acct_Terminate_Cause="t" * 300, Acct_Status_Type="s" * 300,
    )  # fmt: skip
    assert kept.username == "u" * 250
    assert kept.calling_station_id == "c" * 130
    assert kept.session_class == "k" * 80
    assert kept.terminate_cause == "t" * 40
    assert kept.status_type == "s" * 20


def test_text_that_cannot_be_stored_is_no_reason_to_lose_a_message(server: AddressServer) -> None:
    kept = record(server, User_Name="a\x00b\ud800c", Acct_Session_Id="s\x00")
    assert kept.username == "a\ufffdb?c"
    assert kept.session_id == "s\ufffd"


@pytest.mark.parametrize("kind", [7, 8, "Accounting-On", "Accounting-Off"])
def test_a_server_that_starts_names_no_session(server: AddressServer, kind: object) -> None:
    kept = record(server, Acct_Status_Type=kind, Acct_Session_Id=None)
    assert (kept.session_id, kept.nas_ip) == ("", "10.0.0.1")


def test_a_server_known_by_its_ipv6_address(server: AddressServer) -> None:
    kept = record(server, NAS_IP_Address=None, NAS_IPv6_Address="2001:db8::1")
    assert kept.nas_ip == "2001:db8::1"


def test_the_original_delay_is_kept(server: AddressServer) -> None:
    arrived = RECEIVED - timedelta(hours=1)
    kept = record(server, Acct_Delay_Time=3605, Packet_Original_Timestamp=int(arrived.timestamp()))
    assert (kept.event_at, kept.delay_seconds) == (arrived - timedelta(seconds=5), 5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Acct_Status_Type": None}, "Acct-Status-Type is missing"),
        ({"Acct_Session_Id": None}, "Acct-Session-Id is missing"),
        ({"Acct_Session_Time": -1}, "Acct-Session-Time must be a whole number"),
        ({"Acct_Input_Octets": 2**63}, "Acct-Input-Octets must be a whole number"),
        ({"Acct_Output_Octets": "many"}, "Acct-Output-Octets must be a whole number"),
        ({"Acct_Delay_Time": "x"}, "Acct-Delay-Time must be a whole number"),
        ({"Acct_Input_Gigawords": ""}, "Acct-Input-Gigawords must be a whole number"),
        ({"Framed_IP_Address": "10.0.0.256"}, "Framed-IP-Address must be an IP address"),
        ({"NAS_IP_Address": "localhost"}, "NAS-IP-Address must be an IP address"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words(
    server: AddressServer, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(Malformed, match=words):
        record(server, **wrong)
    assert not AccountingRecord.objects.exists()


def test_the_largest_numbers_fit(server: AddressServer) -> None:
    most = 2**63 - 1
    kept = record(
        server, Acct_Session_Time=most, Acct_Input_Octets=most, Acct_Input_Gigawords=most,
        Acct_Delay_Time=2**31,
    )  # fmt: skip
    assert kept.input_octets == kept.session_seconds == kept.input_gigawords == most


class TestAccessServers:
    def test_registering(self, otto: User, at: datetime) -> None:
        server = register_access_server(
            name="bng-1", nas_ip="10.0.0.1", counters_reversed=True, actor=otto, at=at
        )
        assert (server.name, server.nas_ip, server.counters_reversed) == ("bng-1", "10.0.0.1", True)
        entry = AuditEntry.objects.get(action="access_server.registered")
        assert (entry.actor, entry.subject) == (otto, "access_server_bng-1")
        assert entry.detail == {"nas_ip": "10.0.0.1", "counters_reversed": True}

    @pytest.mark.parametrize(("name", "nas_ip"), [("bng-1", "10.0.0.2"), ("bng-2", "10.0.0.1")])
    def test_one_name_and_one_address(
        self, otto: User, at: datetime, name: str, nas_ip: str
    ) -> None:
        register_access_server(name="bng-1", nas_ip="10.0.0.1", actor=otto, at=at)
        with pytest.raises(AccessServerExists):
            register_access_server(name=name, nas_ip=nas_ip, actor=otto, at=at)
        assert AccessServer.objects.count() == 1

    @pytest.mark.parametrize(
        ("name", "nas_ip", "field"), [("b n g", "10.0.0.1", "name"), ("bng", "10.0.0", "nas_ip")]
    )
    def test_bad_input(self, otto: User, at: datetime, name: str, nas_ip: str, field: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            register_access_server(name=name, nas_ip=nas_ip, actor=otto, at=at)
        assert refused.value.field == field

    def test_the_other_way_round(self, otto: User, at: datetime) -> None:
        server = register_access_server(name="bng-1", nas_ip="10.0.0.1", actor=otto, at=at)
        for _ in range(2):
            turned = set_counters_reversed(
                access_server_id=server.pk, counters_reversed=True, actor=otto,
                reason="Seen in a capture", at=at,
            )  # fmt: skip
            assert turned.counters_reversed
        entry = AuditEntry.objects.get(action="access_server.direction_set")
        assert entry.reason == "Seen in a capture"
