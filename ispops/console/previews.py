"""An order before it is placed or amended: what will happen, from when, what it costs, and why."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from ispops.console import pages
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber
from ispops.wanted_form import ConfirmForm, WantedForm
from provisioning import later_orders, visiting
from provisioning.models import ProductOrder
from rating import outlook

# Reason, key and slot make an order, or another one of it.
Act = Callable[[str, str, UUID | None], ProductOrder]


def confirm(
    request: HttpRequest,
    act: Act,
    *,
    subscriber: Subscriber,
    back: str,
    at: datetime,
    before: ProductOrder | None = None,
    **context: Any,
) -> HttpResponse:
    """Show what an act would do, and do it when that is confirmed with a reason.

    `before` is the order that is amended. Sent twice, it is done once.
    """
    form = ConfirmForm(
        request.POST if request.method == "POST" else None,
        initial={"idempotency_key": f"console-{secrets.token_urlsafe(16)}"},
    )
    refused = ""
    if form.is_valid():
        try:
            return _done(request, _confirmed(form, act), before)
        except Refusal as refusal:
            refused = refusal.detail
    refused = refused or next((str(errors[0]) for errors in form.errors.values()), "")
    seen = cost = None
    try:
        seen = later_orders.rehearse(
            lambda: act("", f"rehearsal-{secrets.token_urlsafe(16)}", None),
            asker=request.user,  # type: ignore[arg-type]
            at=at,
            before=before,
        )
    except Refusal as refusal:
        refused = refused or refusal.detail
    else:
        cost = outlook.of(seen, subscriber=subscriber, at=at)
    return pages.show(
        request,
        "console/line_order/preview.html",
        "Check and amend" if before else "Check and order",
        status=409 if refused else 200,
        subscriber=subscriber,
        currency=subscriber.currency,
        back=back,
        before=before,
        seen=seen,
        cost=cost,
        form=form,
        refused=refused,
        slots=[(slot.public_id, visiting.in_words(slot)) for slot in seen.slots] if seen else [],
        visit=visiting.in_words(seen.visit) if seen and seen.visit else "",
        given_back=visiting.in_words(seen.given_back) if seen and seen.given_back else "",
        **context,
    )


def send_back(request: HttpRequest, form: WantedForm, back: str) -> HttpResponse:
    """Return to the choice of what made no sense, and say what."""
    for errors in form.errors.values():
        messages.error(request, str(errors[0]))
    return redirect(back)


def _confirmed(form: ConfirmForm, act: Act) -> ProductOrder:
    given = form.cleaned_data
    reason = given["reason"].strip()
    if not reason:
        raise InvalidInput(
            "Say why, for whoever reads this later. Nothing was changed.", field="reason"
        )
    return act(reason, given["idempotency_key"], given["slot"])


def _done(request: HttpRequest, order: ProductOrder, before: ProductOrder | None) -> HttpResponse:
    messages.success(request, "The order is amended." if before else "The order is placed.")
    return redirect("admin:console_order", order.public_id)
