"""Renumbering (figure 12): the holders of one pool move into another, watched and taken back.

The source gives no new leases, so a device gets an address of the target when it asks next. At the
deadline the leases that are left are ended, and their sessions with them. Once the source is empty
it is done; until then it can be paused, which lets the source give leases again, or taken back. An
empty source is given back to its parent when somebody says so, and taken from its server first.

Static addresses all move at the deadline, of which their subscribers are told when it begins.

Locks: the plan's row, then the pools by key, then allocations.
"""

import logging
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from ipam import extents, leases, returning, static_moves, transitions
from ipam.models import Allocation, BlockReturn, Pool, Renumbering
from ispops import db, events
from ispops.errors import IllegalTransition, InvalidInput, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User

log = logging.getLogger(__name__)
State = Renumbering.State
ENDED_AT_ONCE = 200
# How long before its address changes the subscriber of a static one hears of it, at least.
STATIC_NOTICE = timedelta(days=7)


class PoolsDoNotFit(Refusal):
    """Only pools of one server that hand out the same for the same purpose can follow another."""

    code = "pools_do_not_fit"
    title = "The pools do not fit"


class AlreadyRenumbered(Refusal):
    """One of the pools is part of a plan that is not over."""

    code = "already_renumbered"
    title = "The pool is being renumbered"


class RenumberingClosed(IllegalTransition):
    """The plan is over, or not in a state in which this can be done."""

    code = "renumbering_closed"
    title = "Not possible in this state"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan comes to: how many hold an address of the source, and the room for them."""

    held: int
    resting: int
    room: int
    target_holds: int

    @property
    def fits(self) -> bool:
        return self.room >= self.held


def preview(*, source: Pool, target: Pool) -> Preview:
    """Say what moving a pool into another would come to.

    Raises:
        PoolsDoNotFit: they are not of one server, family, unit and purpose, or not in use.
    """
    _require_fitting(source, target)
    held = held_in(source)
    room = sum(last - first + 1 for first, last in target.free_extents.values_list("first", "last"))
    return Preview(
        held=held,
        resting=source.allocations.filter(state=leases.QUARANTINED).count(),
        room=room,
        target_holds=target.allocations.count() + static_moves.kept_in(target).count(),
    )


def choices() -> list[list[Pool]]:
    """Return the pools in use that can follow one another, together; a pool without one is out."""
    alike = defaultdict[Any, list[Pool]](list)
    active = Pool.objects.filter(state=Pool.State.ACTIVE).select_related("server")
    for pool in active.order_by("name"):
        alike[pool.server_id, pool.purpose, pool.family, pool.unit_length].append(pool)
    return [pools for pools in alike.values() if len(pools) > 1]


def held_in(pool: Pool) -> int:
    """How many addresses of a pool somebody has: static ones online or not."""
    if pool.purpose == Pool.Purpose.STATIC:
        return static_moves.kept_in(pool).count()
    return pool.allocations.filter(state=leases.ACTIVE).count()


def start(
    *,
    source: Pool,
    target: Pool,
    deadline_at: datetime,
    reason: str,
    actor: User,
    at: datetime,
) -> Renumbering:
    """Let a pool give no new leases, so that its holders move into another one.

    Raises:
        PoolsDoNotFit: as `preview`; or the target has not room for all.
        AlreadyRenumbered: one of them is part of another plan.
        InvalidInput: no reason, or the deadline is not ahead; with static addresses, a week.
    """
    if not reason.strip() or len(reason) > 300:
        raise InvalidInput("Say why, in up to 300 characters.", field="reason")
    if deadline_at <= at:
        raise InvalidInput("The deadline is ahead of now.", field="deadline")
    if source.purpose == Pool.Purpose.STATIC and deadline_at < at + STATIC_NOTICE:
        raise InvalidInput(
            f"Static addresses change with notice: choose a day that is {STATIC_NOTICE.days} days "
            "ahead, or more.",
            field="deadline",
        )
    try:
        with transaction.atomic():
            held_source, held_target = _lock_pools(source, target)
            told = preview(source=held_source, target=held_target)
            if not told.fits:
                raise PoolsDoNotFit(
                    f"{target} has room for {told.room:,}, and {source} has {told.held:,} holders.",
                    field="target",
                )
            row = Renumbering.objects.create(
                source=held_source, target=held_target, reason=reason.strip(),
                held_at_start=told.held, target_was_empty=told.target_holds == 0,
                deadline_at=deadline_at, started_by=actor, started_at=at,
            )  # fmt: skip
            _close(held_source)
            static_moves.announce(row, at)
            _note(row, "renumbering.started", actor, reason, at)
    except IntegrityError as error:
        raise AlreadyRenumbered(
            f"{source} or {target} is part of another plan.", field="source"
        ) from error
    return row


@transaction.atomic
def pause(*, renumbering_id: uuid.UUID, actor: User, reason: str, at: datetime) -> Renumbering:
    """Let the source give leases again for a while; nobody is moved meanwhile. Safe to repeat.

    Raises:
        NotFound: there is no such plan.
        RenumberingClosed: it is over, or being taken back.
    """
    row, is_new = _move(renumbering_id, State.PAUSED)
    if is_new:
        _open(db.lock(Pool, row.source_id))
        _note(row, "renumbering.paused", actor, reason, at)
    return row


@transaction.atomic
def resume(*, renumbering_id: uuid.UUID, actor: User, reason: str, at: datetime) -> Renumbering:
    """Go on with a paused plan. Safe to repeat.

    Raises:
        NotFound, RenumberingClosed: as `pause`.
    """
    row, is_new = _move(renumbering_id, State.RUNNING)
    if is_new:
        _close(db.lock(Pool, row.source_id))
        _note(row, "renumbering.resumed", actor, reason, at)
    return row


@transaction.atomic
def roll_back(*, renumbering_id: uuid.UUID, actor: User, reason: str, at: datetime) -> Renumbering:
    """Let the source give leases again, and bring back who has moved. Safe to repeat.

    A target that had holders of its own stays open, and who moved into it stays there.

    Raises:
        NotFound, RenumberingClosed: as `pause`.
    """
    row = _lock(renumbering_id)
    if row.state in (State.ROLLING_BACK, State.ROLLED_BACK):
        return row
    was_running = row.state == State.RUNNING
    row, _ = _move(renumbering_id, State.ROLLING_BACK)
    source, target = _lock_pools(row.source, row.target)
    if was_running:
        _open(source)
    if row.target_was_empty:
        _close(target)
    else:
        _end(row, State.ROLLED_BACK, at)
    _note(row, "renumbering.taken_back", actor, reason, at)
    return row


@transaction.atomic
def retire_source(
    *, renumbering_id: uuid.UUID, actor: User, reason: str, at: datetime
) -> BlockReturn:
    """Give the emptied source back to its parent, once its server has it no more. Safe to repeat.

    Raises:
        NotFound: there is no such plan.
        RenumberingClosed: it is not finished, or its source is in use again.
        NotAFurtherBlock: other pools were cut for the source, and are in use.
        InvalidInput: no reason.
    """
    if not reason.strip() or len(reason) > 300:
        raise InvalidInput("Say why, in up to 300 characters.", field="reason")
    row = _lock(renumbering_id)
    if row.state != State.FINISHED:
        raise RenumberingClosed(f"This plan is {row.get_state_display().lower()}.")
    begun = returning.retire(pool=row.source, cause=reason.strip(), actor=actor, at=at)
    _note(row, "renumbering.source_retired", actor, reason, at)
    return begun


def go_on(*, at: datetime) -> int:
    """Go on with all plans: end what is past its deadline, close what is done. Returns how many
    leases were ended. Safe to run twice; a plan that fails does not keep the others waiting."""
    ended = 0
    running = Renumbering.objects.filter(state__in=(State.RUNNING, State.ROLLING_BACK))
    for key in list(running.order_by("pk").values_list("pk", flat=True)):
        try:
            while batch := static_moves.move_due(key, at):
                ended += batch
            while batch := _end_overdue(key, at):
                ended += batch
            _close_if_empty(key, at)
        except Exception:
            log.exception("renumbering %s could not be gone on with", key)
    return ended


def _end_overdue(key: uuid.UUID, at: datetime) -> int:
    """End some of the leases of the source once the deadline has passed, and tell of each."""
    with transaction.atomic():
        row = _lock(key)
        if row.state != State.RUNNING or row.deadline_at > at:
            return 0
        left = list(
            Allocation.objects.filter(pool=row.source_id, state=leases.ACTIVE)
            .select_for_update(of=("self",), skip_locked=True)
            .select_related("holder__subscriber")
            .order_by("pk")[:ENDED_AT_ONCE]
        )
        leases.let_go(left, because=leases.Because.RENUMBERED, at=at)
        for each in left:
            events.publish(
                "address.renumbered",
                subject=row.public_id,
                at=at,
                subscriber=each.holder.subscriber.public_id,
                service=each.holder.service_ref,
                device=each.device,
                address=each.address,
            )
    return len(left)


def _close_if_empty(key: uuid.UUID, at: datetime) -> None:
    with transaction.atomic():
        row = _lock(key)
        if row.state not in (State.RUNNING, State.ROLLING_BACK):
            return
        left = row.source if row.state == State.RUNNING else row.target
        while extents.give_back(pool=left, at=at):
            pass
        if left.allocations.exists() or static_moves.kept_in(left).exists():
            return
        if row.state == State.RUNNING:
            _end(row, State.FINISHED, at)
        else:
            # Nobody is in it any more; it is as it was before the plan.
            _open(db.lock(Pool, row.target_id))
            _end(row, State.ROLLED_BACK, at)


# --- The rows -----------------------------------------------------------------------------------


def _close(pool: Pool) -> None:
    pool.state = Pool.State.DRAINING
    pool.save(update_fields=["state"])
    extents.take_all(pool)


def _open(pool: Pool) -> None:
    pool.state = Pool.State.ACTIVE
    pool.save(update_fields=["state"])
    extents.free_again(pool)


def _lock(key: uuid.UUID) -> Renumbering:
    try:
        return db.lock(Renumbering, key)
    except Renumbering.DoesNotExist as error:
        raise NotFound("There is no such plan.", field="renumbering_id") from error


def _lock_pools(source: Pool, target: Pool) -> tuple[Pool, Pool]:
    held = {pk: db.lock(Pool, pk) for pk in sorted({source.pk, target.pk})}
    return held[source.pk], held[target.pk]


def _move(key: uuid.UUID, following: State) -> tuple[Renumbering, bool]:
    """Lock a plan and bring it into a state; says whether it was in another before."""
    row = _lock(key)
    if row.state == following:
        return row, False
    if not transitions.follows(transitions.RENUMBERING, row.state, following):
        raise RenumberingClosed(f"This plan is {row.get_state_display().lower()}.")
    row.state = following
    row.save(update_fields=["state"])
    return row, True


def _end(row: Renumbering, state: State, at: datetime) -> None:
    row.state, row.ended_at = state, at
    row.save(update_fields=["state", "ended_at"])
    events.publish(
        f"renumbering.{state}", subject=row.public_id, at=at, source=row.source.name,
        target=row.target.name,
    )  # fmt: skip


def _require_fitting(source: Pool, target: Pool) -> None:
    for words, one, other in (
        ("address server", source.server_id, target.server_id),
        ("purpose", source.purpose, target.purpose),
        ("family", source.family, target.family),
        ("length of a unit", source.unit_length, target.unit_length),
    ):
        if one != other:
            raise PoolsDoNotFit(f"{source} and {target} differ in the {words}.", field="target")
    for pool, name in ((source, "source"), (target, "target")):
        if pool.state != Pool.State.ACTIVE:
            state = pool.get_state_display().lower()
            raise PoolsDoNotFit(f"{pool} is not in use: {state}.", field=name)
    if source.pk == target.pk:
        raise PoolsDoNotFit("A pool cannot move into itself.", field="target")


def _note(row: Renumbering, action: str, actor: User, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor, action=action, subject=row.public_id, reason=reason, at=at,
        source=row.source.name, target=row.target.name,
    )  # fmt: skip
