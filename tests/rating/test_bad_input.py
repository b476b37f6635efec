"""Bad input by every way in: each bad row gets its reason, the good ones are kept, none is lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from provisioning import partner_orders, services
from provisioning.models import Service
from rating import storing, usage_files, usage_stream
from rating.models import Usage, UsageConflict, UsageFile
from tests.rating.calls import token
from tests.rating.ground import NOON, Shop, event, rate, subscribed

pytestmark = pytest.mark.django_db
NOW = NOON + timedelta(hours=2)
Rows = list[dict[str, Any]]
Send = Callable[[Any], Rows]
_COLUMNS = ["event_id", "subscriber_ref", "offering", "started_at", "quantity", "unit"]


@pytest.fixture(autouse=True)
def around(settings: LazySettings, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def watching(shop: Shop, line: Service) -> Service:
    return subscribed(line, shop.minutes)


@pytest.fixture
def call(shop: Shop, client: Client) -> Callable[..., Any]:
    """Call the API as the films' program."""
    headers = {"Authorization": f"Bearer {token(shop.films, ['usage:read', 'usage:write'])}"}

    def post(name: str, body: bytes | str, media_type: str, **more: Any) -> Any:
        sent = headers | {"Idempotency-Key": str(more.get("key"))} if "key" in more else headers
        address = reverse(name, args=more.get("args", []))
        return client.post(address, body, content_type=media_type, headers=sent)

    def get(name: str, *args: Any) -> Any:
        return client.get(reverse(name, args=args), headers=headers)

    post.get = get  # type: ignore[attr-defined]
    return post


def as_line(row: Any) -> bytes:
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def as_csv(rows: list[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: row.get(name, "") for name in _COLUMNS})
    return text.getvalue().encode()


def by_batch(call: Any, rows: list[Any]) -> Rows:
    body = b'{"events": [' + b",".join(as_line(row) for row in rows) + b"]}"
    answer = call("usage", body, "application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def by_stream(call: Any, rows: list[Any]) -> Rows:
    answer = call("usage", b"\n".join(as_line(row) for row in rows), "application/x-ndjson")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-ndjson")
    *results, last = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert last["summary"]["is_complete"] is True
    assert [result.pop("line") for result in results] == list(range(1, len(rows) + 1))
    return results


def through_file(call: Any, body: bytes, media_type: str) -> list[dict[str, str]]:
    """Send a file and have it read; gives its rejects."""
    sent = call("usage-files", body, media_type, key=f"file-{UsageFile.objects.count()}")
    assert sent.status_code == 202, sent.content
    while usage_files.read_next(at=NOW):
        pass
    told = call.get("usage-file", sent.json()["id"]).json()
    assert told["state"] == "completed", told
    rejects = b"".join(call.get("usage-file-rejects", told["id"]).streaming_content).decode()
    return list(csv.DictReader(io.StringIO(rejects)))


def _as_results(count: int, rejects: list[dict[str, str]]) -> Rows:
    results: Rows = [{"status": "accepted", "code": "", "field": ""} for _ in range(count)]
    for reject in rejects:
        results[int(reject["row"]) - 1] = reject | {"status": reject["outcome"]}
    return results


def by_csv(call: Any, rows: list[Any]) -> Rows:
    return _as_results(len(rows), through_file(call, as_csv(rows), "text/csv"))


def by_ndjson_file(call: Any, rows: list[Any]) -> Rows:
    body = gzip.compress(b"\n".join(as_line(row) for row in rows))
    return _as_results(len(rows), through_file(call, body, "application/x-ndjson"))


@pytest.fixture(params=[by_batch, by_stream, by_csv, by_ndjson_file])
def send(request: pytest.FixtureRequest, call: Any) -> Send:
    return lambda rows: request.param(call, rows)


class TestEachWay:
    def test_every_bad_event_has_its_reason_and_the_good_ones_are_kept(
        self, shop: Shop, line: Service, watching: Service, send: Send
    ) -> None:
        """One report with all of it, because each way costs time."""
        good = event(line, shop.minutes, 7)

        def but(**other: Any) -> Any:
            return good | {"event_id": f"bad-{next(numbers)}", **other}

        numbers = iter(range(100))
        subscribed(line, shop.storage)
        theirs = partner_orders.reference_of(partner=shop.backup, subscriber=line.subscriber)
        late = {"started_at": (NOON + timedelta(minutes=40)).isoformat()}
        cases = [
            (good, "accepted", "", ""),
            (but(quantity=-1), "rejected", "invalid_event", "quantity"),
            (but(quantity=float("nan")), "rejected", "invalid_event", "quantity"),
            (but(quantity=10**30), "rejected", "invalid_event", "quantity"),
            (but(quantity=1e30), "rejected", "invalid_event", "quantity"),
            (but(unit="gigabyte"), "rejected", "wrong_unit", "unit"),
            (but(offering="nothing"), "error", "unknown_offering", ""),
            (but(offering=shop.storage.code), "error", "unknown_offering", ""),
            (but(subscriber_ref=theirs), "error", "unknown_subscriber", ""),
            (but(started_at=(NOW + timedelta(minutes=61)).isoformat()), "rejected", "invalid_event",
             "started_at"),
            (but(started_at=(NOW - timedelta(days=401)).isoformat()), "rejected", "invalid_event",
             "started_at"),
            (but(started_at="yesterday"), "rejected", "invalid_event", "started_at"),
            (but(event_id=""), "rejected", "invalid_event", "event_id"),
            (but(**late), "error", "not_subscribed", ""),
            (good | {"quantity": 8}, "conflict", "event_id_reused", ""),
            (but(), "accepted", "", ""),
        ]  # fmt: skip
        services.cease(service=watching, at=NOON + timedelta(minutes=30))
        early = {"started_at": (NOON + timedelta(minutes=20)).isoformat()}
        for place in (0, 14, 15):
            cases[place] = (cases[place][0] | early, *cases[place][1:])

        results = send([row for row, *_ in cases])

        found = [(row["status"], row["code"], row["field"]) for row in results]
        assert found == [tuple(wanted) for _, *wanted in cases]
        assert all(row.get("reason") for row in results if row["status"] != "accepted")
        # What names a field was not stored; the rest is, so nothing that was taken is lost.
        stored = Usage.objects.filter(source="films")
        assert stored.count() == sum(1 for _, _, code, field in cases if not field) - 1
        assert stored.exclude(error_code="").count() == 4
        assert rate() == 2
        contradiction = UsageConflict.objects.get()
        assert (contradiction.kept["quantity"], contradiction.told["quantity"]) == (7, 8)

    def test_the_same_report_twice_is_harmless(
        self, shop: Shop, line: Service, watching: Service, call: Any
    ) -> None:
        rows = [event(line, shop.minutes) for _ in range(3)]
        for way in (by_batch, by_stream):
            way(call, rows)
        for _ in range(2):
            through_file(call, as_csv(rows), "text/csv")
        assert Usage.objects.count() == 3
        first, again = UsageFile.objects.order_by("pk")
        assert [(file.accepted, file.duplicates) for file in (first, again)] == [(0, 3), (0, 3)]
        assert (first.same_as, again.same_as) == (None, first)
        assert call.get("usage-file", again.public_id).json()["same_as"] == first.public_id


@pytest.mark.parametrize("way", [by_stream, by_ndjson_file])
def test_a_line_that_is_no_json_costs_itself(
    shop: Shop, line: Service, watching: Service, call: Any, way: Callable[..., Rows]
) -> None:
    """The issue's own: line 5,000 of 10,000."""
    first = json.dumps(event(line, shop.minutes, event_id="event-00000"))
    rows: list[Any] = [first.replace("00000", f"{n:05d}").encode() for n in range(10_000)]
    rows[4_999] = b'{"event_id": "half", "quan'
    results = way(call, rows)
    assert [n for n, row in enumerate(results) if row["status"] != "accepted"] == [4_999]
    assert (results[4_999]["code"], results[4_999]["field"]) == ("unreadable", "line")
    assert "character 22" in results[4_999]["reason"]
    assert Usage.objects.count() == 9_999


@pytest.mark.parametrize(
    ("line_sent", "words"),
    [
        (b"7", "as an object"),
        (b"[]", "as an object"),
        (b"\xff{}", "UTF-8"),
        (b"[" * 50_000, "nested"),
        (b'{"quantity": ' + b"9" * 5_000 + b"}", "too long"),
        (b'{"x": "' + b"a" * 70_000 + b'"}', "65,536 bytes"),
    ],
    ids=["number", "list", "encoding", "nesting", "digits", "length"],
)
def test_lines_of_a_stream_that_are_no_events(
    shop: Shop, line: Service, watching: Service, call: Any, line_sent: bytes, words: str
) -> None:
    results = by_stream(call, [event(line, shop.minutes), line_sent, event(line, shop.minutes)])
    assert [row["status"] for row in results] == ["accepted", "rejected", "accepted"]
    assert words in results[1]["reason"]


_DEEP = b"[" * 400 + b"]" * 400
_HOSTILE = [
    (b'"\\ud800": 1', "?"),
    (b'"\\u0000": 1', "?"),
    (b'"offering": "\\u0000"', "offering"),
    (b'"offering": "\\ud800"', "offering"),
    (b'"offering": "' + b"a" * 60_000 + b'"', "offering"),
    (b'"attributes": {"x": ' + _DEEP + b"}", "attributes"),
]


@pytest.mark.parametrize("way", [by_batch, by_stream, by_ndjson_file])
def test_characters_and_depths_that_nothing_can_store_cost_their_row(
    shop: Shop, line: Service, watching: Service, call: Any, way: Callable[..., Rows]
) -> None:
    good = event(line, shop.minutes)
    rows = [as_line(good)[:-1] + b", " + said + b"}" for said, _ in _HOSTILE]
    results = way(call, [*rows, good])
    assert [row["field"] for row in results] == [*(field for _, field in _HOSTILE), ""]
    assert [row["status"] for row in results] == ["rejected"] * len(rows) + ["accepted"]


def test_a_report_that_is_nested_without_end_is_refused_whole(shop: Shop, call: Any) -> None:
    answer = call("usage", b'{"events": ' + b"[" * 100_000, "application/json")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/parse_error")


def test_a_row_that_breaks_what_it_comes_with_costs_itself(
    shop: Shop, line: Service, watching: Service, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the checks do not know yet; here, what the storing of one event cannot bear."""
    rows = [event(line, shop.minutes) for _ in range(7)]
    written = storing._line

    def breaking(key: int, use: Any, told: str) -> str:
        if use.event_id == rows[4]["event_id"]:
            raise RecursionError
        return written(key, use, told)

    monkeypatch.setattr(storing, "_line", breaking)
    results = by_batch(call, [*rows, rows[0]])
    assert [row["status"] for row in results] == [
        *["accepted"] * 4, "rejected", *["accepted"] * 2, "duplicate",
    ]  # fmt: skip
    assert (results[4]["event_id"], results[4]["field"]) == (rows[4]["event_id"], "event")
    assert Usage.objects.count() == 6
    assert rate() == 6


def test_a_report_that_is_no_json_is_refused_whole(shop: Shop, call: Any) -> None:
    answer = call("usage", b'{"events": [{"event_id": "a"}, {"ev', "application/json")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/parse_error")
    assert not Usage.objects.exists()


@pytest.mark.parametrize(
    ("name", "media_type", "setting"),
    [
        ("usage", "application/json", "USAGE_BATCH_MOST_BYTES"),
        ("usage", "application/x-ndjson", "USAGE_STREAM_MOST_BYTES"),
        ("usage-files", "text/csv", "UPLOAD_MOST_BYTES"),
        ("usage-files", "application/x-ndjson", "UPLOAD_MOST_BYTES"),
    ],
)
def test_a_body_over_the_limit_is_told_so(
    shop: Shop, call: Any, settings: LazySettings, name: str, media_type: str, setting: str
) -> None:
    setattr(settings, setting, 2_000)
    answer = call(name, b"x" * 2_001, media_type, key="k")
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too_big")
    assert "Up to 2 kB" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("limit", "size", "words"),
    [(1_000, 0, "Up to 1 kB can be sent in one stream"), (10**6, 10**5, "broke off")],
)
def test_a_stream_that_stops_early_says_so_and_keeps_what_came(
    shop: Shop, line: Service, watching: Service, settings: LazySettings, limit: int, size: int,
    words: str,
) -> None:  # fmt: skip
    """A body in chunks does not say how large it is, and one that does may break off."""
    settings.USAGE_STREAM_MOST_BYTES = limit
    body = b"\n".join(as_line(event(line, shop.minutes)) for _ in range(8))
    stream = usage_stream._Stream(shop.films, io.BytesIO(body).readline, size)
    *results, last = [json.loads(row) for row in b"".join(stream.answers()).splitlines()]
    assert (last["summary"]["is_complete"], last["summary"]["lines"]) == (False, len(results))
    assert words in last["summary"]["problem"]
    assert Usage.objects.count() == len(results) > 0


def test_a_stream_may_take_an_hour_and_no_more(
    shop: Shop, line: Service, watching: Service, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_stream, "MOST_SECONDS", -1.0)
    body = as_line(event(line, shop.minutes))
    answer = call("usage", body, "application/x-ndjson")
    summary = json.loads(answer.getvalue())["summary"]
    assert (summary["lines"], "an hour" in summary["problem"]) == (0, True)


def test_a_report_of_too_many_events_is_refused(shop: Shop, call: Any) -> None:
    answer = call("usage", json.dumps({"events": [{}] * 10_001}), "application/json")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "events")


class TestContradictions:
    def test_the_same_one_is_counted_and_another_is_kept_beside_it(
        self, shop: Shop, line: Service, watching: Service, call: Any
    ) -> None:
        told = event(line, shop.minutes, 10)
        other = told | {"quantity": 11}
        by_batch(call, [told])
        by_batch(call, [other, other])
        by_stream(call, [other, told | {"attributes": {"title": "M"}}])
        kept = UsageConflict.objects.order_by("pk")
        assert [(row.source, row.event_id, row.times) for row in kept] == [
            ("films", told["event_id"], 3),
            ("films", told["event_id"], 1),
        ]
        assert {row.kept["quantity"] for row in kept} == {10}
        assert [row.told["quantity"] for row in kept] == [11, 10]
        assert kept[1].told["attributes"] == {"title": "M"}
        assert Usage.objects.get().quantity == 10


class TestWhenEventsMayCome:
    """The rules of the README: up to an hour ahead, up to 400 days back, in any order."""

    @pytest.mark.parametrize(
        ("started_at", "is_taken"),
        [
            (NOW + timedelta(hours=1), True),
            (NOW + timedelta(hours=1, seconds=1), False),
            (NOW - timedelta(days=400), True),
            (NOW - timedelta(days=400, seconds=1), False),
        ],
    )
    def test_both_edges(
        self, shop: Shop, line: Service, watching: Service, call: Any, started_at: Any,
        is_taken: bool,
    ) -> None:  # fmt: skip
        [result] = by_batch(call, [event(line, shop.minutes, started_at=started_at.isoformat())])
        assert (result["field"] == "") is is_taken
        assert Usage.objects.exists() is is_taken

    def test_events_may_come_late_and_in_any_order(
        self, shop: Shop, line: Service, watching: Service, call: Any
    ) -> None:
        rows = [
            event(line, shop.minutes, started_at=(NOON + timedelta(minutes=minute)).isoformat())
            for minute in (90, 1, 45)
        ]
        assert {row["status"] for row in by_batch(call, rows)} == {"accepted"}
        with time_machine.travel(NOW + timedelta(days=40), tick=False):
            [late] = by_batch(call, [rows[0] | {"event_id": "late"}])
        assert late["status"] == "accepted"
