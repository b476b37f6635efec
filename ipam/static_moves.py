"""Renumbering of static addresses: told when it begins, and done for all at its deadline.

Until then they stay as they are, for the pool that is left goes on serving them.

Locks: the plan's row, then one holder after the other, its allocations, the extents of the pools.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from ipam import extents, leases, static_addresses
from ipam.models import AddressHolder, Pool, Renumbering, StaticAddress
from ispops import db, events

State = Renumbering.State
MOVED_AT_ONCE = 100


def kept_in(pool: Pool) -> QuerySet[StaticAddress]:
    """The addresses of a pool that are kept for lines."""
    return StaticAddress.objects.filter(pool=pool, released_at__isnull=True)


def announce(row: Renumbering, at: datetime) -> None:
    """Tell everybody with a static address of the source when it changes; with the plan's row."""
    for static in kept_in(row.source).select_related("holder__subscriber").order_by("pk"):
        events.publish(
            "address.static_moves", subject=static.public_id, at=at,
            subscriber=static.holder.subscriber.public_id, service=static.holder.service_ref,
            address=static.address, moves_at=row.deadline_at.isoformat(),
        )  # fmt: skip


def move_due(key: uuid.UUID, at: datetime) -> int:
    """Move some of the addresses of a plan whose time has come, or that is taken back.

    Returns how many.
    """
    with transaction.atomic():
        row = db.lock(Renumbering, key)
        if row.state == State.RUNNING and row.deadline_at <= at:
            left, into = row.source, row.target
        elif row.state == State.ROLLING_BACK:
            left, into = row.target, row.source
        else:
            return 0
        holders = kept_in(left).order_by("holder").values_list("holder", flat=True).distinct()
        moved = [_move(holder, left, into, at) for holder in list(holders[:MOVED_AT_ONCE])]
    return sum(moved)


def _move(holder_id: int, left: Pool, into: Pool, at: datetime) -> int:
    """Keep others for a line in the place of what it has in a pool; who is online loses that."""
    holder = db.lock(AddressHolder, holder_id)
    held = leases.lock_allocations(holder, at=at)
    mine = list(kept_in(left).filter(holder=holder).select_related("pool").order_by("pk"))
    static_addresses.release_all(mine, held, at, because=leases.Because.RENUMBERED)
    for old in mine:
        slot = extents.take([into], asker=holder.service_ref, wishes={}, at=at)
        static = StaticAddress.objects.create(
            holder=holder, pool=into, slot=slot.number, address=slot.address,
            cause_ref=old.cause_ref, place=old.place, assigned_at=at,
        )  # fmt: skip
        events.publish(
            "address.static_moved", subject=static.public_id, at=at,
            subscriber=holder.subscriber.public_id, service=holder.service_ref,
            address=static.address, was=old.address,
        )  # fmt: skip
    return len(mine)
