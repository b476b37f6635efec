"""What people read when something does not work: what happened, and what they can do."""

import math
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from ispops.parties import problems

_PROGRAMS = ("/api/", "/aaa/")


def _answer(request: HttpRequest, status: HTTPStatus, **facts: str) -> HttpResponse:
    """Answer a program with an RFC 9457 problem, and a person with a page."""
    if request.path.startswith(_PROGRAMS):
        return problems.by_status(status)
    return render(request, f"{status:d}.html", facts, status=status)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, HTTPStatus.NOT_FOUND)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, HTTPStatus.FORBIDDEN)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """The request itself may be what cannot be read, so the page asks nothing of it."""
    if request.path.startswith(_PROGRAMS):
        return problems.by_status(HTTPStatus.BAD_REQUEST)
    if isinstance(exception, RequestDataTooBig):
        page = _bare("413.html", why=str(exception))
        return HttpResponse(page, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return HttpResponse(_bare("400.html"), status=HTTPStatus.BAD_REQUEST)


def too_many_requests(
    request: HttpRequest, exception: Exception | None = None, *, wait: int = 60
) -> HttpResponse:
    """Say in how many seconds it can be tried again, and on a page in words, too."""
    response = _answer(request, HTTPStatus.TOO_MANY_REQUESTS, wait=_in_words(wait))
    response["Retry-After"] = str(wait)
    return response


def _in_words(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    if minutes <= 1:
        return "a minute"
    return f"{minutes} minutes" if minutes <= 60 else f"{math.ceil(minutes / 60)} hours"


def server_error(request: HttpRequest) -> HttpResponse:
    """The database may be what failed, so the page asks nothing of it."""
    if request.path.startswith(_PROGRAMS):
        return problems.by_status(HTTPStatus.INTERNAL_SERVER_ERROR)
    return HttpResponse(_bare("500.html"), status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _bare(template: str, **facts: str) -> str:
    brand = {"isp_name": settings.ISP_NAME, "support_phone": settings.SUPPORT_PHONE}
    return render_to_string(template, brand | facts | {"bare": True})
