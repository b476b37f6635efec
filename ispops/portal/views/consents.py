"""What partners would like to sell: looked at, agreed to or declined; and what they may unasked."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.errors import NotFound, Refusal
from ispops.parties.models import Partner, Subscriber
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import ConsentForm, StandingForm
from rating import consents, offers, standing
from rating.claim_queries import requests_to, standing_consents_of
from rating.models import Purchase, PurchaseRequest, StandingConsent


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def purchase_request(request: HttpRequest, subscriber: Subscriber, request_id: str) -> HttpResponse:
    """Show what is asked for and what it costs, and take the answer; sent twice it counts once."""
    asked = own(requests_to(subscriber), request_id)
    now = timezone.now()
    form = ConsentForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            return _answer(request, asked, form)
        except Refusal as refused:
            form.refuse(refused)
            asked.refresh_from_db()
    shown, why_not = None, ""
    is_open = asked.state == PurchaseRequest.State.WAITING and asked.expires_at > now
    if is_open:
        try:
            shown = offers.offer(
                subscriber=subscriber, line=asked.line, offering=asked.offering, at=now
            )
        except Refusal as refused:
            why_not = refused.detail
    context = {
        "asked": asked,
        "shown": shown,
        "why_not": why_not,
        "is_open": is_open,
        "form": form,
        "subscriber": subscriber,
    }
    status = 409 if form.errors else 200
    return render(request, "portal/purchase_request.html", context, status=status)


def _answer(request: HttpRequest, asked: PurchaseRequest, form: ConsentForm) -> HttpResponse:
    if form.cleaned_data["answer"] == "no":
        consents.decline(request_id=asked.pk, user=request.user, at=timezone.now())  # type: ignore[arg-type]
        messages.success(request, "You said no. Nothing is charged.")
        return redirect("portal:purchase_request", asked.public_id)
    purchase = consents.agree(
        request_id=asked.pk,
        user=request.user,  # type: ignore[arg-type]
        channel=Purchase.Channel.PORTAL,
        digest=form.cleaned_data["shown"],
        at=timezone.now(),
    )
    return redirect("portal:purchase", purchase.public_id)


@require_safe
@for_subscriber
def listing(request: HttpRequest, subscriber: Subscriber) -> HttpResponse:
    """Show what partners asked for, and what each may sell unasked."""
    return render(request, "portal/consents.html", _page(subscriber))


@require_POST
@for_subscriber
def give(request: HttpRequest, subscriber: Subscriber, code: str) -> HttpResponse:
    """Let a partner sell single things up to an amount a month, or another amount than before."""
    partner = Partner.objects.filter(code=code).first()
    form = StandingForm(request.POST)
    if form.is_valid():
        try:
            if partner is None:
                raise NotFound("There is no such partner.")
            standing.give(
                subscriber=subscriber,
                partner=partner,
                monthly_limit=form.cleaned_data["monthly_limit"],
                user=request.user,  # type: ignore[arg-type]
                at=timezone.now(),
            )
        except Refusal as refused:
            form.refuse(refused)
        else:
            messages.success(request, f"{partner} may do that from now on.")
            return redirect("portal:consents")
    wrong = next(iter(form.errors.values()))[0]
    context = _page(subscriber) | {"wrong": wrong, "wrong_code": code}
    return render(request, "portal/consents.html", context, status=422)


@require_POST
@for_subscriber
def withdraw(request: HttpRequest, subscriber: Subscriber, consent_id: str) -> HttpResponse:
    """Take a standing consent back; what was sold by it stays."""
    found = own(StandingConsent.objects.filter(subscriber=subscriber), consent_id)
    standing.withdraw(consent_id=found.pk, user=request.user, at=timezone.now())  # type: ignore[arg-type]
    messages.success(request, f"{found.partner} asks you each time from now on.")
    return redirect("portal:consents")


def _page(subscriber: Subscriber) -> dict[str, object]:
    return {
        "subscriber": subscriber,
        "requests": requests_to(subscriber)[:20],
        "sellers": standing_consents_of(subscriber, timezone.now()),
    }
