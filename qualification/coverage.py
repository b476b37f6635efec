"""Verbs for what an operator tells of its network: places, access nodes and where it delivers.

An import is one transaction. Rows that cannot be used are left out and reported with the field
and the reason; importing the same list again changes nothing. Lists that come as files are
`imports`' affair; the work on a list is the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction

from ispops import events
from ispops.catalog.models import Technology
from ispops.db import uuid7
from ispops.errors import InvalidInput
from ispops.parties.models import Partner
from qualification import countries, coverage_lists, lists, place_lists, place_rows
from qualification.coverage_lists import CoveragePlan
from qualification.coverage_rows import FACTS, CoverageRows
from qualification.models import AccessNode, AccessPort, CoverageArea, Premises
from qualification.place_lists import PlacePlan
from qualification.place_rows import PlaceRows

CHANGED = "coverage.changed"
_MOST_PORTS = 100_000
LINES_A_PIECE = 10_000
_COVERAGE_COLUMNS = ("technology", *FACTS, "premises", "location_id", "h3_res8")
_PLACE_COLUMNS = (*place_rows.ADDRESS, "unit", *place_rows.SAID)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was left out: its number in the list, counted from 1, and why."""

    number: int
    field: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What an import did."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)


@transaction.atomic
def import_premises(*, rows: Iterable[Mapping[str, Any]], at: datetime) -> ImportReport:
    """Add places from a location list, or correct the ones that are known by the same address.

    A row has `street, city, region, postal_code`, and may have `unit, latitude, longitude,
    location_id`. Places with coordinates get the H3 cell of resolution 8 that holds them. A place
    that had only been asked for is confirmed by being on the list.
    """
    reader = PlaceRows(_PLACE_COLUMNS, country=countries.here(), new_id=uuid7)
    plan = PlacePlan("place_list", is_temporary=True)
    lines = (
        reader.line(number, _values(row, _PLACE_COLUMNS))
        for number, row in enumerate(rows, start=1)
    )
    plan.stage(_whole(lines))
    lists.hold(place_lists.HOLDING)
    plan.work_out(said=reader.said)
    plan.apply(at=at)
    return _report(plan)


@transaction.atomic
def create_node(
    *, provider: Partner, name: str, technology: int, ports: int, at: datetime
) -> AccessNode:
    """Make an access node with numbered free ports; a node of this name gets those it lacks.

    Raises:
        InvalidInput: a value cannot be used, or the node is of another technology.
    """
    if technology not in Technology.values:
        raise InvalidInput("This technology code is not known.", field="technology")
    if not 0 <= ports <= _MOST_PORTS:
        raise InvalidInput(f"A node has 0 to {_MOST_PORTS:,} ports.", field="ports")
    if not 0 < len(name) <= 80:
        raise InvalidInput("A node has a name of up to 80 characters.", field="name")
    node, _ = AccessNode.objects.select_for_update().get_or_create(
        provider=provider, name=name, defaults={"technology": technology}
    )
    if node.technology != technology:
        raise InvalidInput("The node is there, with another technology.", field="technology")
    first = node.ports.count() + 1
    AccessPort.objects.bulk_create(
        [AccessPort(node=node, number=number) for number in range(first, ports + 1)],
        batch_size=2_000,
    )
    return node


@transaction.atomic
def import_coverage(
    *, rows: Iterable[Mapping[str, Any]], provider: Partner, at: datetime
) -> ImportReport:
    """Set what a network can deliver, from `at` on, at the places and H3 cells of a list.

    A row has `technology, max_download_kbps, max_upload_kbps` and either `premises` (a row or a
    public id), `location_id` or `h3_res8`; it may have `low_latency, install_days, loop_length_m,
    construction_fee, construction_days, planned_date, node` (a node's name or row). What was in
    force there for the same technology ends; places that are not listed keep what they have. A
    speed of zero at a premises says that its cell's coverage does not reach it.
    """
    reader = coverage_reader(_COVERAGE_COLUMNS)
    plan = CoveragePlan("coverage_list", is_temporary=True, provider_id=provider.pk)
    plan.stage(_whole(_coverage_lines(rows, reader, provider)))
    lists.hold(coverage_lists.holding(provider.pk))
    plan.work_out(at=at, said=reader.said, places=reader.places)
    plan.apply(at=at)
    report = _report(plan)
    if report.added or report.changed:
        publish_change(provider, at=at)
    return report


@transaction.atomic
def end_coverage(*, provider: Partner, technology: int, h3_res8: str, at: datetime) -> bool:
    """End what a network delivers in one cell; answers that were given keep their promise."""
    lists.hold(coverage_lists.holding(provider.pk))
    ended = CoverageArea.objects.filter(
        provider=provider,
        technology=technology,
        h3_res8=h3_res8,
        valid_from__lt=at,
        valid_to__isnull=True,
    ).update(valid_to=at)
    if ended:
        publish_change(provider, at=at)
    return bool(ended)


def publish_change(provider: Partner, *, at: datetime, **cause: str) -> None:
    """Tell that what a network delivers has changed, in the transaction in which it does."""
    events.publish(CHANGED, subject=provider.code, at=at, provider_id=provider.pk, **cause)


def coverage_reader(columns: Sequence[str], **options: Any) -> CoverageRows:
    """Return the reader of a coverage list with these columns; see `CoverageRows`.

    Raises:
        InvalidInput: on the field `file`; a column is missing.
    """
    technologies = frozenset(Technology.values)
    return CoverageRows(columns, technologies=technologies, country=countries.here(), **options)


def pieces(lines: Iterable[str]) -> Iterator[str]:
    """Join lines into pieces of text that are worth being sent."""
    source = iter(lines)
    while piece := list(islice(source, LINES_A_PIECE)):
        yield "\n".join(piece) + "\n"


def _whole(lines: Iterable[str]) -> list[str]:
    """Return all pieces, because rows may come from queries, and the connection is needed then."""
    return list(pieces(lines))


def _coverage_lines(
    rows: Iterable[Mapping[str, Any]], reader: CoverageRows, provider: Partner
) -> Iterator[str]:
    for number, row in enumerate(rows, start=1):
        place, node = row.get("premises"), row.get("node")
        if isinstance(node, AccessNode) and node.provider_id != provider.pk:
            other = InvalidInput("The node is of another provider.", field="node")
            yield reader.refused(number, other)
            continue
        plain = {
            **row,
            "premises": place.public_id if isinstance(place, Premises) else place,
            "node": node.name if isinstance(node, AccessNode) else node,
        }
        yield reader.line(number, _values(plain, _COVERAGE_COLUMNS))


def _values(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the values of a row as a file would have them."""
    return ["" if row.get(name) is None else str(row[name]) for name in columns]


def _report(plan: CoveragePlan | PlacePlan) -> ImportReport:
    counts: Counter[str] = Counter()
    for _, kind, count in plan.counts():
        counts[kind] += count
    return ImportReport(
        added=counts[lists.ADDED],
        changed=counts[lists.CHANGED],
        unchanged=counts[lists.UNCHANGED],
        rejected=[RejectedRow(*refused) for refused in plan.refused()],
    )
