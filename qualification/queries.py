"""Reads of places, lines and answers; what an asker may see is decided here."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, F, Func, IntegerField, OuterRef, Q, QuerySet, Value, When

from ispops.catalog.models import ProductOffering
from ispops.errors import NotFound
from ispops.parties.models import Partner
from qualification import addresses, countries
from qualification.addresses import Address
from qualification.models import (
    AccessPort,
    BulkQualification,
    CoverageArea,
    Premises,
    QualifiedOffer,
    ServiceQualification,
)

# So many places are offered to pick from; more than anybody reads.
MOST_CANDIDATES = 100
# An answer counts free ports so far: whether a node is nearly full matters, and not how big it is.
MOST_PORTS_COUNTED = 50


def suggest(text: str, limit: int = 8) -> list[Premises]:
    """Return places whose address begins like the text, for completion while typing.

    Only what the location lists hold is shown, so that nobody learns which addresses others have
    asked for; and nothing of a place but its address. Answered from the index of the keys.
    """
    begins = Q()
    for prefix in countries.here().prefixes(text):
        begins |= Q(match_key__startswith=prefix)
    if not begins:
        return []
    found = Premises.objects.filter(begins, source=Premises.Source.IMPORTED)
    return list(found.order_by("match_key", "unit")[:limit])


def premises_matching(readings: Sequence[Address]) -> list[Premises]:
    """Return the known places that an address may mean, best first; empty when there is none.

    The street must be one of the readings' streets, and the ZIP code or the city must be theirs;
    so a city by another of its names is found by its ZIP code, and a wrong ZIP code by the city.
    One query, by the index of the keys.
    """
    place = Q()
    for reading in readings:
        begins = Q(match_key__startswith=f"{reading.street}, ")
        if reading.postal_code:
            place |= begins & Q(postal_code=reading.postal_code)
        if reading.city:
            place |= Q(match_key__startswith=reading.key_before_postal_code)
    units = {reading.unit for reading in readings if reading.unit}
    found = Premises.objects.filter(place).annotate(
        other_unit=Case(When(unit__in=units, then=0), default=1, output_field=IntegerField())
    )
    rows = list(found.order_by("other_unit", "match_key", "unit")[: MOST_CANDIDATES + 1])
    return sorted(rows, key=lambda row: _distance(row, readings))


def near_misses(address: Address) -> list[Premises]:
    """Return known places of the same street number and ZIP code whose street is spelt alike."""
    rows = Premises.objects.filter(
        postal_code=address.postal_code,
        match_key__startswith=f"{address.house_number} ",
        source=Premises.Source.IMPORTED,
    ).order_by("match_key", "unit")[:500]
    wanted = address.street_name
    return [
        row
        for row in rows
        if addresses.is_misspelling(
            row.match_key.partition(", ")[0].removeprefix(f"{address.house_number} "), wanted
        )
    ][:MOST_CANDIDATES]


def neighbours(address: Address, limit: int = 200) -> list[Premises]:
    """Return listed places of the same ZIP code that have an area, those of its street first."""
    on_street = f" {address.street_name}, "
    return list(
        Premises.objects.filter(postal_code=address.postal_code, source=Premises.Source.IMPORTED)
        .exclude(h3_res8="")
        .annotate(
            elsewhere=Case(
                When(match_key__contains=on_street, then=Value(0)),
                default=Value(1),
                output_field=IntegerField(),
            )
        )
        .order_by("elsewhere", "match_key")[:limit]
    )


def coverage_at(
    premises: Premises | None, cell: str, at: datetime, holder: str = ""
) -> list[CoverageArea]:
    """Return what each network can deliver at a place, as far as its lists say, in one query.

    For one network and technology the row of the premises wins over the row of its H3 cell. Each
    row has `free_ports`: how many there are, up to `MOST_PORTS_COUNTED`, or None where the network
    counts none. A port that is held for the answer `holder` is free; for others it is taken.
    """
    here = Q(h3_res8=cell) & ~Q(h3_res8="")
    if premises is not None:
        here |= Q(premises=premises)
    free = AccessPort.objects.filter(node=OuterRef("node")).free(at, holder)
    counted = ArraySubquery(free.values("number")[:MOST_PORTS_COUNTED])
    rows = (
        CoverageArea.objects.at(at)
        .filter(here, provider__active=True)
        .select_related("provider", "node")
        .annotate(free_here=Func(counted, function="cardinality", output_field=IntegerField()))
        .order_by("provider", "technology")
    )
    best: dict[tuple[int, int], CoverageArea] = {}
    for row in rows:
        row.free_ports = row.free_here if row.node_id else None
        key = (row.provider_id, row.technology)
        if row.premises_id or key not in best:
            best[key] = row
    return list(best.values())


def offers_of(qualification: ServiceQualification) -> QuerySet[QualifiedOffer]:
    """Return all offers of an answer with what a page shows of them, the eligible ones first."""
    return qualification.offers.select_related("offering", "provider").order_by(
        "-eligible", "offering__kind", "recurring_amount", "pk"
    )


def best_plan(qualification: ServiceQualification) -> QualifiedOffer | None:
    """Return the fastest plan that an answer offers, the cheapest of those; None without any."""
    plans = qualification.offers.filter(eligible=True, offering__kind=ProductOffering.Kind.ACCESS)
    return (
        plans.select_related("coverage")
        .order_by(F("download_kbps").desc(nulls_last=True), "recurring_amount", "pk")
        .first()
    )


def listed_in(postal_code: str) -> QuerySet[Premises]:
    """Return the places of a ZIP code that location lists hold; none for an empty code."""
    listed = Premises.objects.filter(postal_code=postal_code, source=Premises.Source.IMPORTED)
    return listed if postal_code else listed.none()


def networks() -> list[int]:
    """Return the keys of all network providers."""
    kind = Partner.Kind.NETWORK_PROVIDER
    return list(Partner.objects.filter(kind=kind).order_by("pk").values_list("pk", flat=True))


def asker_of(user: Any) -> str:
    """Return the name under which a login's own answers are kept; empty for a visitor.

    All programs of a partner share one name, because they share one login.
    """
    if not getattr(user, "is_authenticated", False):
        return ""
    partner = getattr(user, "partner", None)
    return f"partner_{partner.code}" if partner else f"user_{user.pk}"


def asked_by(asker: str) -> QuerySet[ServiceQualification]:
    """Return the answers that one asker got; a visitor without a name has none."""
    if not asker:
        return ServiceQualification.objects.none()
    return ServiceQualification.objects.filter(asker=asker).select_related("premises")


def _distance(row: Premises, readings: Sequence[Address]) -> tuple[int, ...]:
    """Rank a place: first by the parts that differ from a reading, then by the reading's rank."""
    street = row.match_key.partition(", ")[0]
    return min(
        (
            int(bool(reading.postal_code) and reading.postal_code != row.postal_code),
            int(reading.unit != row.unit),
            int(not row.match_key.startswith(f"{street}, {reading.city}, ")),
            rank,
        )
        for rank, reading in enumerate(readings)
        if reading.street == street
    )


def files_of(asker: str) -> QuerySet[BulkQualification]:
    """Return the files of addresses that one asker sent; a visitor without a name has none."""
    if not asker:
        return BulkQualification.objects.none()
    return BulkQualification.objects.filter(asker=asker)


def answers_of(bulk: BulkQualification) -> Iterator[bytes]:
    """Yield what is done of a file of answers, whole rows only, also while it is being written.

    Raises:
        NotFound: nothing is done yet.
    """
    if not bulk.bytes_written:
        raise NotFound("Nothing is done yet. Look again in a moment.")
    return _first_bytes(bulk.result.storage.open(str(bulk.result)), bulk.bytes_written)


def _first_bytes(file: IO[bytes], count: int) -> Iterator[bytes]:
    with file:
        while count and (piece := file.read(min(count, 1 << 16))):
            count -= len(piece)
            yield piece
