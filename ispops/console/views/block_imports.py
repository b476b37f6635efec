"""Files of blocks: sent and tried out, followed, looked at, and made; what is refused is saved."""

from heapq import nsmallest
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ipam import block_imports as verbs
from ipam import importing, plan_rows
from ipam.models import BlockImport
from ispops import filework
from ispops.console import actions, charts, pages
from ispops.errors import InvalidInput, NotFound, Refusal

PER_PAGE = 25
MOST_SHOWN = 20
_COUNTED = (("made", "Made", "Can be made"), ("already", "There already", "There already"),
            ("refused", "Refused", "Refused"))  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request: HttpRequest) -> HttpResponse:
    """Take a file, and list those that came before, the newest first."""
    refusal = InvalidInput("")
    if request.method == "POST":
        try:
            upload = pages.uploaded(request)
            row = verbs.submit(
                upload=upload,  # type: ignore[arg-type]
                file_name=upload.name or "",
                actor=request.user,  # type: ignore[arg-type]
                at=timezone.now(),
            )
        except Refusal as refused:
            refusal = InvalidInput(refused.detail, field="file")
        else:
            return redirect("admin:console_block_import", row.public_id)
    rows = BlockImport.objects.select_related("created_by").order_by("-pk")
    return pages.show(
        request,
        "console/block_imports.html",
        "Import blocks",
        status=422 if refusal.detail else 200,
        refusal=refusal,
        columns=plan_rows.COLUMNS,
        most=importing.MOST_ROWS,
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show how far a file is and what its rows come to; it asks for itself again while it runs."""
    row = _get(ref)
    is_open = row.state in filework.OPEN
    facts: dict[str, Any] = {
        "row": row,
        "is_open": is_open,
        "percent": charts.percent(row.rows_done, row.rows_total),
        "counted": [
            (trial if row.is_trial else made, getattr(row, name), name == "refused")
            for name, made, trial in _COUNTED
        ],
    }
    if request.headers.get("HX-Request"):
        part = render(request, "console/_block_import_progress.html", facts)
        if not is_open:
            # The rest of the page is what the rows come to, and comes anew.
            part["HX-Refresh"] = "true"
        return part
    making = BlockImport.objects.filter(trial=row).first()
    return pages.show(
        request,
        "console/block_import.html",
        "File of blocks",
        **facts,
        making=making,
        may_make=not making and row.is_trial and row.state == "completed" and row.made,
        refused=[] if is_open else _first(row, "refused"),
        made=[] if is_open else _first(row, "made"),
        most=MOST_SHOWN,
    )


def _first(row: BlockImport, outcome: str) -> list[list[str]]:
    try:
        rows = verbs.results_of(row, outcome=outcome)
        next(rows)
        # They were made in the order in which one needs the other, and are read beside the file.
        return nsmallest(MOST_SHOWN, rows, key=lambda values: int(values[0]))
    except (NotFound, FileNotFoundError):
        return []


@require_safe
def rejects(request: HttpRequest, ref: str) -> HttpResponseBase:
    """Give out the rows that are refused, each with its line, the field and the reason."""
    row = _get(ref)
    try:
        lines = verbs.results_of(row, outcome="refused")
        header = next(lines)
    except (Refusal, FileNotFoundError) as refusal:
        messages.error(request, getattr(refusal, "detail", "The file was deleted."))
        return redirect("admin:console_block_import", ref)
    return pages.file_of("refused-blocks", _with(header, lines))


def _with(header: list[str], lines: Any) -> Any:
    yield header
    yield from lines


@require_POST
def make(request: HttpRequest, ref: str) -> HttpResponse:
    """Have the good rows of a trial made, as somebody saw them."""
    try:
        row = verbs.make(trial=_get(ref), actor=request.user, at=timezone.now())  # type: ignore[arg-type]
    except Refusal as refusal:
        actions.refuse(request, refusal)
        return redirect("admin:console_block_import", ref)
    return redirect("admin:console_block_import", row.public_id)


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop a file; what was made stays."""
    actions.attempt(
        request, verbs.cancel, done="The file is cancelled. What was made until now stays.",
        row=_get(ref), actor=request.user,
    )  # fmt: skip
    return actions.back(request, reverse("admin:console_block_import", args=[ref]))


def _get(ref: str) -> BlockImport:
    rows = BlockImport.objects.select_related("created_by", "trial")
    return pages.get(rows, BlockImport, ref)
