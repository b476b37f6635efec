"""Figure 9 for the subscriber: how much, day by day, what of it is beyond the plan, and more."""

import csv
import secrets
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.periods import Period
from ispops.portal import consumption, queries
from ispops.portal.access import for_subscriber
from ispops.portal.forms import KeyForm
from ispops.portal.views.shop import own_line
from provisioning.models import Service
from rating import topping_up
from rating.models import CustomerBill, Purchase

_COLUMNS = ("Day", "Product", "Unit", "Download", "Upload", "Quantity", "Counted")


@require_safe
@for_subscriber
def usage(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show the use of one line in a billing period, and of partners' products on it.

    `line` and `period`, the day on which it began, are in the address; what is unknown counts as
    not asked for.
    """
    now = timezone.now()
    lines = queries.used_lines(subscriber)
    line = own_line(lines, request.GET.get("line", ""))
    context: dict[str, object] = {"lines": lines, "line": line, "currency": subscriber.currency}
    if line is not None:
        periods = consumption.periods_of(line, now)
        period = _period(periods, request.GET.get("period", "")) or periods[0]
        page = consumption.page_of(line, subscriber, _moment(period, now))
        context |= {
            "periods": periods,
            "is_running": period == periods[0],
            "issued": _issued(subscriber, period) if period != periods[0] else None,
            "usage": page.line,
            "products": page.products,
            "cost": page.cost,
        }
    return render(request, "portal/usage.html", context)


def _period(periods: list[Period], first_day: str) -> Period | None:
    return next((period for period in periods if _first_day(period).isoformat() == first_day), None)


def _issued(subscriber: Subscriber, period: Period) -> CustomerBill | None:
    return queries.bills_of(subscriber).filter(period_start=period.start).first()


def _first_day(period: Period) -> date:
    return period.start.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()


def _moment(period: Period, now: datetime) -> datetime:
    """Return the moment at which a period is looked at: its last one, or now while it runs."""
    return min(now, period.end - timedelta(microseconds=1))


@require_safe
@for_subscriber
def as_file(
    request: HttpRequest, subscriber: Subscriber, line_id: str, period: str
) -> HttpResponse:
    """Give the use of a line in a period day by day, as a table for other programs."""
    line = _own(queries.used_lines(subscriber), line_id)
    wanted = _period(consumption.periods_of(line, timezone.now()), period)
    if wanted is None:
        raise Http404
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="usage-{period}.csv"'
    table = csv.writer(response)
    table.writerow(_COLUMNS)
    table.writerows(consumption.rows_of(line, wanted))
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def more(request: HttpRequest, subscriber: Subscriber, line_id: str, code: str) -> HttpResponse:
    """Show what more data for a line costs, then buy it; sent twice it is bought once."""
    now = timezone.now()
    line = _own(queries.active_lines(subscriber), line_id)
    packs = topping_up.packs_for(line, now)
    pack = next((price for price in packs if price.offering.code == code), None)
    if pack is None:
        raise Http404
    form = KeyForm(request.POST or None, initial={"idempotency_key": secrets.token_urlsafe(24)})
    if form.is_valid():
        try:
            purchase = topping_up.top_up(
                subscriber=subscriber,
                line=line,
                offering=pack.offering,
                channel=Purchase.Channel.PORTAL,
                placed_by=request.user,  # type: ignore[arg-type]
                idempotency_key=form.cleaned_data["idempotency_key"],
                at=now,
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            return redirect("portal:purchase", purchase.public_id)
    context = {
        "line": line,
        "pack": pack,
        "form": form,
        "usage": consumption.usage_of(line, subscriber, now),
    }
    return render(request, "portal/more_data.html", context, status=409 if form.errors else 200)


def _own(lines: list[Service], public_id: str) -> Service:
    line = next((line for line in lines if line.public_id == public_id), None)
    if line is None:
        raise Http404
    return line
