"""Where the SMS gateway reports what became of a message. It shows a token that only it knows."""

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ispops.errors import NotFound
from ispops.notices import delivery

MOST_BYTES = 64 * 1024


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Take a report as JSON or as a form, with the names that the settings say.

    The token comes as `Authorization: Bearer`, or as `?token=` from gateways that can do no better.
    The answer is 204 also for a state that is not final; 404 for a message that we do not know,
    because a report may overtake the answer to its message, and is worth repeating.
    """
    if not _is_known(request):
        return _answer(401, "The token is missing or wrong.")
    said = _read(request)
    if said is None:
        return _answer(400, "This is no JSON object and no form.")
    reference = _text(said, settings.SMS_REPORT_ID_FIELD, 200)
    state = _text(said, settings.SMS_REPORT_STATE_FIELD, 100)
    if not reference or not state:
        lacking = settings.SMS_REPORT_STATE_FIELD if reference else settings.SMS_REPORT_ID_FIELD
        return _answer(400, f"The field {lacking} is missing.")
    delivered = state.lower() in settings.SMS_REPORT_DELIVERED
    if delivered or state.lower() in settings.SMS_REPORT_UNDELIVERED:
        detail = "" if delivered else f"The gateway reported: {state}"
        try:
            delivery.take_report(
                reference=reference, delivered=delivered, detail=detail, at=timezone.now()
            )
        except NotFound as unknown:
            return _answer(404, unknown.detail)
    return HttpResponse(status=204)


def _is_known(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    shown = token.strip() if scheme.lower() == "bearer" else request.GET.get("token", "")
    expected = settings.SMS_REPORT_TOKEN
    return bool(expected) and constant_time_compare(shown, expected)


def _read(request: HttpRequest) -> dict[str, Any] | None:
    if request.content_type != "application/json":
        return dict(request.POST.items()) or None
    if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES:
        return None
    try:
        said = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _text(said: dict[str, Any], field: str, most: int) -> str:
    """Read a text without what PostgreSQL cannot store: NUL, and halves of characters."""
    text = str(said.get(field, ""))[:most].replace("\0", "")
    return text.encode(errors="replace").decode()


def _answer(status: int, words: str) -> HttpResponse:
    return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8")
