"""The SQL of the call path, written by hand.

A new address is some ten statements. Building them anew from Django's expressions costs several
times what PostgreSQL needs to run them, and this is the call that every device waits for. Rows
come back as model instances, and every other path uses Django's own queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from ipam.models import AddressHolder, AddressServer, Allocation, Block, Pool
from ispops.catalog.models import AddressEntitlement
from ispops.db import Prepared, columns, made


class Held(NamedTuple):
    """An address or prefix that a device holds, as far as an answer needs it."""

    family: int
    address: str
    expires_at: datetime


def _fetch(sql: str, parameters: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def held_by_device(columns: str, *, service_ref: str, device: str, until: str, server: str) -> str:
    """Return the SQL of what a device holds, for a larger statement too; values are SQL as well.

    `columns` are of the tables `held` and `pool`. Whether it is all that the device may have says
    `is_all`.
    """
    return f"""
    SELECT {columns} FROM ipam_allocation held JOIN ipam_pool pool ON pool.id = held.pool_id
    WHERE held.holder_id = (SELECT id FROM ipam_addressholder WHERE service_ref = {service_ref})
    AND held.device = {device} AND held.state = 'active' AND held.counts
    AND held.expires_at > {until} AND pool.server_id = {server}
    """  # noqa: S608


_HELD = Prepared(
    "ipam_held",
    ("text", "text", "timestamptz", "bigint"),
    f"""
    SELECT line.last_refused_by_limit_at, found.family, found.address, found.expires_at
    FROM ipam_addressholder line LEFT JOIN LATERAL ({held_by_device(
        "held.family, held.address, held.expires_at",
        service_ref="$1", device="$2", until="$3", server="$4",
    )}) found ON true
    WHERE line.service_ref = $1
    """,  # noqa: S608
)  # fmt: skip
_HAS_OTHER_FAMILY = Prepared(
    "ipam_has_other_family",
    ("text", "bigint", "smallint"),
    """
    SELECT EXISTS (
        SELECT FROM ipam_addressholder line
        JOIN ipam_pool other ON other.server_id = $2
        JOIN ipam_addressserver asks ON asks.id = other.server_id
        LEFT JOIN catalog_addressentitlement plan ON plan.offering_id = line.plan_id
        WHERE line.service_ref = $1 AND other.state = 'active' AND other.family <> $3
        AND CASE other.family
            WHEN 4 THEN other.purpose = 'dynamic' AND coalesce(plan.ipv4_addresses, 1) > 0
            ELSE other.purpose = 'prefix' AND asks.kind <> 'dhcp'
                AND coalesce(plan.ipv6_prefixes, 1) > 0 END
    )
    """,
)


def held_until(
    *, service_ref: str, device: str, server: AddressServer, until: datetime
) -> tuple[list[Held], datetime | None]:
    """Return what a device holds from a server for longer than until then; takes no lock.

    Nothing when that is not all that it may have there. And when a device of the line was refused
    last because too many had asked.
    """
    rows = _HELD.rows(service_ref, device, until, server.pk)
    held = [Held(*row[1:]) for row in rows if row[1] is not None]
    flooded_at = rows[0][0] if rows else None
    return (held if is_all(held, service_ref=service_ref, server=server) else []), flooded_at


def is_all(held: Sequence[Held], *, service_ref: str, server: AddressServer) -> bool:
    """Say whether a device holds an address of each family that its plan and a server have.

    An address may have ended alone, by a renumbering for example. Who has both has all.
    """
    if len(held) != 1:
        return bool(held)
    return not _HAS_OTHER_FAMILY.rows(service_ref, server.pk, held[0].family)[0][0]


_NOTHING_SAID = AddressEntitlement()
_COUNT_REFUSED = Prepared(
    "ipam_count_refused",
    ("text", "text", "bigint", "timestamptz", "timestamptz", "timestamptz"),
    f"""
    WITH asking AS (
        SELECT line.id,
            coalesce(plan.ipv4_addresses, {_NOTHING_SAID.ipv4_addresses}) AS ipv4,
            coalesce(plan.ipv6_prefixes, {_NOTHING_SAID.ipv6_prefixes}) AS ipv6,
            coalesce(plan.most_requests_an_hour, {_NOTHING_SAID.most_requests_an_hour}) AS most
        FROM ipam_addressholder line
        LEFT JOIN catalog_addressentitlement plan ON plan.offering_id = line.plan_id
        WHERE line.service_ref = $1 AND line.ended_at IS NULL
    ), extra AS (
        SELECT device FROM ipam_extraaddress
        WHERE holder_id = (SELECT id FROM asking) AND ended_at IS NULL
    ), user_of AS (
        SELECT held.device, held.family, held.pool_id, held.slot, held.counts,
            pool.purpose = 'static' AND pool.server_id = $3 AS is_static
        FROM ipam_allocation held JOIN ipam_pool pool ON pool.id = held.pool_id
        WHERE held.holder_id = (SELECT id FROM asking) AND held.state = 'active'
        AND held.expires_at > $4
    ), full_family AS (
        SELECT FROM asking, LATERAL (
            VALUES (4, 'dynamic', asking.ipv4), (6, 'prefix', asking.ipv6)
        ) AS kind (family, purpose, allowance)
        WHERE kind.allowance > 0
        AND EXISTS (SELECT FROM ipam_pool pool
            JOIN ipam_addressserver asks ON asks.id = pool.server_id
            WHERE pool.server_id = $3 AND pool.state = 'active' AND pool.family = kind.family
            AND pool.purpose = kind.purpose AND (kind.family = 4 OR asks.kind <> 'dhcp'))
        AND kind.allowance <= (SELECT count(DISTINCT device) FROM user_of
            WHERE counts AND NOT is_static AND family = kind.family
            AND device NOT IN (SELECT device FROM extra))
    ), spare_static AS (
        SELECT FROM ipam_staticaddress kept JOIN ipam_pool pool ON pool.id = kept.pool_id
        WHERE kept.holder_id = (SELECT id FROM asking) AND kept.released_at IS NULL
        AND pool.server_id = $3 AND pool.state = 'active'
        AND NOT EXISTS (SELECT FROM user_of
            WHERE user_of.pool_id = kept.pool_id AND user_of.slot = kept.slot)
    )
    UPDATE ipam_addressholder line
    SET refused_by_limit = line.refused_by_limit + 1, last_refused_by_limit_at = $4
    FROM asking
    WHERE line.id = asking.id AND EXISTS (SELECT FROM full_family)
    AND NOT EXISTS (SELECT FROM spare_static)
    AND NOT EXISTS (SELECT FROM extra WHERE extra.device = $2)
    AND NOT EXISTS (SELECT FROM ipam_allocation WHERE holder_id = line.id AND device = $2)
    AND NOT EXISTS (SELECT FROM ipam_overallocationrequest
        WHERE holder_id = line.id AND device = $2 AND asked_at > $6)
    AND asking.most <= (SELECT count(*) FROM ipam_overallocationrequest
        WHERE holder_id = line.id AND asked_at > $5)
    RETURNING asking.most
    """,  # noqa: S608
)


def count_refused(
    *,
    service_ref: str,
    device: str,
    server: AddressServer,
    at: datetime,
    asked_after: datetime,
    known_after: datetime,
) -> int | None:
    """Count a device that is new to a line whose plan is full and of which enough have asked.

    Returns how many may ask after `asked_after`; None when nothing was counted, because it is not
    so: the device has to be looked at. A device that asked after `known_after` is not new.
    """
    values = (service_ref, device, server.pk, at, asked_after, known_after)
    rows = _COUNT_REFUSED.rows(*values)
    return rows[0][0] if rows else None


_LOCK_HOLDER = Prepared("ipam_lock_holder", ("text",), f"""
SELECT {columns(AddressHolder, "holder")}, {columns(AddressEntitlement, "entitlement")},
    EXISTS (SELECT FROM ipam_staticaddress kept
        WHERE kept.holder_id = holder.id AND kept.released_at IS NULL)
FROM ipam_addressholder holder
LEFT JOIN catalog_addressentitlement entitlement ON entitlement.offering_id = holder.plan_id
WHERE holder.service_ref = $1 FOR NO KEY UPDATE OF holder
""")  # noqa: S608  # fmt: skip


def lock_holder(service_ref: str) -> tuple[AddressHolder, AddressEntitlement] | None:
    """Lock a holder and read what its plan includes; None when there is no such holder.

    A plan that says nothing about addresses includes one of each kind, and no more. Whether the
    holder keeps static addresses is of the moment before the lock, as if it had asked then.
    """
    found = _LOCK_HOLDER.rows(service_ref)
    if not found:
        return None
    *row, keeps_static = found[0]
    width = len(AddressHolder._meta.concrete_fields)
    holder, entitlement = made(AddressHolder, row[:width]), row[width:]
    holder.keeps_static = keeps_static
    if entitlement[0] is not None:
        return holder, made(AddressEntitlement, entitlement)
    return holder, AddressEntitlement(policy=AddressEntitlement.Policy.DENY, most_extra_addresses=0)


_LOCK_ALLOCATIONS = Prepared("ipam_lock_allocations", ("bigint",), f"""
SELECT {columns(Allocation, "allocation")} FROM ipam_allocation allocation
WHERE allocation.holder_id = $1 ORDER BY allocation.id FOR UPDATE
""")  # noqa: S608  # fmt: skip


def lock_allocations(holder: AddressHolder) -> list[Allocation]:
    """Lock and read all that a holder holds or has resting."""
    rows = _LOCK_ALLOCATIONS.rows(holder.pk)
    return [made(Allocation, row) for row in rows]


_POOLS = f"""
SELECT {columns(Pool, "pool")}, {columns(Block, "block")}
FROM ipam_pool pool JOIN ipam_block block ON block.id = pool.block_id
WHERE pool.server_id = %(server)s
AND (pool.state = 'active' OR pool.state = 'draining' AND pool.purpose = 'static')
ORDER BY pool.id
"""  # noqa: S608


def pools_of(server: AddressServer) -> list[Pool]:
    """Return the pools that a server gives new leases of, with their blocks, oldest first.

    Also those of static addresses that give none to new lines: lines keep theirs until they move.
    """
    width = len(Pool._meta.concrete_fields)
    pools = []
    for row in _fetch(_POOLS, {"server": server.pk}):
        pool = made(Pool, row[:width])
        pool.block = made(Block, row[width:])
        pools.append(pool)
    return pools


_LAST_STAYS = Prepared("ipam_last_stays", ("text", "text", "bigint[]", "bigint"), """
SELECT pool_id, address FROM ipam_allocationhistory
WHERE service_ref = $1 AND device = $2 AND pool_id = ANY($3) ORDER BY held_from DESC LIMIT $4
""")  # fmt: skip


def last_stays(
    *, holder: AddressHolder, device: str, pools: Iterable[Pool]
) -> list[tuple[int, str]]:
    """Return the last few addresses that a device had in these pools, the newest first."""
    ids = [pool.pk for pool in pools]
    return [
        (pool, address)
        for pool, address in _LAST_STAYS.rows(holder.service_ref, device, ids, 2 * len(ids))
    ]


_OPEN_STAYS = Prepared(
    "ipam_open_stays",
    ("bigint[]", "bigint[]", "text[]", "smallint[]", "bigint[]", "bigint", "text", "uuid", "text",
     "boolean", "timestamptz", "timestamptz"),
    """
    WITH given AS (
        SELECT * FROM unnest($1, $2, $3::cidr[], $4, $5) AS t (pool, slot, address, family, vrf)
    ), stay AS (
        INSERT INTO ipam_allocationhistory
            (vrf, address, pool_id, service_ref, subscriber_id, device, held_from)
        SELECT vrf, address, pool, $7, $8, $9, greatest($12, (
            SELECT max(last.held_to) FROM ipam_allocationhistory last
            WHERE last.address && given.address
            AND tstzrange(last.held_from, last.held_to) && tstzrange($12, NULL)
            AND int8range(last.vrf, last.vrf, '[]') && int8range(given.vrf, given.vrf, '[]')
        )) FROM given RETURNING id, pool_id, address
    )
    INSERT INTO ipam_allocation (pool_id, slot, address, holder_id, device, family, counts, state,
        stay_id, allocated_at, expires_at)
    SELECT pool, slot, given.address, $6, $9, family, $10, 'active', stay.id, $12, $11
    FROM given JOIN stay ON stay.pool_id = given.pool AND stay.address = given.address
    """,
)  # fmt: skip


def open_stays(
    *,
    slots: Sequence[tuple[Pool, int, str]],
    holder: AddressHolder,
    device: str,
    counts: bool,
    expires_at: datetime,
    at: datetime,
) -> list[Held]:
    """Write the history and the allocation of slots just taken: pool, number and address each.

    Where the clock was set back, a stay begins when the last one of its address has ended.
    """
    pools = [pool for pool, _, _ in slots]
    _OPEN_STAYS.rows(
        [pool.pk for pool in pools],
        [number for _, number, _ in slots],
        [address for _, _, address in slots],
        [pool.family for pool in pools],
        [pool.block.vrf for pool in pools],
        holder.pk,
        holder.service_ref,
        holder.subscriber_id,
        device,
        counts,
        expires_at,
        at,
    )
    return [Held(pool.family, address, expires_at) for pool, _, address in slots]


_END_STAYS = """
WITH gone AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(stays)s::bigint[], %(ends)s::timestamptz[])
        AS t (id, stay, ended_at)
), ended AS (
    UPDATE ipam_allocationhistory stay
    SET held_to = greatest(held_from, gone.ended_at), ended_because = %(because)s
    FROM gone WHERE stay.id = gone.stay
)
UPDATE ipam_allocation SET state = 'quarantined', expires_at = greatest(
    %(at)s + pool.quarantine, least(ipam_allocation.expires_at, %(in_use_until)s))
FROM ipam_pool pool WHERE pool.id = ipam_allocation.pool_id AND ipam_allocation.id = ANY(%(ids)s)
"""


def end_stays(
    rows: Sequence[Allocation],
    *,
    because: str,
    ended_at: Sequence[datetime],
    in_use_until: datetime,
    at: datetime,
) -> None:
    """End the stays of locked, active allocations, each when it says, and begin their quarantine.

    That lasts as long as somebody may still use an address: to the end of its lease, but no longer
    than `in_use_until`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _END_STAYS,
            {
                "ids": [row.pk for row in rows],
                "stays": [row.stay_id for row in rows],
                "ends": list(ended_at),
                "because": because,
                "in_use_until": in_use_until,
                "at": at,
            },
        )
