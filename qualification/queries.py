"""Reads of lines and answers; what an asker may see is decided here. Places: `gazetteer`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet

from ispops.catalog.models import ProductOffering
from ispops.errors import NotFound
from ispops.parties.models import Partner
from qualification.models import (
    AccessPort,
    BulkQualification,
    CoverageArea,
    Premises,
    ProviderConnection,
    QualifiedOffer,
    ServiceQualification,
)

# An answer counts free ports so far: whether a node is nearly full matters, and not how big it is.
MOST_PORTS_COUNTED = 50


def coverage_at(
    premises: Premises | None, cell: str, at: datetime, holder: str = ""
) -> list[CoverageArea]:
    """Return what each network can deliver at a place, as far as its lists say, in one query.

    For one network and technology the row of the premises wins over the row of its H3 cell. Each
    row has `free_ports`: how many there are, up to `MOST_PORTS_COUNTED`, or None where the network
    counts none. A port that is held for the answer `holder` is free; for others it is taken. And it
    has `some_can_be_asked`: whether any provider at all can be asked by `connections_asked`.
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
        .annotate(
            free_here=Func(counted, function="cardinality", output_field=IntegerField()),
            somebody_is_there=Exists(_active_connections()),
        )
        .order_by("provider", "technology")
    )
    best: dict[tuple[int, int], CoverageArea] = {}
    for row in rows:
        row.free_ports = row.free_here if row.node_id else None
        row.some_can_be_asked = row.somebody_is_there
        key = (row.provider_id, row.technology)
        if row.premises_id or key not in best:
            best[key] = row
    return list(best.values())


def connections_asked(rows: Sequence[CoverageArea]) -> list[ProviderConnection]:
    """Return the connections of the providers that may reach a place, by what covers it.

    `rows` are those of `coverage_at`. Where they say that nobody can be asked, nothing is read.
    """
    if rows and not rows[0].some_can_be_asked:
        return []
    reached = {row.provider_id for row in rows if row.max_download_kbps > 0}
    asked = Q(asked_everywhere=True) | Q(partner__in=reached)
    return list(_active_connections().filter(asked).select_related("partner").order_by("pk"))


def _active_connections() -> QuerySet[ProviderConnection]:
    return ProviderConnection.objects.filter(active=True, partner__active=True)


def offers_of(qualification: ServiceQualification) -> list[QualifiedOffer]:
    """Return all offers of an answer, the eligible ones first; each has `closest`. One query.

    A page shows the columns of the offer: of the offering it reads the code and the kind alone,
    which never change, because the rest may be another today.
    """
    rows = qualification.offers.select_related("offering", "provider").order_by(
        "-eligible", "offering__kind", "recurring_amount", "pk"
    )
    offers = list(rows)
    by_offering = {offer.offering_id: offer for offer in offers}
    for offer in offers:
        offer.closest = by_offering.get(offer.alternative_id or 0)
    return offers


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


def readable_by(user: Any) -> QuerySet[ServiceQualification]:
    """Return the answers that a caller may read who knows their ids.

    A login or a partner may read its own. Whoever calls without a token may read those that were
    asked for without one: their ids are as hard to guess as a token, and they name no person.
    """
    if user is not None:
        return asked_by(asker_of(user))
    return ServiceQualification.objects.filter(asker="").select_related("premises")


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
