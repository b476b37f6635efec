"""Figure 11: a device asks for an address that the plan does not include.

The plan's policy denies, grants and charges, or asks the subscriber or a CSR. The answer to a
request that asks somebody comes through `ipam.overallocation`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q

from ipam import overallocation, statements
from ipam.models import AddressHolder, AddressServer, OverallocationRequest
from ispops import events
from ispops.catalog.models import AddressEntitlement
from ispops.parties.models import Subscriber

Policy = AddressEntitlement.Policy
State = OverallocationRequest.State
Decider = OverallocationRequest.Decider

LIMIT_SPAN = timedelta(hours=1)
# A device that was told no is told no again for this long, without asking anybody anew.
DENIAL_STANDS_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known about a device beyond the plan: the request if one was kept, and why."""

    request: OverallocationRequest | None
    reason: str

    @property
    def granted(self) -> bool:
        return self.request is not None and self.request.state == State.GRANTED

    @property
    def pending(self) -> bool:
        return self.request is not None and self.request.state == State.PENDING


def decide(
    *,
    holder: AddressHolder,
    entitlement: AddressEntitlement,
    device: str,
    server: AddressServer,
    open_extras: int,
    at: datetime,
) -> Verdict:
    """Say what becomes of a device for which the plan includes no address (any more).

    Called with the holder locked and its extra addresses counted. A repeated question gets the
    same request again. Beyond the hourly limit a device is denied and only counted, so that a
    flood of devices fills no table.
    """
    known = _recent_requests(holder, at)
    refusal = _refusal(holder, entitlement, open_extras, known)
    request = next((each for each in known if each.device == device), None)
    if request is not None and _still_answers(request, refusal, at):
        request.last_asked_at = at
        request.save(update_fields=["last_asked_at"])
    else:
        lately = sum(1 for each in known if each.asked_at > at - LIMIT_SPAN)
        if lately >= entitlement.most_requests_an_hour:
            return _refuse_by_limit(holder, entitlement, at)
        request = _record(holder, entitlement, device, server, refusal, at)
    return Verdict(request, request.reason or _waiting_for(request))


def refuse_in_flood(
    service_ref: str,
    device: str,
    server: AddressServer,
    *,
    flooded_at: datetime | None,
    at: datetime,
) -> str:
    """Refuse and count one more new device of a line of which one was refused by the limit then.

    One statement, and no lock is held while it is decided: a flood costs little, and its line's
    own devices hardly wait. Empty when the device has to be looked at like any other: there is a
    place for it, it is known, or the hour is over.
    """
    if flooded_at is None or flooded_at <= at - LIMIT_SPAN:
        return ""
    most = statements.count_refused(
        service_ref=service_ref,
        device=device,
        server=server,
        at=at,
        asked_after=at - LIMIT_SPAN,
        known_after=_matters_after(at),
    )
    return "" if most is None else _too_many(most)


def _matters_after(at: datetime) -> datetime:
    """When the oldest request was asked that can matter still: its answer was due in time."""
    return at - settings.OVERALLOCATION_ANSWERED_WITHIN - DENIAL_STANDS_FOR


def _recent_requests(holder: AddressHolder, at: datetime) -> list[OverallocationRequest]:
    """All that can matter to a new question: few, because the hourly limit keeps them few.

    A pending one whose time is over is closed here, as the sweep would.
    """
    requests = list(
        OverallocationRequest.objects.filter(
            Q(state=State.PENDING)
            | Q(asked_at__gt=at - LIMIT_SPAN)
            | Q(decided_at__gt=at - DENIAL_STANDS_FOR),
            # The same, as far as an index can tell: a line may have asked for years.
            Q(state=State.PENDING) | Q(asked_at__gt=_matters_after(at)),
            holder=holder,
        )
        .select_for_update()
        .order_by("-asked_at")
    )
    for request in requests:
        if request.state == State.PENDING and request.answer_by <= at:
            overallocation.expire(request, at)
    return requests


def _still_answers(request: OverallocationRequest, refusal: str, at: datetime) -> bool:
    """Say whether the last answer to this device holds; `refusal` is what the policy says now.

    A person's no holds for a while; the policy's only as long as its reason. A question that was
    needed no longer was not answered at all.
    """
    if request.decided_by == Decider.NOT_NEEDED:
        return False
    if request.state == State.DENIED and request.decided_at is not None:
        by_policy = request.decided_by == Decider.POLICY
        return bool(refusal) if by_policy else request.decided_at > at - DENIAL_STANDS_FOR
    return request.state == State.PENDING


def _refuse_by_limit(
    holder: AddressHolder, entitlement: AddressEntitlement, at: datetime
) -> Verdict:
    AddressHolder.objects.filter(pk=holder.pk).update(
        refused_by_limit=F("refused_by_limit") + 1, last_refused_by_limit_at=at
    )
    return Verdict(None, _too_many(entitlement.most_requests_an_hour))


def _too_many(most: int) -> str:
    return f"More than {most} new devices asked within an hour. Try again later."


def _refusal(
    holder: AddressHolder,
    entitlement: AddressEntitlement,
    open_extras: int,
    known: list[OverallocationRequest],
) -> str:
    """Why the policy says no at once, or nothing."""
    if entitlement.policy == Policy.DENY:
        return "The plan includes no further address."
    if holder.subscriber.standing != Subscriber.Standing.GOOD:
        return "The account is not in good standing."
    waiting = sum(1 for request in known if request.state == State.PENDING)
    if open_extras + waiting >= entitlement.most_extra_addresses:
        return (
            f"All {entitlement.most_extra_addresses} extra addresses that the plan can have "
            "are in use or being asked for."
        )
    return ""


def _record(
    holder: AddressHolder,
    entitlement: AddressEntitlement,
    device: str,
    server: AddressServer,
    refusal: str,
    at: datetime,
) -> OverallocationRequest:
    """Write the request, decided already where the policy decides, and publish it."""
    grants = not refusal and entitlement.policy == Policy.GRANT_AND_CHARGE
    decided = bool(refusal) or grants
    request = OverallocationRequest.objects.create(
        holder=holder,
        server=server,
        device=device,
        policy=entitlement.policy,
        addon=entitlement.extra_address,
        state=State.GRANTED if grants else State.DENIED if refusal else State.PENDING,
        asked_at=at,
        last_asked_at=at,
        answer_by=at + settings.OVERALLOCATION_ANSWERED_WITHIN,
        decided_at=at if decided else None,
        decided_by=Decider.POLICY if decided else "",
        reason=refusal or ("The plan grants and charges." if grants else ""),
    )
    if grants:
        overallocation.grant(request, at)
    elif not decided:
        events.publish(
            "address.requested",
            subject=request.public_id,
            at=at,
            **overallocation.facts(request),
            answer_by=request.answer_by.isoformat(),
            policy=request.policy,
        )
    return request


def _waiting_for(request: OverallocationRequest) -> str:
    if request.policy == Policy.ASK_CSR:
        return "Waiting for customer service to decide."
    return "Waiting for the subscriber to decide."
