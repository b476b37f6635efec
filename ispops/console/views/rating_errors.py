"""The queue of usage that cannot be rated, and events that contradict what is known."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, pages, work_page
from ispops.errors import InvalidInput, Refusal
from rating import reported, retrying
from rating.models import Usage
from rating.reported import ErrorFilters

PER_PAGE = 50
RECYCLE = "rating.change_usage"
_AGES = {"day": (1, "Over a day"), "week": (7, "Over a week"), "month": (30, "Over a month")}
_HEADER = (
    "id", "source", "event_id", "subscriber_ref", "subscriber", "product", "started_at", "ended_at",
    "quantity", "unit", "received_at", "code", "reason",
)  # fmt: skip


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the errors that fit the filters of the address, the newest first."""
    rows = _asked(request.GET).select_related("subscriber").order_by("-pk")
    return pages.show(
        request,
        "console/rating_errors.html",
        "Rating errors",
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        groups=_groups(request.GET),
        asked=request.GET.urlencode(),
        may_recycle=request.user.has_perm(RECYCLE),
        may_see_conflicts=request.user.has_perm("rating.view_usageconflict"),
    )


def _asked(asked: QueryDict) -> QuerySet[Usage]:
    days, _ = _AGES.get(asked.get("age", ""), (None, ""))
    filters = ErrorFilters(_plain(asked, "source"), _plain(asked, "code"), days)
    return filters.errors(timezone.now())


def _plain(asked: QueryDict, name: str) -> str:
    return asked.get(name, "").replace("\0", "")


def _groups(asked: QueryDict) -> list[tuple[str, list[work_page.Link]]]:
    link = work_page.link
    groups: list[tuple[str, str, list[tuple[str, str, int | None]]]] = [
        ("From", "source", [(key, key, n) for key, n in reported.count_errors("source")]),
        ("Why", "code", [(key, words(key), n) for key, n in reported.count_errors("error_code")]),
        ("Came", "age", [(key, word, None) for key, (_, word) in _AGES.items()]),
    ]
    return [
        (name, [link(asked, key, "", "All"), *(link(asked, key, *choice) for choice in choices)])
        for name, key, choices in groups
        if choices
    ]


def words(code: str) -> str:
    """Write a code for people."""
    return code.replace("_", " ").capitalize()


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the whole queue as a file, with the filters of the page."""
    rows = _asked(request.GET).select_related("subscriber").order_by("pk")
    return pages.file_of("rating-errors", _table(rows.iterator(chunk_size=500)))


def _table(rows: Iterable[Usage]) -> Iterator[list[str]]:
    yield list(_HEADER)
    for use in rows:
        told: list[Any] = [
            use.pk, use.source, use.event_id, use.subscriber_ref, use.subscriber or "",
            use.product_ref, use.started_at.isoformat(),
            use.ended_at.isoformat() if use.ended_at else "", use.quantity, use.unit,
            use.received_at.isoformat(), use.error_code, use.error,
        ]  # fmt: skip
        yield [str(value) for value in told]


@require_POST
def many(request: HttpRequest) -> HttpResponse:
    """Try one error again, those that are chosen, or all that the filters show."""
    try:
        retried = retrying.recycle_many(
            uses=_chosen(request),
            actor=request.user,  # type: ignore[arg-type]
            at=timezone.now(),
        )
    except Refusal as refusal:
        messages.error(request, refusal.detail)
    else:
        _tell(request, retried)
    return actions.back(request, reverse("admin:console_rating_errors"))


def _tell(request: HttpRequest, retried: retrying.Retried) -> None:
    if retried.freed:
        messages.success(request, f"{retried.freed:,} will be rated.")
    if retried.tried > retried.freed:
        stayed = retried.tried - retried.freed
        messages.warning(request, f"{stayed:,} still cannot be; see why.")
    if retried.left:
        messages.info(request, f"{retried.left:,} more were left for another time.")
    if not retried.tried:
        messages.warning(request, "None of these is in error any more.")


def _chosen(request: HttpRequest) -> QuerySet[Usage]:
    if request.POST.get("which") == "all":
        return _asked(QueryDict(request.POST.get("asked", "")))
    told = [int(key) for key in request.POST.getlist("use") if key.isdecimal() and len(key) < 20]
    keys = [key for key in told if key < 2**63]
    if not keys:
        raise InvalidInput("Choose errors first, or all that are shown.", field="use")
    return reported.in_error().filter(pk__in=keys)


@require_safe
def conflicts(request: HttpRequest) -> HttpResponse:
    """List events that came again with other content, beside what counts."""
    rows = reported.conflicts()
    source = _plain(request.GET, "source")
    if source:
        rows = rows.filter(source=source)
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/usage_conflicts.html",
        "Contradicting events",
        rows=shown,
        differences=[(row, _differences(row.kept, row.told)) for row in shown],
        source=source,
    )


def _differences(kept: dict[str, Any], told: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return each field that differs: its name, what counts, and what was said later."""
    return [
        (name, _shown(kept.get(name)), _shown(told.get(name)))
        for name in sorted({*kept, *told})
        if kept.get(name) != told.get(name)
    ]


def _shown(value: Any) -> str:
    """Write a value for people: of attributes, each by its name."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "—"
    return "—" if value is None else str(value)
