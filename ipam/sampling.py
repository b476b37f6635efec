"""How full each pool is, written down every few minutes and kept small over years.

One look writes three rows of each pool: the moment's own, and those of its hour and its day, which
keep the highest and the last. So a day of the past is one row, and nothing is computed later.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction

from ipam import groups, live, queries
from ipam.models import AddressServer, Pool, PoolReport, PoolSample
from ispops import db
from ispops.errors import InvalidInput, PermanentFault, Refusal, TransientFault

log = logging.getLogger(__name__)
# The look of a span is written once, whoever of several workers comes first.
EVERY = timedelta(minutes=5)
Grain = PoolSample.Grain
KEPT = {Grain.MOMENT: timedelta(days=2), Grain.HOUR: timedelta(days=60)}

# What is held and what rests now, and the most that were held at once since the last look. A stay
# that ended meanwhile still rests, with the end of its quarantine, so the history is read only of
# what rests for longer; only what began or ended meanwhile is put in order.
_COUNT = """
WITH stay AS (
    SELECT held.pool_id, held.state, held.allocated_at AS begins,
        CASE WHEN held.state = 'quarantined'
            THEN coalesce(stay.held_to, held.expires_at - pool.quarantine) END AS ends
    FROM ipam_allocation held JOIN ipam_pool pool ON pool.id = held.pool_id
    LEFT JOIN ipam_allocationhistory stay ON held.state = 'quarantined'
        AND held.expires_at > %(at)s + pool.quarantine AND stay.id = held.stay_id
), counted AS (
    SELECT pool_id, count(*) FILTER (WHERE state = 'active') AS held,
        count(*) FILTER (WHERE state = 'quarantined') AS resting,
        count(*) FILTER (WHERE begins <= %(since)s AND (ends IS NULL OR ends > %(since)s)) AS before
    FROM stay GROUP BY pool_id
), change AS (
    SELECT pool_id, begins AS moment, 1 AS by FROM stay WHERE begins > %(since)s
    UNION ALL SELECT pool_id, ends, -1 FROM stay WHERE ends > %(since)s
), running AS (
    SELECT pool_id, sum(by) OVER (PARTITION BY pool_id ORDER BY moment, by) AS changed FROM change
)
SELECT pool_id, held, resting, before + greatest(0, coalesce(
    (SELECT max(changed) FROM running WHERE running.pool_id = counted.pool_id), 0)) AS peak
FROM counted
"""
_KEEP = """
INSERT INTO ipam_poolsample AS kept
    (pool_id, grain, starts_at, total, held, resting, peak, lines) VALUES {rows}
ON CONFLICT (pool_id, grain, starts_at) DO UPDATE SET
    total = excluded.total, held = excluded.held, resting = excluded.resting,
    lines = excluded.lines, peak = greatest(kept.peak, excluded.peak)
"""
# A line counts where it had an address last. Rows of lines that are where they were stay untouched.
_PLACE_LINES = """
UPDATE ipam_addressholder line SET pool_id = here.pool_id FROM (
    SELECT DISTINCT ON (held.holder_id) held.holder_id, coalesce(pool.grown_from_id, pool.id)
        AS pool_id
    FROM ipam_allocation held JOIN ipam_pool pool ON pool.id = held.pool_id
    WHERE held.state = 'active' AND held.counts AND pool.purpose = 'dynamic'
    ORDER BY held.holder_id, held.allocated_at DESC
) here
WHERE line.id = here.holder_id AND line.pool_id IS DISTINCT FROM here.pool_id
"""
_LINES = """
SELECT pool_id, count(*) FROM ipam_addressholder
WHERE pool_id IS NOT NULL AND ended_at IS NULL GROUP BY pool_id
"""


class NotYourPool(Refusal):
    """A server speaks of its own pools only."""

    code = "not_your_pool"
    title = "The pool belongs to another server"
    status = 403


def report_use(
    *, server: AddressServer, pool: Pool, assigned: int, declined: int = 0, at: datetime
) -> PoolReport:
    """Take what a server counts itself in a pool of its own; the last word counts.

    A report that is older than the one known changes nothing.

    Raises:
        NotYourPool: another server hands the pool out.
        InvalidInput: a count is negative or more than the pool has, or the pool was taken away.
    """
    if pool.server_id != server.pk:
        raise NotYourPool(f"{server.name} does not hand out {pool.name}.", field="pool")
    still = queries.with_free_slots(groups.members(pool).filter(pk=pool.pk)).first()
    if still is None:
        raise InvalidInput(f"{pool.name} has been taken away.", field="pool")
    use = queries.use_of(still)
    fresh = PoolReport(pool=pool, assigned=assigned, declined=declined, reported_at=at)
    db.check_fields(fresh, "assigned", "declined")
    if assigned + declined > use.total:
        raise InvalidInput(f"{pool.name} has {use.total:,} addresses.", field="assigned")
    with transaction.atomic():
        db.lock(Pool, pool.pk)
        known = PoolReport.objects.filter(pool=pool).first()
        if known is not None and known.reported_at > at:
            return known
        fresh.pk = known.pk if known else None
        fresh.save(force_insert=known is None)
    return fresh


def hear(*, at: datetime) -> int:
    """Ask the running servers what they count in their pools; returns how many answered.

    One that does not answer is passed over: what it said last counts for a while.
    """
    answered = 0
    for server, pools in live.counting():
        try:
            counted = live.counts(pools, at=at)
        except (TransientFault, PermanentFault) as fault:
            log.warning("%s does not say how full it is: %s", server, fault)
            continue
        answered += 1
        for count in counted:
            try:
                report_use(
                    server=server,
                    pool=count.pool,
                    assigned=count.assigned,
                    declined=count.declined,
                    at=at,
                )
            except Refusal as refusal:
                log.warning("%s counts what cannot be: %s", server, refusal)
    return answered


def sample(*, at: datetime) -> int:
    """Write down how full every pool is; returns how many. Done twice in a span, it is one row."""
    since = _floor(at) - EVERY
    uses = [
        queries.use_of(pool)
        for pool in queries.with_free_slots(Pool.objects.filter(state__in=groups.LIVE))
    ]
    heard = {
        report.pool_id: report
        for report in PoolReport.objects.filter(reported_at__gt=at - groups.REPORT_COUNTS_FOR)
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_PLACE_LINES)
        cursor.execute(_LINES)
        lines = dict(cursor.fetchall())
        cursor.execute(_COUNT, {"since": since, "at": at})
        counted = {row[0]: row[1:] for row in cursor.fetchall()}
        spans = _spans(at)
        rows = [
            (use.pool.pk, grain, starts_at, use.total, held, resting,
             max(peak, _heard_of(heard, use.pool)), lines.get(use.pool.pk, 0))
            for use in uses
            for held, resting, peak in [counted.get(use.pool.pk, (0, 0, 0))]
            for grain, starts_at in spans
        ]  # fmt: skip
        _keep(cursor, rows)
    return len(uses)


def forget(*, at: datetime) -> int:
    """Throw away moments after two days and hours after sixty; days stay. Returns how many."""
    gone = 0
    for grain, kept in KEPT.items():
        gone += PoolSample.objects.filter(grain=grain, starts_at__lt=at - kept).delete()[0]
    return gone


def keep_day(*, pool: Pool, day: datetime, total: int, peak: int, lines: int = 0) -> None:
    """Write down a day that was counted elsewhere, as when an operator moves here with its past."""
    with connection.cursor() as cursor:
        _keep(cursor, [(pool.pk, Grain.DAY, day, total, peak, 0, peak, lines)])


def _keep(cursor: Any, rows: Iterable[tuple[Any, ...]]) -> None:
    given = list(rows)
    if given:
        places = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(given))
        cursor.execute(_KEEP.format(rows=places), [value for row in given for value in row])


def _heard_of(heard: Mapping[int, PoolReport], pool: Pool) -> int:
    report = heard.get(pool.pk)
    return report.assigned if report else 0


def _floor(at: datetime) -> datetime:
    return at - timedelta(
        minutes=at.minute % (EVERY.seconds // 60), seconds=at.second, microseconds=at.microsecond
    )


def _spans(at: datetime) -> list[tuple[str, datetime]]:
    """The moment, the hour and the day, in UTC, that a look counts for."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [(Grain.MOMENT, _floor(at)), (Grain.HOUR, hour), (Grain.DAY, hour.replace(hour=0))]
