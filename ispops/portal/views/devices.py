"""Figure 11 for the subscriber: a device beyond the plan, and what it costs to let it in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from ipam import allocation, overallocation, static_addresses
from ipam.models import ExtraAddress, OverallocationRequest, StaticAddress
from ipam.queries import (
    addresses_of,
    extra_addresses_between,
    pending_requests,
    static_addresses_of,
)
from ispops.catalog.models import AddressEntitlement, OfferingPrice
from ispops.catalog.queries import price_in_force
from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.portal import queries
from ispops.portal.access import for_subscriber, own
from ispops.portal.addresses import Device, devices_of
from provisioning import reservations, services
from provisioning.models import DhcpReservation, Service
from provisioning.queries import lines_of


@dataclass(frozen=True, slots=True)
class Question:
    """A request that waits for the subscriber's answer, with what saying yes costs."""

    request: OverallocationRequest
    price: Decimal | None
    currency: str

    @property
    def is_ours_to_answer(self) -> bool:
        """Some plans leave the answer to customer service: then there is only news to show."""
        return self.request.policy == AddressEntitlement.Policy.ASK_SUBSCRIBER


def open_questions(subscriber: Subscriber, at: datetime) -> list[Question]:
    """Return what waits for this subscriber's answer, oldest first."""
    return [
        Question(request, _monthly(request, subscriber.currency, at), subscriber.currency)
        for request in pending_requests(subscriber)
    ]


def _monthly(request: OverallocationRequest, currency: str, at: datetime) -> Decimal | None:
    if request.addon is None:
        return None
    price = price_in_force(request.addon, OfferingPrice.Charge.RECURRING, at, currency)
    return Decimal(price.amount) if price else None


def _current_extras(subscriber: Subscriber, at: datetime) -> list[ExtraAddress]:
    return list(extra_addresses_between(at, at + timedelta(microseconds=1), subscriber))


def freeable_devices(subscriber: Subscriber) -> list[Device]:
    """Return the devices whose address could be another one's: what the plan pays for, and no DHCP
    server is told to keep."""
    kept = DhcpReservation.objects.filter(
        service__subscriber=subscriber, address__isnull=False
    ).values_list("service", flat=True)
    lines = {line.public_id for line in lines_of(subscriber).exclude(pk__in=kept)}
    now = timezone.now()
    held = devices_of(addresses_of(subscriber), _current_extras(subscriber, now))
    return [
        device
        for device in held
        if device.line in lines and not device.waits and device.extra is None
    ]


@require_safe
@for_subscriber
def devices(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show every device with its addresses, and what waits for an answer."""
    now = timezone.now()
    waiting = open_questions(subscriber, now)
    rows = devices_of(
        addresses_of(subscriber),
        _current_extras(subscriber, now),
        [question.request for question in waiting],
    )
    statics = list(static_addresses_of(subscriber))
    lines = lines_of(subscriber).select_related("dhcp_reservation", "offering__address_entitlement")
    context = {
        "waiting": waiting,
        "answered": queries.answered_requests(subscriber)[:10],
        "statics": statics,
        "lines": _by_line(list(lines), rows, statics),
    }
    return render(request, "portal/devices.html", context)


def _by_line(
    lines: Sequence[Service], rows: Sequence[Device], statics: Sequence[StaticAddress]
) -> list[tuple[Service, list[Device], int]]:
    """Each line with its devices, and how many static addresses of its plan it could still take."""
    return [
        (line, [row for row in rows if row.line == line.public_id], _untaken(line, statics))
        for line in lines
    ]


def _untaken(line: Service, statics: Sequence[StaticAddress]) -> int:
    entitlement = getattr(line.offering, "address_entitlement", None)
    if entitlement is None or line.state != Service.State.ACTIVE:
        return 0
    taken = sum(1 for static in statics if static.cause_ref == line.public_id)
    return max(0, entitlement.static_addresses - taken)


@require_POST
@for_subscriber
def take_static(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Keep the static addresses of a plan that includes more of them than when the line began."""
    line = own(lines_of(subscriber).filter(state=Service.State.ACTIVE), line_id)
    try:
        kept = static_addresses.follow_plan(service_ref=line.public_id, at=timezone.now())
    except Refusal as refused:
        messages.error(request, refused.detail)
    else:
        names = ", ".join(map(str, kept))
        messages.success(request, f"Done. Kept for {line.offering}: {names or 'nothing'}.")
    return redirect("portal:devices")


@require_GET
@for_subscriber
@reauthentication_required
def network_login(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Show the login of a line's equipment to whoever has just said the password of the account."""
    line = own(lines_of(subscriber), line_id)
    shown = services.show_login(line=line, actor=request.user, at=timezone.now())  # type: ignore[arg-type]
    if shown is None:
        raise Http404
    return render(request, "portal/network_login.html", {"line": line, "login": shown})


@require_POST
@for_subscriber
def answer(request: HttpRequest, subscriber: Subscriber, request_id: str) -> HttpResponse:
    """Take yes or no to a request; the same answer twice changes nothing."""
    asked = own(OverallocationRequest.objects.filter(holder__subscriber=subscriber), request_id)
    decide = {"accept": overallocation.accept, "decline": overallocation.decline}.get(
        request.POST.get("answer", "")
    )
    if decide is None:
        raise Http404
    try:
        decided = decide(
            request_id=asked.pk,
            actor=request.user,  # type: ignore[arg-type]
            decided_by="subscriber",
            at=timezone.now(),
        )
    except Refusal as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, _said(decided))
    return redirect("portal:devices")


def _said(decided: OverallocationRequest) -> str:
    if decided.state == OverallocationRequest.State.GRANTED:
        return (
            f"Done. {decided.device} gets its address as soon as it asks again, within five "
            "minutes. You can stop it below at any time."
        )
    return f"Done. {decided.device} gets no address, and nothing is charged."


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def stop_extra(request: HttpRequest, subscriber: Subscriber, extra_id: str) -> HttpResponse:
    """Say what ending an extra address does, then end it."""
    extra = own(
        ExtraAddress.objects.select_related("addon").filter(holder__subscriber=subscriber), extra_id
    )
    if request.method != "POST":
        return render(request, "portal/stop_extra.html", {"extra": extra})
    try:
        overallocation.end_extra(extra_id=extra.pk, at=timezone.now())
    except Refusal as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, f"The extra address of {extra.device} has ended.")
    return redirect("portal:devices")


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def free(request: HttpRequest, subscriber: Subscriber, line_id: str, device: str) -> HttpResponse:
    """Say what freeing a device's address does, then free it."""
    line = own(lines_of(subscriber), line_id)
    held = addresses_of(subscriber).filter(holder__service_ref=line.public_id, device=device)
    # What a DHCP server is told to give to the line itself stays the line's until that ends.
    reserved = DhcpReservation.objects.filter(service=line).first()
    if not held or (reserved and f"{reserved.address}/32" in {row.address for row in held}):
        raise Http404
    if request.method != "POST":
        return render(request, "portal/free_device.html", {"device": device, "line": line})
    allocation.free_device(service_ref=line.public_id, device=device, at=timezone.now())
    if reserved:
        reservations.follow_addresses(service=line, at=timezone.now())
    if others := overallocation.devices_that_fill(line.public_id, at=timezone.now()):
        messages.warning(
            request,
            f"{device} has lost its address, but your plan has no place for another device yet: "
            f"{' and '.join(others)} took what it includes. Free one more.",
        )
    else:
        messages.success(
            request,
            f"The address of {device} is free. A device that waits gets one when it asks again, "
            "within five minutes.",
        )
    return redirect("portal:devices")
