"""Reading partners' events: what can be stored, and the reason for what cannot."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.usage_events import UnusableEvent, event_id_of, read_event

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GOOD = {
    "event_id": "e-1",
    "subscriber_ref": "psb_1",
    "offering": "minutes",
    "started_at": "2026-05-04T11:00:00Z",
    "quantity": 12,
    "unit": "minute",
}


def test_a_good_event_is_read_in_utc() -> None:
    read = read_event(GOOD | {"started_at": "2026-05-04T07:00:00-04:00"}, NOW)
    assert read.started_at == datetime(2026, 5, 4, 11, tzinfo=UTC)
    assert (read.quantity, read.ended_at, read.attributes) == (12, None, {})


def test_one_event_says_the_same_however_it_is_written() -> None:
    written = GOOD | {"started_at": "2026-05-04T07:00:00-04:00", "quantity": "12", "ended_at": None}
    attributes = {"a": 1, "b": [2]}
    same = read_event(written | {"attributes": attributes}, NOW).said
    assert read_event(GOOD | {"attributes": {"b": [2], "a": 1}}, NOW).said == same
    for change in ({"quantity": 13}, {"unit": "hour"}, {"attributes": {"a": 1}}):
        other = read_event(GOOD | {"attributes": attributes} | change, NOW)
        assert other.said != same


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("event_id", "", "not empty"),
        ("event_id", None, "not empty"),
        ("event_id", 7, "text"),
        ("event_id", "e" * 121, "120 characters"),
        ("event_id", "e\x00", "printed"),
        ("subscriber_ref", " ", "not empty"),
        ("offering", ["minutes"], "text"),
        ("unit", "u" * 21, "20 characters"),
        ("quantity", None, "whole number"),
        ("quantity", 1.5, "whole number"),
        ("quantity", float("nan"), "whole number"),
        ("quantity", "NaN", "whole number"),
        ("quantity", True, "whole number"),
        ("quantity", 0, "one or more"),
        ("quantity", -3, "one or more"),
        ("quantity", 10**30, "at most"),
        ("quantity", "1" + "0" * 30, "whole number"),
        ("started_at", None, "Say when"),
        ("started_at", "yesterday", "a time"),
        ("started_at", "2026-05-04T11:00:00", "time zone"),
        ("started_at", "0001-01-01T00:00:00+14:00", "a time"),
        ("started_at", 1_777_000_000, "a time"),
        ("started_at", (NOW + timedelta(hours=2)).isoformat(), "future"),
        ("started_at", (NOW - timedelta(days=401)).isoformat(), "400 days"),
        ("ended_at", "2026-05-04T10:59:59Z", "before started_at"),
        ("ended_at", "soon", "a time"),
        ("ended_at", "9999-12-31T23:59:59Z", "future"),
        ("event_id", "\ud800", "printed"),
        ("attributes", [1], "object"),
        ("attributes", {"x": float("inf")}, "JSON"),
        ("attributes", {"x": "\x00"}, "NUL"),
        ("attributes", {"x": "\ud800"}, "JSON"),
        ("attributes", {"\ud800": "x"}, "JSON"),
        ("attributes", {"x": "y" * 4_000}, "4,000"),
        ("attributes", {"x": nested(50)}, "50 deep"),
        ("colour", "red", "no such field"),
    ],
)
def test_what_cannot_be_stored_says_why(field: str, value: Any, words: str) -> None:
    with pytest.raises(UnusableEvent, match=words) as refused:
        read_event(GOOD | {field: value}, NOW)
    assert refused.value.field == field


@pytest.mark.parametrize("row", [None, 7, "event", [GOOD]])
def test_a_row_that_is_no_object(row: Any) -> None:
    with pytest.raises(UnusableEvent, match="object"):
        read_event(row, NOW)
    assert event_id_of(row) == ""


def test_an_answer_can_be_written_whatever_the_name() -> None:
    assert event_id_of({"event_id": "e-\ud800\0"}) == "e-??"
    assert outcome(GOOD | {"\ud800" * 50: 1}) == ("refused", "?" * 40)


def test_attributes_as_deep_as_they_may_be() -> None:
    attributes = {"x": nested(49), "y": [[]] * 50}
    assert read_event(GOOD | {"attributes": attributes}, NOW).attributes == attributes


def test_an_answer_names_the_event_as_far_as_it_has_a_name() -> None:
    assert event_id_of({"event_id": "e" * 500}) == "e" * 120
    assert event_id_of({"event_id": 7}) == ""


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def outcome(row: Any) -> tuple[str, Any]:
    """What reading comes to: the culprit of a refusal, or the event."""
    try:
        return "read", read_event(row, NOW)
    except UnusableEvent as refused:
        return "refused", refused.field


@given(anything | st.fixed_dictionaries(dict.fromkeys(GOOD, anything)))
def test_whatever_comes_is_read_or_refused(row: Any) -> None:
    result, read = outcome(row)
    assert result == "refused" or read.quantity >= 1


@given(st.sampled_from(sorted(GOOD)), anything)
def test_whatever_one_field_is_it_alone_is_blamed(field: str, value: Any) -> None:
    result, blamed = outcome(GOOD | {field: value})
    assert result == "read" or blamed == field
