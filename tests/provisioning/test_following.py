"""Which session a message is of, and who is online in the end, in whatever order messages come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning import following
from provisioning.following import Message

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@dataclass
class Known:
    """A session as the tracker keeps it."""

    session_class: str
    started_at: datetime
    last_heard_at: datetime
    ended_at: datetime | None = None
    end_cause: str = ""


def message(
    kind: str = "Interim-Update", at: float = 300, start: float = 0, of: str = "", cause: str = ""
) -> Message:
    return Message(kind, after(at), after(start), of, cause)


def known(start: float = 0, heard: float = 300, of: str = "", **facts: object) -> Known:
    return replace(Known(of, after(start), after(heard)), **facts)  # type: ignore[arg-type]


class TestWhoseItIs:
    def test_the_class_decides(self) -> None:
        first, second = known(of="a"), known(of="b")
        assert following.find([first, second], message(of="b")) is second
        assert following.find([first, second], message(of="c")) is None

    @pytest.mark.parametrize(("start", "is_same"), [(-30, True), (30, True), (31, False)])
    def test_without_one_the_start_does(self, start: float, is_same: bool) -> None:
        row = known()
        assert (following.find([row], message(start=start)) is row) == is_same

    def test_a_class_on_one_side_only_is_none(self) -> None:
        row = known(of="a")
        assert following.find([row], message()) is row


class TestWhatItSays:
    def test_a_stop_ends_it(self) -> None:
        row = known()
        assert not following.hear(row, message("Stop", at=400, cause="User-Request"), [])
        assert (row.ended_at, row.end_cause) == (after(400), "User-Request")

    def test_an_interim_after_the_stop_does_not_open_it(self) -> None:
        row = known(ended_at=after(400), end_cause="User-Request")
        assert not following.hear(row, message(at=500), [])
        assert row.ended_at == after(400)

    @pytest.mark.parametrize("cause", sorted(following.CONCLUDED))
    def test_news_opens_what_we_had_concluded(self, cause: str) -> None:
        row = known(ended_at=after(400), end_cause=cause)
        assert following.hear(row, message(at=500), [])
        assert (row.ended_at, row.end_cause) == (None, "")

    @pytest.mark.parametrize("at", [200, 300, 400])
    def test_what_is_no_news_does_not(self, at: float) -> None:
        row = known(ended_at=after(400), end_cause="stale")
        assert not following.hear(row, message(at=at), [])
        assert row.ended_at == after(400)

    def test_nor_news_from_before_a_restart(self) -> None:
        row = known(ended_at=after(400), end_cause="stale")
        assert not following.hear(row, message(at=500), [after(100), after(600)])
        assert (row.ended_at, row.end_cause) == (after(600), "server_restarted")

    def test_a_stop_says_better_than_we_when_it_ended(self) -> None:
        row = known(ended_at=after(300), end_cause="stale")
        following.hear(row, message("Stop", at=350, cause="Lost-Carrier"), [])
        assert (row.ended_at, row.end_cause) == (after(350), "Lost-Carrier")

    def test_what_comes_late_does_not_turn_the_time_back(self) -> None:
        row = known(heard=600)
        following.hear(row, message(at=300), [])
        assert row.last_heard_at == after(600)


def test_a_session_id_that_is_used_again_ends_the_session_that_had_it() -> None:
    old, new = known(of="a"), known(start=5000, heard=5000, of="b")
    following.end_replaced([old, new])
    assert (old.ended_at, old.end_cause) == (after(300), "replaced")
    assert new.ended_at is None


# --- Any order ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Life:
    """One session of an id: when it began, how often it was heard of, and whether it ended."""

    number: int
    interims: int
    has_stop: bool


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Message], list[datetime], set[str]]:
    """Messages of the sessions of one id in disorder, restarts, and which are open in the end."""
    lives = [
        Life(number, draw(st.integers(0, 4)), draw(st.booleans()))
        for number in range(draw(st.integers(1, 3)))
    ]
    told: list[Message] = []
    last_heard: dict[int, float] = {}
    for life in lives:
        start = life.number * 10_000
        name = f"svc_x.{life.number}"
        told.append(Message("Start", after(start), after(start), name))
        for number in range(life.interims):
            heard = start + 300 * (number + 1)
            told.append(Message("Interim-Update", after(heard), after(start), name))
        last_heard[life.number] = start + 300 * life.interims
        if life.has_stop:
            end = last_heard[life.number] + 100
            told.append(Message("Stop", after(end), after(start), name, "User-Request"))
    # A start is lost now and then, and anything comes again.
    lost = [each for each in told if each.kind == "Start" and draw(st.booleans())]
    kept = [each for each in told if each not in lost] or told[:1]
    again = draw(st.lists(st.sampled_from(kept), max_size=6))
    mixed = draw(st.permutations(kept + again))
    restarts = [after(number) for number in draw(st.lists(st.integers(0, 32_000), max_size=2))]
    return mixed, restarts, _open_in_the_end(kept, restarts)


def _open_in_the_end(told: list[Message], restarts: list[datetime]) -> set[str]:
    """The model: the session that began last, unless it stopped or its server restarted since."""
    latest = max(told, key=lambda each: each.started_at).session_class
    of_it = [each for each in told if each.session_class == latest]
    heard = max(each.event_at for each in of_it)
    stopped = any(each.kind == "Stop" for each in of_it)
    restarted = any(moment >= heard for moment in restarts)
    return set() if stopped or restarted else {latest}


def follow(messages: list[Message], restarts: list[datetime], cut: int) -> list[Known]:
    """What the tracker does, in two batches that end at `cut`; it has read all restarts."""
    rows: list[Known] = []
    for batch in (messages[:cut], messages[cut:]):
        for each in sorted(batch, key=lambda one: one.event_at):
            row = following.find(rows, each)
            if row is None:
                row = Known(each.session_class, each.started_at, each.event_at)
                if each.kind == "Stop":
                    row.ended_at, row.end_cause = each.event_at, each.end_cause
                rows.append(row)
                following.end_by_restart(row, restarts)
            else:
                following.hear(row, each, restarts)
            following.end_replaced(rows)
        for moment in restarts:
            for row in rows:
                if row.last_heard_at <= moment:
                    following.end_by_restart(row, [moment])
    return rows


@settings(max_examples=400, deadline=None)
@given(histories(), st.integers(0, 20))
def test_the_open_set_is_the_models_in_any_order(
    history: tuple[list[Message], list[datetime], set[str]], cut: int
) -> None:
    messages, restarts, wanted = history
    rows = follow(messages, restarts, cut)
    assert {row.session_class for row in rows if row.ended_at is None} == wanted
