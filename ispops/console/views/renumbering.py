"""Moving the holders of one pool into another: tried out, begun, watched, paused and taken back."""

from collections.abc import Callable
from typing import Any

from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from ipam import renumbering, returning
from ipam.models import BlockReturn, Pool, Renumbering
from ispops.console import actions, charts, pages
from ispops.errors import InvalidInput, Refusal

CHANGE = "ipam.change_renumbering"
MOST_SHOWN = 100
_LIST = "admin:console_renumberings"
_NOTHING = InvalidInput("")
_VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "pause": (renumbering.pause, "It is paused. The old pool gives leases again."),
    "resume": (renumbering.resume, "It goes on."),
    "roll-back": (renumbering.roll_back, "It is being taken back."),
    "retire": (
        renumbering.retire_source,
        "The old pool goes back to its parent once its server has it no more.",
    ),
}


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the plans, those under way first."""
    return _shown(request)


def _shown(
    request: HttpRequest, refusal: Refusal = _NOTHING, given: Any = None, *, status: int = 200
) -> HttpResponse:
    rows = Renumbering.objects.select_related("source", "target", "started_by")
    shown = list(rows.order_by(F("ended_at").desc(nulls_first=True), "-started_at")[:MOST_SHOWN])
    on_their_way = BlockReturn.objects.filter(state__in=returning.OPEN)
    going = set(on_their_way.values_list("pool", flat=True))
    return pages.show(
        request,
        "console/renumberings.html",
        "Renumbering",
        status=status,
        rows=[_row(row, going) for row in shown],
        choices=renumbering.choices(),
        may_change=request.user.has_perm(CHANGE),
        refusal=refusal,
        given=given or {},
    )


def _row(row: Renumbering, going: set[int]) -> dict[str, Any]:
    """Return a plan with how far it is, in the words of the page."""
    left = None
    if row.ended_at is None:
        pool = row.target if row.state == Renumbering.State.ROLLING_BACK else row.source
        left = renumbering.held_in(pool)
    done = max(row.held_at_start - (left or 0), 0)
    return {
        "plan": row,
        "left": left,
        "done": done,
        "percent": charts.percent(done, row.held_at_start) if row.held_at_start else 100,
        "may_retire": row.state == Renumbering.State.FINISHED
        and row.source.state == Pool.State.DRAINING
        and row.source_id not in going,
        "is_going": row.source_id in going,
    }


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Show what a plan would come to, and begin it when that was seen."""
    given = {name: request.POST.get(name, "").replace("\0", "") for name in _FIELDS}
    try:
        asked = _asked(given)
        told = renumbering.preview(source=asked["source"], target=asked["target"])
        if request.POST.get("confirmed"):
            renumbering.start(**asked, actor=request.user, at=timezone.now())  # type: ignore[arg-type]
            actions.say(request, "It has begun. Devices move when they ask next.")
            return redirect(_LIST)
    except Refusal as refusal:
        return _shown(request, refusal, given, status=422)
    return pages.show(
        request, "console/renumbering_preview.html", "Renumber a pool", told=told, given=given,
        **asked,
    )  # fmt: skip


_FIELDS = ("source", "target", "deadline", "reason")


def _asked(given: dict[str, str]) -> dict[str, Any]:
    try:
        deadline = parse_datetime(given["deadline"])
    except ValueError:
        deadline = None
    if deadline is None or not 1990 <= deadline.year <= 2200:
        raise InvalidInput("Write the deadline like 2026-05-04T12:30.", field="deadline")
    return {
        "source": _pool(given, "source"),
        "target": _pool(given, "target"),
        "deadline_at": timezone.make_aware(deadline) if deadline.tzinfo is None else deadline,
        "reason": given["reason"],
    }


def _pool(given: dict[str, str], name: str) -> Pool:
    pool = Pool.objects.filter(name=given[name]).first()
    if pool is None:
        raise InvalidInput("Choose a pool.", field=name)
    return pool


@require_POST
def change(request: HttpRequest, ref: str, what: str) -> HttpResponse:
    """Pause a plan, go on with it, take it back, or retire its source, with the reason."""
    if what not in _VERBS:
        raise Http404("There is no such change.")
    verb, done = _VERBS[what]
    row = pages.get(Renumbering.objects.all(), Renumbering, ref)
    actions.attempt_with_reason(request, verb, done=done, renumbering_id=row.pk)
    return actions.back(request, reverse(_LIST))
