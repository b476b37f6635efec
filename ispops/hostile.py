"""Input that no part of the product can read or store, whichever face it came by.

PostgreSQL has no NUL in text, and Python no end of nesting. Nobody sends either in earnest, so no
page or call looks for them; what they cause is told as the caller's fault, and not as ours.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import get_resolver


def what_is_wrong(error: Exception) -> str:
    """Say in words what the caller sent; empty when the error is our own."""
    if isinstance(error, RecursionError):
        return "The body is nested too deeply."
    if isinstance(error, ValueError) and "NUL (0x00)" in str(error):
        return "A text may not contain the character NUL."
    return ""


class HostileInputMiddleware:
    """Answers 400 where such input got as far as a view outside the API."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not what_is_wrong(error):
            return None
        page: Callable[..., HttpResponse] = get_resolver().resolve_error_handler(400)
        return page(request, exception=error)
