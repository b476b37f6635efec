"""Wording what is written to subscribers: the list of notices, and the page of each."""

import secrets

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, notice_page, pages
from ispops.errors import InvalidInput, Refusal
from ispops.notices import catalogue, editing, notify, queries, sms
from ispops.notices.catalogue import EMAIL, SMS, Kind, Wording
from ispops.notices.models import Channel

SEE = "notices.view_noticetemplate"
EDIT = "notices.change_noticetemplate"
_NO_REFUSAL = InvalidInput("")


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List every kind of notice: when it is sent, by what, and in whose words."""
    return pages.show(request, "console/notices.html", "Notice texts", rows=notice_page.overview())


@require_safe
def page(request: HttpRequest, code: str) -> HttpResponse:
    """Show one notice by one channel, with how it reads."""
    known = catalogue.find(code)
    first = known.channels[0] if known else EMAIL
    kind, channel = _asked(code, request.GET.get("channel", first))
    return _show(request, kind, channel)


@require_POST
def save(request: HttpRequest, code: str) -> HttpResponse:
    """Let new words hold."""
    kind, channel = _asked(code, request.POST.get("channel", ""))
    words = _words(request)
    try:
        editing.reword(
            kind=kind,
            channel=channel,
            words=words,
            based_on=_based_on(request),
            actor=request.user,  # type: ignore[arg-type]
            at=timezone.now(),
        )
    except Refusal as refused:
        return _show(request, kind, channel, words=words, refusal=refused)
    messages.success(request, "Saved. What is written from now on has these words.")
    return _to(kind, channel)


@require_POST
def preview(request: HttpRequest, code: str) -> HttpResponse:
    """Show how words read that are not saved: beside the form, or as the whole page again."""
    kind, channel = _asked(code, request.POST.get("channel", ""))
    words = _words(request)
    if request.headers.get("HX-Request") == "true":
        shown = notice_page.preview(kind, channel, words)
        return render(
            request, "console/_notice_preview.html", {"preview": shown, "channel": channel}
        )
    return _show(request, kind, channel, words=words)


@require_POST
def test(request: HttpRequest, code: str) -> HttpResponse:
    """Send the words as they stand in the form to whoever edits them."""
    kind, channel = _asked(code, request.POST.get("channel", ""))
    words = _words(request)
    try:
        address = _own_address(request, channel)
        sent = notify.send_test(
            kind=kind,
            channel=channel,
            words=words,
            address=address,
            actor=request.user,  # type: ignore[arg-type]
            cause=request.POST.get("key", "")[:60] or secrets.token_urlsafe(12),
            at=timezone.now(),
        )
    except Refusal as refused:
        return _show(request, kind, channel, words=words, refusal=refused)
    if sent is not None:
        messages.success(request, f"A test is on its way to {address}, with the examples in it.")
    return _show(request, kind, channel, words=words)


@require_POST
def reset(request: HttpRequest, code: str) -> HttpResponse:
    """Let the words of the product hold again."""
    kind, channel = _asked(code, request.POST.get("channel", ""))
    actions.attempt(
        request,
        editing.reset,
        done="The text is the one of the product again. Yours stays in the history.",
        kind=kind,
        channel=channel,
        based_on=_based_on(request),
        actor=request.user,
    )
    return _to(kind, channel)


def _show(
    request: HttpRequest,
    kind: Kind,
    channel: str,
    *,
    words: Wording | None = None,
    refusal: Refusal = _NO_REFUSAL,
) -> HttpResponse:
    versions = list(queries.versions(kind.code, channel))
    latest = versions[0] if versions else None
    words = words or notice_page.in_force(kind, channel, latest)
    return pages.show(
        request,
        "console/notice.html",
        kind.title,
        status=422 if refusal.detail else 200,
        kind=kind,
        channel=channel,
        channels=[Channel(one) for one in kind.channels],
        words=words,
        preview=notice_page.preview(kind, channel, words),
        history=notice_page.history(kind, channel, versions),
        latest=latest,
        based_on=_based_on(request) if refusal.detail else (latest.version if latest else 0),
        refusal=refusal,
        may_edit=request.user.has_perm(EDIT),
        key=secrets.token_urlsafe(12),
        number=request.POST.get("number", ""),
    )


def _asked(code: str, channel: str) -> tuple[Kind, str]:
    kind = catalogue.find(code)
    if kind is None or channel not in kind.channels:
        raise Http404("There is no such notice.")
    return kind, channel


def _words(request: HttpRequest) -> Wording:
    return Wording(request.POST.get("subject", ""), request.POST.get("body", ""))


def _based_on(request: HttpRequest) -> int:
    given = request.POST.get("based_on", "")
    return int(given) if given.isdecimal() and len(given) < 9 else 0


def _own_address(request: HttpRequest, channel: str) -> str:
    if channel == SMS:
        return sms.e164(
            request.POST.get("number", "")[:40], region=settings.PHONE_REGION, field="number"
        )
    return str(request.user.email)  # type: ignore[union-attr]


def _to(kind: Kind, channel: str) -> HttpResponse:
    return redirect(f"{reverse('admin:console_notice', args=[kind.code])}?channel={channel}")
