"""Where people want what they cannot have: by H3 cell, or by ZIP code where no cell is known.

A place counts once, however many people wait for it and however often it was asked for. What the
waitlist itself asks for is nobody's demand.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import h3
from django.db import connection

from ispops.parties.models import Partner
from qualification import cells
from qualification.models import ReachedCell
from qualification.waitlist import ASKER

ASKED_WITHIN = timedelta(days=90)
ALL, WAITING, ASKED = "all", "waiting", "asked"

_WAITING = """
SELECT place_key AS place, h3_res8 AS cell, city, region, postal_code, created_at AS since,
       TRUE AS waits
  FROM qualification_waitlistentry
 WHERE found_id IS NULL AND notified_at IS NULL AND withdrawn_at IS NULL
"""
_ASKED = """
SELECT coalesce('prm_' || replace(premises_id::text, '-', ''), upper(asked_text)) AS place,
       h3_res8 AS cell, city, region, postal_code, asked_at AS since, FALSE AS waits
  FROM qualification_servicequalification
 WHERE state IN ('not_qualified', 'out_of_footprint')
   AND asked_at >= %(since)s AND asker <> %(waitlist)s
"""
_PLACES = """
SELECT place, max(cell) AS cell, max(city) AS city, max(region) AS region,
       max(postal_code) AS postal_code, min(since) AS since,
       count(*) FILTER (WHERE waits) AS waiting, bool_or(NOT waits) AS was_asked
  FROM ({wanted}) wanted WHERE {conditions} GROUP BY place
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the demand is looked at: a state, a cell, people who wait or answers that were no."""

    region: str = ""
    area: str = ""
    kind: str = ALL


class Area(NamedTuple):
    """The demand of one cell, or of one ZIP code where `cell` is empty.

    `places` are the distinct places of both kinds; `waiting` are people, `asked` places. City,
    state and ZIP code are those of most of its places.
    """

    cell: str
    city: str
    region: str
    postal_code: str
    places: int
    waiting: int
    asked: int
    first_asked_at: datetime


class Near(NamedTuple):
    """What the networks do around an area, and by when one plans to be in it."""

    providers: tuple[str, ...] = ()
    planned_date: date | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """The areas that fit the filters, and how many places each state has without that of state."""

    areas: list[Area]
    by_region: dict[str, int]


def by_area(filters: Filters, *, resolution: int, at: datetime) -> Demand:
    """Return the demand by cells of a resolution, in one query."""
    found: dict[tuple[str, str], Area] = {}
    most: dict[tuple[str, str], int] = {}
    by_region: dict[str, int] = {}
    for part in map(Area._make, _parts(filters, resolution, at)):
        by_region[part.region] = by_region.get(part.region, 0) + part.places
        if filters.region not in ("", part.region):
            continue
        key = (part.cell, "" if part.cell else part.postal_code)
        area = found.get(key)
        found[key] = part if area is None else _joined(area, part, names=part.places > most[key])
        most[key] = max(most.get(key, 0), part.places)
    return Demand(list(found.values()), dict(sorted(by_region.items())))


def reached(near: Collection[str], *, resolution: int, limit: int) -> list[str]:
    """Return the cells of a resolution, inside the larger cells `near`, in which a network is.

    No more than `limit` and one are read.
    """
    spans = [cells.span(cell, resolution) for cell in near]
    # In a subquery of its own, each span is looked up in the index.
    statement = """
        SELECT there.cell
          FROM unnest(%(first)s::text[], %(last)s::text[]) AS span(first, last),
               LATERAL (SELECT DISTINCT cell FROM qualification_reachedcell
                         WHERE cell BETWEEN span.first AND span.last AND is_reached) there
         LIMIT %(limit)s
    """
    values = {
        "first": [first for first, _ in spans],
        "last": [last for _, last in spans],
        "limit": limit + 1,
    }
    return [cell for (cell,) in _rows(statement, values)]


def near(wanted: Iterable[str]) -> dict[str, Near]:
    """Return for each cell which networks are in it or next to it, and who plans to come to it."""
    names = dict(Partner.objects.values_list("pk", "name"))
    disks = {cell: h3.grid_disk(cell, 1) for cell in wanted}
    there: dict[str, list[tuple[int, bool, date | None]]] = {}
    rows = ReachedCell.objects.filter(cell__in={one for disk in disks.values() for one in disk})
    for one, provider, is_reached, planned in rows.values_list(
        "cell", "provider_id", "is_reached", "planned_date"
    ):
        there.setdefault(one, []).append((provider, is_reached, planned))
    found = {}
    for cell, disk in disks.items():
        facts = [fact for one in disk for fact in there.get(one, ())]
        providers = {names[provider] for provider, is_reached, _ in facts if is_reached}
        dates = [planned for _, _, planned in there.get(cell, ()) if planned]
        found[cell] = Near(tuple(sorted(providers)), min(dates, default=None))
    return found


def cities(wanted: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return city, state and ZIP code of a listed place near each cell, where there is one."""
    around = {cell: max(h3.get_resolution(cell) - 2, 0) for cell in wanted}
    spans = {cell: cells.span(h3.cell_to_parent(cell, size)) for cell, size in around.items()}
    statement = """
        SELECT span.cell, place.city, place.region, place.postal_code
          FROM unnest(%(cells)s::text[], %(first)s::text[], %(last)s::text[])
               AS span(cell, first, last),
               LATERAL (SELECT city, region, postal_code FROM qualification_premises
                         WHERE h3_res8 BETWEEN span.first AND span.last LIMIT 1) place
    """
    ends = {
        "cells": list(spans),
        "first": [first for first, _ in spans.values()],
        "last": [last for _, last in spans.values()],
    }
    rows = _rows(statement, ends) if spans else []
    return {cell: (city, region, postal_code) for cell, city, region, postal_code in rows}


def _parts(filters: Filters, resolution: int, at: datetime) -> list[tuple[Any, ...]]:
    """Return the demand of each city and ZIP code within each area, as `Area` has it."""
    values: dict[str, Any] = {"since": at - ASKED_WITHIN, "waitlist": ASKER}
    kinds = {WAITING: [_WAITING], ASKED: [_ASKED]}.get(filters.kind, [_WAITING, _ASKED])
    conditions = "TRUE"
    if filters.area:
        values["first"], values["last"] = cells.span(filters.area)
        conditions = "cell BETWEEN %(first)s AND %(last)s"
    places = _PLACES.format(wanted=" UNION ALL ".join(kinds), conditions=conditions)
    larger = cells.larger_cell_sql("cell", resolution)
    statement = f"""
        SELECT CASE WHEN cell = '' THEN '' ELSE {larger} END, city, region, postal_code,
               count(*), sum(waiting)::int, count(*) FILTER (WHERE was_asked), min(since)
          FROM ({places}) places GROUP BY 1, 2, 3, 4
    """  # noqa: S608 - what is filled in is ours; values from outside are parameters
    return _rows(statement, values)


def _joined(area: Area, part: Area, *, names: bool) -> Area:
    """Add a part to an area, which takes its name where it has the most places so far."""
    named = part if names else area
    return named._replace(
        places=area.places + part.places,
        waiting=area.waiting + part.waiting,
        asked=area.asked + part.asked,
        first_asked_at=min(area.first_asked_at, part.first_asked_at),
    )


def _rows(statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
