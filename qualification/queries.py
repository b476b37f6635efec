"""Reads of lines and answers; what an asker may see is decided here. Places: `gazetteer`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet

from ispops import filework
from ispops.catalog.models import ProductOffering
from ispops.money import from_micros
from ispops.parties.models import Partner
from qualification.models import (
    AccessNode,
    BulkQualification,
    CoverageArea,
    Premises,
    ProviderConnection,
    ProviderInquiry,
    QualifiedOffer,
    ServiceQualification,
)

_AREA = [field.attname for field in CoverageArea._meta.concrete_fields]
_PROVIDER = ["id", "code", "name", "is_on_net"]
_NODE = ["id", "name"]


def _columns(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


# Written out, because every answer asks it, and to have it composed anew each time takes longer
# than to have it answered. Which ports are free is what `models.places.is_free` says.
_COVERAGE = f"""
SELECT {_columns("area", _AREA)}, {_columns("provider", _PROVIDER)}, {_columns("node", _NODE)},
       (SELECT count(*) FROM (
            SELECT FROM qualification_accessport port
             WHERE port.node_id = area.node_id AND port.service_ref IS NULL
               AND (port.held_until IS NULL OR port.held_until <= %(at)s
                    OR port.held_for = %(holder)s)
             LIMIT %(most)s) free),
       EXISTS (SELECT FROM qualification_providerconnection asked
                 JOIN parties_partner partner ON partner.id = asked.partner_id
                WHERE asked.active AND partner.active)
  FROM qualification_coveragearea area
  JOIN parties_partner provider ON provider.id = area.provider_id AND provider.active
  LEFT JOIN qualification_accessnode node ON node.id = area.node_id
 WHERE (area.h3_res8 = %(cell)s AND area.h3_res8 <> '' OR area.premises_id = %(premises)s)
   AND area.valid_from <= %(at)s AND (area.valid_to IS NULL OR area.valid_to > %(at)s)
 ORDER BY area.provider_id, area.technology
"""  # noqa: S608  # our own words alone
# An answer counts free ports so far: whether a node is nearly full matters, and not how big it is.
MOST_PORTS_COUNTED = 50


def coverage_at(
    premises: Premises | None, cell: str, at: datetime, holder: str = ""
) -> list[CoverageArea]:
    """Return what each network can deliver at a place, as far as its lists say, in one query.

    For one network and technology the row of the premises wins over the row of its H3 cell. Each
    row has `free_ports`: how many there are, up to `MOST_PORTS_COUNTED`, or None where the network
    counts none. A port that is held for the answer `holder` is free; for others it is taken. And it
    has `some_can_be_asked`: whether any provider at all can be asked by `connections_asked`. Of its
    provider and its node, only what an answer needs has been read.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _COVERAGE,
            {
                "cell": cell,
                "premises": premises.pk if premises else None,
                "at": at,
                "holder": holder,
                "most": MOST_PORTS_COUNTED,
            },
        )
        found = cursor.fetchall()
    best: dict[tuple[int, int], CoverageArea] = {}
    for values in found:
        row = _coverage_row(values)
        key = (row.provider_id, row.technology)
        if row.premises_id or key not in best:
            best[key] = row
    return list(best.values())


def _coverage_row(values: Sequence[Any]) -> CoverageArea:
    """Make the objects of a row of `_COVERAGE`; nothing of them is read again."""
    *known, free_ports, some_can_be_asked = values
    area = CoverageArea.from_db("default", _AREA, known[: len(_AREA)])
    # The amount comes from the column in whole micro-units.
    area.construction_fee = from_micros(known[_AREA.index("construction_fee")])
    others = known[len(_AREA) :]
    area.provider = Partner.from_db("default", _PROVIDER, others[: len(_PROVIDER)])
    if area.node_id:
        area.node = AccessNode.from_db("default", _NODE, others[len(_PROVIDER) :])
    area.free_ports = free_ports if area.node_id else None
    area.some_can_be_asked = some_can_be_asked
    return area


def connections_asked(rows: Sequence[CoverageArea]) -> list[ProviderConnection]:
    """Return the connections of the providers that may reach a place, by what covers it.

    `rows` are those of `coverage_at`. Where they say that nobody can be asked, nothing is read.
    """
    if rows and not rows[0].some_can_be_asked:
        return []
    reached = {row.provider_id for row in rows if row.max_download_kbps > 0}
    asked = Q(asked_everywhere=True) | Q(partner__in=reached)
    return list(active_connections().filter(asked).select_related("partner").order_by("pk"))


def somebody_is_asked_everywhere() -> bool:
    """Whether a provider can be asked of any place, also where no list says that it delivers."""
    return active_connections().filter(asked_everywhere=True).exists()


def active_connections() -> QuerySet[ProviderConnection]:
    """Return the connections of all providers that can be asked."""
    return ProviderConnection.objects.filter(active=True, partner__active=True)


def inquiries_of(qualification: ServiceQualification) -> QuerySet[ProviderInquiry]:
    """Return whom an answer asked, with the provider of each, in the order of their names."""
    asked = qualification.inquiries.select_related("connection__partner")
    return asked.order_by("connection__partner__name")


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
    return filework.written(bulk, bulk.result)
