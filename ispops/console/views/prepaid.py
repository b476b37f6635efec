"""Accounts that pay ahead: to set one so, and to enter what was paid."""

from decimal import Decimal, InvalidOperation

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from ispops.console import actions, pages
from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber
from rating import prepaid


@require_POST
def switch(request: HttpRequest, ref: str) -> HttpResponse:
    """Let an account pay ahead for partners' products, or no longer."""
    subscriber = pages.get(Subscriber.objects.all(), Subscriber, ref)
    wanted = request.POST.get("prepaid")
    if wanted in {"yes", "no"}:
        actions.attempt_with_reason(
            request,
            prepaid.set_prepaid,
            done="The account pays ahead for partners' products from now on."
            if wanted == "yes"
            else "The account no longer pays ahead. What was left is a credit on it.",
            subscriber_id=subscriber.pk,
            is_prepaid=wanted == "yes",
        )
    else:
        actions.refuse(request, InvalidInput("Say yes or no.", field="prepaid"))
    return redirect("admin:console_subscriber", ref)


@require_POST
def top_up(request: HttpRequest, ref: str) -> HttpResponse:
    """Enter what a subscriber paid ahead; the reference of a payment counts once."""
    subscriber = pages.get(Subscriber.objects.all(), Subscriber, ref)
    try:
        amount = Decimal(request.POST.get("amount", "").strip().replace(",", "."))
    except InvalidOperation:
        actions.refuse(request, InvalidInput("Write an amount like 20.00.", field="amount"))
        return redirect("admin:console_subscriber", ref)
    actions.attempt(
        request,
        prepaid.top_up,
        done="The payment is entered, and can be spent at once.",
        subscriber_id=subscriber.pk,
        amount=amount,
        reference=request.POST.get("reference", ""),
        actor=request.user,
    )
    return redirect("admin:console_subscriber", ref)
