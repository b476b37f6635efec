"""Verbs for what an operator imports: places, access nodes and where networks deliver.

An import is one transaction. Rows that cannot be used are left out and reported with the field
and the reason; importing the same list again changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, TypeVar

import h3
from django.db import transaction

from ispops.catalog.models import Technology
from ispops.errors import InvalidInput
from ispops.parties.models import Partner
from qualification import countries
from qualification.models import AccessNode, AccessPort, CoverageArea, Premises

T = TypeVar("T")
RESOLUTION = 8
_BATCH = 2_000
_MOST_PORTS = 100_000
_PREMISES_FIELDS = (
    "location_id", "street", "city", "region", "postal_code", "latitude", "longitude", "h3_res8",
    "source",
)  # fmt: skip
_COVERAGE_FACTS = (
    "max_download_kbps", "max_upload_kbps", "low_latency", "install_days", "loop_length_m",
    "construction_fee", "construction_days", "node_id",
)  # fmt: skip


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

    def reject(self, number: int, refusal: InvalidInput) -> None:
        self.rejected.append(RejectedRow(number, refusal.field, refusal.detail))


@transaction.atomic
def import_premises(*, rows: Iterable[Mapping[str, Any]], at: datetime) -> ImportReport:
    """Add places from a location list, or correct the ones that are known by the same address.

    A row has `street, city, region, postal_code`, and may have `unit, latitude, longitude,
    location_id`. Places with coordinates get the H3 cell of resolution 8 that holds them. A place
    that had only been asked for is confirmed by being on the list.
    """
    report = ImportReport()
    seen: set[tuple[str, str]] = set()
    locations: set[str] = set()
    for batch in _batches(enumerate(rows, start=1)):
        places = []
        for number, row in batch:
            try:
                place = _place(row, at)
                _refuse_repeats(place, seen, locations)
            except InvalidInput as refusal:
                report.reject(number, refusal)
            else:
                places.append((number, place))
        _store_places(places, report)
    return report


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
        batch_size=_BATCH,
    )
    return node


@transaction.atomic
def import_coverage(
    *, rows: Iterable[Mapping[str, Any]], provider: Partner, at: datetime
) -> ImportReport:
    """Set what a network can deliver, from `at` on, at the places and H3 cells of a list.

    A row has `technology, max_download_kbps, max_upload_kbps` and either `premises` (a row or a
    public id), `location_id` or `h3_res8`; it may have `low_latency, install_days, loop_length_m,
    construction_fee, construction_days, node` (a node's name or row). What was in force there for
    the same technology ends; places that are not listed keep what they have. A speed of zero at
    a premises says that its cell's coverage does not reach it.
    """
    report = ImportReport()
    nodes = {node.name: node for node in provider.nodes.all()}
    seen: set[tuple[Any, ...]] = set()
    for batch in _batches(enumerate(rows, start=1)):
        places = _places_named(row for _, row in batch)
        areas = []
        for number, row in batch:
            try:
                area = _area(row, provider, nodes, places, at)
                if _place_key(area) in seen:
                    raise InvalidInput("The list has this place twice.", field="place")
            except InvalidInput as refusal:
                report.reject(number, refusal)
            else:
                seen.add(_place_key(area))
                areas.append((number, area))
        _store_areas(areas, report, at)
    return report


@transaction.atomic
def end_coverage(*, provider: Partner, technology: int, h3_res8: str, at: datetime) -> bool:
    """End what a network delivers in one cell; answers that were given keep their promise."""
    rows = CoverageArea.objects.select_for_update().at(at)
    area = rows.filter(provider=provider, technology=technology, h3_res8=h3_res8).first()
    if area is None or area.valid_to is not None:
        return False
    area.valid_to = at
    area.save(update_fields=["valid_to"])
    return True


def _place(row: Mapping[str, Any], at: datetime) -> Premises:
    """Make an unsaved place of a row of a location list."""
    text = {
        name: str(row.get(name) or "").strip()
        for name in ("street", "unit", "city", "region", "postal_code", "location_id")
    }
    form = countries.here().from_fields(
        street=text["street"], unit=text["unit"], city=text["city"], region=text["region"],
        postal_code=text["postal_code"],
    )  # fmt: skip
    latitude = _degrees(row.get("latitude"), "latitude", 90)
    longitude = _degrees(row.get("longitude"), "longitude", 180)
    if (latitude is None) != (longitude is None):
        raise InvalidInput("Latitude and longitude go together.", field="latitude")
    if len(text["location_id"]) > 40 or len(form.unit) > 40:
        raise InvalidInput("Up to 40 characters are possible.", field="location_id")
    cell = ""
    if latitude is not None and longitude is not None:
        cell = h3.latlng_to_cell(float(latitude), float(longitude), RESOLUTION)
    return Premises(
        location_id=text["location_id"] or None,
        street=text["street"],
        unit=form.unit,
        city=text["city"],
        region=form.region,
        postal_code=form.postal_code,
        match_key=form.match_key,
        latitude=latitude,
        longitude=longitude,
        h3_res8=cell,
        created_at=at,
    )


def _degrees(value: Any, name: str, most: int) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        degrees = Decimal(str(value)).quantize(Decimal("0.000001"))
    except InvalidOperation as error:
        raise InvalidInput("This is not a number of degrees.", field=name) from error
    if degrees.is_nan() or not -most <= degrees <= most:
        raise InvalidInput(f"Degrees are from -{most} to {most}.", field=name)
    return degrees


def _refuse_repeats(place: Premises, seen: set[tuple[str, str]], locations: set[str]) -> None:
    key = (place.match_key, place.unit)
    if key in seen:
        raise InvalidInput("The list has this address twice.", field="street")
    if place.location_id in locations:
        raise InvalidInput("The list has this location id twice.", field="location_id")
    seen.add(key)
    if place.location_id:
        locations.add(place.location_id)


def _store_places(places: list[tuple[int, Premises]], report: ImportReport) -> None:
    known = {
        (place.match_key, place.unit): place
        for place in Premises.objects.filter(match_key__in={row.match_key for _, row in places})
    }
    wanted = {row.location_id for _, row in places if row.location_id}
    owners = dict(Premises.objects.filter(location_id__in=wanted).values_list("location_id", "pk"))
    new, changed = [], []
    for number, place in places:
        old = known.get((place.match_key, place.unit))
        owner = owners.get(place.location_id) if place.location_id else None
        if owner is not None and (old is None or owner != old.pk):
            taken = InvalidInput("Another address has this location id.", field="location_id")
            report.reject(number, taken)
        elif old is None:
            new.append(place)
        elif any(getattr(old, name) != getattr(place, name) for name in _PREMISES_FIELDS):
            for name in _PREMISES_FIELDS:
                setattr(old, name, getattr(place, name))
            changed.append(old)
        else:
            report.unchanged += 1
    Premises.objects.bulk_create(new, batch_size=_BATCH)
    Premises.objects.bulk_update(changed, _PREMISES_FIELDS, batch_size=500)
    report.added += len(new)
    report.changed += len(changed)


def _places_named(rows: Iterable[Mapping[str, Any]]) -> dict[str, Premises]:
    """Read the places that rows name, by location id and by public id, in two queries."""
    listed = list(rows)
    locations = {str(row["location_id"]) for row in listed if row.get("location_id")}
    keys = {
        Premises.key_of(row["premises"]) for row in listed if isinstance(row.get("premises"), str)
    }
    places: dict[str, Premises] = {}
    if locations:
        for place in Premises.objects.filter(location_id__in=locations):
            places[str(place.location_id)] = place
    if keys:
        for place in Premises.objects.filter(pk__in=[key for key in keys if key]):
            places[place.public_id] = place
    return places


def _area(
    row: Mapping[str, Any],
    provider: Partner,
    nodes: dict[str, AccessNode],
    places: dict[str, Premises],
    at: datetime,
) -> CoverageArea:
    """Make an unsaved coverage row of a row of the list."""
    technology = _whole(row, "technology")
    if technology not in Technology.values:
        raise InvalidInput("This technology code is not known.", field="technology")
    named = row.get("node")
    node = nodes.get(named) if isinstance(named, str) and named else named or None
    if named and (node is None or node.provider_id != provider.pk):
        raise InvalidInput("The provider has no node of this name.", field="node")
    if node and node.technology != technology:
        raise InvalidInput("The node is of another technology.", field="node")
    premises, cell = _where(row, places)
    return CoverageArea(
        provider=provider,
        technology=technology,
        premises=premises,
        h3_res8=cell,
        max_download_kbps=_whole(row, "max_download_kbps"),
        max_upload_kbps=_whole(row, "max_upload_kbps"),
        low_latency=bool(row.get("low_latency", True)),
        install_days=_whole(row, "install_days", 7, 3_650),
        loop_length_m=_whole(row, "loop_length_m", 0, 100_000) or None,
        construction_fee=_fee(row.get("construction_fee", 0)),
        construction_days=_whole(row, "construction_days", 0, 3_650),
        node=node,
        valid_from=at,
    )


def _where(row: Mapping[str, Any], places: dict[str, Premises]) -> tuple[Premises | None, str]:
    cell = str(row.get("h3_res8") or "")
    named = row.get("premises") or row.get("location_id")
    if bool(cell) == bool(named):
        raise InvalidInput("Give a premises, a location id or an H3 cell.", field="place")
    if cell:
        if not h3.is_valid_cell(cell) or h3.get_resolution(cell) != RESOLUTION:
            raise InvalidInput("This is no H3 cell of resolution 8.", field="h3_res8")
        return None, cell
    premises = named if isinstance(named, Premises) else places.get(str(named))
    if premises is None:
        field_name = "premises" if row.get("premises") else "location_id"
        raise InvalidInput("There is no place with this id.", field=field_name)
    return premises, ""


def _whole(row: Mapping[str, Any], name: str, default: int | None = None, most: int = 10**9) -> int:
    value = row.get(name, default)
    if value is None or value == "":
        value = default
    try:
        number = int(str(value))
    except ValueError as error:
        raise InvalidInput("This is not a whole number.", field=name) from error
    if not 0 <= number <= most:
        raise InvalidInput(f"The number is from 0 to {most:,}.", field=name)
    return number


def _fee(value: Any) -> Decimal:
    try:
        fee = Decimal(str(value))
    except InvalidOperation as error:
        raise InvalidInput("This is no amount of money.", field="construction_fee") from error
    if not fee.is_finite() or not 0 <= fee <= 10**7:
        raise InvalidInput("The fee is from 0 to 10,000,000.", field="construction_fee")
    return fee


def _place_key(area: CoverageArea) -> tuple[Any, ...]:
    return area.technology, area.premises_id, area.h3_res8


def _store_areas(areas: list[tuple[int, CoverageArea]], report: ImportReport, at: datetime) -> None:
    if not areas:
        return
    provider = areas[0][1].provider
    rows = CoverageArea.objects.select_for_update().filter(provider=provider, valid_to=None)
    cells = {area.h3_res8 for _, area in areas if area.h3_res8}
    places = {area.premises_id for _, area in areas if area.premises_id}
    known = {_place_key(row): row for row in rows.filter(h3_res8__in=cells).order_by("pk")}
    known |= {_place_key(row): row for row in rows.filter(premises__in=places).order_by("pk")}
    new, ended = [], []
    for number, area in areas:
        old = known.get(_place_key(area))
        if old and all(getattr(old, name) == getattr(area, name) for name in _COVERAGE_FACTS):
            report.unchanged += 1
            continue
        if old and old.valid_from >= at:
            late = InvalidInput("A later list has changed this place already.", field="place")
            report.reject(number, late)
            continue
        if old:
            ended.append(old.pk)
        new.append(area)
    CoverageArea.objects.filter(pk__in=ended).update(valid_to=at)
    CoverageArea.objects.bulk_create(new, batch_size=_BATCH)
    report.changed += len(ended)
    report.added += len(new) - len(ended)


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH)):
        yield batch
