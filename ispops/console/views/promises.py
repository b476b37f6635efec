"""What staff do about an answer: keep a port for it, or promise by hand what it refused."""

from dataclasses import replace
from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from ispops.console import actions, answer_page, override_form, pages
from ispops.console.override_form import OverrideForm
from ispops.console.views import qualify
from ispops.errors import Refusal
from ispops.parties.models import Partner
from qualification import overriding, ports, queries
from qualification.models import ServiceQualification


@require_POST
def hold(request: HttpRequest, ref: str) -> HttpResponse:
    """Keep a port of one of the answer's networks for some days."""
    answer = _answer(ref)
    provider, technology = _network(request.POST.get("network", ""))
    days = request.POST.get("days", "")
    if provider is None or days not in {str(count) for count in answer_page.HOLD_DAYS}:
        messages.error(request, "Choose a network and for how many days. Nothing was kept.")
        return qualify.to_result(ref, request.POST.get("subscriber", ""))
    now = timezone.now()
    actions.attempt(
        request,
        ports.hold_port,
        done="A connection is kept for this answer.",
        qualification=answer,
        provider=provider,
        technology=technology,
        until=now + timedelta(days=int(days)),
        actor=request.user,
    )
    return qualify.to_result(ref, request.POST.get("subscriber", ""))


@require_POST
def release(request: HttpRequest, ref: str) -> HttpResponse:
    """Let others have the port that is kept for the answer."""
    actions.attempt(
        request,
        ports.release_hold,
        done="The connection is free for others.",
        qualification=_answer(ref),
        actor=request.user,
    )
    return qualify.to_result(ref, request.POST.get("subscriber", ""))


@require_POST
def override(request: HttpRequest, ref: str) -> HttpResponse:
    """Promise by hand what was refused, and lead to the answer that says so."""
    answer = _answer(ref)
    refused = [row for row in queries.offers_of(answer) if overriding.can_be_promised(row)]
    rows = override_form.filled(refused, request.POST, request.POST.getlist("offering"))
    form = OverrideForm(rows, reason=override_form.reason_of(request.POST))
    try:
        made = overriding.override_answer(
            qualification=answer,
            promises=override_form.promises(rows),
            actor=request.user,  # type: ignore[arg-type]
            reason=form.reason,
            at=timezone.now(),
        )
    except Refusal as refusal:
        form = replace(form, error=refusal.detail, field=refusal.field or "offering")
        return qualify.show(request, answer, status=422, form=form)
    messages.success(request, "It is promised. This is the new answer, which can be ordered from.")
    return qualify.to_result(made.public_id, request.POST.get("subscriber", ""))


def _answer(ref: str) -> ServiceQualification:
    rows = ServiceQualification.objects.select_related("premises", "overrides")
    return pages.get(rows, ServiceQualification, ref)


def _network(named: str) -> tuple[Partner | None, int]:
    """Read `provider's code:technology`, as the form sends it."""
    code, _, technology = named.replace("\0", "").rpartition(":")
    if not technology.isdecimal() or len(technology) > 4:
        return None, 0
    return Partner.objects.filter(code=code).first(), int(technology)
