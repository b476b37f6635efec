"""Finding a subscriber, and the page with everything about one."""

import uuid

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages, search, subscriber_page
from ispops.parties import accounts
from ispops.parties.models import Subscriber

PER_PAGE = 50


@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Answer the search box: one result is opened at once, several are listed with the reason."""
    text = request.GET.get("q", "").strip()[:200]
    found = search.find(text)
    if isinstance(found, search.Page):
        return redirect(found.address, found.public_id)
    if len(found) == 1:
        return redirect("admin:console_subscriber", found[0].subscriber.public_id)
    return pages.show(request, "console/search.html", "Search", hits=found, search_text=text)


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List subscribers, newest first, with the filters in the address."""
    rows = Subscriber.objects.annotate(
        line_count=Count(
            "services", filter=Q(services__line__isnull=True, services__state="active")
        )
    ).order_by("-created_at")
    standing = request.GET.get("standing", "")
    if standing in Subscriber.Standing.values:
        rows = rows.filter(standing=standing)
    return pages.show(
        request,
        "console/subscribers.html",
        "Subscribers",
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        standings=Subscriber.Standing.choices,
        standing=standing,
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show everything of one subscriber."""
    subscriber = pages.get(Subscriber.objects.select_related("contact_choice"), Subscriber, ref)
    now = timezone.now()
    return pages.show(
        request,
        "console/subscriber.html",
        subscriber.name,
        **subscriber_page.everything(subscriber, request.user, now),  # type: ignore[arg-type]
    )


@require_safe
def from_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Lead from a row of the plain list to the page about the subscriber."""
    subscriber = Subscriber.objects.filter(pk=key).first()
    if subscriber is None:
        raise Http404("There is no such subscriber.")
    return redirect("admin:console_subscriber", subscriber.public_id)


@require_POST
def set_standing(request: HttpRequest, ref: str) -> HttpResponse:
    """Restrict an account, or put it in good standing again."""
    subscriber = pages.get(Subscriber.objects.all(), Subscriber, ref)
    actions.attempt_with_reason(
        request,
        accounts.set_standing,
        done="The standing is set. It counts for whatever is asked from now on.",
        subscriber_id=subscriber.pk,
        standing=request.POST.get("standing", ""),
    )
    return redirect("admin:console_subscriber", ref)
