"""Files of usage: sent by staff for a partner or the network, followed, and their rejects."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops import filework
from ispops.console import actions, charts, pages, queues
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Partner
from ispops.uploads import too_big_words
from rating import usage_files as verbs
from rating.models import UsageFile

PER_PAGE = 25
SEND = "rating.add_usagefile"
Format, State = UsageFile.Format, UsageFile.State
_COUNTED = (
    ("accepted", "Accepted", ""),
    ("duplicates", "Known already", ""),
    ("conflicts", "Contradict what is known", "c-bad"),
    ("in_error", "Wait for what is missing", "c-bad"),
    ("rejected", "Rejected", "c-bad"),
)


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request: HttpRequest) -> HttpResponse:
    """List the files, the newest first; whoever may send one does it here."""
    refusal = InvalidInput("")
    if request.method == "POST" and request.user.has_perm(SEND):
        try:
            file = _submit(request)
        except Refusal as refused:
            refusal = InvalidInput(refused.detail, field=refused.field or "file")
        else:
            return redirect("admin:console_usage_file", file.public_id)
    asked = request.GET.get("state", "")
    rows = UsageFile.objects.select_related("partner", "created_by").order_by("-pk")
    counted = queues.by_state(UsageFile.objects.all())
    if asked in State.values:
        rows = rows.filter(state=asked)
    return pages.show(
        request,
        "console/usage_files.html",
        "Files of usage",
        status=422 if refusal.detail else 200,
        refusal=refusal,
        given=request.POST,
        may_send=request.user.has_perm(SEND),
        partners=Partner.objects.filter(kind=Partner.Kind.BSP).order_by("name"),
        formats=Format.choices,
        most=too_big_words(),
        asked=asked,
        filters=[
            ("", "All", sum(counted.values())),
            *((state, label, counted.get(state, 0)) for state, label in State.choices),
        ],
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
    )


def _submit(request: HttpRequest) -> UsageFile:
    upload = pages.uploaded(request)
    code, file_format = request.POST.get("partner", ""), request.POST.get("format", "")
    is_own = file_format in verbs.OF_THE_NETWORK
    return verbs.submit_file(
        upload=upload,  # type: ignore[arg-type]
        file_name=upload.name or "",
        file_format=file_format,
        # The field that does not fit records of the network is not meant.
        partner=None if is_own else Partner.objects.filter(code=code).first(),
        actor=request.user,  # type: ignore[arg-type]
        at=timezone.now(),
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show how far a file is; the part that changes asks for itself again while it is open."""
    file = _get(ref)
    facts: dict[str, Any] = {
        "file": file,
        "is_open": file.state in filework.OPEN,
        "percent": charts.percent(file.rows_done, file.rows_total),
        "counted": [
            (words, count, tone if count else "")
            for name, words, tone in _COUNTED
            if (count := getattr(file, name)) or not tone
        ],
    }
    if request.headers.get("HX-Request"):
        part = render(request, "console/_usage_file_progress.html", facts)
        if not facts["is_open"]:
            # The rest of the page depends on the file being open, too, and comes anew.
            part["HX-Refresh"] = "true"
        return part
    return pages.show(
        request,
        "console/usage_file.html",
        "File of usage",
        may_cancel=facts["is_open"] and request.user.has_perm(SEND),
        **facts,
    )


@require_safe
def rejects(request: HttpRequest, ref: str) -> HttpResponseBase:
    """Give out the rows that were not taken as they are, each with the reason."""
    file = _get(ref)
    try:
        pieces = filework.written(file, file.rejects)
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return redirect("admin:console_usage_file", ref)
    response = StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8")
    name = f"{file.file_name.rpartition('.')[0] or file.file_name}-rejects.csv"
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop a file; what was taken in stays."""
    actions.attempt(
        request,
        verbs.cancel,
        done="The file is cancelled. What was taken in until now stays.",
        file=_get(ref),
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_usage_file", args=[ref]))


def _get(ref: str) -> UsageFile:
    rows = UsageFile.objects.select_related("partner", "created_by", "same_as")
    return pages.get(rows, UsageFile, ref)
