"""Counters to slices: each rule by example, and random histories to the octet."""

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating import metering
from rating.metering import WRAP, Kind, Mark, Reading, Slice

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def interim(age: int, sent: int, got: int, **fields: object) -> Reading:
    """A message of a session that began at noon, unless `event_at` says otherwise."""
    values = {"kind": Kind.INTERIM, "event_at": after(age), **fields}
    return Reading(
        session_seconds=age, input_octets=sent % WRAP, output_octets=got % WRAP, **values
    )  # type: ignore[arg-type]


def stop(age: int, sent: int, got: int, **fields: object) -> Reading:
    return replace(interim(age, sent, got, **fields), kind=Kind.STOP)


class Sessions:
    """What the caller does with the pure functions: keep the marks, collect the slices."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.slices: list[tuple[int, Slice]] = []

    def read(self, *readings: Reading) -> "Sessions":
        for told in readings:
            reading = metering.believed(self.marks, told)
            number = metering.incarnation_of(self.marks, reading)
            if number is None:
                number = len(self.marks)
                self.marks.append(metering.open_mark(reading))
            self.marks[number], emitted = metering.advance(self.marks[number], reading)
            if emitted:
                self.slices.append((number, emitted))
        return self

    @property
    def octets(self) -> list[tuple[int, int]]:
        return [(piece.input_bytes, piece.output_bytes) for _, piece in self.slices]


# --- Rule by rule -------------------------------------------------------------------------------


def test_each_message_adds_what_is_beyond_the_mark() -> None:
    sessions = Sessions().read(
        replace(interim(0, 0, 0), kind=Kind.START), interim(300, 100, 1000), stop(500, 150, 4000)
    )
    assert sessions.octets == [(100, 1000), (50, 3000)]
    assert [(p.sequence, p.started_at, p.ended_at) for _, p in sessions.slices] == [
        (1, NOON, after(300)),
        (2, after(300), after(500)),
    ]
    assert sessions.marks[0].ended_at == after(500)


def test_a_session_whose_start_was_lost_is_counted_from_its_beginning() -> None:
    sessions = Sessions().read(interim(300, 100, 1000))
    assert sessions.slices == [(0, Slice(1, NOON, after(300), 100, 1000))]


def test_a_duplicate_and_a_late_message_add_nothing() -> None:
    sessions = Sessions().read(interim(600, 10, 20))
    before = sessions.marks[0]
    sessions.read(interim(600, 10, 20), interim(300, 5, 10), interim(0, 0, 0))
    assert (sessions.marks, sessions.octets) == ([before], [(10, 20)])


def test_a_stop_within_the_same_second_still_counts() -> None:
    assert Sessions().read(interim(600, 10, 20), stop(600, 12, 20)).octets == [(10, 20), (2, 0)]


def test_gigawords_are_the_upper_half() -> None:
    sessions = Sessions().read(
        interim(300, 7, 9, input_gigawords=0, output_gigawords=0),
        interim(600, 3, 1, input_gigawords=1, output_gigawords=5),
    )
    assert sessions.octets[1] == (WRAP + 3 - 7, 5 * WRAP + 1 - 9)


def test_a_counter_that_falls_without_gigawords_has_wrapped() -> None:
    sessions = Sessions().read(interim(300, 0, WRAP - 1), interim(600, 0, WRAP + 4))
    assert sessions.octets == [(0, WRAP - 1), (0, 5)]
    assert sessions.read(interim(900, 0, 2 * WRAP + 1)).octets[-1] == (0, WRAP - 3)
    assert not sessions.marks[0].was_reset


def test_gigawords_that_are_only_sent_once_they_count_are_no_reset() -> None:
    sessions = Sessions().read(
        interim(300, 0, WRAP - 10), interim(600, 0, 5, input_gigawords=0, output_gigawords=1)
    )
    assert sessions.octets[1] == (0, 15)


def test_a_counter_that_falls_with_gigawords_was_reset() -> None:
    sessions = Sessions().read(
        interim(300, 50, 900, input_gigawords=0, output_gigawords=0),
        interim(600, 60, 40, input_gigawords=0, output_gigawords=0),
        interim(900, 70, 45, input_gigawords=0, output_gigawords=0),
    )
    assert sessions.octets == [(50, 900), (10, 40), (10, 5)]
    mark = sessions.marks[0]
    assert (mark.was_reset, mark.output_mark, mark.output_bytes) == (True, 45, 945)


@pytest.mark.parametrize("gigawords", [None, 0])
def test_a_stop_without_counters_keeps_the_mark(gigawords: int | None) -> None:
    words = {"input_gigawords": gigawords, "output_gigawords": gigawords}
    sessions = Sessions().read(interim(300, 50, 900, **words), stop(310, 0, 0, **words))
    assert sessions.octets == [(50, 900)]
    assert (sessions.marks[0].output_mark, sessions.marks[0].ended_at) == (900, after(310))
    assert not sessions.marks[0].was_reset


def test_a_session_id_used_again_is_a_new_incarnation() -> None:
    again = replace(interim(10, 5, 5), event_at=after(2000))
    assert Sessions().read(stop(600, 100, 100), again).octets == [(100, 100), (5, 5)]
    restarted = Sessions().read(interim(600, 100, 100), again)
    assert [number for number, _ in restarted.slices] == [0, 1]


def test_a_clock_that_was_set_is_no_new_incarnation() -> None:
    ahead = replace(interim(900, 150, 150), event_at=after(900 + 120))
    late = replace(interim(800, 140, 140), event_at=after(800 + 120))
    sessions = Sessions().read(interim(600, 100, 100), ahead, late)
    assert sessions.octets == [(100, 100), (50, 50)]
    assert len(sessions.marks) == 1


def test_a_late_message_with_a_bad_clock_is_no_new_incarnation() -> None:
    stale = replace(interim(3600, 50, 50), event_at=after(10_900))
    sessions = Sessions().read(interim(10_800, 100, 100), stale)
    assert (sessions.octets, len(sessions.marks)) == ([(100, 100)], 1)


def test_the_class_tells_incarnations_apart_where_times_cannot() -> None:
    sessions = Sessions().read(
        interim(100, 1000, 1000, session_class="svc:a"),
        replace(interim(600, 5000, 5000, session_class="svc:b"), event_at=after(5000)),
        interim(200, 1200, 1000, session_class="svc:a"),
    )
    assert sessions.octets == [(1000, 1000), (5000, 5000), (200, 0)]


def test_messages_of_an_older_incarnation_may_come_after_those_of_a_newer() -> None:
    sessions = Sessions().read(
        replace(interim(50, 10, 10), event_at=after(1050)), interim(600, 700, 700)
    )
    assert sessions.octets == [(10, 10), (700, 700)]


def test_a_session_taken_for_dead_is_reopened_and_only_the_rest_counts() -> None:
    sessions = Sessions().read(interim(300, 10, 10))
    sessions.marks[0] = metering.close(sessions.marks[0])
    assert sessions.marks[0].ended_at == after(300)
    assert metering.close(sessions.marks[0]) == sessions.marks[0]
    sessions.read(interim(9000, 15, 10))
    assert (sessions.octets[1], sessions.marks[0].ended_at) == ((5, 0), None)


def test_a_damaged_counter_is_seen() -> None:
    assert interim(1, 1, 1, input_gigawords=2**24 - 1).is_plausible
    assert not interim(1, 1, 1, output_gigawords=2**24).is_plausible


def test_a_time_that_cannot_be_is_seen() -> None:
    true = interim(1, 1, 1)
    assert not replace(true, session_seconds=2**40).is_plausible
    for year in (1, 1999, 2200, 9999):
        assert not replace(true, event_at=true.event_at.replace(year=year)).is_plausible


@pytest.mark.parametrize("age", [2**32 - 1, 401 * 86_400])
def test_an_age_that_cannot_be_is_not_believed_and_the_octets_are(age: int) -> None:
    """The session begins with the message, or goes on from the last one that was believed."""
    wild = replace(interim(600, 0, 70), session_seconds=age)
    alone = Sessions().read(wild, replace(wild, event_at=after(900), output_octets=75))
    assert [piece for _, piece in alone.slices] == [
        Slice(1, after(600), after(600), 0, 70),
        Slice(2, after(600), after(900), 0, 5),
    ]
    among = Sessions().read(interim(300, 0, 10), wild, interim(900, 0, 100))
    assert [(p.started_at, p.ended_at, p.output_bytes) for _, p in among.slices] == [
        (NOON, after(300), 10),
        (after(300), after(600), 60),
        (after(600), after(900), 30),
    ]


def test_a_session_cannot_be_older_than_its_line() -> None:
    old = interim(7_200, 0, 10)
    assert metering.believed([], old, line_began=after(3_000)) == old
    assert metering.believed([], old, line_began=after(4_000)).session_seconds == 0


def test_what_nobody_spoke_of_for_years_counts_at_its_moment() -> None:
    late = replace(interim(600, 0, 30, session_class="a"), event_at=NOON + timedelta(days=4_000))
    slices = Sessions().read(interim(300, 0, 10, session_class="a"), late).slices
    assert slices[1][1] == Slice(2, late.event_at, late.event_at, 0, 20)


# --- Cuts at the ends of billing periods --------------------------------------------------------


def test_a_slice_over_midnight_is_cut_by_time() -> None:
    whole = Slice(3, NOON, after(300), 100, 1001)
    first, second = metering.cut(whole, [after(-1), after(100), after(300)])
    assert first == Slice(3, NOON, after(100), 33, 333, part=0, is_estimated=True)
    assert second == Slice(3, after(100), after(300), 67, 668, part=1, is_estimated=True)


def test_a_slice_within_one_period_stays_whole() -> None:
    whole = Slice(1, NOON, after(300), 100, 1000)
    assert metering.cut(whole, [NOON, after(300), after(900)]) == [whole]


@given(
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.integers(0, 10**12),
    st.lists(st.integers(-10, 10**12), max_size=6),
)
def test_a_cut_loses_nothing(sent: int, got: int, length: int, edges: list[int]) -> None:
    tick = timedelta(microseconds=1)
    whole = Slice(1, NOON, NOON + length * tick, sent, got)
    parts = metering.cut(whole, [NOON + edge * tick for edge in edges])
    assert sum(part.input_bytes for part in parts) == sent
    assert sum(part.output_bytes for part in parts) == got
    assert min(min(part.input_bytes, part.output_bytes) for part in parts) >= 0
    assert [part.part for part in parts] == list(range(len(parts)))
    assert (parts[0].started_at, parts[-1].ended_at) == (whole.started_at, whole.ended_at)
    assert all(a.ended_at == b.started_at for a, b in itertools.pairwise(parts))


# --- Random histories ---------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Reading, tuple[int, int]]]:
    """One device's incarnations of one session id, each message with its true totals so far."""
    has_words = draw(st.booleans())
    step = st.integers(0, WRAP - 1) if not has_words else st.integers(0, 5 * WRAP)
    messages = []
    start = 0
    for incarnation in range(draw(st.integers(1, 3))):
        age = sent = got = 0
        count = draw(st.integers(1, 5))
        for number in range(count):
            totals = (sent, got)
            words = {
                "input_gigawords": sent // WRAP if has_words else None,
                "output_gigawords": got // WRAP if has_words else None,
            }
            kind = Kind.STOP if number == count - 1 else Kind.INTERIM
            reading = Reading(
                kind=Kind.START if number == 0 else kind,
                event_at=after(start + age),
                session_seconds=age,
                input_octets=sent % WRAP,
                output_octets=got % WRAP,
                session_class=f"svc:{incarnation}",
                **words,
            )
            messages.append((reading, totals))
            age += draw(st.integers(1, 3600))
            sent, got = (_no_round(total + draw(step), has_words) for total in (sent, got))
        start += age + draw(st.integers(60, 100_000))
    return messages


def _no_round(total: int, has_words: bool) -> int:
    """Without words a counter at zero is not told from a stop that says nothing."""
    return total - (not has_words and total > 0 and total % WRAP == 0)


def expected(delivered: list[tuple[Reading, tuple[int, int]]]) -> tuple[int, int]:
    """The totals of the last message that came of each incarnation."""
    last: dict[str, tuple[int, tuple[int, int]]] = {}
    for reading, totals in delivered:
        known = last.get(reading.session_class, (-1, (0, 0)))
        last[reading.session_class] = max(known, (reading.session_seconds, totals))
    return sum(t[0] for _, t in last.values()), sum(t[1] for _, t in last.values())


def emitted(sessions: Sessions) -> tuple[int, int]:
    return sum(sent for sent, _ in sessions.octets), sum(got for _, got in sessions.octets)


@settings(max_examples=500)
@given(histories(), st.randoms(use_true_random=False))
def test_octets_in_equal_octets_out_with_gaps_and_duplicates(
    history: list[tuple[Reading, tuple[int, int]]], chance: random.Random
) -> None:
    """In order, with messages lost and repeated. Without gigawords a wrap may not be missed."""
    keeps_all = history[0][0].input_gigawords is None
    delivered = [
        message
        for message in history
        if keeps_all or message[0].kind is Kind.START or chance.random() < 0.7
    ]
    repeated = [m for message in delivered for m in [message] * chance.choice([1, 1, 2, 3])]
    sessions = Sessions().read(*(reading for reading, _ in repeated))
    assert emitted(sessions) == expected(delivered)
    assert not any(mark.was_reset for mark in sessions.marks)


@settings(max_examples=500)
@given(histories(), st.randoms(use_true_random=False))
def test_octets_in_equal_octets_out_in_any_order(
    history: list[tuple[Reading, tuple[int, int]]], chance: random.Random
) -> None:
    """Shuffled altogether and repeated; wraps are only known to a device that counts them."""
    if history[0][0].input_gigawords is None:
        history = [
            (replace(r, input_gigawords=t[0] // WRAP, output_gigawords=t[1] // WRAP), t)
            for r, t in history
        ]
    delivered = [message for message in history if chance.random() < 0.8]
    shuffled = chance.sample(delivered * 2, len(delivered) * 2)
    sessions = Sessions().read(*(reading for reading, _ in shuffled))
    assert emitted(sessions) == expected(delivered)


@settings(max_examples=500)
@given(histories(), st.randoms(use_true_random=False))
def test_octets_in_equal_octets_out_whatever_the_ages(
    history: list[tuple[Reading, tuple[int, int]]], chance: random.Random
) -> None:
    """In order and repeated: any message may say an age that cannot be, and none is older."""
    told = [
        replace(r, session_seconds=chance.randrange(4 * 10**7, WRAP))
        if chance.random() < 0.4
        else r
        for r, _ in history
    ]
    sessions = Sessions().read(*(r for r in told for _ in range(chance.choice([1, 2]))))
    assert emitted(sessions) == expected(history)
    longest = timedelta(seconds=3_600 * 5)
    assert all(piece.ended_at - piece.started_at <= longest for _, piece in sessions.slices)


@settings(max_examples=300)
@given(histories())
def test_without_a_class_the_times_tell_incarnations_apart(
    history: list[tuple[Reading, tuple[int, int]]],
) -> None:
    nameless = [replace(reading, session_class="") for reading, _ in history]
    assert emitted(Sessions().read(*nameless, *nameless)) == expected(history)


@settings(max_examples=300)
@given(histories(), st.randoms(use_true_random=False))
def test_slices_of_one_incarnation_follow_each_other(
    history: list[tuple[Reading, tuple[int, int]]], chance: random.Random
) -> None:
    shuffled = chance.sample(history, len(history))
    sessions = Sessions().read(*(reading for reading, _ in shuffled))
    for number in range(len(sessions.marks)):
        pieces = [piece for owner, piece in sessions.slices if owner == number]
        assert [piece.sequence for piece in pieces] == list(range(1, len(pieces) + 1))
        assert all(piece.started_at <= piece.ended_at for piece in pieces)
        assert all(a.ended_at <= b.started_at for a, b in itertools.pairwise(pieces))
