"""Who had which address: searched a page at a time, saved, and given out for a lawful request."""

from datetime import datetime, tzinfo
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from ipam import disclosure, history
from ipam.models import AllocationHistory
from ispops.console import pages, zone
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber

DISCLOSE = "ipam.disclose_history"
FIELDS = ("address", "vrf", "subscriber", "service", "device", "start", "end", "zone")
_NOTHING = InvalidInput("")


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """Show a page of what is searched for; everything, the newest first, until something is."""
    return _shown(request, request.GET)


def _shown(
    request: HttpRequest,
    given: QueryDict,
    refusal: Refusal = _NOTHING,
    *,
    status: int = 200,
    form: str = "",
) -> HttpResponse:
    asked = {name: given.get(name, "").replace("\0", "").strip() for name in FIELDS}
    rows: list[AllocationHistory] = []
    following = ""
    try:
        rows, following = history.page_of(_search(asked), after=given.get("after", ""))
    except Refusal as refused:
        refusal, status = (refusal, status) if refusal.detail else (refused, 422)
    kept = urlencode({name: value for name, value in asked.items() if value})
    field = refusal.field or "address"
    return pages.show(
        request,
        "console/history.html",
        "Address history",
        status=status,
        rows=rows,
        asked=asked,
        given=given,
        refusal=refusal,
        # The form of a request has times of its own, and its refusals belong beside them.
        refused_at=form + field if field in ("start", "end", "zone") else field,
        zones=zone.zones(),
        shown_in=zone.chosen(asked["zone"]) or zone.chosen(""),
        query=kept,
        is_searched=any(value for name, value in asked.items() if name != "zone"),
        next_query=urlencode({**dict(QueryDict(kept).items()), "after": following})
        if following
        else "",
        is_first=not given.get("after"),
        may_disclose=request.user.has_perm(DISCLOSE),
        most=disclosure.MOST_ROWS,
    )


def _search(asked: dict[str, str]) -> history.Search:
    clock = zone.chosen(asked["zone"])
    if clock is None:
        raise InvalidInput("Choose the zone of the times.", field="zone")
    return history.Search(
        address=asked["address"],
        vrf=_number(asked["vrf"]),
        subscriber=_subscriber(asked["subscriber"]),
        service_ref=asked["service"],
        device=asked["device"],
        start=_moment(asked["start"], "start", clock),
        end=_moment(asked["end"], "end", clock),
    )


def _number(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidInput("A VRF is a whole number.", field="vrf")
    return int(text)


def _subscriber(text: str) -> Subscriber | None:
    """Find a subscriber by public id or e-mail address."""
    if not text:
        return None
    key = Subscriber.key_of(text)
    found = (
        Subscriber.objects.filter(pk=key)
        if key
        else Subscriber.objects.filter(email__iexact=text).order_by("pk")
    )
    subscriber = found.first()
    if subscriber is None:
        raise InvalidInput("No subscriber has this id or e-mail address.", field="subscriber")
    return subscriber


def _moment(text: str, name: str, clock: tzinfo) -> datetime | None:
    """Read a time as the form writes it, in the zone that was chosen unless it names another."""
    if not text:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or not 1990 <= moment.year <= 2200:
        raise InvalidInput("Write a time like 2026-05-04T12:30.", field=name)
    return timezone.make_aware(moment, clock) if moment.tzinfo is None else moment


@require_POST
def as_file(request: HttpRequest) -> HttpResponse:
    """Give out what is searched for as a file; the audit trail says who did."""
    return _given_out(request, disclosure.export, "address-history")


@require_POST
def disclose(request: HttpRequest) -> HttpResponse:
    """Give out what a lawful request asks for, with its reference and reason."""
    told = {name: request.POST.get(name, "") for name in ("reference", "reason")}
    return _given_out(
        request, disclosure.export_for_request, "lawful-request", form="lawful-", **told
    )


def _given_out(
    request: HttpRequest, verb: Any, name: str, *, form: str = "", **told: str
) -> HttpResponse:
    asked = {field: request.POST.get(field, "").replace("\0", "").strip() for field in FIELDS}
    now = timezone.now()
    try:
        given = verb(search=_search(asked), actor=request.user, at=now, **told)
    except Refusal as refusal:
        return _shown(request, request.POST, refusal, status=422, form=form)
    file = HttpResponse(given.content, content_type="text/csv; charset=utf-8")
    file["Content-Disposition"] = f'attachment; filename="{name}-{now:%Y-%m-%d}.csv"'
    file["X-Content-SHA256"] = given.digest
    return file
