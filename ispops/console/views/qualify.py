"""Qualifying an address for a caller: the portal's answer, plus node, ports and provider."""

import secrets
import uuid
from typing import Any

from django.contrib import messages
from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.console import asking, pages
from ispops.errors import Refusal
from ispops.parties.models import Subscriber, User
from provisioning import orders
from provisioning.models import ProductOrder
from qualification import qualify as verbs
from qualification import waitlist
from qualification.models import AccessPort, QualifiedOffer, ServiceQualification
from qualification.queries import coverage_at

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
            return _to_result(answer.public_id, subscriber_ref)
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
        recent=ServiceQualification.objects.select_related("premises").order_by("-pk")[:RECENT],
    )


@require_safe
def result(request: HttpRequest, ref: str) -> HttpResponse:
    """Show a stored answer with what only staff may know."""
    promises = QualifiedOffer.objects.select_related(
        "offering", "provider", "coverage__node"
    ).order_by("-eligible", "offering__kind", "recurring_amount", "pk")
    answer = pages.get(
        ServiceQualification.objects.select_related("premises").prefetch_related(
            Prefetch("offers", promises)
        ),
        ServiceQualification,
        ref,
    )
    offers = list(answer.offers.all())
    return pages.show(
        request,
        "console/qualification.html",
        "Qualification",
        answer=answer,
        offers=offers,
        can_be_ordered=any(
            offer.eligible and offer.offering.kind in ("access", "bundle") for offer in offers
        ),
        networks=_networks(answer),
        has_expired=answer.expires_at <= timezone.now(),
        subscriber=_subscriber(request.GET.get("subscriber", "")),
        waitlist_consent=waitlist.CONSENT,
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
        return _to_result(ref, wanted)
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
        return _to_result(ref, wanted)
    messages.success(request, f"The order for {subscriber} is placed.")
    return redirect("admin:console_order", placed.public_id)


def _subscriber(ref: str) -> Subscriber | None:
    key = Subscriber.key_of(ref)
    return Subscriber.objects.filter(pk=key).first() if key else None


def _to_result(ref: str, subscriber_ref: str) -> HttpResponse:
    """Keep the caller in the address, so that the order form knows who it is for."""
    place = reverse("admin:console_qualification", args=[ref])
    keep = f"?{urlencode({'subscriber': subscriber_ref})}" if subscriber_ref else ""
    return redirect(place + keep)


def _networks(answer: ServiceQualification) -> list[dict[str, Any]]:
    """Each network at the place as it is today, with its node and the ports that are free."""
    place = answer.premises
    if place is None:
        return []
    areas = coverage_at(place, place.h3_res8, timezone.now())
    ports = {
        row["node"]: row
        for row in AccessPort.objects.filter(node__in=[area.node_id for area in areas])
        .order_by()
        .values("node")
        .annotate(total=Count("pk"), free=Count("pk", filter=Q(service_ref__isnull=True)))
    }
    return [{"area": area, "ports": ports.get(area.node_id or 0)} for area in areas]
