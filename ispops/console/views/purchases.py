"""Figure 8 for a CSR: buy on a subscriber's behalf, cancel, and give something back."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog.models import ProductOffering
from ispops.console import actions, pages
from ispops.console.views.disputes import amounts
from ispops.errors import InvalidInput
from provisioning.models import Service
from rating import goods, topping_up
from rating.cancelling import cancel_purchase
from rating.models import Charge, Purchase
from rating.purchases import place_purchase
from rating.refunds import refund_charge, refund_purchase


def _line(ref: str) -> Service:
    rows = Service.objects.filter(line__isnull=True).select_related("subscriber", "offering")
    return pages.get(rows, Service, ref)  # type: ignore[no-any-return]


def _page_of(subscriber_ref: str, part: str) -> str:
    return reverse("admin:console_subscriber", args=[subscriber_ref]) + f"#{part}"


@require_safe
def shop(request: HttpRequest, ref: str) -> HttpResponse:
    """Show what partners and we sell for a line, and why the rest cannot be had on it."""
    line = _line(ref)
    now = timezone.now()
    found = goods.goods(line, line.subscriber.currency, now)
    return pages.show(
        request,
        "console/shop.html",
        f"Buy for {line.subscriber}",
        line=line,
        goods=found,
        packs=topping_up.packs_for(line, now),
        currency=line.subscriber.currency,
        # Of all forms of the page: each product is another purchase.
        key=f"console-{secrets.token_urlsafe(16)}",
    )


@require_POST
def buy(request: HttpRequest, ref: str) -> HttpResponse:
    """Place a purchase on a subscriber's behalf; sent twice it is placed once."""
    line = _line(ref)
    code = request.POST.get("offering", "")
    offering = ProductOffering.objects.select_related("provider").filter(code=code).first()
    if offering is None:
        actions.refuse(request, InvalidInput("Choose a product.", field="offering"))
        return actions.back(request, reverse("admin:console_shop", args=[ref]))
    is_ours = offering.addon_type == topping_up.DATA_PACK
    bought = actions.attempt(
        request,
        partial(
            topping_up.top_up if is_ours else place_purchase,
            subscriber=line.subscriber,
            line=line,
            offering=offering,
            channel=Purchase.Channel.CSR,
            placed_by=request.user,  # type: ignore[arg-type]
            idempotency_key=f"{request.POST.get('idempotency_key', '')[:120]}:{code}",
        ),
        done=f"{offering} is bought and there at once."
        if is_ours
        else f"{offering} is bought. The partner is told and confirms.",
    )
    here = reverse("admin:console_shop", args=[ref])
    there = _page_of(line.subscriber.public_id, "purchases")
    return actions.back(request, there if bought else here)


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Cancel a purchase, or end a subscription."""
    row = pages.get(Purchase.objects.select_related("subscriber"), Purchase, ref)
    actions.attempt_with_reason(
        request,
        cancel_purchase,
        done="It is cancelled. The partner is told, and what is not used is given back.",
        purchase_id=row.pk,
    )
    return actions.back(request, _page_of(row.subscriber.public_id, "purchases"))


@require_POST
def refund(request: HttpRequest, ref: str) -> HttpResponse:
    """Give a charge back, in part or in whole; sent twice it is given back once."""
    row = pages.get(Charge.objects.select_related("subscriber"), Charge, ref)
    there = _page_of(row.subscriber.public_id, "charges")
    return _give_back(request, there, refund_charge, charge_id=row.pk)


@require_POST
def refund_bundle(request: HttpRequest, ref: str) -> HttpResponse:
    """Give back all that a purchase was charged for, in part or in whole, at once."""
    row = pages.get(Purchase.objects.select_related("subscriber"), Purchase, ref)
    there = _page_of(row.subscriber.public_id, "purchases")
    return _give_back(request, there, refund_purchase, purchase_id=row.pk)


def _give_back(
    request: HttpRequest, there: str, verb: Callable[..., Any], **of_what: UUID
) -> HttpResponse:
    try:
        how = amounts(request)
    except InvalidInput as refusal:
        actions.refuse(request, refusal)
        return actions.back(request, there)
    actions.attempt(
        request,
        verb,
        done="It is given back, on the next bill. The subscriber is told.",
        because=request.POST.get("reason", "").strip(),
        idempotency_key=request.POST.get("idempotency_key", ""),
        actor=request.user,
        **of_what,
        **how,
    )
    return actions.back(request, there)
