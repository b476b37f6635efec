"""An order before it is placed or changed: what will happen, from when, and what it costs."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from ispops.errors import Refusal
from ispops.parties.models import Subscriber, User
from ispops.wanted_form import ConfirmForm, WantedForm
from provisioning import later_orders, visiting
from provisioning.models import ProductOrder
from rating import outlook

# Key and slot make an order, or another one of it.
Act = Callable[[str, UUID | None], ProductOrder]


def confirm(
    request: HttpRequest,
    user: User,
    act: Act,
    *,
    subscriber: Subscriber,
    back: str,
    at: datetime,
    before: ProductOrder | None = None,
    **context: Any,
) -> HttpResponse:
    """Show what an act would do, and do it when that is confirmed; sent twice, it is done once.

    `before` is the order that is changed.
    """
    form = ConfirmForm(
        request.POST if request.method == "POST" else None,
        initial={"idempotency_key": secrets.token_urlsafe(24)},
    )
    refused = ""
    if form.is_valid():
        try:
            order = act(form.cleaned_data["idempotency_key"], form.cleaned_data["slot"])
            return redirect("portal:order", order.public_id)
        except Refusal as refusal:
            refused = refusal.detail
    refused = refused or next((str(errors[0]) for errors in form.errors.values()), "")
    seen = cost = None
    try:
        seen = later_orders.rehearse(
            lambda: act(f"rehearsal-{secrets.token_urlsafe(16)}", None),
            asker=user,
            at=at,
            before=before,
        )
    except Refusal as refusal:
        refused = refused or refusal.detail
    else:
        cost = outlook.of(seen, subscriber=subscriber, at=at)
    shown = {
        "currency": subscriber.currency,
        "back": back,
        "before": before,
        "seen": seen,
        "cost": cost,
        "form": form,
        "refused": refused,
        "slots": _in_words(seen.slots) if seen else [],
        "visit": visiting.in_words(seen.visit) if seen and seen.visit else "",
        "given_back": visiting.in_words(seen.given_back) if seen and seen.given_back else "",
    }
    page = "portal/preview.html"
    return render(request, page, shown | context, status=409 if refused else 200)


def _in_words(slots: list[Any]) -> list[tuple[str, str]]:
    return [(slot.public_id, visiting.in_words(slot)) for slot in slots]


def send_back(request: HttpRequest, form: WantedForm, back: str) -> HttpResponse:
    """Return to the choice of what made no sense, and say what."""
    for errors in form.errors.values():
        messages.error(request, str(errors[0]))
    return redirect(back)
