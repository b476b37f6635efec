"""What a subscriber sees first: is the line on, does something wait, how much, how dear."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ispops.parties.models import Subscriber
from ispops.portal import consumption, journey, queries
from ispops.portal.access import for_subscriber, subscriber_of
from ispops.portal.views.devices import open_questions
from provisioning.models import Service
from provisioning.queries import lines_of
from rating.balances import prepaid, spending
from rating.billing import running_bill
from rating.claim_queries import open_requests


@require_safe
@for_subscriber
def overview(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show the account on one page, what waits for an answer first."""
    now = timezone.now()
    lines = list(lines_of(subscriber).select_related("subscriber"))
    first = next((line for line in lines if line.state == Service.State.ACTIVE), None)
    bill = running_bill(subscriber=subscriber, at=now)
    context = {
        "subscriber": subscriber,
        "waiting": open_questions(subscriber, now),
        "lines": lines,
        "used_line": first,
        "usage": consumption.usage_of(first, subscriber, now) if first else None,
        "bill": bill,
        "spending": spending(subscriber, now, bill.coming),
        "prepaid": next(prepaid(subscriber, now, bill.coming), None),
        "orders": queries.orders_of(subscriber)[:5],
        "begun": journey.open_one(request),
        "asked_to_buy": open_requests(subscriber, now)[:5],
    }
    return render(request, "portal/overview.html", context)


@require_safe
@login_required
def no_account(request: HttpRequest) -> HttpResponse:
    """Tell a login without an account how to get one, and send staff to their work."""
    if subscriber_of(request.user) is not None:
        return redirect("portal:overview")
    if request.user.is_staff:
        return redirect(reverse("admin:index"))
    return render(request, "portal/no_account.html", {"begun": journey.open_one(request)})
