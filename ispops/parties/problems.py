"""What the API says when it will not or cannot: RFC 9457 problems, whatever went wrong where.

`problem_details` translates what a view of the API raises; `by_status` answers for what happens
outside any view: addresses that do not exist, and our own faults.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from ispops import hostile
from ispops.errors import InvalidInput, NotFound, Refusal

MEDIA_TYPE = "application/problem+json"
PROBLEM_BASE = "/problems/"

# Problems that the framework finds, with the words for what they have in common.
FRAMEWORK_TITLES: Mapping[str, str] = {
    "not_authenticated": "An access token is needed",
    "authentication_failed": "The access token cannot be used",
    "forbidden": "This token may not do that",
    "not_found": NotFound.title,
    "method_not_allowed": "This address does not take that method",
    "not_acceptable": "Answers are application/json",
    "unsupported_media_type": "This call does not take that type of body",
    "too_big": "The body is too big",
    "parse_error": "The body is no valid JSON",
    "throttled": "Too many requests",
    "bad_request": "The request cannot be understood",
    "internal_error": "Something went wrong on our side",
}
_CODES = {"permission_denied": "forbidden", "error": "internal_error"}


def problem_details(exception: Exception, context: Mapping[str, Any]) -> Response | None:
    """Turn what a call raised into a problem; None for our own faults, which are a plain 500.

    The answer has `type` (stable, an address with an explanation), `title`, `status`, `detail`,
    for refused values `errors` as a list of `{field, detail}`, and facts that the refusal adds.
    """
    if isinstance(exception, Refusal):
        problem = _refusal(exception)
    elif isinstance(exception, Http404):
        problem = _refusal(NotFound("There is no such object."))
    elif isinstance(exception, PermissionDenied):
        problem = _framework("forbidden", 403, str(exception) or "You may not do that.")
    elif isinstance(exception, exceptions.ValidationError):
        problem = _invalid(exception)
    elif isinstance(exception, exceptions.APIException):
        code = str(exception.default_code)
        problem = _framework(_CODES.get(code, code), exception.status_code, str(exception.detail))
    elif isinstance(exception, RequestDataTooBig):
        problem = _framework("too_big", 413, str(exception))
    elif words := hostile.what_is_wrong(exception):
        problem = _framework("bad_request", 400, words)
    else:
        return None
    headers = {}
    if challenge := getattr(exception, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(exception, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    return Response(problem, status=problem["status"], headers=headers, content_type=MEDIA_TYPE)


def _plain(code: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {"type": PROBLEM_BASE + code, "title": title, "status": status, "detail": detail}


def _framework(code: str, status: int, detail: str) -> dict[str, Any]:
    title = FRAMEWORK_TITLES.get(code) or HTTPStatus(status).phrase
    return _plain(code, title, status, detail)


def _refusal(refusal: Refusal) -> dict[str, Any]:
    problem = _plain(refusal.code, refusal.title, refusal.status, refusal.detail)
    if refusal.field:
        problem["errors"] = [{"field": refusal.field, "detail": refusal.detail}]
    return {key: value for key, value in refusal.facts.items() if key not in problem} | problem


def _invalid(error: exceptions.ValidationError) -> dict[str, Any]:
    problem = _plain(InvalidInput.code, InvalidInput.title, 422, "See the errors of the fields.")
    problem["errors"] = list(_field_errors(error.detail))
    return problem


def _field_errors(detail: Any, field: str = "") -> Iterator[dict[str, str]]:
    """Flatten what serializers report into fields such as `events[2].quantity`."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            if name == "non_field_errors":
                yield from _field_errors(inner, field)
            else:
                yield from _field_errors(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from _field_errors(inner, f"{field}[{index}]" if nested else field)
    else:
        # A choice that is none is repeated as it came, and half of a character cannot be sent.
        yield {"field": field, "detail": str(detail).encode(errors="replace").decode()}


def by_status(status: int) -> JsonResponse:
    """Answer a program for what happened outside any view; says nothing of the cause."""
    code, detail = _BY_STATUS[status]
    return JsonResponse(_framework(code, status, detail), status=status, content_type=MEDIA_TYPE)


_BY_STATUS = {
    400: ("bad_request", "Send a request that follows /api/v1/openapi.yaml."),
    403: ("forbidden", "You may not do that."),
    404: ("not_found", "There is nothing at this address; see /api/v1/docs."),
    429: ("throttled", "Wait as long as Retry-After says, then send it again."),
    500: (
        "internal_error",
        "The request was not carried out. Send it again with the same Idempotency-Key.",
    ),
}


@csrf_exempt
def nothing_here(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer for every address under /api/ that nothing else answers for."""
    return by_status(404)
