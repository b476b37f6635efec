"""Figure 7 for a CSR, on a subscriber's behalf: pause, resume and the end of a line."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from ispops.console import actions, pages
from ispops.errors import InvalidInput
from provisioning import slowing, suspending
from provisioning.models import ProductOrder, Service


@require_POST
def order(request: HttpRequest, ref: str) -> HttpResponse:
    """Place the order for a line that its form asks for; sent twice it is placed once."""
    rows = Service.objects.filter(line__isnull=True).select_related("premises", "subscriber")
    line = pages.get(rows, Service, ref)
    actions.attempt_with_reason(
        request,
        partial(_place, line, request),
        done="The order is placed. It is on the list of orders below.",
    )
    return actions.back(
        request, reverse("admin:console_subscriber", args=[line.subscriber.public_id])
    )


@require_POST
def lift_slowdown(request: HttpRequest, ref: str) -> HttpResponse:
    """Give a line that fair use has slowed its speed back until its next billing period."""
    rows = Service.objects.filter(line__isnull=True).select_related("subscriber")
    line = pages.get(rows, Service, ref)
    actions.attempt_with_reason(
        request,
        slowing.lift,
        done="The line has its speed back, and keeps it until the next billing period.",
        line=line,
    )
    return actions.back(
        request, reverse("admin:console_subscriber", args=[line.subscriber.public_id])
    )


def _place(line: Service, request: HttpRequest, *, reason: str, at: datetime, **_: Any) -> Any:
    """Call the verb that the form names.

    Raises:
        InvalidInput: the form names none, or a day that is none.
        and what the verb raises.
    """
    sent = request.POST
    common: dict[str, Any] = {
        "line": line,
        "channel": ProductOrder.Channel.CSR,
        "placed_by": request.user,
        "idempotency_key": sent.get("idempotency_key", ""),
        "wanted_from": _begin_of(sent.get("day", ""), at),
        "at": at,
    }
    what, _sep, which = sent.get("what", "").partition(":")
    verbs: dict[str, Callable[[], Any]] = {
        "suspend": lambda: suspending.suspend_line(
            **common, reason=which, treatment=sent.get("treatment", ""), note=reason
        ),
        "resume": lambda: suspending.resume_line(**common, reason=which, note=reason),
        "cease": lambda: suspending.cease_line(**common, reason=reason),
    }
    if what not in verbs:
        raise InvalidInput("Choose what shall become of the line.", field="what")
    return verbs[what]()


def _begin_of(written: str, now: datetime) -> datetime | None:
    """Return the moment at which a day begins where bills are made; None for none and for today."""
    if not written:
        return None
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise InvalidInput("Enter a day like 2026-01-31.", field="day") from None
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    begins = datetime.combine(day, time.min, zone)
    return None if now - timedelta(days=1) < begins <= now else begins
