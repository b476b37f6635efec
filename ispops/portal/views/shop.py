"""Figure 8 for the subscriber: what the line can carry, buying it, and what became of it."""

import secrets
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ispops.catalog.models import ProductOffering
from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.portal import queries
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import KeyForm
from provisioning.models import Service
from rating.balances import prepaid, spending
from rating.cancelling import cancel_purchase
from rating.charges import total_of
from rating.claim_queries import disputed
from rating.goods import goods as goods_of
from rating.models import Purchase
from rating.purchases import place_purchase, quote


@require_safe
@for_subscriber
def shop(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show what each active line can carry, what it has, and what it cannot carry and why."""
    now = timezone.now()
    lines = queries.active_lines(subscriber)
    line = own_line(lines, request.GET.get("line", ""))
    goods = goods_of(line, subscriber.currency, now) if line else []
    context = {
        "subscriber": subscriber,
        "lines": lines,
        "line": line,
        "goods": goods,
        "refused": [good for good in goods if good.reason],
        "waits": not line and queries.has_open_order(subscriber),
        "purchases": queries.purchases_of(subscriber)[:5],
        "spending": spending(subscriber, now),
    }
    return render(request, "portal/shop.html", context)


def own_line(lines: list[Service], public_id: str) -> Service | None:
    """Return the line that was asked for, or the first one; an unknown id counts as none asked."""
    return next(
        (line for line in lines if line.public_id == public_id), lines[0] if lines else None
    )


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def buy(request: HttpRequest, subscriber: Subscriber, line_id: str, code: str) -> HttpResponse:
    """Show what a purchase costs and does, then place it; sent twice it is bought once."""
    now = timezone.now()
    lines = queries.active_lines(subscriber)
    line = next((line for line in lines if line.public_id == line_id), None)
    goods = goods_of(line, subscriber.currency, now) if line else []
    good = next((good for good in goods if good.offering.code == code), None)
    if line is None or good is None:
        raise Http404
    form = KeyForm(request.POST or None, initial={"idempotency_key": secrets.token_urlsafe(24)})
    if form.is_valid():
        try:
            purchase = place_purchase(
                subscriber=subscriber,
                line=line,
                offering=good.offering,
                channel=Purchase.Channel.PORTAL,
                placed_by=request.user,  # type: ignore[arg-type]
                idempotency_key=form.cleaned_data["idempotency_key"],
                at=now,
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            return redirect("portal:purchase", purchase.public_id)
    context = {"line": line, "good": good, "form": form, "currency": subscriber.currency}
    if not (good.held or good.reason):
        context |= _costs(subscriber, line, good.offering, now)
    return render(request, "portal/buy.html", context, status=409 if form.errors else 200)


def _costs(
    subscriber: Subscriber, line: Service, offering: ProductOffering, now: datetime
) -> dict[str, Any]:
    """Return what a purchase is charged at once, with tax, what is left for it, and which of that
    does not suffice."""
    try:
        cost = total_of(quote(subscriber=subscriber, line=line, offering=offering, at=now))
    except Refusal:
        # Placing it says why.
        return {}
    left = [
        b for b in (spending(subscriber, now), *prepaid(subscriber, now)) if b.allowed is not None
    ]
    short = next((b for b in left if b.remaining is not None and cost > b.remaining), None)
    return {"cost": cost, "left": left, "short": short}


@require_safe
@for_subscriber
def purchases(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show everything that was bought, latest first."""
    rows = queries.purchases_of(subscriber)[:200]
    return render(request, "portal/purchases.html", {"purchases": rows})


@require_safe
@for_subscriber
def purchase(request: HttpRequest, subscriber: Subscriber, purchase_id: str) -> HttpResponse:
    """Show one purchase; it keeps itself up to date until the partner has answered."""
    return render(request, "portal/purchase.html", _purchase(request, subscriber, purchase_id))


@require_safe
@for_subscriber
def purchase_state(request: HttpRequest, subscriber: Subscriber, purchase_id: str) -> HttpResponse:
    """Give the purchase again, or nothing when it is as the page shows it already."""
    context = _purchase(request, subscriber, purchase_id)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "portal/parts/purchase.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def cancel(request: HttpRequest, subscriber: Subscriber, purchase_id: str) -> HttpResponse:
    """Say what ends and what is given back, then cancel it; sent twice it is cancelled once."""
    bought = own(queries.purchases_of(subscriber), purchase_id)
    if request.method == "POST":
        try:
            cancel_purchase(
                purchase_id=bought.pk,
                reason="Cancelled by the subscriber.",
                actor=request.user,  # type: ignore[arg-type]
                at=timezone.now(),
            )
        except Refusal as refused:
            messages.error(request, refused.detail)
        return redirect("portal:purchase", bought.public_id)
    return render(request, "portal/cancel_purchase.html", {"purchase": bought})


def _purchase(request: HttpRequest, subscriber: Subscriber, purchase_id: str) -> dict[str, Any]:
    bought = own(queries.purchases_of(subscriber), purchase_id)
    charges = queries.charges_of_purchase(bought)
    return {
        "purchase": bought,
        "parts": bought.parts.all(),
        # What has changed when somebody has to see it again: of a bundle, also each part.
        "seen": "-".join(one.state for one in [bought, *bought.parts.all()]),
        "charges": charges,
        "disputes": disputed(charges),
        "can_cancel": bought.can_be_cancelled,
        "open": bought.state == Purchase.State.PENDING,
        "as_fragment": request.headers.get("HX-Request") == "true",
    }
