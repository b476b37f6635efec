"""Who comes in through the real FreeRADIUS, with what, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from provisioning import admission
from tests.radius import nas
from tests.radius.conftest import Isp

pytestmark = [pytest.mark.daemon, pytest.mark.xdist_group("processes")]
STRANGER = "02:00:00:00:00:99"


def chap(isp: Isp, password: str, *lines: str) -> nas.Heard:
    """Ask by CHAP, in which the password itself is never sent."""
    return nas.send(
        isp.radius.auth_port, "auth", f'User-Name = "{isp.username}"',
        f'CHAP-Password = "{password}"',
        *(lines or ('Calling-Station-Id = "02:00:00:00:00:01"',)),
    )  # fmt: skip


def held(isp: Isp) -> list[Any]:
    return isp.query("SELECT device, state, address FROM ipam_allocation ORDER BY id")


@pytest.mark.parametrize("way", ["pap", "chap"])
def test_the_line_comes_in_with_what_it_was_sold(isp: Isp, way: str) -> None:
    heard = isp.ask() if way == "pap" else chap(isp, isp.password)
    assert heard.kind == "Access-Accept"
    found = dict(heard.values)
    [(line,)] = isp.query(
        "SELECT service_id FROM provisioning_aaacredential WHERE username = %s", isp.username
    )
    session_class = bytes.fromhex(found.pop("Class")[2:]).decode()
    assert session_class.startswith(f"svc_{line.hex}.")
    assert 86_000 < int(found.pop("Session-Timeout")) <= 86_400
    assert found.pop("Framed-IP-Address").startswith("100.64.0.")
    assert found.pop("Delegated-IPv6-Prefix").startswith("2001:db8:")
    assert found == {
        "Acct-Interim-Interval": "300",
        "WISPr-Bandwidth-Max-Down": "500000000",
        "WISPr-Bandwidth-Max-Up": "500000000",
        "Mikrotik-Rate-Limit": "500000k/500000k",
    }


def test_the_same_device_gets_the_same_address(isp: Isp) -> None:
    first, second = isp.ask().values, isp.ask().values
    assert first["Framed-IP-Address"] == second["Framed-IP-Address"]
    assert first["Class"] != second["Class"]


@pytest.mark.parametrize("way", ["pap", "chap"])
def test_a_wrong_password_gets_words_and_no_address(isp: Isp, way: str) -> None:
    before = held(isp)
    station = f'Calling-Station-Id = "{STRANGER}"'
    wrong = isp.ask(station, password="wrong") if way == "pap" else chap(isp, "wrong", station)
    assert wrong == nas.Heard("Access-Reject", {"Reply-Message": admission.UNKNOWN})
    assert held(isp) == before


def test_a_stranger_hears_the_same(isp: Isp) -> None:
    heard = isp.ask('User-Name = "mallory"')
    assert heard == nas.Heard("Access-Reject", {"Reply-Message": admission.UNKNOWN})


def test_a_suspended_line_is_told_so(isp: Isp) -> None:
    username, password = isp.suspended
    heard = isp.ask(f'User-Name = "{username}"', password=password)
    assert heard.kind == "Access-Reject"
    assert heard.values.keys() == {"Reply-Message"}
    assert "suspended" in heard.values["Reply-Message"]


def test_an_application_that_is_down_is_no_reject_and_is_found_again(isp: Isp) -> None:
    isp.stack.take_port_away()
    assert isp.ask(seconds=2) == nas.Heard("")
    isp.stack.give_port_back()
    isp.until(lambda: isp.ask(seconds=2).kind == "Access-Accept", "the line is let in again")


def test_connections_that_the_database_lost_are_made_again(isp: Isp) -> None:
    """After a restart of PostgreSQL the first to ask is let in, not left to ask again."""
    for _ in range(3):
        isp.ask()
    mine = (
        f"datname = '{isp.stack.database}' AND usename = current_user AND pid <> pg_backend_pid()"
    )
    [(ended,)] = isp.query(
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {mine}"
    )
    assert ended > 0
    assert isp.ask().kind == "Access-Accept"


def test_a_database_that_is_away_rejects_nobody(isp: Isp) -> None:
    from tests import databases

    name = isp.stack.database
    away = f'ALTER DATABASE "{name}" RENAME TO "{name}_away"'
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    databases.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    databases.execute(end)
    databases.execute(away)
    try:
        assert isp.ask(seconds=2) == nas.Heard("")
    finally:
        databases.execute(f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')
        databases.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    assert isp.ask().kind == "Access-Accept"


@contextmanager
def changed(isp: Isp, column: str, value: str) -> Iterator[None]:
    """Have another value in the address server's row for as long as the block lasts."""
    from ipam.models import AddressServer

    with isp.stack.orm():
        [(usual,)] = AddressServer.objects.values_list(column)
        AddressServer.objects.update(**{column: value})
    try:
        yield
    finally:
        with isp.stack.orm():
            AddressServer.objects.update(**{column: usual})


@pytest.mark.parametrize(
    ("column", "value"), [("secret_digest", "0" * 64), ("name", "another"), ("active", "False")]
)
def test_a_server_that_we_do_not_know_rejects_nobody(isp: Isp, column: str, value: str) -> None:
    """A wrong secret of the RADIUS server is its operator's fault, not the subscriber's."""
    with changed(isp, column, value):
        isp.until(lambda: isp.ask(seconds=1) == nas.Heard(""), "there is no answer")
    isp.until(lambda: isp.ask().kind == "Access-Accept", "the line is let in again")


def test_a_password_is_taken_as_it_is(isp: Isp) -> None:
    """What looks like an expansion of FreeRADIUS is a password like any other."""
    from provisioning.models import AaaCredential

    odd = "x%{User-Name}y'=20z"
    with isp.stack.orm():
        AaaCredential.objects.update(secret=odd)
    try:
        assert isp.ask(password=odd).kind == "Access-Accept"
        assert chap(isp, odd).kind == "Access-Accept"
    finally:
        with isp.stack.orm():
            AaaCredential.objects.update(secret=isp.password)
