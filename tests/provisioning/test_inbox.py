"""What FreeRADIUS has left becomes records; what cannot be read stays, and holds nothing up."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ipam import queries
from ipam.models import AddressServer
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, User
from provisioning import accounting, inbox, radius_setup
from provisioning.models import AccountingInbox, AccountingRecord


@pytest.fixture
def server(db: None) -> AddressServer:
    return AddressServer.objects.create(name="north", kind="radius", secret_digest="0" * 64)


def left(**said: str) -> AccountingInbox:
    """A message as FreeRADIUS writes it: all text, and nothing where nothing was said."""
    usual = {"server": "north", "status_type": "Interim-Update", "session_id": "s1"}
    made = AccountingInbox.objects.create(**(usual | {"source": "10.9.9.9"} | said))
    made.refresh_from_db()
    return made


def read(**said: str) -> AccountingRecord:
    left(**said)
    assert inbox.read_inbox(limit=10) == 1
    return AccountingRecord.objects.get()


def test_all_that_was_said(server: AddressServer) -> None:
    row = left(
        session_class="0x7376635f61622e6364", username="ada", nas_ip="10.0.0.1",
        nas_identifier="olt-7", calling_station_id="02:00", framed_ip="100.64.0.1",
        session_seconds="300", input_octets="4294967295", output_octets="0",
        input_gigawords="2", terminate_cause="Lost-Carrier", delay_seconds="3",
        event_timestamp="1762151100",
    )  # fmt: skip
    received_at = row.received_at
    inbox.read_inbox(limit=10)
    found = AccountingRecord.objects.values().get()
    assert not AccountingInbox.objects.exists()
    assert len(found.pop("unique_session_id")) == 32
    assert found.pop("event_at") < received_at  # its clock is months off
    found.pop("id")
    assert found == {
        "server_id": server.pk,
        "status_type": "Interim-Update",
        "session_id": "s1",
        "session_class": "svc_ab.cd",
        "username": "ada",
        "nas_ip": "10.0.0.1",
        "calling_station_id": "02:00",
        "framed_ip": "100.64.0.1",
        "session_seconds": 300,
        "input_octets": 4294967295,
        "output_octets": 0,
        "input_gigawords": 2,
        "output_gigawords": None,
        "terminate_cause": "Lost-Carrier",
        "delay_seconds": 3,
        "received_at": received_at,
    }


def test_both_ways_in_name_a_session_alike(server: AddressServer) -> None:
    """The same session may be told of by SQL and by REST, and is one."""
    by_sql = read(username="ada", nas_ip="10.0.0.1", nas_identifier="olt-7")
    by_rest = accounting.record_accounting(
        server=server,
        attributes={
            "Acct-Status-Type": "Stop", "Acct-Session-Id": "s1", "User-Name": "ada",
            "NAS-IP-Address": "10.0.0.1", "NAS-Identifier": "olt-7",
        },
        received_at=datetime(2026, 5, 4, tzinfo=UTC),
    )  # fmt: skip
    assert by_sql.unique_session_id == by_rest.unique_session_id


@pytest.mark.parametrize(
    ("said", "nas_ip"),
    [
        ({"nas_ip": "10.0.0.1"}, "10.0.0.1"),
        ({"nas_ipv6": "2001:db8::1"}, "2001:db8::1"),
        ({}, "10.9.9.9"),
    ],
)
def test_the_access_server(server: AddressServer, said: dict[str, str], nas_ip: str) -> None:
    assert read(**said).nas_ip == nas_ip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ada", "ada"), ("o=27neill=3D=C3=BC", "o'neill=\u00fc"), ("ü=25=7Bx=7D", "ü%{x}"),
        ("a=FFb", "a\ufffdb"), ("a=zz=4", "a=zz=4"), ("a=00b", "a\ufffdb"),
    ],
)  # fmt: skip
def test_text_as_it_was_sent(server: AddressServer, written: str, meant: str) -> None:
    assert read(username=written).username == meant


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"session_id": ""}, "Acct-Session-Id is missing"),
        ({"status_type": ""}, "Acct-Status-Type is missing"),
        ({"input_octets": "many"}, "Acct-Input-Octets must be"),
        ({"output_octets": "9" * 19}, "Acct-Output-Octets must be"),
        ({"framed_ip": "10.0.0"}, "Framed-IP-Address must be"),
        ({"nas_ip": "olt-7"}, "NAS-IP-Address must be"),
        ({"server": "south"}, "There is no address server south"),
        ({"status_type": "", "session_id": ""}, "says nothing"),
    ],
)
def test_what_cannot_be_read_stays_and_holds_nothing_up(
    server: AddressServer, said: dict[str, str], words: str
) -> None:
    bad, good = left(**said), left(session_id="good")
    assert inbox.read_inbox(limit=10) == 2
    assert AccountingRecord.objects.get().session_id == "good"
    assert not AccountingInbox.objects.filter(pk=good.pk).exists()
    bad.refresh_from_db()
    assert words in bad.fault
    assert inbox.read_inbox(limit=10) == 0


def test_the_oldest_come_first(server: AddressServer) -> None:
    for number in range(5):
        left(session_id=f"s{number}")
    assert inbox.read_inbox(limit=3) == 3
    found = AccountingRecord.objects.order_by("pk").values_list("session_id", flat=True)
    assert list(found) == ["s0", "s1", "s2"]


def test_a_batch_is_a_few_statements(
    server: AddressServer, django_assert_max_num_queries: Any
) -> None:
    for number in range(50):
        left(session_id=f"s{number}")
    with django_assert_max_num_queries(6):
        assert inbox.read_inbox(limit=50) == 50


def test_a_worker_that_dies_leaves_them_all(
    server: AddressServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even between writing the records and removing what they were made of."""
    left()

    usual = inbox.bulk.copy_rows

    def write_and_die(*rows: Any) -> None:
        usual(*rows)
        assert AccountingRecord.objects.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(inbox.bulk, "copy_rows", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            inbox.read_inbox(limit=10)
    assert (AccountingInbox.objects.count(), AccountingRecord.objects.count()) == (1, 0)
    assert inbox.read_inbox(limit=10) == 1


class TestPeople:
    def test_reading_again_after_the_cause_is_mended(
        self, server: AddressServer, otto: User, at: datetime
    ) -> None:
        row = left(server="south")
        inbox.read_inbox(limit=10)
        with pytest.raises(inbox.StillUnreadable, match="no address server south"):
            inbox.read_again(message_id=row.pk, actor=otto, at=at)
        again = AuditEntry.objects.filter(action="accounting_message.read_again")
        assert not again.exists()
        AddressServer.objects.create(name="south", kind="radius", secret_digest="0" * 64)
        inbox.read_again(message_id=row.pk, actor=otto, at=at)
        assert again.get().actor == otto
        assert AccountingRecord.objects.get().session_id == "s1"
        assert not AccountingInbox.objects.exists()
        inbox.read_again(message_id=row.pk, actor=otto, at=at)
        assert again.count() == 1

    def test_all_of_them_by_a_command(
        self, server: AddressServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbox, "READ_AGAIN_AT_ONCE", 2)
        for number in range(5):
            left(server="south", session_id=f"s{number}")
        left(session_id="bad", status_type="")
        inbox.read_inbox(limit=10)
        AddressServer.objects.create(name="south", kind="radius", secret_digest="0" * 64)
        said = StringIO()
        call_command("read_accounting_again", reason="South is known now", stdout=said)
        assert said.getvalue() == "5 messages are read now; 1 still cannot be read.\n"
        assert AccountingRecord.objects.count() == 5
        assert AccountingInbox.objects.get().session_id == "bad"
        entries = AuditEntry.objects.filter(action="accounting_message.read_again")
        assert sum(entry.detail["count"] for entry in entries) == 5
        assert {entry.reason for entry in entries} == {"South is known now"}

    def test_what_freeradius_kept_itself_says_so_for_ever(
        self, server: AddressServer, otto: User, at: datetime
    ) -> None:
        row = AccountingInbox.objects.create(server="north", fault="It is in the file parked.")
        with pytest.raises(inbox.StillUnreadable, match="in the file parked"):
            inbox.read_again(message_id=row.pk, actor=otto, at=at)

    def test_forgetting_keeps_what_it_said(
        self, server: AddressServer, otto: User, at: datetime
    ) -> None:
        row = left(input_octets="many")
        inbox.read_inbox(limit=10)
        inbox.forget_unreadable(message_id=row.pk, actor=otto, reason="A test device", at=at)
        assert not AccountingInbox.objects.exists()
        entry = AuditEntry.objects.get(action="accounting_message.forgotten")
        assert (entry.reason, entry.detail["input_octets"]) == ("A test device", "many")

    def test_what_can_be_read_is_not_forgotten(
        self, server: AddressServer, otto: User, at: datetime
    ) -> None:
        row = left()
        with pytest.raises(inbox.NothingToForget):
            inbox.forget_unreadable(message_id=row.pk, actor=otto, reason="x", at=at)
        assert AccountingInbox.objects.count() == 1


class TestClients:
    def test_a_file_for_freeradius(self, otto: User, at: datetime) -> None:
        def registered(name: str, nas_ip: str, secret: str, source: str | None = None) -> None:
            accounting.register_access_server(
                name=name, nas_ip=nas_ip, radius_secret=secret, radius_source=source,
                actor=otto, at=at,
            )  # fmt: skip

        registered("bng-1", "10.0.0.1", "sixteen-letters#")
        registered("bng-2", "10.0.0.2", "sixteen-letters%", "2001:db8::2")
        registered("bng-3", "10.0.0.3", "")
        assert radius_setup.clients() == {
            "10.0.0.1":
            "client bng-1 {\n\tipv4addr = 10.0.0.1\n\tsecret = \"sixteen-letters#\"\n"
            "\tshortname = bng-1\n}\n",
            "2001:db8::2":
            "client bng-2 {\n\tipv6addr = 2001:db8::2\n\tsecret = \"sixteen-letters%\"\n"
            "\tshortname = bng-2\n}\n",
        }  # fmt: skip

    def test_the_folder_becomes_what_is_registered(
        self, otto: User, at: datetime, tmp_path: Path
    ) -> None:
        def written() -> str:
            return str(call_command("radius_clients", str(tmp_path), stdout=(out := StringIO()))
                       or out.getvalue())  # fmt: skip

        accounting.register_access_server(
            name="bng-1", nas_ip="10.0.0.1", radius_secret="sixteen-letters#", actor=otto, at=at
        )
        (tmp_path / "v4").mkdir()
        (tmp_path / "v4" / "10.0.0.7").write_text("one that is gone")
        assert written() == "1 access servers; changed: 10.0.0.1, 10.0.0.7\n"
        assert written() == "1 access servers; changed: none\n"
        (file,) = (tmp_path / "v4").iterdir()
        assert (file.name, file.stat().st_mode & 0o777) == ("10.0.0.1", 0o600)
        assert file.read_text() == radius_setup.clients()["10.0.0.1"]

    @pytest.mark.parametrize(
        "secret", ["too-short", "with a space in it", 'with"quotes"in-it', "with\\backslash-it",
                   "with-${a}-reference", "with\nline-breaks-it", "mit-umläuten-darin"]
    )  # fmt: skip
    def test_a_secret_that_means_something_in_the_file(
        self, otto: User, at: datetime, secret: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            accounting.register_access_server(
                name="bng-1", nas_ip="10.0.0.1", radius_secret=secret, actor=otto, at=at
            )
        assert refused.value.field == "radius_secret"

    def test_another_secret(self, otto: User, at: datetime) -> None:
        made = accounting.register_access_server(name="bng-1", nas_ip="10.0.0.1", actor=otto, at=at)
        accounting.set_radius_client(
            access_server_id=made.pk, radius_secret="another-long-secret",
            radius_source="10.0.0.9", actor=otto, reason="It was known", at=at,
        )  # fmt: skip
        assert "ipv4addr = 10.0.0.9" in radius_setup.clients()["10.0.0.9"]
        entry = AuditEntry.objects.get(action="access_server.client_set")
        assert "another-long-secret" not in str(entry.detail)


class TestTheServer:
    def test_it_can_call_with_what_was_printed(
        self, db: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call_command("radius_server", "south")
        said = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
        name, secret = said["RADIUS_SERVER_NAME"], said["RADIUS_SERVER_SECRET"]
        found = queries.authenticate_server(name, secret)
        assert found is not None
        assert (found.name, found.kind) == ("south", "radius")

    def test_one_name(self, server: AddressServer) -> None:
        with pytest.raises(CommandError, match="an address server north already"):
            call_command("radius_server", "north")


class TestTheRole:
    def test_the_owner_of_the_tables_is_not_disarmed(self, db: None) -> None:
        owner = connection.settings_dict["USER"]
        with pytest.raises(CommandError, match="owns the tables"):
            call_command("radius_role", name=owner)

    def test_an_odd_name_is_a_name(self, db: None, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("radius_role", name='odd"; DROP TABLE x; --', sql=True)
        said = capsys.readouterr().out
        assert said.startswith('CREATE ROLE "odd""; DROP TABLE x; --" LOGIN')
        assert "received_at" not in said
