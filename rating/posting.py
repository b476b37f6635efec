"""Rated use becomes charges: one for each counter that moved, whenever charges are needed.

A bill, a statement or the end of a day posts what was rated since the last time. The charge is the
sum of the steps that it gathers, which PostgreSQL checks, and explains itself as one large step
from where the counter stood to where it stands. Steps of one counter that differ in who shares in
them, or in the part of an aggregated plan that was used, are gathered apart.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction

from ispops import binary
from ispops.catalog.models import OfferingPrice
from ispops.db import Prepared
from ispops.money import from_micros
from ispops.parties.models import Subscriber
from ispops.periods import Period, billing_period
from provisioning.models import Service
from rating import lanes, partitions, pricing, usage_ids
from rating.models import Charge, Purchase, UsagePosting
from rating.never_came import DID_NOT_COME
from rating.pricing import Use
from rating.rules import usage_rule

# What a worker began to rate before a moment is committed by then.
COMMITTED_WITHIN = timedelta(hours=1)
COUNTERS_AT_ONCE = 5_000
# A charge says no larger quantity, so that bills can add many up; its amount is exact always.
MOST_UNITS = 10**17
_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)

# Steps are numbered in the order in which they were committed, which may differ from that of their
# times by a moment: what was rated until then is all up to the last step before it.
# Use of a part of a bundle that did not come to be is not charged; see `parts`.
_UNPOSTED = """
SELECT subscriber_id, service_id, offering_id, price_id, period_start, bsp_id, network_provider_id,
       step_before, max(step), LEAST(sum(quantity), %(most)s)::bigint, sum(amount_net)::bigint,
       sum(isp_share)::bigint, sum(bsp_share)::bigint, sum(network_provider_share)::bigint,
       sum(amount_tax)::bigint, LEAST(max(rated_at), %(until)s - interval '1 microsecond'),
       count(*), (array_agg(explanation ORDER BY step DESC))[1]
  FROM (
    SELECT step.*, COALESCE(posted.step_after, 0) AS step_before,
           max(step.step) FILTER (WHERE step.rated_at < %(until)s) OVER (
               PARTITION BY step.service_id, step.price_id, step.period_start, step.offering_id,
                            step.bsp_id, step.network_provider_id) AS last
      FROM {steps}
      LEFT JOIN LATERAL (
        SELECT charge.step_after FROM rating_charge charge
         WHERE charge.step_after IS NOT NULL AND charge.service_id = step.service_id
           AND charge.price_id = step.price_id AND charge.period_start = step.period_start
           AND charge.offering_id = step.offering_id
           AND (charge.bsp_id, charge.network_provider_id)
               IS NOT DISTINCT FROM (step.bsp_id, step.network_provider_id)
         ORDER BY charge.step_after DESC LIMIT 1) posted ON true
     WHERE step.usage_id >= %(first)s AND step.step > COALESCE(posted.step_after, 0)
  ) unposted
 WHERE step <= last GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
HAVING NOT EXISTS (
    SELECT FROM rating_purchase part JOIN rating_purchase whole ON whole.id = part.part_of_id
     WHERE part.service_id = unposted.service_id
       AND (whole.state = 'reversed' OR whole.cancelled_at = whole.settled_at))
 ORDER BY 2, 4, 5, 3, 6, 7
"""
_RATED_SINCE = "(SELECT * FROM rating_ratedusage WHERE rated_at >= %(since)s) step"
# The counters of each service are found from one to the next along the key of steps, and each is
# read from where it is charged: an account has thousands of steps, and few that are new.
_OF_SUBSCRIBER = """
    provisioning_service own CROSS JOIN LATERAL (
      WITH RECURSIVE counter AS (
        (SELECT first.service_id, first.price_id, first.period_start
           FROM rating_ratedusage first
          WHERE first.service_id = own.id AND first.usage_id >= %(first)s
          ORDER BY first.price_id, first.period_start LIMIT 1)
        UNION ALL
        SELECT next.* FROM counter CROSS JOIN LATERAL (
          SELECT later.service_id, later.price_id, later.period_start
            FROM rating_ratedusage later
           WHERE later.service_id = own.id AND later.usage_id >= %(first)s
             AND (later.price_id, later.period_start) > (counter.price_id, counter.period_start)
           ORDER BY later.price_id, later.period_start LIMIT 1) next
      ) SELECT * FROM counter) counter
    CROSS JOIN LATERAL (
      SELECT COALESCE(min(last), 0) AS low FROM (
        SELECT max(gathered.step_after) AS last FROM rating_charge gathered
         WHERE gathered.step_after IS NOT NULL AND gathered.service_id = counter.service_id
           AND gathered.price_id = counter.price_id
           AND gathered.period_start = counter.period_start
         GROUP BY gathered.offering_id, gathered.bsp_id, gathered.network_provider_id) each) charged
    JOIN rating_ratedusage step ON own.subscriber_id = %(subscriber)s
     AND step.service_id = counter.service_id AND step.price_id = counter.price_id
     AND step.period_start = counter.period_start AND step.step > charged.low
"""
# Planning it takes as long as there are months, and whoever buys waits for it.
_DUE = Prepared(
    "rating_due_use",
    ("uuid", "timestamptz", "bigint", "bigint"),
    _UNPOSTED.format(steps=_OF_SUBSCRIBER)
    % {"subscriber": "$1", "until": "$2", "first": "$3", "most": "$4"},
)
_STANDINGS = """
SELECT step.service_id, step.price_id, step.period_start, step.step, step.units_after, step.band_1,
       step.band_2, step.band_3, step.free_after, step.events_after, closing.part, closing.whole
  FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[], %s::bigint[])
       asked (service, price, start, step)
  JOIN rating_ratedusage step ON step.service_id = asked.service AND step.price_id = asked.price
       AND step.period_start = asked.start AND step.step = asked.step
  LEFT JOIN rating_usageclosing closing ON
    (closing.service_id, closing.price_id, closing.period_start)
    = (asked.service, asked.price, asked.start)
"""

_KEYS = """
INSERT INTO rating_chargekey (digest, charge_id) SELECT * FROM unnest(%s::uuid[], %s::uuid[])
ON CONFLICT (digest) DO NOTHING RETURNING charge_id
"""

_Step = tuple[UUID, int, datetime, int]
_NOTHING = Use((0, 0, 0, 0))


class _Moved(NamedTuple):
    """A counter that moved: steps that are in no charge yet, in sums."""

    subscriber_id: UUID
    service_id: UUID
    offering_id: int
    price_id: int
    period_start: datetime
    bsp_id: int | None
    network_provider_id: int | None
    step_before: int
    step_after: int
    quantity: int
    net: int
    isp: int
    bsp: int
    network_provider: int
    tax: int
    rated_at: datetime
    steps: int
    explanation: str | None

    def at_step(self, number: int) -> _Step:
        return self.service_id, self.price_id, self.period_start, number


def due(*, subscriber: Subscriber) -> list[Charge]:
    """Return the charges for use that is rated and not charged yet, not saved."""
    moved = [
        _Moved._make(row)
        for row in _DUE.rows(subscriber.pk, _FOR_EVER, partitions.first_open_id(), MOST_UNITS)
    ]
    return _drafts(moved, {subscriber.pk: subscriber})


def post_rated_usage(*, until: datetime) -> int:
    """Charge all use that was rated before a moment; returns how many charges that made.

    Some thousands at a time, each in a transaction of its own, so that nobody waits long for them.
    Charging again changes nothing, so two may do it at once.
    """
    posting, _ = UsagePosting.objects.get_or_create(pk=1, defaults={"posted_until": binary.EPOCH})
    given: dict[str, Any] = {"since": posting.posted_until - COMMITTED_WITHIN, "until": until}
    made = 0
    with connection.chunked_cursor() as cursor:
        cursor.execute(_UNPOSTED.format(steps=_RATED_SINCE), given | _bounds())
        while rows := cursor.fetchmany(COUNTERS_AT_ONCE):
            moved = [_Moved._make(row) for row in rows]
            accounts = Subscriber.objects.only("currency", "billing_anchor_day").in_bulk(
                {row.subscriber_id for row in moved}
            )
            with transaction.atomic():
                made += len(save(_drafts(moved, accounts)))
    UsagePosting.objects.filter(pk=1, posted_until__lt=until).update(posted_until=until)
    return made


def save(drafts: Sequence[Charge]) -> list[Charge]:
    """Save charges for use; those that somebody else posts at this moment are theirs, and those
    of a bundle that is taken back at this moment are nobody's."""
    with transaction.atomic(), connection.cursor() as cursor:
        drafts = _that_came(drafts)
        digests = [usage_ids.digest(draft.cause) for draft in drafts]
        cursor.execute(_KEYS, [digests, [draft.pk for draft in drafts]])
        ours = {key for (key,) in cursor.fetchall()}
        return Charge.objects.bulk_create(draft for draft in drafts if draft.pk in ours)


def _that_came(drafts: Sequence[Charge]) -> list[Charge]:
    """Leave out use of bundles that did not come to be since the use was read.

    Whoever takes a bundle back holds the subscriber's lane while it looks for what was charged. So
    where one of them waits for a partner, it is asked again with the lane held: what it was taken
    back before is seen here, and what is charged now is seen there.
    """
    rows = Purchase.objects.filter(
        part_of__isnull=False, service__in={draft.service_id for draft in drafts}
    )
    waiting = rows.filter(part_of__state=Purchase.State.PENDING)
    if subscribers := set(waiting.values_list("subscriber", flat=True)):
        lanes.hold_lanes(subscribers)
    gone = set(rows.filter(DID_NOT_COME).values_list("service", flat=True))
    return [draft for draft in drafts if draft.service_id not in gone]


def _bounds() -> dict[str, int]:
    return {"first": partitions.first_open_id(), "most": MOST_UNITS}


def _drafts(moved: Sequence[_Moved], accounts: dict[UUID, Subscriber]) -> list[Charge]:
    prices = OfferingPrice.objects.in_bulk({row.price_id for row in moved})
    uses = _uses([row.at_step(n) for row in moved for n in (row.step_before, row.step_after)])
    return [_draft(row, prices[row.price_id], accounts[row.subscriber_id], uses) for row in moved]


def _draft(
    row: _Moved, price: OfferingPrice, account: Subscriber, uses: dict[_Step, Use]
) -> Charge:
    period = billing_period(
        row.period_start, anchor_day=account.billing_anchor_day, zone=settings.BILLING_TIME_ZONE
    )
    counter = f"{Service(pk=row.service_id).public_id}:{row.offering_id}:{row.price_id}"
    # A price that falls with the total can make use give something back.
    gives_back = row.net < 0 or row.tax < 0
    return Charge(
        subscriber_id=row.subscriber_id,
        service_id=row.service_id,
        offering_id=row.offering_id,
        bundle_id=price.offering_id if price.offering_id != row.offering_id else None,
        price=price,
        kind=Charge.Kind.ADJUSTMENT if gives_back else Charge.Kind.USAGE,
        cause=f"use:{counter}:{row.period_start:%Y-%m-%d}:{row.step_before}"
        f":{row.bsp_id or ''}:{row.network_provider_id or ''}",
        period_start=row.period_start,
        period_end=period.end,
        quantity=row.quantity,
        unit=price.unit,
        step_before=row.step_before,
        step_after=row.step_after,
        currency=account.currency,
        amount_net=from_micros(row.net),
        isp_share=from_micros(row.isp),
        bsp_share=from_micros(row.bsp),
        network_provider_share=from_micros(row.network_provider),
        amount_tax=from_micros(row.tax),
        bsp_id=row.bsp_id,
        network_provider_id=row.network_provider_id,
        explanation=_with_next_price(_explanation(row, price, uses), row, price, period),
        charged_at=row.rated_at,
    )


def _uses(steps: Iterable[_Step]) -> dict[_Step, Use]:
    """Return what was used when counters stood at some of their steps."""
    asked = [step for step in set(steps) if step[-1]]
    if not asked:
        return {}
    services, prices, starts, numbers = map(list, zip(*asked, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_STANDINGS, [[str(key) for key in services], prices, starts, numbers])
        return {row[:4]: _use(*row[4:]) for row in cursor.fetchall()}


def _use(
    units: int,
    band_1: int | None,
    band_2: int | None,
    band_3: int | None,
    free: int | None,
    events: int | None,
    part: int | None,
    whole: int | None,
) -> Use:
    bands = (band_1 or 0, band_2 or 0, band_3 or 0)
    outside = units - sum(bands)
    known = -1 if free is None else free
    return Use((outside, *bands), known, events or 0, part or 0, whole or 1)


def _explanation(row: _Moved, price: OfferingPrice, uses: dict[_Step, Use]) -> dict[str, Any]:
    """Explain the steps as the one step that they make together, where they do."""
    if row.steps == 1 and row.explanation is not None:
        return dict(json.loads(row.explanation))
    rule = usage_rule(price)
    before, after = (
        rule.standing(_as_counted(rule, uses.get(row.at_step(number), _NOTHING)))
        for number in (row.step_before, row.step_after)
    )
    whole = pricing.price_use(price=rule, quantity=row.quantity, before=before, after=after)
    if whole.net == row.net:
        return whole.explanation
    first, last = before.totals.units, after.totals.units
    text = f"the sum of {row.steps:,} uses between {first:,} and {last:,}, each at its own step"
    return {"rule": "usage", "price_version": rule.version, "arithmetic": text}


def _with_next_price(
    explanation: dict[str, Any], row: _Moved, price: OfferingPrice, period: Period
) -> dict[str, Any]:
    """Say of a price that counts to the end of the period why there is a new one already."""
    ended = price.valid_to
    if ended is None or not period.start < ended < period.end or row.rated_at < ended:
        return explanation
    if not price.counts_by_period:
        return explanation
    day = ended.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE))
    text = f"the price from {day:%Y-%m-%d} counts from the next billing period on"
    return explanation | {"arithmetic": f"{explanation['arithmetic']}; {text}"}


def _as_counted(rule: pricing.UsagePrice, use: Use) -> Use:
    """Give a use as many parts as its price has, and what is free where only tiers say it."""
    units = use.units[: len(rule.bands) + 1]
    free = use.free if use.free >= 0 else min(rule.counting(units), rule.allowance)
    return use._replace(units=units, free=free)
