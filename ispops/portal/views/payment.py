"""How a subscriber pays, and paying in another way from now on."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ispops.parties import payments
from ispops.parties.models import Subscriber, User
from ispops.portal.access import for_subscriber
from ispops.portal.forms import PaymentForm


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def payment(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show how the account pays; take another choice."""
    now_by = payments.in_use(subscriber)
    form = PaymentForm(
        request.POST if request.method == "POST" else None,
        initial={"payment_kind": now_by.kind if now_by else ""},
    )
    if form.is_valid():
        user: User = request.user  # type: ignore[assignment]
        method = payments.choose_payment(
            subscriber=subscriber,
            kind=form.cleaned_data["payment_kind"],
            actor=user,
            at=timezone.now(),
        )
        messages.success(request, f"From now on you pay like this: {method.label}.")
        return redirect("portal:payment")
    context = {"form": form, "now_by": now_by, "registering": False}
    return render(request, "portal/payment.html", context, status=422 if form.errors else 200)
