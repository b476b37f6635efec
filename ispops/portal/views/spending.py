"""What is spent on partners' products, and the limit that a subscriber sets for itself."""

from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ispops.errors import Refusal
from ispops.money import format_coins, round_to_minor_unit
from ispops.parties.models import Subscriber
from ispops.parties.own_limits import set_own_limit
from ispops.periods import day_in_words
from ispops.portal.access import for_subscriber
from ispops.portal.forms import OwnLimitForm
from rating.accrual import period_at
from rating.balances import prepaid, spending


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def limit(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show what is spent and left in this billing period, and take another limit."""
    now = timezone.now()
    form = OwnLimitForm(request.POST or None, initial={"amount": _as_typed(subscriber)})
    if form.is_valid():
        try:
            subscriber = set_own_limit(
                subscriber=subscriber,
                amount=form.cleaned_data["amount"],
                user=request.user,  # type: ignore[arg-type]
                at=now,
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            _say_it_counts(request, subscriber, now)
            return redirect("portal:spending")
    context = {
        "subscriber": subscriber,
        "spending": spending(subscriber, now),
        "prepaid": next(prepaid(subscriber, now), None),
        "period": period_at(subscriber, now),
        "form": form,
    }
    return render(request, "portal/spending.html", context, status=422 if form.errors else 200)


def _say_it_counts(request: HttpRequest, subscriber: Subscriber, now: datetime) -> None:
    """Say that a limit is saved, and when there is nothing left of it."""
    bucket, currency = spending(subscriber, now), subscriber.currency
    if bucket.allowed is None or bucket.remaining:
        messages.success(request, "It counts from now on.")
        return
    spent = format_coins(bucket.used + bucket.reserved, currency)
    ends = day_in_words(period_at(subscriber, now).end, zone=settings.BILLING_TIME_ZONE)
    messages.warning(
        request,
        f"It counts from now on. {spent} are spent or held in this billing period already, so "
        f"nothing that costs money can be bought before {ends}, unless you raise it.",
    )


def _as_typed(subscriber: Subscriber) -> Decimal | None:
    own = subscriber.own_limit
    return None if own is None else round_to_minor_unit(own, subscriber.currency)
