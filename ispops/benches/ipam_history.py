"""Who had an address when: the same questions of a history ten times as long, and of the short one.

The cost is that of what is found, so the ratio says how far it grows with what is there. A search
whose plan is no range of an index stops the bench.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from ipam import allocation, blocks, history
from ipam.models import AddressServer, Block, Pool
from ispops.bench import Case, Size, bench
from ispops.benches import databases, use

TIMES = 10
ASKED = 200
ADDRESSES = 5_000
BEGIN = datetime(2016, 1, 1, tzinfo=UTC)
_FILL = """
INSERT INTO ipam_allocationhistory
    (vrf, address, pool_id, service_ref, subscriber_id, device, held_from, held_to, ended_because)
SELECT 0, set_masklen('10.0.0.0'::cidr + n %% %(addresses)s, 32), %(pool)s,
       'svc_' || n %% %(lines)s, %(subscriber)s, 'device-' || n %% %(lines)s,
       %(begin)s + n / %(addresses)s * interval '1 day',
       %(begin)s + n / %(addresses)s * interval '1 day' + interval '20 hours', 'lease_expired'
FROM generate_series(%(first)s, %(last)s) AS n
"""


@bench
def ipam_history(size: Size) -> Iterator[Case]:
    """A page of each kind of search; every address has a stay a day."""
    rows = size.of(full=150_000, quick=10_000)
    pool, subscriber = _pool(), use.owners(1, use.products(1))[0].subscriber
    _fill(pool, subscriber, 0, rows - 1)
    large = str(connection.settings_dict["NAME"])
    small = f"{large}_small"
    databases.copy(large, small)
    try:
        _fill(pool, subscriber, rows, TIMES * rows - 1)
        for name in (large, small):
            with databases.used(name), connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE ipam_allocationhistory")
        for words, search in _searches(rows).items():
            yield Case(
                name=f"{words}: {TIMES * rows:,} stays beside {rows:,}",
                unit="per s",
                ours=_asks(large, search),
                reference=_asks(small, search),
            )
    finally:
        databases.drop(small)


def _searches(rows: int) -> dict[str, Callable[[int], history.Search]]:
    """The questions by number, all about what the short history knows, too."""

    def address(n: int) -> str:
        return f"10.0.{n % ADDRESSES // 256}.{n % ADDRESSES % 256}"

    def moment(n: int) -> datetime:
        return BEGIN + timedelta(days=n % (rows // ADDRESSES), hours=1)

    return {
        "who had it then": lambda n: history.Search(
            address=address(n), start=moment(n), end=moment(n)
        ),
        "a device in a month": lambda n: history.Search(
            device=f"device-{n % rows}", start=BEGIN, end=BEGIN + timedelta(days=31)
        ),
        "what began in an hour": lambda n: history.Search(
            start=moment(n) - timedelta(hours=2), end=moment(n)
        ),
    }


def _asks(database: str, search: Callable[[int], history.Search]) -> Callable[[], int]:
    def ask() -> int:
        with databases.used(database):
            if "Seq Scan on ipam_allocationhistory" in history.parts(search(1))[0][:50].explain():
                raise RuntimeError("a search reads the whole history")
            for number in range(ASKED):
                rows, _ = history.page_of(search(number * 7))
                if not rows:
                    raise RuntimeError("a search found nobody")
        return ASKED

    return ask


def _fill(pool: Pool, subscriber: UUID, first: int, last: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _FILL,
            {
                "pool": pool.pk,
                "subscriber": subscriber,
                "addresses": ADDRESSES,
                "lines": last + 1,
                "begin": BEGIN,
                "first": first,
                "last": last,
            },
        )


def _pool() -> Pool:
    now = timezone.now()
    server = allocation.create_server(
        name="aaa", kind=AddressServer.Kind.RADIUS, secret="nobody-calls-in-a-bench"
    )
    top = blocks.create_block(network="10.0.0.0/8", tier=Block.Tier.ALLOCATION, at=now)
    block = blocks.create_block(network="10.0.0.0/9", tier=Block.Tier.POOL, parent=top, at=now)
    return blocks.create_pool(
        name="north", server=server, block=block, purpose=Pool.Purpose.DYNAMIC, at=now
    )
