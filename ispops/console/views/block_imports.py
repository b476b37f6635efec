"""A file of blocks: sent, looked at row by row, and made; what is refused can be saved."""

from dataclasses import astuple

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ipam import importing, plan_rows
from ispops.console import pages
from ispops.errors import InvalidInput, Refusal

_NOTHING = InvalidInput("")


@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest) -> HttpResponseBase:
    """Take a file and show what it comes to; then make it, or save what is refused."""
    if request.method != "POST":
        return _shown(request)
    name, what = (request.POST.get(field, "").replace("\0", "") for field in ("file_name", "what"))
    now = timezone.now()
    try:
        if what:
            text = request.POST.get("text", "")
        else:
            upload = pages.uploaded(request)
            name, text = upload.name or "", importing.text_of(upload)  # type: ignore[arg-type]
        if what == "apply":
            results = importing.apply(
                text=text, file_name=name, actor=request.user, at=now,  # type: ignore[arg-type]
            )  # fmt: skip
        else:
            results = importing.preview(text=text, actor=request.user, at=now)  # type: ignore[arg-type]
    except Refusal as refusal:
        return _shown(request, refusal, status=422)
    if what == "rejects":
        refused = [result for result in results if result.outcome == "refused"]
        header = ("line", "network", "outcome", "reason", "field")
        lines = [[str(value) for value in astuple(result)] for result in refused]
        return pages.file_of("refused-blocks", [list(header), *lines])
    return _shown(request, results=results, text=text, file_name=name, is_done=what == "apply")


def _shown(
    request: HttpRequest,
    refusal: Refusal = _NOTHING,
    *,
    results: list[importing.Result] | None = None,
    status: int = 200,
    **told: object,
) -> HttpResponse:
    counts = [
        (words, sum(result.outcome == outcome for result in results or ()))
        for outcome, words in (
            ("made", "Made"),
            ("already", "There already"),
            ("refused", "Refused"),
        )
    ]
    return pages.show(
        request,
        "console/block_import.html",
        "Import blocks",
        status=status,
        refusal=refusal,
        results=results,
        counts=counts,
        columns=plan_rows.COLUMNS,
        most=importing.MOST_ROWS,
        **told,
    )
