"""How the supervisor keeps a process alive; whole starts and stops are in tests/faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from ispops import embedded, supervisor
from ispops.demo import people
from ispops.supervisor import Keeper


class Mortal:
    """A process that dies when told to."""

    name = "worker"
    pid = None

    def __init__(self) -> None:
        self.status: int | None = None
        self.starts = 0
        self.refusal: embedded.CannotStart | None = None

    def start(self) -> None:
        if self.refusal:
            raise self.refusal
        self.starts += 1
        self.status = None

    def stop(self) -> None:
        self.status = 0

    def poll(self) -> int | None:
        return self.status


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(supervisor, "time", clock)
    return clock


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def keeper(clock: Clock, said: list[str]) -> Keeper:
    return Keeper(Mortal(), said.append)


def test_a_living_process_is_left_alone(keeper: Keeper, said: list[str]) -> None:
    keeper.look()
    assert said == []
    assert keeper.kept.starts == 0


def test_pauses_double_while_it_keeps_dying(keeper: Keeper, clock: Clock, said: list[str]) -> None:
    for pause in (1, 2, 4, 8, 16, 30, 30):
        keeper.kept.status = 1
        keeper.look()
        assert said[-1] == f"worker ended (exit status 1); starting it again in {pause} s."
        starts = keeper.kept.starts
        clock.now += pause - 0.1
        keeper.look()
        assert keeper.kept.starts == starts, "not before the pause is over"
        clock.now += 0.1
        keeper.look()
        assert keeper.kept.starts == starts + 1


def test_a_steady_minute_is_a_fresh_start(keeper: Keeper, clock: Clock, said: list[str]) -> None:
    keeper.kept.status = -9
    keeper.look()
    clock.now += 1
    keeper.look()
    clock.now += 61
    keeper.look()
    keeper.kept.status = -9
    keeper.look()
    assert said == ["worker ended (SIGKILL); starting it again in 1 s."] * 2


def test_a_server_that_cannot_start_again_is_tried_later(
    keeper: Keeper, clock: Clock, said: list[str]
) -> None:
    keeper.kept.status = -9
    keeper.look()
    keeper.kept.refusal = embedded.CannotStart("The disk is full.")
    clock.now += 1
    keeper.look()
    assert said[-1] == "The disk is full; starting it again in 2 s."
    keeper.kept.refusal = None
    clock.now += 2
    keeper.look()
    assert keeper.kept.starts == 1


def test_the_reason_is_found_in_a_traceback() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in <module>\n'
        "django.db.utils.OperationalError: connection refused\n"
        "\tIs the server running on that host?\n"
    )
    assert supervisor._reason(text) == "django.db.utils.OperationalError: connection refused"
    text = (
        "Traceback (most recent call last):\n"
        "KeyError: 'prepare'\n"
        "During handling of the above exception, another exception occurred:\n"
        "django.core.exceptions.ImproperlyConfigured: SECRET_KEY is not set.\n"
    )
    assert supervisor._reason(text).endswith("ImproperlyConfigured: SECRET_KEY is not set.")
    text = "psycopg2.errors.UniqueViolation: duplicate key value\nDETAIL:  Key (id)=(1) exists.\n"
    assert supervisor._reason(text).endswith("UniqueViolation: duplicate key value")
    assert supervisor._reason("CommandError: no") == "CommandError: no"
    assert supervisor._reason("\n") == "no reason given"


def test_what_is_lacking_is_named() -> None:
    answer = requests.Response()
    answer.status_code = 503
    answer._content = (
        b'{"ready": false, "checks": {"database": {"ok": true, "detail": "answers"},'
        b' "redis": {"ok": false, "detail": "does not answer; the log says why"}}}'
    )
    assert supervisor._lacking(answer) == "redis: does not answer; the log says why"
    answer._content = b"<h1>Bad gateway</h1>"
    assert supervisor._lacking(answer) == "status 503"


def test_a_product_that_never_gets_ready_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "READY_SECONDS", 0.1)
    port = embedded.free_port()
    with pytest.raises(embedded.CannotStart, match=r"\(it does not answer\): see the logs in /"):
        supervisor._wait_until_ready(port, [], tmp_path)


def test_the_partners_port_is_the_demonstrations() -> None:
    assert supervisor.DEFAULT_PARTNER_PORT == people.DEFAULT_PARTNER_PORT
