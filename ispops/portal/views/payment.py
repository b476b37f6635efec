"""How a subscriber pays, and paying in another way from now on."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from ispops.errors import Refusal
from ispops.parties import payments
from ispops.parties.models import PaymentMethod, Subscriber, User
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
        if method.state == PaymentMethod.State.ACTIVE:
            messages.success(request, f"From now on you pay like this: {method.label}.")
        return redirect("portal:payment")
    pending = subscriber.payment_methods.filter(state=PaymentMethod.State.PENDING).first()
    context = {"form": form, "pending": pending, "now_by": now_by, "registering": False}
    return render(request, "portal/payment.html", context, status=422 if form.errors else 200)


@require_POST
@for_subscriber
def card(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Lead to the page of the payment provider, on which the card is given."""
    waiting = subscriber.payment_methods.filter(state=PaymentMethod.State.PENDING)
    method = waiting.select_related("subscriber").first()
    if method is None:
        return redirect("portal:payment")
    try:
        url = payments.page_of_gateway(
            method=method,
            return_url=request.build_absolute_uri(reverse("portal:payment")),
            at=timezone.now(),
        )
    except Refusal as refused:
        messages.error(request, refused.detail)
        return redirect("portal:payment")
    return render(request, "portal/card.html", {"url": url})
