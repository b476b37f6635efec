"""Answers to over-allocation requests (figure 11), and the extra addresses that come of them.

`ipam.asking` opens the requests. Every one is kept with who decided, when and why. A granted
request is an `ExtraAddress`, charged from the grant until it ends; the address itself is given
when the device asks next.

Locks: the holder's row first, then the request's. Only the sweep of unanswered requests takes
requests alone, and it steps over locked ones.
"""

import uuid
from datetime import datetime
from typing import Literal

from django.db import transaction

from ipam import allowance, leases, statements, transitions
from ipam.models import AddressHolder, Allocation, ExtraAddress, OverallocationRequest, Pool
from ispops import db, events
from ispops.catalog.models import AddressEntitlement
from ispops.errors import IllegalTransition, NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User

State = OverallocationRequest.State
Decider = OverallocationRequest.Decider
# Who answers a request that the policy left open.
Answerer = Literal["subscriber", "csr"]


class RequestClosed(IllegalTransition):
    """The request was answered otherwise before, or its time is over."""

    code = "request_closed"
    title = "The request is closed"


class ExtraNotNeeded(Refusal):
    """The device has an address of the plan meanwhile; nobody pays for what is included."""

    code = "extra_not_needed"
    title = "No extra address is needed"


class TooManyExtraAddresses(Refusal):
    """The plan sells no more extra addresses than are held already."""

    code = "too_many_extra_addresses"
    title = "No more extra addresses are possible"


class SubscriberNotInGoodStanding(Refusal):
    """Nothing that costs money is granted to an account that is restricted or closed."""

    code = "subscriber_not_in_good_standing"
    title = "The account is not in good standing"


class NotYoursToDecide(Refusal):
    """The plan leaves this decision to a CSR."""

    code = "not_yours_to_decide"
    title = "Somebody else decides this"
    status = 403


# --- Answering ----------------------------------------------------------------------------------


def accept(
    *,
    request_id: str | uuid.UUID,
    actor: User,
    decided_by: Answerer = "subscriber",
    at: datetime,
    reason: str = "",
) -> OverallocationRequest:
    """Grant a pending request: the extra address is charged from now, until it ends.

    The device gets its address when it asks next. Accepting what is granted changes nothing.

    Raises:
        NotFound: there is no such request, or it is not of the subscriber whose login this is.
        NotYoursToDecide: the plan leaves it to a CSR.
        RequestClosed: it was declined, or its time is over.
        ExtraNotNeeded: the device has an address of the plan by now, or the plan a place for it.
        TooManyExtraAddresses: the plan's extra addresses are all in use.
        SubscriberNotInGoodStanding: the account may buy nothing.
    """
    with transaction.atomic():
        request = _lock_request(request_id, actor, decided_by)
        if request.state == State.GRANTED:
            return request
        _require_open(request, State.GRANTED, at)
        _require_grantable(request, at)
        _decide(request, State.GRANTED, actor, decided_by, reason, at)
        grant(request, at)
    return request


def decline(
    *,
    request_id: str | uuid.UUID,
    actor: User,
    decided_by: Answerer = "subscriber",
    at: datetime,
    reason: str = "",
) -> OverallocationRequest:
    """Say no to a pending request. Declining what is denied changes nothing.

    Raises:
        NotFound: there is no such request, or it is not of the subscriber whose login this is.
        NotYoursToDecide: the plan leaves it to a CSR.
        RequestClosed: it was granted, or its time is over.
    """
    with transaction.atomic():
        request = _lock_request(request_id, actor, decided_by)
        if request.state == State.DENIED:
            return request
        _require_open(request, State.DENIED, at)
        _decide(request, State.DENIED, actor, decided_by, reason, at)
    return request


def withdraw(*, holder: AddressHolder, device: str, at: datetime) -> None:
    """Close the open question of a device of a locked holder that the plan has a place for now."""
    asked = holder.requests.filter(device=device, state=State.PENDING).select_for_update()
    for request in asked:
        _close(request, "The plan has a place for the device now.", at)


def _close(request: OverallocationRequest, reason: str, at: datetime) -> None:
    """Close a locked, pending request that needs no answer any more."""
    request.state, request.decided_at = State.DENIED, at
    request.decided_by, request.reason = Decider.NOT_NEEDED, reason
    request.save(update_fields=["state", "decided_at", "decided_by", "reason"])


def _lock_request(
    request_id: str | uuid.UUID, actor: User, decided_by: Answerer
) -> OverallocationRequest:
    """Lock the holder and then the request, and see that the actor may decide it."""
    key = (
        request_id
        if isinstance(request_id, uuid.UUID)
        else OverallocationRequest.key_of(request_id)
    )
    if key is None or (decided_by == "csr" and not actor.is_staff):
        raise NotFound("There is no such request.", field="request_id")
    visible = OverallocationRequest.objects.filter(pk=key)
    if decided_by != "csr":
        visible = visible.filter(holder__subscriber__users=actor)
    found = visible.values_list("holder_id", flat=True).first()
    if found is None:
        raise NotFound("There is no such request.", field="request_id")
    db.lock(AddressHolder, found)
    request = (
        OverallocationRequest.objects.select_for_update(of=("self",))
        .select_related("holder__subscriber", "holder__plan__address_entitlement", "addon")
        .get(pk=key)
    )
    if request.policy == AddressEntitlement.Policy.ASK_CSR and decided_by != "csr":
        raise NotYoursToDecide("For this plan customer service decides. Please call us.")
    return request


def _require_open(request: OverallocationRequest, following: State, at: datetime) -> None:
    if not transitions.may_become(request.state, following.value) or request.answer_by <= at:
        state = State(request.state) if request.state != State.PENDING else State.EXPIRED
        raise RequestClosed(
            f"This request is closed: {state.label.lower()}. Let the device ask again.",
            field="request_id",
        )


def _require_grantable(request: OverallocationRequest, at: datetime) -> None:
    if request.holder.subscriber.standing != Subscriber.Standing.GOOD:
        raise SubscriberNotInGoodStanding(
            "The account is not in good standing, so nothing can be added. Pay what is due first."
        )
    if Allocation.objects.filter(
        holder=request.holder, device=request.device, state=leases.ACTIVE, counts=True
    ).exists():
        raise ExtraNotNeeded(f"{request.device} has an address of the plan by now.")
    entitlement = entitlement_of(request.holder)
    if _has_place(request, entitlement, at):
        raise ExtraNotNeeded(
            f"The plan has a place for {request.device} by now. It gets an address when it asks "
            "again, and nothing is charged."
        )
    most = entitlement.most_extra_addresses
    if open_extras(request.holder) >= most:
        raise TooManyExtraAddresses(
            f"The plan can have {most} extra addresses, and all are in use. Free one first."
        )


def _has_place(
    request: OverallocationRequest, entitlement: AddressEntitlement, at: datetime
) -> bool:
    """Say whether the device of a request would be given an address now without an extra."""
    pools = statements.pools_of(request.server)
    rows = leases.lock_allocations(request.holder, at=at)
    offered = allowance.offered(entitlement, request.server, pools)
    missing = offered.keys() - allowance.held_families(request.device, rows)
    return bool(offered) and not any(
        allowance.is_beyond(
            entitlement,
            family,
            device=request.device,
            rows=rows,
            extras=lambda: devices_with_extra(request.holder),
            static_pools={pool.pk for pool in pools if pool.purpose == Pool.Purpose.STATIC},
        )
        for family in missing
    )


def _decide(
    request: OverallocationRequest,
    state: State,
    actor: User,
    decided_by: Answerer,
    reason: str,
    at: datetime,
) -> None:
    request.state = state
    request.decided_at, request.decided_by, request.decided_by_user = at, decided_by, actor
    request.reason = reason or f"{state.label} by {Decider(decided_by).label.lower()}."
    db.check_fields(request, "reason", "decided_by")
    request.save(update_fields=["state", "decided_at", "decided_by", "decided_by_user", "reason"])
    audit.record(
        actor=actor,
        action=f"address_request.{state}",
        subject=request.public_id,
        subscriber=request.holder.subscriber,
        reason=request.reason,
        at=at,
        device=request.device,
        decided_by=decided_by,
    )


def grant(request: OverallocationRequest, at: datetime) -> ExtraAddress:
    """Give the device of a granted request its extra address, charged from now."""
    extra = ExtraAddress.objects.create(
        holder=request.holder,
        request=request,
        addon=request.addon,  # type: ignore[misc]  # a constraint: who may grant names it
        device=request.device,
        granted_at=at,
    )
    events.publish(
        "address.extra_granted",
        subject=extra.public_id,
        at=at,
        **facts(request),
        decided_by=request.decided_by,
    )
    return extra


def facts(request: OverallocationRequest) -> dict[str, str]:
    """What every event about a request tells."""
    return {
        "request": request.public_id,
        "subscriber": request.holder.subscriber.public_id,
        "service": request.holder.service_ref,
        "device": request.device,
        "offering": request.addon.code if request.addon else "",
    }


def entitlement_of(holder: AddressHolder) -> AddressEntitlement:
    """Return what a holder's plan includes; a plan that says nothing has one of each, no more."""
    try:
        return holder.plan.address_entitlement
    except AddressEntitlement.DoesNotExist:
        return AddressEntitlement(
            offering=holder.plan, policy=AddressEntitlement.Policy.DENY, most_extra_addresses=0
        )


def open_extras(holder: AddressHolder) -> int:
    """Count the extra addresses that a holder pays for now."""
    return ExtraAddress.objects.filter(holder=holder, ended_at__isnull=True).count()


def devices_with_extra(holder: AddressHolder) -> set[str]:
    """Return the devices for which a holder pays now."""
    extras = ExtraAddress.objects.filter(holder=holder, ended_at__isnull=True)
    return set(extras.values_list("device", flat=True))


def devices_that_fill(service_ref: str, *, at: datetime) -> list[str]:
    """Return the devices that use up what a service's plan includes; none while it has a place."""
    held = Allocation.objects.filter(
        holder__service_ref=service_ref, state=leases.ACTIVE, expires_at__gt=at
    )
    rows = list(held.select_related("holder__plan__address_entitlement", "pool"))
    if not rows:
        return []
    static = {row.pool_id for row in rows if row.pool.purpose == Pool.Purpose.STATIC}
    with_extra = devices_with_extra(rows[0].holder)
    entitlement = entitlement_of(rows[0].holder)
    full = set()
    for family, using in allowance.users(rows, static).items():
        if len(using - with_extra) >= allowance.included(entitlement, family):
            full |= using - with_extra
    return sorted(full)


# --- Ending -------------------------------------------------------------------------------------


def end_extra(*, extra_id: str | uuid.UUID, at: datetime) -> ExtraAddress:
    """End an extra address: its charge stops now and its device loses the address.

    Its session is ended, and nobody else has the address before that. Ending what has ended
    changes nothing.

    Raises:
        NotFound: there is no such extra address.
    """
    key = extra_id if isinstance(extra_id, uuid.UUID) else ExtraAddress.key_of(extra_id)
    with transaction.atomic():
        if key is None:
            raise NotFound("There is no such extra address.", field="extra_id")
        found = ExtraAddress.objects.filter(pk=key).values_list("holder_id", flat=True).first()
        if found is None:
            raise NotFound("There is no such extra address.", field="extra_id")
        holder = db.lock(AddressHolder, found)
        extra = ExtraAddress.objects.select_related("addon").get(pk=key)
        if extra.ended_at is None:
            mine = _held_by(extra.device, leases.lock_allocations(holder, at=at))
            leases.take_back(holder, mine, because=leases.Because.EXTRA_ENDED, at=at)
            _close_extra(extra, holder, leases.Because.EXTRA_ENDED, at)
    return extra


def end_covered(*, holder: AddressHolder, at: datetime) -> None:
    """End the extras of a locked holder that its plan has places for; the devices keep addresses.

    The oldest ends first, and as many go on as the line still has devices beyond the plan.
    """
    extras = holder.extra_addresses.filter(ended_at__isnull=True).select_related("addon")
    open_ones = list(extras.order_by("granted_at", "pk"))
    if not open_ones:
        return
    rows = leases.lock_allocations(holder, at=at)
    static = Pool.objects.filter(
        purpose=Pool.Purpose.STATIC, pk__in={row.pool_id for row in rows}
    ).values_list("pk", flat=True)
    covered = allowance.covered(
        entitlement_of(holder),
        rows=rows,
        with_extra={extra.device for extra in open_ones},
        static_pools=set(static),
    )
    for extra in open_ones[:covered]:
        _close_extra(extra, holder, leases.Because.PLAN_INCLUDES, at)


def end_all(*, holder: AddressHolder, held: list[Allocation], because: str, at: datetime) -> None:
    """End everything beyond the plan of a locked holder: open questions, then open extras."""
    for request in holder.requests.filter(state=State.PENDING).select_for_update().order_by("pk"):
        _close(request, "The service has ended.", at)
    for extra in holder.extra_addresses.filter(ended_at__isnull=True).select_related("addon"):
        leases.let_go(_held_by(extra.device, held), because=because, at=at)
        _close_extra(extra, holder, because, at)


def _held_by(device: str, held: list[Allocation]) -> list[Allocation]:
    return [row for row in held if row.device == device and row.state == leases.ACTIVE]


def _close_extra(extra: ExtraAddress, holder: AddressHolder, because: str, at: datetime) -> None:
    """Let a locked holder pay for an extra address no longer, and tell."""
    extra.ended_at = max(at, extra.granted_at)
    extra.save(update_fields=["ended_at"])
    events.publish(
        "address.extra_ended",
        subject=extra.public_id,
        at=at,
        subscriber=holder.subscriber.public_id,
        service=holder.service_ref,
        device=extra.device,
        offering=extra.addon.code,
        because=because,
    )


def expire_due_requests(*, at: datetime, limit: int = 500) -> int:
    """Close the requests that nobody answered in time. Returns how many."""
    with transaction.atomic():
        overdue = list(
            OverallocationRequest.objects.filter(state=State.PENDING, answer_by__lte=at)
            .select_for_update(skip_locked=True)
            .order_by("answer_by")[:limit]
        )
        for request in overdue:
            expire(request, at)
    return len(overdue)


def expire(request: OverallocationRequest, at: datetime) -> None:
    """Close a locked, pending request that nobody answered in time."""
    request.state, request.decided_at = State.EXPIRED, at
    request.decided_by, request.reason = Decider.CLOCK, "Nobody answered in time."
    request.save(update_fields=["state", "decided_at", "decided_by", "reason"])
