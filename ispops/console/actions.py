"""What every button of the console does around its one verb: the time, the words, the way back."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from ispops.errors import Refusal


def attempt(request: HttpRequest, verb: Callable[..., Any], *, done: str, **arguments: Any) -> bool:
    """Call a verb now, and tell the user that it is done, or why it is refused."""
    try:
        verb(at=timezone.now(), **arguments)
    except Refusal as refusal:
        refuse(request, refusal)
        return False
    messages.success(request, done)
    return True


def attempt_with_reason(
    request: HttpRequest, verb: Callable[..., Any], *, done: str, **arguments: Any
) -> bool:
    """Do as `attempt` does, for what the audit trail must explain: nothing without a reason."""
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:300]
    if not reason:
        messages.error(request, "Say why, for whoever reads this later. Nothing was changed.")
        return False
    return attempt(request, verb, done=done, actor=request.user, reason=reason, **arguments)


def refuse(request: HttpRequest, refusal: Refusal) -> None:
    """Tell the user, on the next page, why something was not done."""
    messages.error(request, refusal.detail)


def say(request: HttpRequest, words: str) -> None:
    """Tell the user what was done, on the next page."""
    messages.success(request, words)


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """Return to the page the button was on, when that is one of ours."""
    asked = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(
        asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(asked if asked and ours else otherwise)
