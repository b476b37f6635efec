"""Accounting through the real FreeRADIUS, from a packet to usage: each octet once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import databases
from tests.radius import nas
from tests.radius.conftest import NAS, PASSWORD, ROLE, Isp

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]

GIB = 2**30
ANSWER = nas.Heard("Accounting-Response")
INBOX = "provisioning_accountinginbox"


def counted(up: int = 0, down: int = 0, seconds: int = 300) -> tuple[str, ...]:
    """The counters of a message, with the words that go on where 32 bits end."""
    return (
        f"Acct-Session-Time = {seconds}",
        f"Acct-Input-Octets = {up % 2**32}",
        f"Acct-Input-Gigawords = {up // 2**32}",
        f"Acct-Output-Octets = {down % 2**32}",
        f"Acct-Output-Gigawords = {down // 2**32}",
    )


def used(isp: Isp, session: str) -> tuple[int, int]:
    """Upload and download that became usage of a session."""
    [(up, down)] = isp.query(
        """
        SELECT coalesce(sum((u.attributes->>'upload_bytes')::bigint), 0),
               coalesce(sum((u.attributes->>'download_bytes')::bigint), 0)
        FROM rating_usage u JOIN rating_meteredsession m ON u.event_id LIKE m.id || '/%%'
        WHERE u.error_code = '' AND m.unique_session_id IN (
            SELECT unique_session_id FROM provisioning_accountingrecord WHERE session_id = %s
        )
        """,
        session,
    )
    return int(up), int(down)


def records(isp: Isp, session: str) -> list[str]:
    found = isp.query(
        "SELECT status_type FROM provisioning_accountingrecord WHERE session_id = %s ORDER BY id",
        session,
    )
    return [kind for (kind,) in found]


def waiting(isp: Isp) -> int:
    [(number,)] = isp.query(f"SELECT count(*) FROM {INBOX} WHERE fault = ''")
    return int(number)


def test_who_is_online_is_known_with_what_was_served(isp: Isp) -> None:
    """The Class goes from our answer through FreeRADIUS and back: line and revision are in it."""
    line = isp.ask().values
    said = (f"Class = {line['Class']}", f"Framed-IP-Address = {line['Framed-IP-Address']}")
    isp.tell("Start", "seen", *said)
    isp.work()
    listed = (
        "SELECT s.service_id = l.service_id, s.applied_revision = l.revision, host(s.framed_ip), "
        "s.ended_at IS NULL, s.end_cause FROM provisioning_accesssession s, "
        "provisioning_aaacredential l WHERE l.username = s.username AND s.session_id = 'seen'"
    )
    assert isp.query(listed) == [(True, True, line["Framed-IP-Address"], True, "")]
    isp.tell("Stop", "seen", *said, *counted(1, 1, 60), "Acct-Terminate-Cause = User-Request")
    isp.work()
    assert isp.query(listed) == [(True, True, line["Framed-IP-Address"], False, "User-Request")]


def test_a_session_from_start_to_stop_is_usage(isp: Isp) -> None:
    line = isp.ask().values
    said = (f"Class = {line['Class']}", f"Framed-IP-Address = {line['Framed-IP-Address']}")
    assert isp.tell("Start", "whole", *said) == ANSWER
    assert isp.tell("Interim-Update", "whole", *said, *counted(10, 100)) == ANSWER
    stop = (*said, *counted(15, 500, 600), "Acct-Terminate-Cause = Lost-Carrier")
    assert isp.tell("Stop", "whole", *stop) == ANSWER
    isp.work()
    assert records(isp, "whole") == ["Start", "Interim-Update", "Stop"]
    assert used(isp, "whole") == (15, 500)
    [row] = isp.query(
        "SELECT host(nas_ip), host(framed_ip), session_class, terminate_cause, username "
        "FROM provisioning_accountingrecord WHERE session_id = 'whole' AND status_type = 'Stop'"
    )
    session_class = bytes.fromhex(line["Class"][2:]).decode()
    assert row == (
        NAS, line["Framed-IP-Address"], session_class, "Lost-Carrier", isp.username,
    )  # fmt: skip


def test_counters_beyond_four_gib(isp: Isp) -> None:
    isp.tell("Start", "large")
    isp.tell("Interim-Update", "large", *counted(3 * GIB, 5 * GIB))
    isp.tell("Stop", "large", *counted(9 * GIB + 1, 21 * GIB + 2, 600))
    isp.work()
    assert used(isp, "large") == (9 * GIB + 1, 21 * GIB + 2)


def test_what_is_sent_again_counts_once(isp: Isp) -> None:
    isp.tell("Start", "again")
    for _ in range(3):
        assert isp.tell("Interim-Update", "again", *counted(7, 70)) == ANSWER
    isp.work()
    for _ in range(2):
        isp.tell("Stop", "again", *counted(8, 80, 400))
        isp.tell("Interim-Update", "again", *counted(7, 70))
    isp.work()
    assert len(records(isp, "again")) == 8
    assert used(isp, "again") == (8, 80)


def test_the_sweep_may_run_twice_at_once(isp: Isp) -> None:
    """Two workers take different rows; none is read twice and none is left."""
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    from provisioning import inbox

    def sweep(_: int) -> int:
        try:
            return sum(iter(lambda: inbox.read_inbox(limit=7), 0))
        finally:
            connection.close()

    insert = (
        f"INSERT INTO {INBOX} (server, status_type, session_id) "
        "SELECT 'north', 'Start', 'many-' || n FROM generate_series(1, 200) n"
    )
    with isp.stack.orm():
        with connection.cursor() as cursor:
            cursor.execute(insert)
        with ThreadPoolExecutor(4) as workers:
            assert sum(workers.map(sweep, range(4))) == 200
    [(rows, sessions)] = isp.query(
        "SELECT count(*), count(DISTINCT session_id) FROM provisioning_accountingrecord "
        "WHERE session_id LIKE 'many-%%'"
    )
    assert (rows, sessions, waiting(isp)) == (200, 200, 0)


def test_text_comes_as_it_was_sent(isp: Isp) -> None:
    odd = "o'neill=41%{User-Name} ; DROP TABLE x; --ü"
    assert (
        isp.tell("Start", "odd", f'User-Name = "{odd}"', "NAS-Identifier = \"olt 'n' 7\"") == ANSWER
    )
    isp.work()
    found = isp.query("SELECT username FROM provisioning_accountingrecord WHERE session_id = 'odd'")
    assert found == [(odd,)]


def test_octets_that_are_no_text_lose_no_message(isp: Isp) -> None:
    assert nas.send_octets(isp.radius.acct_port, session=b"octets", username=b"a\xff'\xfeb")
    isp.work()
    [(name,)] = isp.query(
        "SELECT username FROM provisioning_accountingrecord WHERE session_id = 'octets'"
    )
    assert name == "a\ufffd'\ufffdb"


def test_an_access_server_that_says_no_address_is_known_by_its_source(isp: Isp) -> None:
    lines = ("Acct-Status-Type = Start", 'Acct-Session-Id = "source"', 'User-Name = "x"')
    assert nas.send(isp.radius.acct_port, "acct", *lines) == ANSWER
    isp.work()
    found = isp.query(
        "SELECT host(nas_ip) FROM provisioning_accountingrecord WHERE session_id = 'source'"
    )
    assert found == [("127.0.0.1",)]


def test_an_access_server_that_starts_again_ends_its_sessions(isp: Isp) -> None:
    isp.tell("Start", "cut")
    isp.tell("Interim-Update", "cut", *counted(1, 2))
    on = ("Acct-Status-Type = Accounting-On", f"NAS-IP-Address = {NAS}", 'Acct-Session-Id = ""')
    time.sleep(1.1)  # RADIUS tells time in seconds
    assert nas.send(isp.radius.acct_port, "acct", *on[:2]) == ANSWER
    isp.work()
    found = isp.query(
        "SELECT m.ended_at IS NOT NULL FROM rating_meteredsession m JOIN "
        "provisioning_accountingrecord r USING (unique_session_id) WHERE r.session_id = 'cut'"
    )
    assert set(found) == {(True,)}
    assert used(isp, "cut") == (1, 2)


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_clock_that_is_an_hour_off_is_not_believed(isp: Isp, off: int) -> None:
    from django.utils import timezone

    session = f"clock{off}"
    before = timezone.now()
    told = int(before.timestamp()) + off
    isp.tell("Start", session, f"Event-Timestamp = {told}", "Acct-Delay-Time = 5")
    isp.work()
    [(event_at,)] = isp.query(
        "SELECT event_at FROM provisioning_accountingrecord WHERE session_id = %s", session
    )
    assert abs(event_at - before + timedelta(seconds=5)) < timedelta(seconds=10)


def test_a_clock_that_is_right_is_believed(isp: Isp) -> None:
    told = int(time.time()) - 120
    isp.tell("Start", "right", f"Event-Timestamp = {told}")
    isp.work()
    [(event_at,)] = isp.query(
        "SELECT event_at FROM provisioning_accountingrecord WHERE session_id = 'right'"
    )
    assert event_at.timestamp() == told


class TestSpool:
    """PostgreSQL, or the role, is away: FreeRADIUS keeps the messages and delivers them later."""

    @contextmanager
    def away(self, isp: Isp) -> Iterator[None]:
        """Take the role's login away and end its connections, as a lost server would."""
        try:
            databases.execute(f"ALTER ROLE {ROLE} NOLOGIN")
            databases.execute(f"GRANT {ROLE} TO CURRENT_USER")  # whoever may end its connections
            databases.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE usename = '{ROLE}' AND datname = '{isp.stack.database}'"
            )
            yield
        finally:
            databases.execute(f"ALTER ROLE {ROLE} LOGIN")

    def spooled(self, folder: Path) -> int:
        return sum(
            text.count("Acct-Session-Id")
            for path in (folder / "spool").iterdir()
            for text in [path.read_text()]
        )

    def delivered(self, isp: Isp, folder: Path, number: int, like: str) -> None:
        def all_there() -> bool:
            isp.work()
            [(found,)] = isp.query(
                "SELECT count(*) FROM provisioning_accountingrecord WHERE session_id LIKE %s", like
            )
            return int(found) >= number

        isp.until(all_there, "the spool is delivered", seconds=40)

    def test_nothing_is_lost_and_nothing_counts_twice(self, isp: Isp, folder: Path) -> None:
        assert isp.tell("Start", "spool-a") == ANSWER
        sent_at = time.time()
        with self.away(isp):
            assert isp.tell("Interim-Update", "spool-a", *counted(5, 50)) == ANSWER
            assert isp.tell("Interim-Update", "spool-a", *counted(5, 50)) == ANSWER
            assert (
                isp.tell("Stop", "spool-a", *counted(9, 90, 305), "Acct-Delay-Time = 2") == ANSWER
            )
            assert self.spooled(folder) == 3
            time.sleep(5)
        self.delivered(isp, folder, 4, "spool-a")
        assert records(isp, "spool-a") == ["Start", "Interim-Update", "Interim-Update", "Stop"]
        assert used(isp, "spool-a") == (9, 90)
        rows = isp.query(
            "SELECT delay_seconds, event_at, received_at FROM provisioning_accountingrecord "
            "WHERE session_id = 'spool-a' AND status_type = 'Stop'"
        )
        [(delay, event_at, received_at)] = rows
        # Neither the delay nor the moment has grown by the wait.
        assert delay == 2
        assert abs(event_at.timestamp() + 2 - sent_at) < 4
        assert received_at.timestamp() - sent_at > 4

    def test_the_source_survives_the_spool(self, isp: Isp, folder: Path) -> None:
        lines = ("Acct-Status-Type = Start", 'Acct-Session-Id = "spool-b"', 'User-Name = "x"')
        with self.away(isp):
            assert nas.send(isp.radius.acct_port, "acct", *lines) == ANSWER
        self.delivered(isp, folder, 1, "spool-b")
        found = isp.query(
            "SELECT host(nas_ip) FROM provisioning_accountingrecord WHERE session_id = 'spool-b'"
        )
        assert found == [("127.0.0.1",)]

    @pytest.mark.parametrize("statement", ["REVOKE INSERT ON {inbox} FROM {role}", "missing"])
    def test_a_right_that_is_missing_parks_nothing(
        self, isp: Isp, folder: Path, statement: str
    ) -> None:
        """PostgreSQL refuses every message then, and none of them is to blame."""
        from django.db import connection

        from provisioning import radius_setup

        name = f"spool-right-{statement[:3]}"
        away, back = (
            (f"ALTER TABLE {INBOX} RENAME TO elsewhere", f"ALTER TABLE elsewhere RENAME TO {INBOX}")
            if statement == "missing"
            else (statement.format(inbox=INBOX, role=ROLE), "")
        )
        with isp.stack.orm(), connection.cursor() as cursor:
            cursor.execute(away)
        try:
            assert isp.tell("Start", name) == ANSWER
            assert self.spooled(folder) == 1
        finally:
            with isp.stack.orm(), connection.cursor() as cursor:
                if back:
                    cursor.execute(back)
                radius_setup.make_role(name=ROLE, password=PASSWORD)
        self.delivered(isp, folder, 1, name)
        assert not (folder / "parked").exists()

    def test_killed_while_it_delivers(self, isp: Isp, folder: Path) -> None:
        """At least once from the spool, exactly once in usage."""
        with self.away(isp):
            isp.tell("Start", "spool-k")
            for number in range(1, 30):
                assert isp.tell("Interim-Update", "spool-k", *counted(number, number, number))
        isp.until(lambda: waiting(isp) > 0, "the first is delivered")
        isp.radius.kill()
        isp.radius.start()
        self.delivered(isp, folder, 30, "spool-k")
        time.sleep(1)
        isp.work()
        assert 30 <= len(records(isp, "spool-k")) <= 31
        assert used(isp, "spool-k") == (29, 29)


class TestPoison:
    """A message that the database refuses for what it is must not hold up those behind it."""

    @pytest.fixture(autouse=True)
    def _refusing(self, isp: Isp) -> Iterator[None]:
        """Stand in for a fault that a later release may bring: some value is not taken."""
        name = "poison"
        self.run(isp, f"ALTER TABLE {INBOX} ADD CONSTRAINT {name} CHECK (username <> 'poison')")
        yield
        self.run(isp, f"ALTER TABLE {INBOX} DROP CONSTRAINT IF EXISTS {name}")
        self.run(isp, f"DELETE FROM {INBOX}")

    def run(self, isp: Isp, statement: str) -> None:
        from django.db import connection

        with isp.stack.orm(), connection.cursor() as cursor:
            cursor.execute(statement)

    def faults(self, isp: Isp) -> list[Any]:
        return isp.query(f"SELECT source, fault FROM {INBOX} WHERE fault <> ''")

    def test_it_is_parked_and_shown(self, isp: Isp, folder: Path) -> None:
        assert isp.tell("Start", "poison-1", 'User-Name = "poison"') == ANSWER
        assert "poison-1" in (folder / "parked").read_text()
        [(source, fault)] = self.faults(isp)
        assert source == "127.0.0.1"
        assert "parked" in fault

    def test_once_it_is_mended_the_file_is_sent_anew(self, isp: Isp, folder: Path) -> None:
        (folder / "parked").unlink(missing_ok=True)
        assert isp.tell("Start", "poison-3", 'User-Name = "poison"') == ANSWER
        self.run(isp, f"ALTER TABLE {INBOX} DROP CONSTRAINT poison")
        (folder / "parked").rename(folder / "spool" / "messages-again")
        TestSpool().delivered(isp, folder, 1, "poison-3")

    def test_it_does_not_block_the_spool(self, isp: Isp, folder: Path) -> None:
        with TestSpool().away(isp):
            isp.tell("Start", "poison-2", 'User-Name = "poison"')
            isp.tell("Start", "behind")
        TestSpool().delivered(isp, folder, 1, "behind")
        assert "poison-2" in (folder / "parked").read_text()
        assert len(self.faults(isp)) == 1


class TestTheRole:
    """It may insert into the inbox what a message says, and do nothing else at all."""

    @pytest.mark.parametrize(
        "statement",
        [
            f"SELECT * FROM {INBOX}",
            f"UPDATE {INBOX} SET fault = 'x'",
            f"DELETE FROM {INBOX}",
            f"TRUNCATE {INBOX}",
            f"INSERT INTO {INBOX} (received_at) VALUES (now() - interval '1 year')",
            f"INSERT INTO {INBOX} (id) VALUES (1)",
            f"INSERT INTO {INBOX} (source) VALUES ('x') RETURNING id",
            "SELECT * FROM provisioning_aaacredential",
            "INSERT INTO provisioning_accountingrecord DEFAULT VALUES",
            "CREATE TABLE mine (id int)",
            "SELECT nextval('provisioning_accountinginbox_id_seq')",
        ],
    )
    def test_what_it_may_not(self, isp: Isp, statement: str) -> None:
        import psycopg2

        url = databases.url_of(isp.stack.database)
        with psycopg2.connect(url, user=ROLE) as connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {INBOX} (server, fault) VALUES ('north', 'a test')")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
        connection.close()

    def test_what_was_said_is_not_changed_by_anybody(self, isp: Isp) -> None:
        from django.db import IntegrityError, transaction

        from provisioning.models import AccountingInbox

        with isp.stack.orm(), transaction.atomic():
            row = AccountingInbox.objects.create(server="north", fault="a test")
            with pytest.raises(IntegrityError), transaction.atomic():
                AccountingInbox.objects.filter(pk=row.pk).update(input_octets="7")
            AccountingInbox.objects.filter(pk=row.pk).update(fault="another")
            row.delete()
