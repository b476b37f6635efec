"""What is held of subscribers' money for partners: seen, and released where it has to be."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from rating import held, reservations
from rating.models import Reservation

PER_PAGE = 50
LIST = "admin:console_reservations"
SHOWN = (("", "Held now"), ("over", "Used, released or over"))


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List what is held now, the soonest to end first; or what was."""
    asked = request.GET.get("show", "")
    live = held.live(timezone.now())
    rows = live.order_by("held_until", "pk")
    if asked == "over":
        rows = Reservation.objects.exclude(pk__in=live.values("pk")).order_by("-held_at", "-pk")
    rows = rows.select_related("subscriber", "partner", "offering")
    return pages.show(
        request,
        "console/reservations.html",
        "Reservations",
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        asked=asked,
        all_shown=SHOWN,
    )


@require_POST
def release(request: HttpRequest, ref: str) -> HttpResponse:
    """Release one; the partner can use no more of it."""
    row = pages.get(Reservation.objects.all(), Reservation, ref)
    actions.attempt_with_reason(
        request,
        reservations.release,
        done="It is released. The partner can use no more of it.",
        reservation_id=row.pk,
    )
    return actions.back(request, reverse(LIST))
