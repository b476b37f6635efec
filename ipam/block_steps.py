"""What a worker does with a request for a further block, one step of its state table at a time.

Stale leases are taken back first; then the policy decides, or leaves it to a person; what was
granted is cut from the parent, told to the running server, and in use once it was seen there. The
row is the queue. A server is told outside any transaction, and telling it twice does no harm.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from ipam import (
    allocation,
    blocks,
    forecast,
    groups,
    growing,
    helping,
    live,
    reclaiming,
    stepping,
    tree,
)
from ipam.blocks import BadNetwork
from ipam.groups import GroupUse
from ipam.models import Block, BlockRequest, Pool, PoolPolicy
from ipam.stepping import TakenOver
from ipam.tree import NoRoom
from ispops import db

State, Decider = BlockRequest.State, BlockRequest.Decider
# What a pool's name may have in front of its number.
NAME_ROOM = 44


def go_on_due(*, at: datetime, limit: int = 50) -> int:
    """Do the next steps of requests that are due; returns how many were done."""
    rows = BlockRequest.objects.select_related("pool__block__parent", "pool__server", "made__block")
    return stepping.go_on_due(rows, _STEPS, at=at, limit=limit)


# --- The steps ----------------------------------------------------------------------------------


def _look(row: BlockRequest, at: datetime) -> None:
    """Give what is not in use back to the pools; then see whether there is still a need."""
    policy = growing.policy_of(row.pool)
    if row.noticed_at is None:
        _give_notice(row, policy, at)
        return
    ended = 0
    if policy is not None and policy.stale_hours:
        ended = reclaiming.take_back(
            first=row.pool,
            silent=timedelta(hours=policy.stale_hours),
            noticed_at=row.noticed_at,
            at=at,
        )
    use = groups.use_of(row.pool, at=at)
    with transaction.atomic():
        held = stepping.hold(row)
        held.reclaimed += ended
        _judge(held, policy, use, at)


def _give_notice(row: BlockRequest, policy: PoolPolicy | None, at: datetime) -> None:
    allocation.expire_due(at=at)
    noticed = 0
    if policy is not None and policy.stale_hours:
        silent = timedelta(hours=policy.stale_hours)
        noticed = reclaiming.put_on_notice(first=row.pool, silent=silent, at=at)
    with transaction.atomic():
        held = stepping.hold(row)
        held.noticed_at = at
        stepping.move(held, State.OPEN, due_at=at + reclaiming.NOTICE if noticed else at)


def _judge(held: BlockRequest, policy: PoolPolicy | None, use: GroupUse, at: datetime) -> None:
    """Withdraw, grant or leave it to a person; what somebody asked for is never dropped."""
    due = growing.why_due(use, policy or growing.USUAL, soon_free=held.reclaimed)
    by_itself = held.asked_by_user_id is None and not held.reference
    if not due and by_itself:
        held.decided_at, held.decided_by = at, Decider.POLICY
        held.reason = f"{held.reclaimed:,} stale leases were ended: it is not needed any more."
        if not held.reclaimed:
            held.reason = "Addresses have become free: it is not needed any more."
        stepping.move(held, State.WITHDRAWN)
    elif due and policy is not None and _is_automatic(held, policy):
        held.decided_at, held.decided_by, held.reason = at, Decider.POLICY, due
        stepping.move(held, State.GRANTED, due_at=at)
        growing.publish("block.granted", held, at)
    else:
        stepping.move(held, State.ASKED)


def _is_automatic(held: BlockRequest, policy: PoolPolicy) -> bool:
    units = forecast.units_of(
        length=held.length,
        unit_length=held.pool.unit_length,
        is_single=groups.is_single(held.pool),
    )
    return policy.decision == PoolPolicy.Decision.AUTOMATIC and units <= policy.largest_automatic


def _carve(row: BlockRequest, at: datetime) -> None:
    try:
        with transaction.atomic():
            held = stepping.hold(row)
            held.made = _make_pool(held, at)
            stepping.move(held, State.CARVED, due_at=at)
    except (NoRoom, BadNetwork) as none:
        help_ = helping.what_would_help(row.pool, length=row.length, at=at)
        with transaction.atomic():
            held = stepping.hold(row)
            held.reason, held.help = none.detail[:500], help_
            stepping.move(held, State.REFUSED)
            growing.publish("block.refused", held, at)


def _make_pool(held: BlockRequest, at: datetime) -> Pool:
    """Cut the next free block of the parent, and make a pool of it that gives nothing yet."""
    first = held.pool
    parent = first.block.parent
    if parent is None:
        raise NoRoom(f"{first.block.network} was not cut from another block.")
    name = _free_name(first)
    block = tree.carve_block(
        parent=parent, length=held.length, tier=Block.Tier.POOL, name=name, at=at
    )
    pool = blocks.create_pool(
        name=name,
        server=first.server,
        block=block,
        purpose=first.purpose,
        unit_length=first.unit_length,
        quarantine=first.quarantine,
        at=at,
    )
    pool.grown_from, pool.state = first, Pool.State.PENDING
    pool.save(update_fields=["grown_from", "state"])
    return pool


def _free_name(first: Pool) -> str:
    stem = first.name[:NAME_ROOM]
    taken = set(Pool.objects.filter(name__startswith=stem).values_list("name", flat=True))
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _push(row: BlockRequest, at: datetime) -> None:
    live.add(_made(row), at=at)
    with transaction.atomic():
        stepping.move(stepping.hold(row), State.PUSHED, due_at=at)


def _confirm(row: BlockRequest, at: datetime) -> None:
    """See the block at the running server; after a fault it is told again, which does no harm."""
    made = _made(row)
    if row.last_error:
        live.add(made, at=at)
    live.confirm(made, at=at)
    with transaction.atomic():
        held = stepping.hold(row)
        pool = db.lock(Pool, made.pk)
        pool.state = Pool.State.ACTIVE
        pool.save(update_fields=["state"])
        held.confirmed_at, held.last_error = at, ""
        stepping.move(held, State.CONFIRMED)
        growing.publish("block.confirmed", held, at)


_STEPS: Mapping[str, Callable[[BlockRequest, datetime], None]] = {
    State.OPEN: _look,
    State.GRANTED: _carve,
    State.CARVED: _push,
    State.PUSHED: _confirm,
}


def _made(row: BlockRequest) -> Pool:
    if row.made is None:
        raise TakenOver
    return row.made
