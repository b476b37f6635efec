"""What a subscriber owes: the running bill, the issued ones, and why an amount is what it is."""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.portal import queries
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import DisputeForm
from rating.billing import running_bill, unbilled
from rating.claim_queries import disputed
from rating.disputes import open_dispute
from rating.models import Charge
from rating.prepaid import paid_on
from rating.queries import charges_of, uses_of, why

_MOST_CHARGES = 200
_USES_SHOWN = 100


@require_safe
@for_subscriber
def bill(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show the bill of the running period as it stands, and the bills before it."""
    running = running_bill(subscriber=subscriber, at=timezone.now())
    charges = unbilled(subscriber, running.period).order_by("-charged_at", "-pk")[:_MOST_CHARGES]
    context = {
        "bill": running,
        **_split(charges),
        "disputes": disputed(charges),
        "issued": queries.bills_of(subscriber),
    }
    return render(request, "portal/bill.html", context)


def _split(charges: Iterable[Charge]) -> dict[str, list[Charge]]:
    """Put what cost nothing apart: use that is included is charged every night, at nothing."""
    parts: dict[str, list[Charge]] = {"charges": [], "free": []}
    for charge in charges:
        parts["charges" if charge.amount_net else "free"].append(charge)
    return parts


@require_safe
@for_subscriber
def issued_bill(request: HttpRequest, subscriber: Subscriber, bill_id: str) -> HttpResponse:
    """Show a bill as it was issued, with the charges behind its lines."""
    found = own(queries.bills_of(subscriber), bill_id)
    charges = queries.charges_of_bill(found)[:_MOST_CHARGES]
    context = {
        "bill": found,
        **_split(charges),
        "disputes": disputed(charges),
        "paid_ahead": paid_on(found),
    }
    return render(request, "portal/issued_bill.html", context)


@require_safe
@for_subscriber
def charge(request: HttpRequest, subscriber: Subscriber, charge_id: str) -> HttpResponse:
    """Answer *why this amount*: the rule, the arithmetic, and who gets what of it."""
    rows = charges_of(subscriber).select_related("reverses", "corrects", "price__offering")
    found = own(rows, charge_id)
    explained = why(found)
    uses = uses_of(found)
    bought = queries.purchase_of_charge(subscriber, explained["cause_id"])
    context = {
        "charge": found,
        "why": explained,
        "uses": uses[:_USES_SHOWN],
        "uses_left": max(uses.count() - _USES_SHOWN, 0),
        "purchase_id": bought.public_id if bought else "",
        "corrections": found.corrections.order_by("pk"),
        "dispute": disputed([found]).get(found.pk),
        "can_dispute": not found.corrects_id and not found.reverses_id and found.amount_net > 0,
    }
    return render(request, "portal/charge.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def dispute(request: HttpRequest, subscriber: Subscriber, charge_id: str) -> HttpResponse:
    """Take down what is wrong with a charge; sent twice it is one dispute."""
    found = own(charges_of(subscriber), charge_id)
    form = DisputeForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            open_dispute(
                charge=found,
                words=form.cleaned_data["words"],
                actor=request.user,  # type: ignore[arg-type]
                at=timezone.now(),
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            return redirect("portal:charge", found.public_id)
    context = {"charge": found, "form": form}
    return render(request, "portal/dispute.html", context, status=422 if form.errors else 200)
