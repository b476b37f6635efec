"""Files of Kea that are read on in: over rotations, half lines and a clean-up that was quicker."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipam.servers import kea_files, tailing
from ipam.servers.base import Position, ServerAway

HEADER = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state"


def line(number: int, *, state: int = 0) -> str:
    return f"192.0.2.{number},02:00:00:00:00:01,,300,1795681677,1,0,0,,{state}"


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{each}\n" for each in lines))


def read(path: Path, since: Position) -> tuple[list[str], Position]:
    lines, position = tailing.read(
        str(path), since, limit=100, header=True, leftovers=kea_files.CLEANED
    )
    found = kea_files.leases(lines)
    return [f"{lease.address.split('.')[3]} {lease.seconds}" for lease in found], position


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "leases.csv"
    write(path, HEADER, line(1))
    with path.open("a") as file:
        file.write(line(2, state=2)[:20])
    found, position = read(path, Position())
    assert found == ["1/32 300"]
    assert read(path, position) == ([], position)
    write(path, line(2, state=2)[20:])
    assert read(path, position)[0] == ["2/32 0"], "an expired lease was given up"


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_what_came_before_a_rotation_is_not_lost(tmp_path: Path, is_cleaned: bool) -> None:
    path, old = tmp_path / "leases.csv", tmp_path / "leases.csv.1"
    write(path, HEADER, line(1))
    _, position = read(path, Position())
    write(path, line(2))
    path.rename(old)
    write(path, HEADER, line(3))
    if is_cleaned:
        write(tmp_path / "leases.csv.2", HEADER, line(1), line(2))
        old.unlink()
    seen: list[str] = []
    for _ in range(4):
        found, position = read(path, position)
        seen += found
    wanted = ["1/32 300"] if is_cleaned else []
    assert seen == [*wanted, "2/32 300", "3/32 300"]


def test_a_file_that_was_cut_short_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "kea.log"
    path.write_text("one\ntwo\n")
    _, position = tailing.read(str(path), Position(), limit=9)
    path.write_text("new\n")
    assert tailing.read(str(path), position, limit=9)[0] == ["new"]
    with pytest.raises(ServerAway, match="cannot be read"):
        tailing.read(str(tmp_path / "none"), position, limit=9)


@pytest.mark.parametrize(
    ("said", "circuit"),
    [
        ('{"relay-agent-info": "0x01046e312f37"}', "n1/7"),
        ('{"relay-agent-info": {"sub-options": "0x0204aabbccdd01046e312f37"}}', "n1/7"),
        (
            '{"relays": [{"hop": 1, "options": "0x001200046e392f39"},'
            ' {"hop": 0, "options": "0x00250002000900120004" "6e312f37"}]}'.replace('" "', ""),
            "n1/7",
        ),
        ('{"relays": [{"hop": 0}]}', ""),
        ('{"relays": [7]}', ""),
        ("7", ""),
    ],
)
def test_the_port_is_read_from_what_the_relay_said(said: str, circuit: str) -> None:
    context = f'{{"ISC": {said}}}'.replace(",", "&#x2c")
    found = kea_files.leases([f"{HEADER},user_context", f"{line(1)},{context}"])
    assert [lease.circuit for lease in found] == [circuit]
