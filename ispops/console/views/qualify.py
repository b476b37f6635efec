"""Qualifying an address for a caller: the portal's answer, plus node, ports and provider."""

import secrets
import uuid

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.console import answer_page, asking, override_form, pages
from ispops.console.override_form import OverrideForm
from ispops.errors import Refusal
from ispops.parties.models import Subscriber, User
from provisioning import orders
from provisioning.models import ProductOrder
from qualification import qualify as verbs
from qualification import waitlist
from qualification.models import ServiceQualification
from qualification.queries import inquiries_of

RECENT = 20


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Take a place, named in any way, and lead to the stored answer."""
    kind = request.POST.get("subscriber_kind", Subscriber.Kind.CONSUMER)
    subscriber_ref = (request.POST or request.GET).get("subscriber", "")
    refused: Refusal | None = None
    if request.method == "POST":
        user: User = request.user  # type: ignore[assignment]
        try:
            answer = verbs.qualify_address(
                **asking.place_asked(request.POST),
                channel=ServiceQualification.Channel.CSR,
                asker=f"user_{user.pk}",
                subscriber_kind=kind,
                at=timezone.now(),
            )
        except Refusal as refusal:
            refused = refusal
        else:
            return to_result(answer.public_id, subscriber_ref)
    return pages.show(
        request,
        "console/qualify.html",
        "Qualify an address",
        status=422 if refused else 200,
        given=request.POST,
        by_fields=asking.is_by_fields(request.POST),
        fields=asking.fields(request.POST),
        kinds=Subscriber.Kind.choices,
        kind=kind,
        refused=refused,
        subscriber_ref=subscriber_ref,
        recent=ServiceQualification.objects.order_by("-pk")[:RECENT],
    )


@require_safe
def result(request: HttpRequest, ref: str) -> HttpResponse:
    """Show a stored answer with what only staff may know."""
    rows = ServiceQualification.objects.select_related("premises", "overrides")
    answer = pages.get(rows, ServiceQualification, ref)
    return show(request, answer)


def show(
    request: HttpRequest,
    answer: ServiceQualification,
    *,
    status: int = 200,
    form: OverrideForm | None = None,
) -> HttpResponse:
    """Answer with the page about a stored answer; `form` is what was promised by hand wrongly."""
    now = timezone.now()
    asked = request.POST if request.method == "POST" else request.GET
    page = answer_page.describe(answer, now)
    return pages.show(
        request,
        "console/qualification.html",
        "Qualification",
        status=status,
        answer=answer,
        page=page,
        form=form or override_form.blank(page.refused),
        has_expired=answer.expires_at <= now,
        subscriber=_subscriber(asked.get("subscriber", "")),
        hold_days=answer_page.HOLD_DAYS,
        currency=settings.CURRENCY,
        waitlist_consent=waitlist.CONSENT,
        inquiries=inquiries_of(answer),
        # The page's own key: sending the form twice places one order.
        order_key=f"csr-{secrets.token_urlsafe(12)}",
    )


@require_POST
def order(request: HttpRequest, ref: str) -> HttpResponse:
    """Place an order for a caller who is a subscriber, on the promise of a stored answer."""
    answer = pages.get(ServiceQualification.objects.all(), ServiceQualification, ref)
    wanted = request.POST.get("subscriber", "").strip()
    subscriber = _subscriber(wanted)
    chosen = [*request.POST.getlist("plan"), *request.POST.getlist("with")]
    if subscriber is None or not chosen:
        what = "a plan" if subscriber else "the subscriber by the id on their page (sub_...)"
        messages.error(request, f"Choose {what}. Nothing was ordered.")
        return to_result(ref, wanted)
    try:
        placed = orders.place_order(
            subscriber=subscriber,
            qualification=answer,
            offering_codes=chosen,
            channel=ProductOrder.Channel.CSR,
            placed_by=request.user,  # type: ignore[arg-type]
            idempotency_key=request.POST.get("order_key", "")[:200] or f"csr-{uuid.uuid4()}",
            at=timezone.now(),
        )
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return to_result(ref, wanted)
    messages.success(request, f"The order for {subscriber} is placed.")
    return redirect("admin:console_order", placed.public_id)


def _subscriber(ref: str) -> Subscriber | None:
    key = Subscriber.key_of(ref)
    return Subscriber.objects.filter(pk=key).first() if key else None


def to_result(ref: str, subscriber_ref: str) -> HttpResponse:
    """Keep the caller in the address, so that the order form knows who it is for."""
    place = reverse("admin:console_qualification", args=[ref])
    keep = f"?{urlencode({'subscriber': subscriber_ref})}" if subscriber_ref else ""
    return redirect(place + keep)
