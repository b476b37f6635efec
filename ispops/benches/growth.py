"""Whether rating keeps its pace: the same events with ten times as much stored, and without."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import connection

from ispops.bench import Case, Size, bench
from ispops.benches import databases, use
from rating import partitions, usage, usage_ids

TIMES = 10
# Copies of what is stored and rated, each some days earlier, of counters of a period of its own.
_COPY_USAGE = """
INSERT INTO rating_usage
SELECT id - %(ids)s, source, event_id || '-' || %(number)s, subscriber_ref, product_ref,
       subscriber_id, service_id, offering_id, started_at - %(earlier)s, ended_at, quantity, unit,
       attributes, received_at - %(earlier)s, error_code, error
  FROM rating_usage WHERE id >= %(first)s
"""
_COPY_RATED = """
INSERT INTO rating_ratedusage
SELECT usage_id - %(ids)s, subscriber_id, service_id, offering_id, price_id,
       period_start - %(years)s, step, started_at - %(earlier)s, quantity, units_after, band_1,
       band_2, band_3, free_after, events_after, amount_net, isp_share, bsp_share,
       network_provider_share, amount_tax, bsp_id, network_provider_id, explanation,
       rated_at - %(earlier)s
  FROM rating_ratedusage WHERE usage_id >= %(first)s
"""


@bench
def rating_growth(size: Size) -> Iterator[Case]:
    """Two databases that differ in how much is stored, in three months of partitions."""
    stored = size.of(full=1_000_000, quick=30_000)
    more = size.of(full=100_000, quick=10_000)
    owners = use.owners(size.of(full=100_000, quick=3_000), use.products(20))
    use.store(owners, stored)
    _rate()
    large = str(connection.settings_dict["NAME"])
    small = f"{large}_small"
    databases.copy(large, small)
    try:
        for number in range(1, TIMES):
            _store_again(number)
        sides = [_Side(name, owners, more) for name in (large, small)]
        yield Case(
            name=f"rating with {TIMES * stored:,} events stored, beside {stored:,}",
            unit="per s",
            ours=sides[0].run,
            reference=sides[1].run,
            before_ours=sides[0].before,
            before_reference=sides[1].before,
        )
    finally:
        databases.drop(small)


class _Side:
    """Rating more events in one of the databases."""

    def __init__(self, database: str, owners: list[use.Owner], count: int) -> None:
        self._database, self._owners, self._count = database, owners, count
        with databases.used(database):
            _execute("VACUUM ANALYZE")

    def before(self) -> None:
        with databases.used(self._database):
            use.store(self._owners, self._count)

    def run(self) -> int:
        with databases.used(self._database):
            rated = _rate()
        if rated != self._count:
            raise RuntimeError("some events were not rated")
        return rated


def _rate() -> int:
    rated = 0
    while done := usage.rate_usage(at=use.REPORTED + timedelta(days=1), limit=use.BATCH):
        rated += done
    return rated


def _store_again(number: int) -> None:
    """Add as much as was stored at first, as if it had come some days earlier."""
    earlier = timedelta(days=6 * number)
    partitions.ensure(use.REPORTED - earlier)
    values: dict[str, Any] = {
        "number": number,
        "earlier": earlier,
        "ids": int(earlier.total_seconds()) << usage_ids.SECOND_BITS,
        "years": timedelta(days=365 * number),
        "first": usage_ids.first_id(use.REPORTED),
    }
    for statement in (_COPY_USAGE, _COPY_RATED):
        with connection.cursor() as cursor:
            cursor.execute(statement, values)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
