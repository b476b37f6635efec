"""What was used in past billing periods, and what was charged for it.

Simulations read it here, for some accounts at a time, and never by another way: where the tables of
use change, `_USE` says what is meant.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.parties.models import Subscriber
from ispops.periods import Period, billing_period
from provisioning.models import ServicePeriod
from rating.differences import Parts
from rating.meters import GrantedPack
from rating.models import UsagePack
from rating.never_came import NEVER_CAME

_ROWS_AT_ONCE = 5_000
# Every use that was rated, with what it came to; nothing where it is included. Bundles that did not
# come to be were not charged for, whatever was used of them.
_USE = f"""
SELECT u.subscriber_id, u.service_id, u.offering_id, u.started_at, u.ended_at, u.quantity,
       r.amount_net AS net, r.isp_share AS isp, r.bsp_share AS bsp,
       r.network_provider_share AS network, r.amount_tax AS tax
  FROM rating_usage u LEFT JOIN rating_ratedusage r ON r.usage_id = u.id
 WHERE u.subscriber_id = ANY(%(subscribers)s::uuid[]) AND u.unit = %(unit)s
   AND u.started_at >= %(since)s AND u.started_at < %(until)s AND u.error_code = ''
   AND NOT EXISTS (SELECT FROM rating_waitingusage w WHERE u.id BETWEEN w.first AND w.last)
   AND NOT EXISTS ({NEVER_CAME.format(service="u.service_id")})
"""  # noqa: S608
# Use of a part of an aggregated plan counts for the plan where that has a price by this unit, and
# then not for the part.
_PLACED = f"""
SELECT use.*, s.billing_anchor_day AS anchor, p.start AS period_start,
       CASE WHEN %(is_bundle)s THEN COALESCE(v.line_id, v.id) ELSE v.id END AS meter,
       width_bucket(use.started_at, %(edges)s::timestamptz[]) AS segment
  FROM ({_USE}) use
  JOIN parties_subscriber s ON s.id = use.subscriber_id
  JOIN provisioning_service v ON v.id = use.service_id
  JOIN unnest(%(anchors)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS p(anchor, start, finish)
    ON p.anchor = s.billing_anchor_day AND use.started_at >= p.start AND use.started_at < p.finish
  LEFT JOIN provisioning_serviceperiod sp ON sp.service_id = use.service_id
       AND sp.started_at <= use.started_at
       AND (sp.ended_at IS NULL OR use.started_at < sp.ended_at)
 WHERE CASE WHEN %(is_bundle)s THEN sp.bundle_id = %(offering)s
       ELSE use.offering_id = %(offering)s AND NOT EXISTS (
           SELECT FROM catalog_offeringprice b
            WHERE b.offering_id = sp.bundle_id AND b.charge = 'usage' AND b.unit = %(unit)s
              AND b.currency = %(currency)s AND b.valid_from <= use.started_at
              AND (b.valid_to IS NULL OR use.started_at < b.valid_to)) END
"""  # noqa: S608
_PARTS = (
    "COALESCE({0}(net), 0), COALESCE({0}(isp), 0), COALESCE({0}(bsp), 0), "
    "COALESCE({0}(network), 0), COALESCE({0}(tax), 0)"
)
_SUMS = f"""
SELECT subscriber_id::text, anchor, meter::text, period_start, segment, offering_id,
       sum(quantity), count(*), NULL, NULL, {_PARTS.format("sum")}
  FROM ({_PLACED}) placed GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 3, 4, 5, 6
"""  # noqa: S608
_EACH = f"""
SELECT subscriber_id::text, anchor, meter::text, period_start, segment, offering_id,
       quantity, 1, started_at, ended_at, {_PARTS.format("")}
  FROM ({_PLACED}) placed
"""  # noqa: S608
# What was charged beside use itself: at the end of a period, and by re-rating.
_BESIDE = f"""
SELECT c.service_id::text, p.start, c.offering_id, c.bsp_id, c.network_provider_id,
       {_PARTS.format("sum")}
  FROM (SELECT c.*, c.amount_net AS net, c.isp_share AS isp, c.bsp_share AS bsp,
               c.network_provider_share AS network, c.amount_tax AS tax
          FROM rating_charge c LEFT JOIN catalog_offeringprice op ON op.id = c.price_id
         WHERE c.subscriber_id = ANY(%(subscribers)s::uuid[]) AND c.currency = %(currency)s
           AND NOT EXISTS ({NEVER_CAME.format(service="c.service_id")})
           AND (c.cause LIKE 'minimum:%%' AND op.offering_id = %(offering)s AND op.unit = %(unit)s
                OR c.cause LIKE 'rerating:%%' AND c.unit = %(unit)s
                   AND COALESCE(c.bundle_id, c.offering_id) = %(offering)s)) c
  JOIN parties_subscriber s ON s.id = c.subscriber_id
  JOIN unnest(%(anchors)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS p(anchor, start, finish)
    ON p.anchor = s.billing_anchor_day AND c.period_start >= p.start AND c.period_start < p.finish
 GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608
# What went back of charges for use by hand, and shares that were put right; by the periods of the
# charges, and not of the corrections.
_GIVEN_BACK = f"""
SELECT c.service_id::text, p.start, c.offering_id, c.bsp_id, c.network_provider_id,
       {_PARTS.format("sum")}
  FROM (SELECT o.service_id, o.offering_id, o.bsp_id, o.network_provider_id, o.subscriber_id,
               o.period_start, c.amount_net AS net, c.isp_share AS isp, c.bsp_share AS bsp,
               c.network_provider_share AS network, c.amount_tax AS tax
          FROM rating_charge o
          JOIN rating_charge c ON o.id IN (c.corrects_id, c.reverses_id)
         WHERE o.subscriber_id = ANY(%(subscribers)s::uuid[])
           AND c.subscriber_id = ANY(%(subscribers)s::uuid[])
           AND o.currency = %(currency)s AND o.unit = %(unit)s
           AND COALESCE(o.bundle_id, o.offering_id) = %(offering)s
           AND (o.step_after IS NOT NULL OR o.cause LIKE 'minimum:%%'
                OR o.cause LIKE 'rerating:%%')) c
  JOIN parties_subscriber s ON s.id = c.subscriber_id
  JOIN unnest(%(anchors)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
       AS p(anchor, start, finish)
    ON p.anchor = s.billing_anchor_day AND c.period_start >= p.start AND c.period_start < p.finish
 GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608
_PACKS = """
SELECT pack.service_id::text, pack.period_start, pack.after, pack.units, pack.periods
  FROM rating_usagepack pack
  JOIN catalog_offeringprice op ON op.id = pack.price_id AND op.offering_id = %(offering)s
       AND op.unit = %(unit)s AND op.currency = %(currency)s
  JOIN provisioning_service v ON v.id = pack.service_id
 WHERE v.subscriber_id = ANY(%(subscribers)s::uuid[]) AND pack.period_start < %(until)s
 ORDER BY pack.id
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which use is meant: of an offering and unit, in the billing periods of each account.

    `periods` are by the billing day of accounts, from that which holds `since` on; `edges` are the
    moments at which shares or taxes change, in order.
    """

    offering: ProductOffering
    unit: str
    currency: str
    since: datetime
    until: datetime
    periods: dict[int, list[Period]]
    edges: list[datetime]

    def parameters(self, subscribers: Sequence[UUID]) -> dict[str, Any]:
        placed = [(anchor, period) for anchor, rows in self.periods.items() for period in rows]
        return {
            "subscribers": [str(key) for key in subscribers],
            "offering": self.offering.pk,
            "is_bundle": self.offering.kind == ProductOffering.Kind.BUNDLE,
            "unit": self.unit,
            "currency": self.currency,
            "since": self.since,
            "until": self.until,
            "anchors": [anchor for anchor, _ in placed],
            "starts": [period.start for _, period in placed],
            "ends": [period.end for _, period in placed],
            "edges": self.edges,
        }


class Shared(NamedTuple):
    """What amounts are added up by: the period, the product, and who shares in it."""

    period_start: datetime
    offering_id: int
    bsp_id: int | None
    network_provider_id: int | None


class Used(NamedTuple):
    """Use that counts together, or one use: on which meter, when, between which edges of terms."""

    subscriber_id: str
    anchor_day: int
    meter: str
    period_start: datetime
    segment: int
    offering_id: int
    quantity: int
    uses: int
    started_at: datetime | None
    ended_at: datetime | None
    paid: Parts


def periods_between(since: datetime, until: datetime, anchor_day: int) -> list[Period]:
    """Return the billing periods of a billing day from the one that holds `since` on."""
    found = []
    at = since
    while at < until:
        period = billing_period(at, anchor_day=anchor_day, zone=settings.BILLING_TIME_ZONE)
        found.append(period)
        at = period.end
    return found


def accounts(offering: ProductOffering, currency: str, until: datetime) -> QuerySet[Subscriber]:
    """Return the accounts that ever had an offering before a moment, in the order of their keys."""
    spans = ServicePeriod.objects.filter(
        Q(offering=offering) | Q(bundle=offering),
        service__subscriber=OuterRef("pk"),
        started_at__lt=until,
    )
    return Subscriber.objects.filter(Exists(spans), currency=currency).order_by("pk")


def used(scope: Scope, subscribers: Sequence[UUID], *, by_event: bool) -> Iterator[Used]:
    """Yield what some accounts used: in sums, or use by use from a cursor of the database.

    A cursor of the server needs a transaction around it.
    """
    with connection.chunked_cursor() as cursor:
        cursor.execute(_EACH if by_event else _SUMS, scope.parameters(subscribers))
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for row in rows:
                *placed, quantity, uses, started, ended = row[:10]
                parts = Parts(*(int(amount) for amount in row[10:]))
                yield Used._make((*placed, int(quantity), uses, started, ended, parts))


def charged_beside(
    scope: Scope, subscribers: Sequence[UUID]
) -> dict[str, list[tuple[Shared, Parts]]]:
    """Return by service what was charged beside use: for too little of it, or by re-rating."""
    return _shared_parts(_BESIDE, scope, subscribers)


def given_back(scope: Scope, subscribers: Sequence[UUID]) -> dict[str, list[tuple[Shared, Parts]]]:
    """Return by service what went back by hand of what was charged; amounts below zero."""
    return _shared_parts(_GIVEN_BACK, scope, subscribers)


def _shared_parts(
    query: str, scope: Scope, subscribers: Sequence[UUID]
) -> dict[str, list[tuple[Shared, Parts]]]:
    found: defaultdict[str, list[tuple[Shared, Parts]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(query, scope.parameters(subscribers))
        for service, start, offering, bsp, network, *parts in cursor.fetchall():
            shared = Shared(start, offering, bsp, network)
            found[service].append((shared, Parts(*(int(amount) for amount in parts))))
    return found


def packs(scope: Scope, subscribers: Sequence[UUID]) -> dict[str, tuple[GrantedPack, ...]]:
    """Return the packs of units that were bought for services of some accounts."""
    found: dict[str, tuple[GrantedPack, ...]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_PACKS, scope.parameters(subscribers))
        for service, *pack in cursor.fetchall():
            found[service] = (*found.get(service, ()), GrantedPack(*pack))
    return found


def has_packs(offering: ProductOffering, unit: str) -> bool:
    """Say whether packs of units were ever bought for an offering."""
    return UsagePack.objects.filter(price__offering=offering, price__unit=unit).exists()


def versions(offering: ProductOffering, unit: str, currency: str) -> list[OfferingPrice]:
    """Return all versions of a price by use, in order."""
    same = OfferingPrice.objects.filter(offering=offering, charge=OfferingPrice.Charge.USAGE)
    return list(same.filter(unit=unit, currency=currency).order_by("valid_from"))
