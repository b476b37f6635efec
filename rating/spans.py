"""Spans of time: what is left of one, where it is cut, and what holds in which part of it.

No database, no clock.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from ispops.periods import Period

T = TypeVar("T")


def without(whole: Period, taken: Iterable[Period]) -> list[Period]:
    """Return what is left of a span when others are taken out of it."""
    left = []
    start = whole.start
    for gone in sorted(taken, key=lambda span: span.start):
        if gone.end <= start or gone.start >= whole.end:
            continue
        if gone.start > start:
            left.append(Period(start, gone.start))
        start = max(start, gone.end)
    if start < whole.end:
        left.append(Period(start, whole.end))
    return left


def joined(
    spans: Iterable[tuple[datetime, datetime | None]],
) -> list[tuple[datetime, datetime | None]]:
    """Return spans in order of time with those made one that touch; an open end is the last."""
    found: list[tuple[datetime, datetime | None]] = []
    for start, end in spans:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def cut(spans: Iterable[Period], edges: Iterable[datetime]) -> Iterator[Period]:
    """Cut spans at moments that fall into them."""
    moments = sorted(set(edges))
    for span in spans:
        bounds = [span.start, *(m for m in moments if span.start < m < span.end), span.end]
        for start, end in itertools.pairwise(bounds):
            yield Period(start, end)


def held(
    spans: Iterable[Period], edges: Iterable[datetime], of: Callable[[datetime], T]
) -> list[tuple[T, list[Period]]]:
    """Return what holds in some spans in order, with the parts in which it does.

    `of` says what holds at a moment; it may change at the edges only.
    """
    found: list[tuple[T, list[Period]]] = []
    for part in cut(spans, edges):
        now = of(part.start)
        if not found or found[-1][0] != now:
            found.append((now, []))
        found[-1][1].append(part)
    return found
