"""What a subscriber owes: the running bill, the issued ones, and why an amount is what it is."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from ispops.parties.models import Subscriber
from ispops.portal import queries
from ispops.portal.access import for_subscriber, own
from rating.billing import running_bill, unbilled
from rating.models import Purchase
from rating.queries import charges_of, why

_MOST_CHARGES = 200


@require_safe
@for_subscriber
def bill(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show the bill of the running period as it stands, and the bills before it."""
    running = running_bill(subscriber=subscriber, at=timezone.now())
    context = {
        "bill": running,
        "charges": unbilled(subscriber, running.period).order_by("-pk")[:_MOST_CHARGES],
        "issued": queries.bills_of(subscriber),
    }
    return render(request, "portal/bill.html", context)


@require_safe
@for_subscriber
def issued_bill(request: HttpRequest, subscriber: Subscriber, bill_id: str) -> HttpResponse:
    """Show a bill as it was issued, with the charges behind its lines."""
    found = own(queries.bills_of(subscriber), bill_id)
    charges = queries.charges_of_bill(found)[:_MOST_CHARGES]
    return render(request, "portal/issued_bill.html", {"bill": found, "charges": charges})


@require_safe
@for_subscriber
def charge(request: HttpRequest, subscriber: Subscriber, charge_id: str) -> HttpResponse:
    """Answer *why this amount*: the rule, the arithmetic, and who gets what of it."""
    found = own(charges_of(subscriber).select_related("reverses", "price__offering"), charge_id)
    explained = why(found)
    is_purchase = Purchase.key_of(explained["cause_id"]) is not None
    context = {
        "charge": found,
        "why": explained,
        "purchase_id": explained["cause_id"] if is_purchase else "",
    }
    return render(request, "portal/charge.html", context)
