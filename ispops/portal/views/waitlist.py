"""Leaving the waitlist, by the link in a letter."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from ispops.errors import NotFound
from qualification import waitlist


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, which mail scanners send too; take the reader off the list on POST.

    A mail program posts here without a cookie or a page of ours (RFC 8058), so the signature in
    the address is the right to do it.
    """
    try:
        entry = waitlist.entry_of_token(token)
    except NotFound as nobody:
        raise Http404 from nobody
    has_left = request.method == "POST"
    if has_left:
        waitlist.leave_waitlist(email=entry.email, at=timezone.now())
    return render(request, "portal/leave_waitlist.html", {"entry": entry, "has_left": has_left})
