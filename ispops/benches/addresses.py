"""How many new addresses a second eight askers get from the verb.

It is measured in four pools of different size and fill, beside the bare statements on the
same tables: a lock on the service, a count, an extent, the history and the allocation.
"""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg2
from django.db import connection
from django.utils import timezone

from ipam import allocation, blocks, extents, selection
from ipam.models import AddressServer, Block, Pool
from ispops import bulk
from ispops.bench import Case, Size, bench
from ispops.benches import access_lines
from ispops.benches.workers import Workers

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
CLIENTS = 8
# Name, network, and how many of its units others hold already.
GROUNDS = (
    ("empty /22", "10.255.0.0/22", 0),
    ("/16 with 60,000 held", "172.16.0.0/16", 60_000),
    ("10.0.0.0/8", "10.0.0.0/8", 0),
    ("IPv6 /32 by /56", "2001:db8::/32", 0),
)
_devices = itertools.count(1)


@bench
def ipam(size: Size) -> Iterator[Case]:
    """New devices of services that hold nothing, each of them one decision and one transaction."""
    each = size.of(full=100, quick=40)
    access_lines.make(CLIENTS * each + 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT service_ref FROM ipam_addressholder ORDER BY id")
        refs = [ref for (ref,) in cursor.fetchall()]
    for number, (name, network, held) in enumerate(GROUNDS):
        ground = _Ground(number, network, held, refs, each)
        yield Case(
            name=f"new address, {name}",
            unit="per s",
            before_ours=lambda ground=ground: ground.prepare(ground.ask),  # type: ignore[misc]
            ours=ground.run,
            before_reference=lambda ground=ground: ground.prepare(ground.bare),  # type: ignore[misc]
            reference=ground.run,
        )


class _Ground:
    """One pool, the clients that draw on it, and the state to which it is put back."""

    def __init__(self, number: int, network: str, held: int, refs: list[str], each: int) -> None:
        *self.refs, others = refs
        self.each = each
        self.server = allocation.create_server(
            name=f"server-{number}", kind=AddressServer.Kind.RADIUS, secret="x" * 32
        )
        self.pool = _pool(number, self.server, network)
        self.slots = selection.slot_count(network, self.pool.unit_length)
        _hold(self.pool, held, others)
        _execute(
            f"CREATE TABLE free_{number} AS SELECT first, last FROM ipam_freeextent "
            "WHERE pool_id = %s",
            self.pool.pk,
        )
        self.number = number

    def prepare(self, work: Callable[[int, int], None]) -> None:
        """Take back what the last run gave out, and let clients connect."""
        _execute(
            "UPDATE ipam_allocationhistory SET held_to = held_from, ended_because = 'measured' "
            "WHERE held_to IS NULL AND device LIKE '02:%'"
        )
        _execute("DELETE FROM ipam_allocation WHERE device LIKE '02:%'")
        _execute("DELETE FROM ipam_freeextent WHERE pool_id = %s", self.pool.pk)
        _execute(
            "INSERT INTO ipam_freeextent (pool_id, first, last) "
            f"SELECT %s, first, last FROM free_{self.number}",
            self.pool.pk,
        )
        first = next(_devices) * CLIENTS * self.each
        self.clients = Workers(lambda client: work(client, first), CLIENTS)

    def run(self) -> int:
        self.clients.run()
        return CLIENTS * self.each

    def _mine(self, client: int, first: int) -> Iterator[tuple[str, str]]:
        """The services and new devices of one client."""
        for number in range(client * self.each, (client + 1) * self.each):
            octets = (first + number).to_bytes(5, "big")
            yield self.refs[number], "02:" + octets.hex(":")

    def ask(self, client: int, first: int) -> None:
        for ref, device in self._mine(client, first):
            answer = allocation.request_addresses(
                service_ref=ref, device=device, server=self.server, at=timezone.now()
            )
            if answer.outcome != allocation.Outcome.GRANTED:
                raise RuntimeError(answer.reason)

    def bare(self, client: int, first: int) -> None:
        """The same rows by psycopg2 alone."""
        network, unit = self.pool.block.network, self.pool.unit_length
        with contextlib.closing(psycopg2.connect(**connection.get_connection_params())) as line:
            cursor = line.cursor()
            for ref, device in self._mine(client, first):
                cursor.execute(
                    "SELECT id, subscriber_id FROM ipam_addressholder WHERE service_ref = %s "
                    "FOR NO KEY UPDATE", (ref,),
                )  # fmt: skip
                holder, subscriber = cursor.fetchone()
                cursor.execute(
                    "SELECT count(*) FROM ipam_allocation WHERE holder_id = %s "
                    "AND state = 'active'", (holder,),
                )  # fmt: skip
                start = selection.starting_point(f"{ref} {device}", self.slots)
                cursor.execute(extents._STEP_OVER_LOCKED, {"pool": self.pool.pk, "wish": start})
                key, slot, last = cursor.fetchone()
                if slot == last:
                    cursor.execute("DELETE FROM ipam_freeextent WHERE id = %s", (key,))
                else:
                    cursor.execute(
                        "UPDATE ipam_freeextent SET first = first + 1 WHERE id = %s", (key,)
                    )
                address, now = selection.address_of(network, unit, slot), timezone.now()
                cursor.execute(
                    "INSERT INTO ipam_allocationhistory (vrf, address, pool_id, service_ref, "
                    "subscriber_id, device, held_from) VALUES (0, %s, %s, %s, %s, %s, %s) "
                    "RETURNING id",
                    (address, self.pool.pk, ref, subscriber, device, now),
                )
                cursor.execute(
                    "INSERT INTO ipam_allocation (pool_id, slot, address, holder_id, device, "
                    "family, counts, state, stay_id, allocated_at, expires_at) "
                    "VALUES (%s, %s, %s, %s, %s, %s, true, 'active', %s, %s, %s)",
                    (self.pool.pk, slot, address, holder, device, self.pool.family,
                     cursor.fetchone()[0], now, now + timedelta(hours=1)),
                )  # fmt: skip
                line.commit()


def _pool(number: int, server: AddressServer, network: str) -> Pool:
    """Each in a VRF of its own, because the ranges lie in one another."""
    top = blocks.create_block(network=network, tier=Block.Tier.ALLOCATION, vrf=number, at=OPENED)
    block = blocks.create_block(network=network, tier=Block.Tier.POOL, parent=top, at=OPENED)
    is_six = ":" in network
    return blocks.create_pool(
        name=f"pool-{number}", server=server, block=block, at=OPENED,
        purpose=Pool.Purpose.PREFIX if is_six else Pool.Purpose.DYNAMIC,
    )  # fmt: skip


_HOLD = """
WITH given AS (
    SELECT * FROM unnest(%(slots)s::bigint[], %(addresses)s::cidr[]) AS t (slot, address)
),
who AS (SELECT id, subscriber_id FROM ipam_addressholder WHERE service_ref = %(ref)s),
stay AS (
    INSERT INTO ipam_allocationhistory
        (vrf, address, pool_id, service_ref, subscriber_id, device, held_from)
    SELECT %(vrf)s, address, %(pool)s, %(ref)s, subscriber_id, 'held ' || slot, %(at)s
    FROM given, who RETURNING id, address
)
INSERT INTO ipam_allocation (pool_id, slot, address, holder_id, device, family, counts, state,
    stay_id, allocated_at, expires_at)
SELECT %(pool)s, slot, address, who.id, 'held ' || slot, 4, true, 'active', stay.id, %(at)s,
    %(until)s
FROM given JOIN stay USING (address), who
"""


def _hold(pool: Pool, count: int, ref: str) -> None:
    """Let devices of one service hold so many slots here and there; what is left is free."""
    if not count:
        return
    network, unit = pool.block.network, pool.unit_length
    first, last = selection.usable_slots(network, unit)
    held = random.Random(1).sample(range(first, last + 1), count)
    with connection.cursor() as cursor:
        cursor.execute(
            _HOLD,
            {"slots": held, "addresses": [selection.address_of(network, unit, s) for s in held],
             "ref": ref, "vrf": pool.block.vrf, "pool": pool.pk, "at": OPENED,
             "until": datetime(2100, 1, 1, tzinfo=UTC)},
        )  # fmt: skip
    free = selection.runs(
        set(range(first, last + 1)) - set(held),
        selection.shard_size(selection.slot_count(network, unit)),
    )
    _execute("DELETE FROM ipam_freeextent WHERE pool_id = %s", pool.pk)
    bulk.copy_rows(
        "ipam_freeextent",
        ("pool_id", "first", "last"),
        ((pool.pk, extent.first, extent.last) for extent in free),
    )


def _execute(statement: str, *parameters: int | str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
