"""Lists of coverage and places: sent, followed, previewed, applied, thrown away and taken back."""

from typing import Any

from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.catalog.models import Technology
from ispops.console import actions, charts, pages, queues
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Partner
from ispops.uploads import too_big_words
from qualification import imports as verbs
from qualification.models import CoverageImport

PER_PAGE = 25
SEND = "qualification.add_coverageimport"
DECIDE = "qualification.change_coverageimport"
State, Format = CoverageImport.State, CoverageImport.Format
_FILTERS = (
    (State.PREVIEWED, "To decide on"),
    (State.APPLIED, "Applied"),
    (State.ROLLED_BACK, "Rolled back"),
    (State.DISCARDED, "Discarded"),
    (State.FAILED, "Failed"),
)
_MAY_BE_DISCARDED = (State.QUEUED, State.CHECKING, State.PREVIEWED, State.FAILED)


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request: HttpRequest) -> HttpResponse:
    """List what was sent, the newest first; whoever may send a list does it here."""
    refusal = InvalidInput("")
    if request.method == "POST" and request.user.has_perm(SEND):
        try:
            row = _submit(request)
        except Refusal as refused:
            refusal = InvalidInput(refused.detail, field=refused.field or "file")
        else:
            return redirect("admin:console_import", row.public_id)
    asked = request.GET.get("state", "")
    rows = CoverageImport.objects.select_related("provider", "created_by").order_by("-pk")
    counted = queues.by_state(CoverageImport.objects.all())
    if asked in State.values:
        rows = rows.filter(state=asked)
    return pages.show(
        request,
        "console/imports.html",
        "Coverage lists",
        status=422 if refusal.detail else 200,
        refusal=refusal,
        given=request.POST,
        may_send=request.user.has_perm(SEND),
        networks=Partner.objects.filter(kind=Partner.Kind.NETWORK_PROVIDER).order_by("name"),
        formats=Format.choices,
        most=too_big_words(),
        asked=asked,
        filters=[
            *((state, label, counted.get(state, 0)) for state, label in _FILTERS),
            ("", "All", sum(counted.values())),
        ],
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
    )


def _submit(request: HttpRequest) -> CoverageImport:
    upload = pages.uploaded(request)
    code, list_format = request.POST.get("provider", ""), request.POST.get("format", "")
    networks = Partner.objects.filter(kind=Partner.Kind.NETWORK_PROVIDER)
    is_places = list_format == Format.PREMISES
    return verbs.submit_list(
        upload=upload,  # type: ignore[arg-type]
        file_name=upload.name or "",
        list_format=list_format,
        # The fields that do not fit a list of places are not meant.
        provider=None if is_places else networks.filter(code=code).first(),
        is_complete=not is_places and "is_complete" in request.POST,
        use_cells=list_format == Format.FCC_PUBLIC and "use_cells" in request.POST,
        actor=request.user,  # type: ignore[arg-type]
        at=timezone.now(),
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show how a list stands; the part that changes asks for itself again while a worker has it."""
    row = _get(ref)
    is_open = row.state in verbs.WORKING
    facts: dict[str, Any] = {
        "list": row,
        "is_open": is_open,
        "total": verbs.work_of(row),
        "percent": charts.percent(row.rows_done, verbs.work_of(row)),
    }
    if request.headers.get("HX-Request"):
        part = render(request, "console/_import_progress.html", facts)
        if not is_open:
            # The rest of the page is the preview, or what came of it, and comes anew.
            part["HX-Refresh"] = "true"
        return part
    may_decide = request.user.has_perm(DECIDE)
    return pages.show(
        request,
        "console/import.html",
        "Coverage list",
        **facts,
        **_preview(row),
        may_apply=may_decide and row.state == State.PREVIEWED,
        may_discard=may_decide and row.state in _MAY_BE_DISCARDED,
        may_roll_back=may_decide and row.state == State.APPLIED and row.provider is not None,
        may_decide=may_decide,
    )


def _preview(row: CoverageImport) -> dict[str, Any]:
    """Return the summary of a checked list in the words of the page."""
    summary = row.summary
    samples = summary.get("samples", {})
    titles = (("added", "Added"), ("changed", "Changed"), ("removed", "Ended"))
    return {
        "has_preview": bool(summary),
        "technologies": [
            {**found, "label": _technology(found["technology"])}
            for found in summary.get("technologies", ())
        ],
        "samples": [
            (
                title,
                [{**sample, "label": _technology(sample.get("technology"))} for sample in found],
            )
            for kind, title in titles
            if (found := samples.get(kind))
        ],
        "refused": samples.get("rejected", ()),
        "rolled_back": summary.get("rolled_back"),
    }


def _technology(code: int | None) -> str:
    return str(Technology(code).label) if code in Technology.values else ""


@require_POST
def apply(request: HttpRequest, ref: str) -> HttpResponse:
    """Have a list applied that somebody has looked at."""
    return _decide(request, ref, verbs.apply_list, "The list is being applied.")


@require_POST
def discard(request: HttpRequest, ref: str) -> HttpResponse:
    """Throw a list away; nothing was changed by it."""
    return _decide(request, ref, verbs.discard_list, "The list is discarded. Nothing was changed.")


def _decide(request: HttpRequest, ref: str, verb: Any, done: str) -> HttpResponse:
    actions.attempt(request, verb, done=done, import_id=_get(ref).pk, actor=request.user)
    return actions.back(request, reverse("admin:console_import", args=[ref]))


@require_POST
def roll_back(request: HttpRequest, ref: str) -> HttpResponse:
    """Have an applied list taken back, with the reason."""
    actions.attempt_with_reason(
        request,
        verbs.roll_back_list,
        done="The list is being rolled back.",
        import_id=_get(ref).pk,
    )
    return actions.back(request, reverse("admin:console_import", args=[ref]))


@require_safe
def rejects(request: HttpRequest, ref: str) -> HttpResponseBase:
    """Give out the rows that were left out, each with its line, the field and the reason."""
    return _file(_get(ref), "rejects", "-rejected")


@require_safe
def original(request: HttpRequest, ref: str) -> HttpResponseBase:
    """Give out the list as it was sent, unpacked and in UTF-8."""
    return _file(_get(ref), "file", "")


def _file(row: CoverageImport, name: str, ending: str) -> HttpResponseBase:
    file = getattr(row, name)
    try:
        opened = file.open("rb") if file else None
    except FileNotFoundError:
        opened = None
    if opened is None:
        raise Http404("There is no such file.")
    stem = row.file_name.removesuffix(".zip").removesuffix(".gz").removesuffix(".csv")
    return FileResponse(
        opened, as_attachment=True, filename=f"{stem}{ending}.csv", content_type="text/csv"
    )


def _get(ref: str) -> CoverageImport:
    rows = CoverageImport.objects.select_related("provider", "created_by")
    return pages.get(rows, CoverageImport, ref)
