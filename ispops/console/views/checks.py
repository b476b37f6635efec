"""The queue of people whose identity or credit a member of staff has to look into."""

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages
from ispops.parties import checks
from ispops.parties.models import CheckInquiry, CheckProvider, SubscriberCheck

PER_PAGE = 50
OPEN = (SubscriberCheck.State.ASKING, SubscriberCheck.State.PENDING)
QUEUE = "admin:console_checks"


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    """List the checks that wait, the oldest first; or those of another state, the newest first."""
    asked = request.GET.get("state", "")
    if asked not in SubscriberCheck.State.values:
        asked = str(SubscriberCheck.State.PENDING)
    rows = SubscriberCheck.objects.filter(state=asked).select_related("subscriber", "decided_by")
    rows = rows.prefetch_related(Prefetch("inquiries", CheckInquiry.objects.order_by("-pk")))
    waits = asked in OPEN
    rows = rows.order_by("asked_at" if waits else "-decided_at")
    return pages.show(
        request,
        "console/checks.html",
        "Checks",
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        states=SubscriberCheck.State.choices,
        asked=asked,
        open_states=OPEN,
        away=CheckProvider.objects.filter(open_until__isnull=False).order_by("kind"),
    )


@require_POST
def decide(request: HttpRequest, ref: str) -> HttpResponse:
    """Pass or refuse one; the orders that wait for it go on, or fall out."""
    row = pages.get(SubscriberCheck.objects.all(), SubscriberCheck, ref)
    passed = request.POST.get("verdict") == "pass"
    actions.attempt_with_reason(
        request,
        checks.decide_check,
        done="It is passed. What waited for it goes on."
        if passed
        else "It is refused. The orders that waited for it are in the fallout queue.",
        check_id=row.pk,
        passed=passed,
    )
    return actions.back(request, reverse(QUEUE))
