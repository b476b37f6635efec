"""Qualifying an address for a caller: the portal's answer, plus node, ports and provider."""

from typing import Any

from django.db.models import Count, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from ispops.console import pages
from ispops.errors import Refusal
from ispops.parties.models import Subscriber, User
from qualification import qualify as verbs
from qualification.models import AccessPort, CoverageArea, QualifiedOffer, ServiceQualification

RECENT = 20


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Take an address, or one of several candidates, and lead to the stored answer."""
    text = request.POST.get("address", "").strip()[:500]
    premises_id = request.POST.get("premises_id", "").strip() or None
    kind = request.POST.get("subscriber_kind", Subscriber.Kind.CONSUMER)
    error = ""
    if request.method == "POST":
        user: User = request.user  # type: ignore[assignment]
        try:
            answer = verbs.qualify_address(
                text=text,
                premises_id=premises_id,
                channel=ServiceQualification.Channel.CSR,
                asker=f"user_{user.pk}",
                subscriber_kind=kind,
                at=timezone.now(),
            )
        except Refusal as refusal:
            error = refusal.detail
        else:
            return redirect("admin:console_qualification", answer.public_id)
    return pages.show(
        request,
        "console/qualify.html",
        "Qualify an address",
        status=422 if error else 200,
        address=text,
        kinds=Subscriber.Kind.choices,
        kind=kind,
        error=error,
        recent=ServiceQualification.objects.select_related("premises").order_by("-pk")[:RECENT],
    )


@require_safe
def result(request: HttpRequest, ref: str) -> HttpResponse:
    """Show a stored answer with what only staff may know."""
    offers = QualifiedOffer.objects.select_related(
        "offering", "provider", "coverage__node"
    ).order_by("-eligible", "offering__kind", "recurring_amount", "pk")
    answer = pages.get(
        ServiceQualification.objects.select_related("premises").prefetch_related(
            Prefetch("offers", offers)
        ),
        ServiceQualification,
        ref,
    )
    return pages.show(
        request,
        "console/qualification.html",
        "Qualification",
        answer=answer,
        offers=list(answer.offers.all()),
        networks=_networks(answer),
        has_expired=answer.expires_at <= timezone.now(),
    )


def _networks(answer: ServiceQualification) -> list[dict[str, Any]]:
    """Each network at the place as it is today, with its node and the ports that are free."""
    place = answer.premises
    if place is None:
        return []
    here = Q(premises=place)
    if place.h3_res8:
        here |= Q(premises__isnull=True, h3_res8=place.h3_res8)
    areas = list(
        CoverageArea.objects.at(timezone.now())
        .filter(here)
        .select_related("provider", "node")
        .order_by("provider__name", "technology")
    )
    ports = {
        row["node"]: row
        for row in AccessPort.objects.filter(node__in=[area.node_id for area in areas])
        .order_by()
        .values("node")
        .annotate(total=Count("pk"), free=Count("pk", filter=Q(service_ref__isnull=True)))
    }
    return [{"area": area, "ports": ports.get(area.node_id)} for area in areas]
