"""Files of addresses: sending one, following it, and fetching the answers."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.console import actions, charts, pages
from ispops.errors import Refusal
from ispops.parties.models import Subscriber
from ispops.uploads import too_big_words
from qualification import bulk_qualify as verbs
from qualification import estimates, queries, sheets
from qualification.models import BulkQualification, ServiceQualification

PER_PAGE = 25
SEND = "qualification.add_bulkqualification"
# Excel takes a file for UTF-8 when it begins with this.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WORDS = dict(ServiceQualification.State.choices) | {
    estimates.CONFIRM: "To be confirmed by the network",
    estimates.UNUSABLE: "Unusable row",
}


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request: HttpRequest) -> HttpResponse:
    """List the files, the newest first; whoever may send one does it here."""
    error = ""
    if request.method == "POST" and request.user.has_perm(SEND):
        try:
            bulk = _submit(request)
        except Refusal as refusal:
            error = refusal.detail
        else:
            return redirect("admin:console_bulk_file", bulk.public_id)
    rows = BulkQualification.objects.select_related("created_by").order_by("-pk")
    return pages.show(
        request,
        "console/bulk.html",
        "Qualify a file of addresses",
        status=422 if error else 200,
        error=error,
        may_send=request.user.has_perm(SEND),
        kinds=Subscriber.Kind.choices,
        kind=request.POST.get("subscriber_kind", Subscriber.Kind.CONSUMER),
        wanted=sheets.WANTED,
        most=too_big_words(),
        rows=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
    )


def _submit(request: HttpRequest) -> BulkQualification:
    upload = pages.uploaded(request)
    return verbs.submit_file(
        upload=upload,  # type: ignore[arg-type]
        file_name=upload.name or "",
        asker=queries.asker_of(request.user),
        created_by=request.user,  # type: ignore[arg-type]
        subscriber_kind=request.POST.get("subscriber_kind", ""),
        at=timezone.now(),
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show how far a file is; the part that changes asks for itself again while it is open."""
    bulk = _get(ref)
    facts: dict[str, Any] = {
        "bulk": bulk,
        "is_open": bulk.state in verbs.OPEN,
        "percent": charts.percent(bulk.rows_done, bulk.rows_total),
        "outcomes": _outcomes(bulk),
    }
    if request.headers.get("HX-Request"):
        part = render(request, "console/_bulk_progress.html", facts)
        if not facts["is_open"]:
            # The rest of the page depends on the file being open, too, and comes anew.
            part["HX-Refresh"] = "true"
        return part
    return pages.show(
        request,
        "console/bulk_file.html",
        "File of addresses",
        may_cancel=facts["is_open"] and request.user.has_perm(SEND),
        **facts,
    )


@require_safe
def answers(request: HttpRequest, ref: str) -> HttpResponseBase:
    """Give out what is answered so far, for a spreadsheet."""
    bulk = _get(ref)
    try:
        pieces = queries.answers_of(bulk)
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return redirect("admin:console_bulk_file", ref)
    response = StreamingHttpResponse(
        (piece for part in ((_BYTE_ORDER_MARK,), pieces) for piece in part),
        content_type="text/csv; charset=utf-8",
    )
    name = f"{bulk.file_name.rpartition('.')[0] or bulk.file_name}-answers.csv"
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Stop a file; what is answered stays."""
    actions.attempt(
        request,
        verbs.cancel,
        done="The file is cancelled. What was answered until now can be fetched.",
        bulk=_get(ref),
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_bulk_file", args=[ref]))


def _get(ref: str) -> BulkQualification:
    rows = BulkQualification.objects.select_related("created_by")
    return pages.get(rows, BulkQualification, ref)


def _outcomes(bulk: BulkQualification) -> list[dict[str, Any]]:
    """Return how many rows came out how, the most frequent first, each with its part of all."""
    counted = sorted(bulk.outcomes.items(), key=lambda pair: -pair[1])
    return [
        {
            "state": state,
            "label": _WORDS.get(state, state),
            "count": count,
            "percent": charts.percent(count, bulk.rows_done),
        }
        for state, count in counted
    ]
