"""Rating by the batch: use that waits becomes rated use, exactly once, in one transaction.

A worker holds lanes of subscribers, takes ranges of use off their queue, and prices nearly all of
it as columns of numbers: uses in the order of their counters, each counter raised from where its
newest step ended. What has a price that is more than a running total goes through its meters; see
`rating.by_meter`. Nothing is updated; the queue's rows are deleted and the steps are appended. A
crash at any point leaves the queue as it was.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction

from ispops import binary, bulk
from ispops.binary import Column
from ispops.periods import billing_period
from rating import by_meter
from rating.had_since import had_since
from rating.stepping import Found, halves_of, rate_plain
from rating.taking import Uses, take
from rating.tariff import Tariff
from rating.used import UsedPrice

log = logging.getLogger(__name__)
# A pack is good for 12 billing periods at most.
PACKS_LAST = timedelta(days=13 * 31)
# PostgreSQL's code for what a trigger of ours refuses, such as a change of a closed month.
_RESTRICTED = "23001"


class Fault(NamedTuple):
    """Why a use cannot be rated: a stable code, and words for a person."""

    code: str
    words: str


@dataclass(slots=True)
class _Batch:
    """What one transaction takes, and what it comes to."""

    uses: Uses
    tariff: Tariff
    errors: list[tuple[int, Fault]] = field(default_factory=list)
    rules: list[Found] = field(default_factory=list)


def rate_batch(*, at: datetime, limit: int) -> int:
    """Rate up to `limit` uses within the caller's transaction; returns how many left the queue.

    A use that cannot be rated goes to the error queue when it is alone in its batch.

    Raises:
        ArithmeticError, ValueError, DataError, IntegrityError: one of several uses cannot be rated.
    """
    count, uses = take(limit, at)
    if not len(uses.id):
        return count
    try:
        with transaction.atomic():
            _rate_all(uses, at)
    except (ArithmeticError, ValueError, DataError, IntegrityError) as error:
        if len(uses.id) > 1 or not concerns_a_use(error):
            raise
        _give_up(int(uses.id[0]), error)
    return count


def concerns_a_use(error: Exception) -> bool:
    """Say whether an error comes of one use that cannot be rated, and not of something else."""
    if isinstance(error, IntegrityError):
        return getattr(error.__cause__, "pgcode", "") == _RESTRICTED
    return isinstance(error, ArithmeticError | ValueError | DataError)


def _give_up(usage_id: int, error: Exception) -> None:
    """Leave a use to a person; where its month is closed, that is only the log."""
    log.exception("use %s cannot be rated", usage_id)
    try:
        with transaction.atomic():
            _put_aside([(usage_id, Fault("not_ratable", str(error)[:300]))])
    except IntegrityError:
        log.exception("use %s cannot be put aside either", usage_id)


def _rate_all(uses: Uses, at: datetime) -> None:
    offerings = {int(key) for column in (uses.offering, uses.bundle) for key in np.unique(column)}
    batch = _Batch(uses, Tariff.of(offerings - {0}))
    _find_periods(uses)
    _find_rules(batch)
    is_plain = np.array([found.is_plain for found in batch.rules] or [False])[uses.rule]
    is_plain &= uses.rule >= 0
    is_plain &= ~_has_packs(uses, batch.rules)
    too_much = Fault("not_ratable", "it makes the sum of the period more than can be stored")
    plain = rate_plain(uses.take(is_plain), batch.rules, at)
    batch.errors += [(key, too_much) for key in plain]
    others = uses.take(~is_plain & (uses.rule >= 0))
    refused = by_meter.rate(_rows(batch, others), batch.tariff, at)
    batch.errors += [(key, Fault("not_ratable", words)) for key, words in refused]
    _put_aside(batch.errors)
    _keep_prices(batch.rules)


def _find_rules(batch: _Batch) -> None:
    """Find the price and the terms of each use; uses without are put aside or are included.

    Uses that agree in offering, unit, currency and in what was in force are asked about once.
    """
    uses, tariff = batch.uses, batch.tariff
    edges = np.array(sorted(binary.instant(edge) for edge in tariff.moments()), dtype=np.int64)
    span = np.searchsorted(edges, uses.started, side="right")
    columns = [uses.offering, uses.bundle, uses.unit, uses.currency, span]
    since = _since(uses, tariff, uses.service, uses.offering)
    plan_since = _since(uses, tariff, uses.line, uses.bundle)
    later = [begun for begun in (since, plan_since) if begun is not uses.period]
    columns += [np.searchsorted(edges, begun, side="right") for begun in later]
    asked, first, which = _distinct(*columns)
    words = _words(tariff)
    rule_of = np.full(len(asked), -1)
    for place, at in enumerate(first):
        had = binary.moment(int(since[at])), binary.moment(int(plan_since[at]))
        found = _answer(tariff, uses, int(at), had, words)
        if isinstance(found, Fault):
            batch.errors += [(int(key), found) for key in uses.id[which == place]]
        elif found is not None:
            rule_of[place] = len(batch.rules)
            batch.rules.append(found)
    uses.rule = rule_of[which]
    nobodys = (uses.rule >= 0) & (halves_of(uses.service) == 0).all(axis=1)
    lost = Fault("no_service", "The use names no service to count it for.")
    batch.errors += [(int(key), lost) for key in uses.id[nobodys]]
    uses.rule[nobodys] = -1
    shared = np.array([found.is_shared for found in batch.rules] or [False])[uses.rule]
    uses.service[shared] = uses.line[shared]
    uses.price = np.array([found.price.pk for found in batch.rules] or [0])[uses.rule]


def _since(uses: Uses, tariff: Tariff, services: Column, offerings: Column) -> Column:
    """Return when the billing period of each use began or, where its price changed meanwhile,
    since when within the period its service has had the offering; that is 0 where there is none."""
    moments = np.array(sorted(binary.instant(at) for at in tariff.changes()), dtype=np.int64)
    before, now = (
        np.searchsorted(moments, column, side="right") for column in (uses.period, uses.started)
    )
    places = np.flatnonzero((before != now) & (offerings > 0))
    if not len(places):
        return uses.period
    service, offering, start = services[places], offerings[places], uses.period[places]
    halves = halves_of(service)
    _, first, which = _distinct(halves[:, 0], halves[:, 1], offering, start)
    asked = [
        (str(UUID(bytes=service[at].tobytes())), int(offering[at]), binary.moment(start[at]))
        for at in first
    ]
    found = had_since(asked)
    since = uses.period.copy()
    moments = np.array([binary.instant(found[key]) for key in asked], dtype=np.int64)
    since[places] = moments[which]
    return since


def _answer(
    tariff: Tariff, uses: Uses, at: int, had: tuple[datetime, datetime], words: dict[int, str]
) -> Found | Fault | None:
    """Return what a use follows, None when it is included, or why it cannot be rated.

    `had` is since when its service has had it, and its line the plan, within the period.
    """
    offering, started = int(uses.offering[at]), binary.moment(uses.started[at])
    bundle = int(uses.bundle[at]) or None
    currency, unit = words.get(int(uses.currency[at]), ""), words.get(int(uses.unit[at]))
    price = unit and tariff.usage_price(
        offering, started, currency, unit, since=had[0], plan=(bundle, had[1]) if bundle else None
    )
    if not price:
        if tariff.has_usage_price(offering, started, currency):
            return Fault("no_price", "This product has no price by the unit of this use.")
        return None
    try:
        rule = tariff.rule(price)
        parties = tariff.parties(offering, started, price.tax_category)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        told = f"Price {price.pk} of the catalogue cannot be used: {error}"
        return Fault("bad_price", told[:300])
    return Found(price, rule, parties, price.offering_id == bundle)


def _words(tariff: Tariff) -> dict[int, str]:
    """Return the units and currencies of the prices at hand, by what PostgreSQL makes of them."""
    known = {word for price in tariff.usage_prices() for word in (price.unit, price.currency)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT hashtextextended(word, 0), word FROM unnest(%s::text[]) word", [list(known)]
        )
        return dict(cursor.fetchall())


def _find_periods(uses: Uses) -> None:
    """Find the start of the billing period of each use, by its account's day."""
    uses.period = np.empty(len(uses.id), dtype=np.int64)
    for day in np.unique(uses.anchor_day):
        those = uses.anchor_day == day
        started = uses.started[those]
        starts = np.array(_period_starts(int(day), started.min(), started.max()))
        uses.period[those] = starts[np.searchsorted(starts, started, side="right") - 1]


def _period_starts(day: int, earliest: int, latest: int) -> list[int]:
    starts: list[int] = []
    moment = binary.moment(earliest)
    while True:
        period = billing_period(moment, anchor_day=day, zone=settings.BILLING_TIME_ZONE)
        starts.append(binary.instant(period.start))
        if binary.instant(period.end) > latest:
            return starts
        moment = period.end


def _has_packs(uses: Uses, rules: list[Found]) -> Column:
    """Say which uses are of services that bought packs for their price, and may have them still."""
    prices = list({found.price.pk for found in rules})
    since = binary.moment(int(uses.period.min())) - PACKS_LAST
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT service_id, price_id FROM rating_usagepack "
            "WHERE price_id = ANY(%s) AND granted_at >= %s",
            [prices, since],
        )
        bought = cursor.fetchall()
    found = np.zeros(len(uses.id), dtype=bool)
    for price in {price for _, price in bought}:
        keys = b"".join(UUID(str(service)).bytes for service, of in bought if of == price)
        found |= np.isin(uses.service, np.frombuffer(keys, "V16")) & (uses.price == price)
    return found


def _rows(batch: _Batch, uses: Uses) -> list[by_meter.Row]:
    """Return uses one by one, with their ends, which only such prices ask for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, ended_at FROM rating_usage WHERE id = ANY(%s)", [uses.id.tolist()]
        )
        ends = dict(cursor.fetchall())
    rows = []
    for place, key in enumerate(uses.id.tolist()):
        found = batch.rules[uses.rule[place]]
        rows.append(
            by_meter.Row(
                id=key,
                subscriber_id=str(UUID(bytes=uses.subscriber[place].tobytes())),
                service_id=str(UUID(bytes=uses.service[place].tobytes())),
                offering_id=int(uses.offering[place]),
                started_at=binary.moment(uses.started[place]),
                ended_at=ends[key],
                quantity=int(uses.quantity[place]),
                price=found.price,
                parties=found.parties,
                period_start=binary.moment(uses.period[place]),
                anchor_day=int(uses.anchor_day[place]),
            )
        )
    return rows


def _put_aside(errors: Iterable[tuple[int, Fault]]) -> None:
    rows = [(key, *fault) for key, fault in errors]
    if rows:
        types = {"id": "bigint", "error_code": "text", "error": "text"}
        bulk.update_rows("rating_usage", "id", types, rows)


def _keep_prices(rules: Iterable[Found]) -> None:
    """Say that prices are used; then the database keeps them as they are."""
    used = sorted({found.price.pk for found in rules})
    UsedPrice.objects.bulk_create((UsedPrice(price_id=key) for key in used), ignore_conflicts=True)


def _distinct(*columns: Column) -> tuple[Column, Column, Column]:
    """Return the distinct rows of some columns, where each is first, and which one each row is."""
    rows = np.stack([column.astype(np.int64) for column in columns], axis=1)
    distinct, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return distinct, first, which.ravel()
