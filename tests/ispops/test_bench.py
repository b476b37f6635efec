"""The harness of `make bench` measures what it says. It has no benches of its own here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from ispops import bench
from ispops.bench import Case, Result, Size


class Clock:
    """Time that passes only when work says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float], operations: int) -> int:
        self.log.append(name)
        self.now += seconds.pop(0)
        return operations


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_medians_of_interleaved_runs(clock: Clock) -> None:
    slow, fast = [3.0, 9.0, 1.0], [1.0, 2.0, 0.5]

    def walk(size: Size) -> Iterator[Case]:
        yield Case(
            "ten steps",
            "ms",
            ours=lambda: clock.work("ours", slow, 10),
            reference=lambda: clock.work("reference", fast, 10),
            before_ours=lambda: clock.log.append("new data"),
        )

    results = list(bench.measure("walk", walk, Size(quick=True), clock=clock))
    assert results == [Result("walk", "ten steps", 300.0, 100.0, "ms", 3.0, 3)]
    assert clock.log == [
        *("new data", "ours", "reference"),
        *("reference", "new data", "ours"),
        *("new data", "ours", "reference"),
    ]


def test_rates_are_operations_by_seconds(clock: Clock) -> None:
    def rate(size: Size) -> Iterator[Case]:
        work = Case(
            "events",
            "per s",
            ours=lambda: clock.work("ours", [2.0] * 9, 500),
            reference=lambda: clock.work("reference", [0.5] * 9, 500),
        )
        yield work

    (result,) = bench.measure("rate", rate, Size(quick=False), clock=clock)
    assert (result.ours, result.reference, result.ratio) == (250.0, 1000.0, 0.25)
    assert result.runs == bench.RUNS


def test_a_case_may_ask_for_fewer_runs(clock: Clock) -> None:
    def once(size: Size) -> Iterator[Case]:
        yield Case("slow", "MB", ours=lambda: 1, reference=lambda: 2, runs=1)

    (result,) = bench.measure("once", once, Size(quick=False), clock=clock)
    assert result.runs == 1


def test_a_name_stands_for_the_bench_and_its_parts() -> None:
    names = ["rating", "rating_growth", "ratings", "aaa"]
    assert [name for name in names if bench._is_part(name, "rating")] == names[:2]
    assert all(bench._is_part(name, "") for name in names)


def test_what_is_no_work_is_taken_as_it_is(clock: Clock) -> None:
    def memory(size: Size) -> Iterator[Case]:
        yield Case("memory", "MB", ours=lambda: 120, reference=lambda: 300)

    (result,) = bench.measure("memory", memory, Size(quick=True), clock=clock)
    assert (result.ours, result.reference, result.ratio) == (120, 300, 0.4)


def test_a_quick_bench_begins_nothing_after_its_time(clock: Clock) -> None:
    def long(size: Size) -> Iterator[Case]:
        for name in ("first", "second"):
            yield Case(
                name,
                "ms",
                ours=lambda: clock.work("ours", [30.0], 1),
                reference=lambda: clock.work("reference", [1.0], 1),
            )

    results = list(bench.measure("long", long, Size(quick=True), clock=clock))
    assert [(result.case, result.runs) for result in results] == [("first", 2), ("second", 1)]


def test_a_case_without_work_is_an_error(clock: Clock) -> None:
    def idle(size: Size) -> Iterator[Case]:
        yield Case("nothing", "ms", ours=lambda: 0, reference=lambda: 1)

    with pytest.raises(ValueError, match="how many operations"):
        list(bench.measure("idle", idle, Size(quick=True), clock=clock))


def test_the_size_follows_the_haste() -> None:
    assert Size(quick=True).of(full=1000, quick=10) == 10
    assert Size(quick=False).of(full=1000, quick=10) == 1000


def test_a_line_of_json_has_the_promised_keys() -> None:
    line = json.loads(json.dumps(asdict(Result("walk", "ten", 3.0, 1.0, "ms", 3.0, 7))))
    assert list(line) == ["bench", "case", "ours", "reference", "unit", "ratio", "runs"]


def test_the_table_is_aligned() -> None:
    results = [
        Result("walk", "ten steps", 1.23456, 0.5, "ms", 2.469, 7),
        Result("rate", "events", 12345.6, 250.0, "per s", 49.4, 7),
    ]
    assert bench.table(results).splitlines() == [
        "bench  case         ours  reference  unit   ratio  runs",
        "walk   ten steps    1.23        0.5  ms      2.47     7",
        "rate   events     12,346        250  per s   49.4     7",
    ]
