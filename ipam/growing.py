"""Figure 11, second half: an address server needs a further block, and somebody decides.

`watch` asks for every group whose policy says that it is time; a server or a member of staff may
ask too. A group has one open request. `ipam.block_steps` looks into it, and does what was granted.

Locks: the request's row, then the first pool's; `ask_for_block` takes the pool's alone.
"""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from ipam import forecast, groups, returning, stepping, transitions
from ipam.groups import GroupUse
from ipam.models import AddressServer, BlockRequest, Pool, PoolPolicy
from ipam.sampling import NotYourPool
from ispops import db, events
from ispops.errors import IllegalTransition, InvalidInput, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import User

State, Decider = BlockRequest.State, BlockRequest.Decider
OPEN = BlockRequest.OPEN_STATES
# What was refused, or found not to be needed, is not asked by a policy again for so long.
ANSWER_STANDS_FOR = timedelta(hours=6)
# What is asked for without a policy: the same as a policy that nobody has changed.
USUAL = PoolPolicy()
LARGEST_LENGTH = 8


class BlockRequestClosed(IllegalTransition):
    """The request was decided before, or nothing is waiting for a person."""

    code = "block_request_closed"
    title = "The request is closed"


class NothingToGrow(Refusal):
    """A pool that is not handed out any more gets no further block."""

    code = "nothing_to_grow"
    title = "The pool gets no further block"


# --- Asking -------------------------------------------------------------------------------------


def watch(*, at: datetime) -> int:
    """Ask for a further block for every group that needs one by its policy; returns how many."""
    asked = 0
    for policy in groups.policies():
        _warn(policy, at)
        if not _is_answered(policy.pool, at):
            use = groups.use_of(policy.pool, at=at)
            cause = why_due(use, policy)
            if cause and not returning.keep_one(first=policy.pool, at=at):
                ask_for_block(pool=policy.pool, cause=cause, use=use, at=at)
                asked += 1
    return asked


def _warn(policy: PoolPolicy, at: datetime) -> None:
    """Keep with the policy what is wrong with how many lines share the addresses."""
    warning = groups.overbooking(policy, at=at)[:300]
    if warning != policy.warning:
        PoolPolicy.objects.filter(pk=policy.pk).update(warning=warning)


def why_due(use: GroupUse, policy: PoolPolicy, *, soon_free: int = 0) -> str:
    """Say why a group needs a further block now; empty when it does not.

    `soon_free` rest only because they were just reclaimed; but a pool that is dry is dry.
    """
    used = use.used if use.used >= use.total else use.used - soon_free
    return forecast.is_due(
        used=used,
        total=use.total,
        ends=use.ends,
        threshold_percent=policy.threshold_percent,
        least_days=policy.least_days,
    )


def _is_answered(pool: Pool, at: datetime) -> bool:
    last = pool.block_requests.order_by("-asked_at").first()
    if last is None or last.state == State.CONFIRMED:
        return False
    return last.state in OPEN or (last.decided_at or at) > at - ANSWER_STANDS_FOR


def ask_for_block(
    *,
    pool: Pool,
    cause: str,
    at: datetime,
    server: AddressServer | None = None,
    reference: str = "",
    actor: User | None = None,
    length: int | None = None,
    use: GroupUse | None = None,
) -> BlockRequest:
    """Ask for a further block for a pool's group; while a request is open, it is that one.

    `server` is who asks, when it asks itself: the same `reference` is the same request for ever.
    The size is that of the measured growth unless a length is named.

    Raises:
        NotYourPool: another server hands the pool out.
        NothingToGrow: the pool was given back.
        InvalidInput: the length is none for this pool, or the reference is too long or another
            pool's.
    """
    if server is not None and pool.server_id != server.pk:
        raise NotYourPool(f"{server.name} does not hand out {pool.name}.", field="pool")
    with transaction.atomic():
        first = db.lock(Pool, groups.first_of(pool).pk)
        if known := _known(first, reference):
            return known
        if first.state == Pool.State.RETURNED:
            raise NothingToGrow(f"{first.name} was given back.", field="pool")
        request = _request(first, cause, reference, actor, use or groups.use_of(first, at=at), at)
        request.length = length if length is not None else _length(first, request)
        _require_usable(request)
        request.save(force_insert=True)
        if actor is not None:
            _note(request, "block_request.asked", actor, cause, at)
        publish("block.requested", request, at)
        stepping.work_soon()
    return request


def _known(first: Pool, reference: str) -> BlockRequest | None:
    if reference:
        same = BlockRequest.objects.filter(server=first.server_id, reference=reference).first()
        if same is not None and same.pool_id != first.pk:
            raise InvalidInput(f"{reference} asked for another pool.", field="reference")
        if same is not None:
            return same
    return first.block_requests.filter(state__in=OPEN).first()


def _request(
    first: Pool, cause: str, reference: str, actor: User | None, use: GroupUse, at: datetime
) -> BlockRequest:
    return BlockRequest(
        pool=first,
        server_id=first.server_id,
        reference=reference,
        asked_by_user=actor,
        cause=cause[:300],
        asked_at=at,
        used=use.used,
        total=use.total,
        growth_a_day=_written(use.grows.likely if use.grows else None, "0.001"),
        days_left=_written(use.ends.likely, "0.01"),
        next_attempt_at=at,
    )


def _written(number: float | None, step: str) -> Decimal | None:
    return None if number is None else Decimal(number).quantize(Decimal(step))


def policy_of(first: Pool) -> PoolPolicy | None:
    """Return the policy of a group, or None."""
    return PoolPolicy.objects.filter(pool=first).first()


def _length(first: Pool, request: BlockRequest) -> int:
    """Return the length of the network that the measured growth needs."""
    policy = policy_of(first) or USUAL
    rate = None if request.growth_a_day is None else float(request.growth_a_day)
    units = forecast.further_units(
        used=request.used,
        total=request.total,
        grows=forecast.Growth(rate, rate, rate, forecast.LEAST_DAYS) if rate is not None else None,
        horizon_days=policy.horizon_days,
        threshold_percent=policy.threshold_percent,
    )
    length = forecast.further_length(
        units=units, unit_length=first.unit_length, is_single=groups.is_single(first)
    )
    return max(length, LARGEST_LENGTH)


def _require_usable(request: BlockRequest) -> None:
    db.check_fields(request, "reference", "cause")
    if not LARGEST_LENGTH <= request.length <= request.pool.unit_length:
        raise InvalidInput(
            f"A further block of {request.pool.name} is from /{LARGEST_LENGTH} to "
            f"/{request.pool.unit_length}.",
            field="length",
        )


# --- Deciding -----------------------------------------------------------------------------------


@transaction.atomic
def grant(
    *, request_id: uuid.UUID, actor: User, reason: str = "", at: datetime, length: int | None = None
) -> BlockRequest:
    """Let the server have a further block, of another length if one is named. Safe to repeat.

    Raises:
        NotFound: there is no such request.
        BlockRequestClosed: it does not wait for a decision.
        InvalidInput: the length is none for this pool.
    """
    request = _lock(request_id)
    if request.decided_by_user_id == actor.pk and request.state != State.REFUSED:
        return request
    if length is not None:
        request.length = length
        _require_usable(request)
    _decide(request, State.GRANTED, actor, reason, at)
    request.next_attempt_at = at
    request.save()
    stepping.work_soon()
    return request


@transaction.atomic
def refuse(*, request_id: uuid.UUID, actor: User, reason: str, at: datetime) -> BlockRequest:
    """Let the server have no further block, and say why. Safe to repeat.

    Raises:
        NotFound: there is no such request.
        BlockRequestClosed: it does not wait for a decision.
    """
    request = _lock(request_id)
    if request.decided_by_user_id == actor.pk and request.state == State.REFUSED:
        return request
    _decide(request, State.REFUSED, actor, reason, at)
    request.seen_at = at
    request.save()
    return request


def _decide(
    request: BlockRequest, state: BlockRequest.State, actor: User, reason: str, at: datetime
) -> None:
    if request.state != State.ASKED:
        raise BlockRequestClosed(f"This request is closed: {request.get_state_display().lower()}.")
    request.reason = reason or f"{state.label} by a CSR."
    db.check_fields(request, "reason")
    request.state, request.decided_at = state, at
    request.decided_by, request.decided_by_user = Decider.CSR, actor
    _note(request, f"block_request.{state}", actor, request.reason, at)
    publish(f"block.{state}", request, at)


@transaction.atomic
def try_again(*, request_id: uuid.UUID, actor: User, reason: str, at: datetime) -> BlockRequest:
    """Go on with a request that got stuck at the server, once somebody has looked at it.

    Raises:
        NotFound: there is no such request.
        BlockRequestClosed: it is not stuck.
    """
    request = _lock(request_id)
    if request.state == State.CARVED and request.attempts == 0:
        return request
    if not transitions.follows(transitions.BLOCK, request.state, State.CARVED) or not request.made:
        raise BlockRequestClosed("This request is not stuck.")
    request.state, request.next_attempt_at = State.CARVED, at
    request.attempts, request.leased_until, request.last_error = 0, None, ""
    request.save()
    _note(request, "block_request.taken_up_again", actor, reason, at)
    stepping.work_soon()
    return request


@transaction.atomic
def note_seen(*, request_id: uuid.UUID, actor: User, at: datetime) -> BlockRequest:
    """Note that a person has seen that a request was refused: its alert ends. Safe to repeat.

    Raises:
        NotFound: there is no such request.
        BlockRequestClosed: it was not refused.
    """
    request = _lock(request_id)
    if request.state != State.REFUSED:
        raise BlockRequestClosed("Only a refusal is noted.")
    if request.seen_at is None:
        request.seen_at = at
        request.save()
        _note(request, "block_request.seen", actor, "", at)
    return request


def _lock(request_id: uuid.UUID) -> BlockRequest:
    try:
        return db.lock(BlockRequest, request_id)
    except BlockRequest.DoesNotExist as error:
        raise NotFound("There is no such request.", field="request_id") from error


def _note(request: BlockRequest, action: str, actor: User, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor, action=action, subject=request.public_id, reason=reason, at=at,
        pool=request.pool.name, length=request.length,
    )  # fmt: skip


def publish(kind: str, request: BlockRequest, at: datetime) -> Any:
    """Publish what happened to a request, with what every event of it tells."""
    return events.publish(
        kind,
        subject=request.public_id,
        at=at,
        pool=request.pool.name,
        server=request.pool.server.name,
        length=request.length,
        cause=request.cause,
    )
