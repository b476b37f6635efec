"""The command `isp` as its own process, against a server that answers as it is told."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ispops import processes
from tests.client.conftest import Server

REPOSITORY = Path(__file__).resolve().parents[2]
ISP = [str(Path(sys.executable).with_name("isp"))]


def offer(code: str, **facts: Any) -> dict[str, Any]:
    return {
        "offering": code, "name": code.title(), "kind": "access", "provider": "harbor",
        "eligible": True, "reason_code": "", "reason": "", "technology": 50,
        "technology_name": "Fiber", "download_kbps": 1_500_000, "upload_kbps": 512,
        "install_days": 5, "currency": "USD", "one_off_amount": "0", "recurring_amount": "65.5",
        "construction_fee": "0", "usage_terms": "",
    } | facts  # fmt: skip


def answer(state: str = "qualified", **facts: Any) -> dict[str, Any]:
    return {
        "id": "qlf_1", "state": state, "address": "1 Oak St", "remark": "", "candidates": [],
        "premises": {"id": "prm_1", "address": "1 Oak Street, Barre, VT 05641"},
        "expires_at": "2026-12-25T12:00:00Z", "offers": [offer("glass-1500")],
    } | facts  # fmt: skip


def isp(server: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ISP, "qualify", "--server", server, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": "", **environment},
    )


def test_it_shows_plans_extras_reasons_and_the_reference(server: Server) -> None:
    extras = offer("films", kind="bsp", recurring_amount="9", usage_terms="USD 1 each")
    refused = offer("dsl", eligible=False, reason="The [line] is long.", alternative="glass-1500")
    built = offer(
        "both", kind="bundle", construction_fee="350", one_off_amount="25",
        provider="tide-wire-co", provider_name="Tidewire", usage_terms="1 TB included",
    )  # fmt: skip
    server.reply(201, answer(offers=[offer("glass-1500"), extras, refused, built]))
    shown = isp(server.url, "1 Oak St, Barre, VT 05641")
    assert (shown.returncode, shown.stderr) == (0, "")
    for words in (
        "You can be connected", "1 Oak Street, Barre, VT 05641", "Glass-1500", "1.5 Gbit/s",
        "512 kbit/s", "USD 65.50", "5 days", "USD 350.00 to build the line", "USD 25.00 once",
        "Works with your line", "USD 9.00 a month; USD 1 each", "The [line] is long.",
        "Closest: Glass-1500", "qlf_1", f"{server.url}/check/qlf_1/", "until December 25, 2026",
        "Tidewire", "1 TB included",
    ):  # fmt: skip
        assert words in shown.stdout, words
    assert "tide-wire-co" not in shown.stdout
    assert server.asked == [
        (
            "POST",
            "/api/v1/service_qualifications",
            {"address": "1 Oak St, Barre, VT 05641", "subscriber_kind": "consumer"},
        )
    ]
    assert len(server.keys[0]) == 32


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["--location-id", "1037"], {"location_id": "1037"}),
        (["--premises", "prm_1"], {"premises_id": "prm_1"}),
        (["--service", "svc_1"], {"service_id": "svc_1"}),
        (["--as-written", "x"], {"address": "x", "as_written": True}),
        (["--at", "41.77,-72.5"], {"coordinates": {"latitude": 41.77, "longitude": -72.5}}),
        (["--business", "x"], {"address": "x", "subscriber_kind": "business"}),
    ],
)
def test_every_way_to_name_a_place(
    server: Server, arguments: list[str], body: dict[str, Any]
) -> None:
    server.reply(201, answer("not_qualified", offers=[]))
    assert isp(server.url, *arguments, "--json").returncode == 1
    assert server.asked[0][2] == {"subscriber_kind": "consumer"} | body


def test_it_waits_for_a_network_that_is_asked(server: Server) -> None:
    waiting = {"inquiries": [{"provider": "tidewater", "state": "pending"}]}
    server.reply(201, answer("pending", **waiting))
    server.reply(200, answer("pending", **waiting), Retry_After="0")
    server.reply(200, answer())
    done = isp(server.url, "1 Oak St", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "qualified")
    assert [path for _, path, _ in server.asked[1:]] == ["/api/v1/service_qualifications/qlf_1"] * 2


def test_it_gives_up_waiting_and_says_so(server: Server) -> None:
    server.reply(201, answer("pending", inquiries=[{"provider": "tide", "state": "pending"}]))
    done = isp(server.url, "1 Oak St", "--wait", "0")
    assert done.returncode == 3
    assert "still asking a network" in done.stdout


def test_a_refusal_names_the_field_and_the_pause(server: Server) -> None:
    problem = {
        "title": "A value cannot be used",
        "detail": "Two values are wrong.",
        "errors": [{"field": "address", "detail": "The address lacks the ZIP code."}],
    }
    server.reply(422, problem)
    refused = isp(server.url, "1 Oak St")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Two values are wrong." in refused.stderr
    assert "address: The address lacks the ZIP code." in refused.stderr
    server.reply(429, {"title": "Too many requests", "detail": "Slower."}, Retry_After="30")
    limited = isp(server.url, "1 Oak St")
    assert limited.returncode == 2
    assert "Try again in 30 seconds." in limited.stderr


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "not as an ISP Ops server does"),
        (200, [1], "not as an ISP Ops server does"),
        (404, b"", "not as an ISP Ops server does"),
        (500, {"title": "Something went wrong"}, "a fault of its own"),
    ],
)
def test_a_server_that_answers_nonsense(server: Server, status: int, body: Any, words: str) -> None:
    server.reply(status, body)
    done = isp(server.url, "1 Oak St")
    assert (done.returncode, done.stdout) == (4, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there() -> None:
    done = isp("http://127.0.0.1:9", "1 Oak St")
    assert done.returncode == 4
    assert "http://127.0.0.1:9 does not answer: there is no connection." in done.stderr


def test_usage_is_explained() -> None:
    assert "coordinates in degrees" in isp("http://127.0.0.1:9", "--help").stdout
    wrong = isp("http://127.0.0.1:9", "--at", "north")
    assert wrong.returncode == 2
    assert "write latitude and longitude like" in wrong.stderr


def test_without_a_terminal_candidates_are_listed(server: Server) -> None:
    places = [{"id": f"prm_{n}", "address": f"1 Oak St #{n}"} for n in (1, 2)]
    server.reply(201, answer("choose", candidates=places, offers=[], premises=None))
    listed = isp(server.url, "1 Oak St")
    assert listed.returncode == 3
    assert "1 Oak St #2" in listed.stdout
    assert "Ask again" in listed.stdout


def test_candidates_around_a_point_come_with_their_distance(server: Server) -> None:
    places = [{"id": "prm_1", "address": "1 Oak St", "distance_m": 12}]
    server.reply(201, answer("choose", candidates=places, offers=[], premises=None))
    listed = isp(server.url, "--at", "41.7,-72.5")
    assert "1 Oak St  12 m away" in listed.stdout


def test_in_a_terminal_none_of_the_guesses_may_be_right(server: Server) -> None:
    guess = {"candidates": [{"id": "prm_1", "address": "1 Oak St"}], "confidence": "yellow"}
    server.reply(201, answer("choose", offers=[], premises=None, **guess))
    server.reply(201, answer())
    with _terminal(server.url) as (read_until, write):
        read_until("Address")
        write("1 Oka St, Barre, VT\n")
        assert "of these:" in read_until("Which one is it?")
        write("0\n")
        read_until("You can be connected")
    assert server.asked[1][2] == {
        "address": "1 Oka St, Barre, VT", "as_written": True, "subscriber_kind": "consumer",
    }  # fmt: skip


def test_in_a_terminal_it_asks_and_lets_choose(server: Server) -> None:
    places = [{"id": f"prm_{n}", "address": f"1 Oak St #{n}"} for n in (1, 2)]
    server.reply(201, answer("choose", candidates=places, offers=[], premises=None))
    server.reply(201, answer())
    with _terminal(server.url) as (read_until, write):
        read_until("Address")
        write("1 Oak St, Barre, VT\n")
        read_until("Which one is it?")
        write("7\n")
        read_until("Please select")
        write("2\n")
        assert "You can be connected" in read_until("check/qlf_1/")
    assert server.asked[0][2]["address"] == "1 Oak St, Barre, VT"
    assert server.asked[1][2] == {"premises_id": "prm_2", "subscriber_kind": "consumer"}


@contextlib.contextmanager
def _terminal(url: str) -> Iterator[tuple[Callable[[str], str], Callable[[str], None]]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*ISP, "qualify", "--server", url], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen: list[str] = []
    reader = threading.Thread(target=_collect, args=(ours, seen), daemon=True)
    reader.start()

    def read_until(words: str) -> str:
        found = processes.wait_until(lambda: words in "".join(seen), seconds=30, every=0.05)
        assert found, "".join(seen)
        return "".join(seen)

    try:
        yield read_until, lambda text: print(text, end="", file=os.fdopen(os.dup(ours), "w"))
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=5)
        os.close(ours)


def _collect(terminal: int, seen: list[str]) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 4096):
            seen.append(data.decode(errors="replace"))


def test_it_needs_nothing_of_the_server_product() -> None:
    """The package is built from `ispops.client` alone; so nothing else of ours may be loaded."""
    code = (
        "import ispops.client.cli, sys;"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'django', 'celery', 'rest_framework', 'redis', 'psycopg2'}),"
        " sorted(m for m in sys.modules if m.startswith('ispops')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    names = ("api", "asking", "cli", "login", "registering", "screens")
    own = ["ispops", "ispops.client", *(f"ispops.client.{name}" for name in names)]
    assert loaded.stdout.strip() == f"[] {own}"
