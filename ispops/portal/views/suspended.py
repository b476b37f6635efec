"""The page that a line in the walled garden sees: why it is suspended, and what to do."""

from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from ispops.errors import Refusal
from ispops.parties.models import Subscriber, User
from ispops.portal.access import for_subscriber, subscriber_of
from ispops.portal.views.devices import freeable_devices, open_questions
from provisioning import suspending
from provisioning.models import ProductOrder, ServiceSuspension
from provisioning.queries import lines_of, open_suspensions


@require_safe
@never_cache
def suspended(request: HttpRequest) -> HttpResponse:
    """Say what holds for everybody; to whoever is signed in, what holds for their lines."""
    subscriber = subscriber_of(request.user)
    rows = open_suspensions(lines_of(subscriber)) if subscriber else []
    # A device beyond the plan is led here too, when it is in the walled garden for an address.
    waiting = open_questions(subscriber, timezone.now()) if subscriber else []
    others = freeable_devices(subscriber) if subscriber and waiting else []
    context = {
        "subscriber": subscriber,
        "suspensions": rows,
        "waiting": waiting,
        "others": others,
    }
    return render(request, "portal/suspended.html", context)


@require_POST
@for_subscriber
def resume(request: HttpRequest, subscriber: Subscriber, key: int) -> HttpResponse:
    """Let a line work again that its subscriber had paused; pressed twice, it is one order."""
    rows = ServiceSuspension.objects.filter(service__subscriber=subscriber, pk=key)
    row = rows.select_related("service").first()
    if row is None:
        raise Http404
    # An order that was taken back is not the one that is wanted now.
    taken_back = row.service.change_orders.filter(
        intent=ProductOrder.Intent.RESUME,
        state__in=[ProductOrder.State.CANCELLED, ProductOrder.State.FAILED],
    )
    try:
        order = suspending.resume_line(
            line=row.service,
            reason=row.reason,
            channel=ProductOrder.Channel.PORTAL,
            placed_by=cast(User, request.user),
            idempotency_key=f"resume-{row.pk}-{taken_back.count()}",
            at=timezone.now(),
        )
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return redirect("portal:suspended")
    return redirect("portal:order", order.public_id)
