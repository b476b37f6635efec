"""Low water: a further block that nobody uses goes back to its parent (figure 12).

It gives no new leases first, because its free slots are taken out of it; when the last address has
rested, the server is told to hand it out no more; and once that was seen, its range is free for
others. The pool stays for the history, without a block.

Locks: the return's row, then the pool's, then the blocks'.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Q

from ipam import extents, groups, live, stepping, transitions
from ipam.models import (
    AddressServer,
    Allocation,
    Block,
    BlockRequest,
    BlockReturn,
    Pool,
    PoolPolicy,
    PoolSample,
    Renumbering,
)
from ipam.sampling import NotYourPool
from ipam.servers.base import RangeInUse
from ispops import db, events
from ispops.errors import IllegalTransition, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User

State = BlockReturn.State
OPEN = (State.DRAINING, State.REMOVED, State.PARKED)
# How often a pool that still has leases is looked at.
LOOKED_AT_EVERY = timedelta(minutes=1)


class NotAFurtherBlock(Refusal):
    """Only what was cut for a pool later goes back by itself; the first block stays."""

    code = "not_a_further_block"
    title = "This is no further block"


class PartOfAPlan(Refusal):
    """A pool whose holders are being moved stays until the plan is over: it may be taken back."""

    code = "part_of_a_renumbering"
    title = "The pool is being renumbered"


class StaticAddressesKept(Refusal):
    """Static addresses are promised to lines, whether they are online or not."""

    code = "static_addresses_kept"
    title = "Static addresses are kept in this block"


class ReturnClosed(IllegalTransition):
    """The block is back, was kept, or is not stuck."""

    code = "block_return_closed"
    title = "The return is closed"


# --- Beginning and taking back ------------------------------------------------------------------


def watch(*, at: datetime) -> int:
    """Begin the return of the last unused further block of each group with room to spare."""
    begun = 0
    for policy in groups.policies():
        pool = _unused(policy, at)
        if pool is not None and _is_low(policy, pool, at):
            begin(pool=pool, cause=_cause(policy), at=at)
            begun += 1
    return begun


def _cause(policy: PoolPolicy) -> str:
    return (
        f"Unused for {policy.unused_days} days, and the rest is used less than "
        f"{policy.low_water_percent} %."
    )


def _unused(policy: PoolPolicy, at: datetime) -> Pool | None:
    """The newest further pool of a group of which no address was in use for so long.

    Only one block of a group is on its way at a time, and none while a further one is wanted.
    """
    planned = Renumbering.objects.filter(state__in=Renumbering.OPEN_STATES)
    further = (
        Pool.objects.filter(grown_from=policy.pool)
        .exclude(pk__in=planned.values("source"))
        .exclude(pk__in=planned.values("target"))
    )
    if BlockReturn.objects.filter(pool__in=further, state__in=OPEN).exists():
        return None
    if policy.pool.block_requests.filter(state__in=BlockRequest.OPEN_STATES).exists():
        return None
    since = at - timedelta(days=policy.unused_days)
    for pool in further.filter(state=Pool.State.ACTIVE, created_at__lte=since).order_by("-pk"):
        if pool.allocations.filter(state=Allocation.State.ACTIVE).exists() or _kept(pool):
            continue
        days = pool.samples.filter(grain=PoolSample.Grain.DAY, starts_at__gte=since)
        if not (days.aggregate(most=Max("peak"))["most"] or 0):
            return pool
    return None


def _kept(pool: Pool) -> int:
    """Count the static addresses that lines keep in a pool, online or not."""
    return pool.static_addresses.filter(released_at__isnull=True).count()


def _is_low(policy: PoolPolicy, pool: Pool, at: datetime) -> bool:
    """Say whether the group without this pool is used less than its policy's low water."""
    use = groups.use_of(policy.pool, at=at)
    own = next((each.total for each in use.pools if each.pool.pk == pool.pk), 0)
    rest = use.total - own
    return rest > 0 and 100 * use.used / rest < policy.low_water_percent


def begin(
    *,
    pool: Pool,
    cause: str,
    at: datetime,
    server: AddressServer | None = None,
    actor: User | None = None,
) -> BlockReturn:
    """Let a further pool give no new leases, and go back once it is empty. Safe to repeat.

    `server` is who gives it back, when it does so itself.

    Raises:
        NotYourPool: another server hands the pool out.
        NotAFurtherBlock: it is the first pool of its group, or not in use yet or any more.
        PartOfAPlan: it is being renumbered, or others are moved into it.
        StaticAddressesKept: some of its addresses are promised to lines.
    """
    if server is not None and pool.server_id != server.pk:
        raise NotYourPool(f"{server.name} does not hand out {pool.name}.", field="pool")
    with transaction.atomic():
        held = db.lock(Pool, pool.pk)
        if known := held.returns.filter(state__in=OPEN).first():
            return known
        if held.grown_from_id is None or held.state != Pool.State.ACTIVE:
            raise NotAFurtherBlock(
                f"{held.name} is no further block that is in use, so it does not go back.",
                field="pool",
            )
        _require_no_plan(held)
        if promised := _kept(held):
            raise StaticAddressesKept(
                f"{promised:,} static address{'' if promised == 1 else 'es'} of {held.name} "
                "belong to lines. It goes back once they are released.",
                field="pool",
            )
        held.state = Pool.State.DRAINING
        held.save(update_fields=["state"])
        extents.take_all(held)
        return _begin(held, cause, actor, at)


def retire(*, pool: Pool, cause: str, actor: User, at: datetime) -> BlockReturn:
    """Let a drained pool go back, whichever of its group it is. Safe to repeat.

    Raises:
        NotAFurtherBlock: others of its group are in use.
        PartOfAPlan: it is being renumbered, or others are moved into it.
        ReturnClosed: it is in use itself, or gone.
    """
    with transaction.atomic():
        held = db.lock(Pool, pool.pk)
        if known := held.returns.filter(state__in=OPEN).first():
            return known
        if held.state != Pool.State.DRAINING:
            raise ReturnClosed(f"{held.name} is not empty on purpose: {held.get_state_display()}.")
        if held.further.exclude(state=Pool.State.RETURNED).exists():
            raise NotAFurtherBlock(
                f"Further blocks were cut for {held.name} and are in use: they go first.",
                field="pool",
            )
        _require_no_plan(held)
        return _begin(held, cause, actor, at)


def _require_no_plan(held: Pool) -> None:
    """Refuse a locked pool of an open plan; a plan begins under the same locks."""
    mine = Q(source=held) | Q(target=held)
    if Renumbering.objects.filter(mine, state__in=Renumbering.OPEN_STATES).exists():
        raise PartOfAPlan(
            f"{held.name} is being renumbered. Finish that plan first, or take it back.",
            field="pool",
        )


def _begin(held: Pool, cause: str, actor: User | None, at: datetime) -> BlockReturn:
    """Put a locked pool that gives no leases on its way."""
    row = BlockReturn.objects.create(
        pool=held, network=held.block.network, cause=cause[:300], started_at=at,
        next_attempt_at=at,
    )  # fmt: skip
    if actor is not None:
        _note(row, "block_return.begun", actor, cause, at)
    _publish("block.draining", row, at)
    stepping.work_soon()
    return row


@transaction.atomic
def keep(
    *, return_id: uuid.UUID, actor: User | None = None, reason: str, at: datetime
) -> BlockReturn:
    """Let a pool that is being drained give leases again. Safe to repeat.

    Raises:
        NotFound: there is no such return.
        ReturnClosed: the server has been told already.
    """
    row = _lock(return_id)
    if row.state == State.KEPT:
        return row
    if not transitions.follows(transitions.RETURN, row.state, State.KEPT):
        raise ReturnClosed(f"It is too late: {row.get_state_display().lower()}.")
    pool = db.lock(Pool, row.pool_id)
    pool.state = Pool.State.ACTIVE
    pool.save(update_fields=["state"])
    extents.free_again(pool)
    row.ended_at = at
    stepping.move(row, State.KEPT)
    if actor is not None:
        _note(row, "block_return.kept", actor, reason, at)
    return row


def keep_one(*, first: Pool, at: datetime) -> bool:
    """Keep a block of a group that was on its way back, where the group needs one; False: none."""
    rows = BlockReturn.objects.filter(pool__grown_from=first, state=State.DRAINING)
    row = rows.order_by("started_at").first()
    if row is None:
        return False
    try:
        keep(return_id=row.pk, reason="Its group needs it again.", at=at)
    except ReturnClosed:
        return False
    return True


@transaction.atomic
def try_again(*, return_id: uuid.UUID, actor: User, reason: str, at: datetime) -> BlockReturn:
    """Go on with a return that got stuck at the server, once somebody has looked at it.

    Raises:
        NotFound: there is no such return.
        ReturnClosed: it is not stuck.
    """
    row = _lock(return_id)
    if row.state != State.PARKED:
        raise ReturnClosed("This return is not stuck.")
    row.attempts, row.last_error = 0, ""
    stepping.move(row, State.DRAINING, due_at=at)
    _note(row, "block_return.taken_up_again", actor, reason, at)
    stepping.work_soon()
    return row


# --- What a worker does -------------------------------------------------------------------------


def go_on_due(*, at: datetime, limit: int = 50) -> int:
    """Do the next steps of returns that are due; returns how many were done."""
    rows = BlockReturn.objects.select_related("pool__block", "pool__server")
    return stepping.go_on_due(rows, _STEPS, at=at, limit=limit)


def _drain(row: BlockReturn, at: datetime) -> None:
    """Wait until nothing is held or rests any more, then take the pool from the server."""
    while extents.give_back(pool=row.pool, at=at):
        pass
    # Kept for a line that was just being assigned it when the drain began.
    if row.pool.allocations.exists() or _kept(row.pool):
        _wait(row, at)
        return
    try:
        live.remove(row.pool, at=at)
    except RangeInUse:
        _wait(row, at)
        return
    with transaction.atomic():
        stepping.move(stepping.hold(row), State.REMOVED, due_at=at)


def _wait(row: BlockReturn, at: datetime) -> None:
    """Look again soon: a device has an address here, by our rows or by the server's."""
    with transaction.atomic():
        held = stepping.hold(row)
        held.attempts = 0
        stepping.move(held, State.DRAINING, due_at=at + LOOKED_AT_EVERY)


def _give_back(row: BlockReturn, at: datetime) -> None:
    """See that the server has it no more; then its range is its parent's again."""
    if row.last_error:
        live.remove(row.pool, at=at)
    live.confirm(row.pool, present=False, at=at)
    with transaction.atomic():
        held = stepping.hold(row)
        pool = db.lock(Pool, row.pool_id)
        block = pool.block
        if block.parent_id is not None:
            db.lock(Block, block.parent_id)
        pool.state, pool.block = Pool.State.RETURNED, None
        pool.save(update_fields=["state", "block"])
        block.delete()
        held.ended_at, held.last_error = at, ""
        stepping.move(held, State.RETURNED)
        _publish("block.returned", held, at)


_STEPS: Mapping[str, Callable[[BlockReturn, datetime], None]] = {
    State.DRAINING: _drain,
    State.REMOVED: _give_back,
}


# --- The row ------------------------------------------------------------------------------------


def _lock(return_id: uuid.UUID) -> BlockReturn:
    try:
        return db.lock(BlockReturn, return_id)
    except BlockReturn.DoesNotExist as error:
        raise NotFound("There is no such return.", field="return_id") from error


def _note(row: BlockReturn, action: str, actor: User, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor, action=action, subject=row.public_id, reason=reason, at=at,
        pool=row.pool.name, network=row.network,
    )  # fmt: skip


def _publish(kind: str, row: BlockReturn, at: datetime) -> None:
    events.publish(
        kind, subject=row.public_id, at=at, pool=row.pool.name, network=row.network,
        cause=row.cause,
    )  # fmt: skip
