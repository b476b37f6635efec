"""What is spent on partners' products, and the limit that a subscriber sets for itself."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.parties.own_limits import set_own_limit
from ispops.portal.access import for_subscriber
from ispops.portal.forms import OwnLimitForm
from rating.accrual import period_at
from rating.balances import prepaid, spending


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def limit(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show what is spent and left in this billing period, and take another limit."""
    now = timezone.now()
    form = OwnLimitForm(request.POST or None, initial={"amount": subscriber.own_limit})
    if form.is_valid():
        try:
            set_own_limit(
                subscriber=subscriber,
                amount=form.cleaned_data["amount"],
                user=request.user,  # type: ignore[arg-type]
                at=now,
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            messages.success(request, "It counts from now on.")
            return redirect("portal:spending")
    context = {
        "subscriber": subscriber,
        "spending": spending(subscriber, now),
        "prepaid": next(prepaid(subscriber, now), None),
        "period": period_at(subscriber, now),
        "form": form,
    }
    return render(request, "portal/spending.html", context, status=422 if form.errors else 200)
