"""Figure 7 for the subscriber: another plan, another address, a pause, the end."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.errors import Refusal
from ispops.parties import limits
from ispops.parties.models import Subscriber, User
from ispops.portal import line_changes, queries
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import AddressForm, KeyForm
from ispops.portal.line_forms import NEXT, EndForm, PauseForm, PlanForm, begin_of
from ispops.portal.views.errors import too_many_requests
from provisioning import changing, moving, suspending
from provisioning.models import ProductOrder, Service
from provisioning.queries import lines_of
from qualification import qualify
from qualification.models import ServiceQualification
from qualification.queries import asker_of

Intent = ProductOrder.Intent


@require_POST
@for_subscriber
def check_plans(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Ask what the line's own address can have today, and show it as a choice."""
    line = _line(subscriber, line_id)
    if wait := limits.seconds_to_wait(request, limits.QUALIFY):
        return too_many_requests(request, wait=wait)
    answer = _qualify(request, subscriber, {"premises_id": line.premises.public_id})
    return redirect("portal:choose_plan", line.public_id, answer.public_id)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def move(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Ask for the new address of a line; go on with what can be had there."""
    line = _line(subscriber, line_id)
    form = AddressForm(request.POST if request.method == "POST" else None)
    candidates: list[dict[str, str]] = []
    if form.is_valid():
        if wait := limits.seconds_to_wait(request, limits.QUALIFY):
            return too_many_requests(request, wait=wait)
        try:
            answer = _qualify(request, subscriber, form.place)
        except Refusal as refused:
            form.refuse(refused)
        else:
            candidates = answer.candidates
            if answer.premises is not None:
                return redirect("portal:choose_plan", line.public_id, answer.public_id)
            if not candidates:
                form.add_error("address", "We do not reach this address. Check how it is written.")
    context = {"line": line, "form": form, "candidates": candidates}
    return render(request, "portal/move.html", context, status=422 if form.errors else 200)


@require_safe
@for_subscriber
def choose_plan(
    request: HttpRequest, subscriber: Subscriber, line_id: str, qualification_id: str
) -> HttpResponse:
    """Show the plans that the line can have beside each other, and what each costs."""
    line = _line(subscriber, line_id)
    qualification = queries.qualification(qualification_id)
    now = timezone.now()
    found = line_changes.choices(line, qualification, now)
    form = PlanForm(initial={"when": "now"}, codes=[(one.code, one.code) for one in found])
    context = {
        "line": line,
        "qualification": qualification,
        "choices": found,
        "form": form,
        "is_move": qualification.premises_id != line.premises_id,
        "next_period": line_changes.next_period_starts_at(line, now),
        "currency": subscriber.currency,
        "waits": qualification.state == ServiceQualification.State.PENDING,
    }
    return render(request, "portal/choose_plan.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def review_change(
    request: HttpRequest, subscriber: Subscriber, line_id: str, qualification_id: str
) -> HttpResponse:
    """Say what the choice means, and place the order; sent twice it is placed once."""
    line = _line(subscriber, line_id)
    qualification = queries.qualification(qualification_id)
    now = timezone.now()
    found = line_changes.choices(line, qualification, now)
    asked = PlanForm(request.GET, codes=[(one.code, one.code) for one in found])
    if not asked.is_valid():
        return redirect("portal:choose_plan", line.public_id, qualification.public_id)
    choice = next(one for one in found if one.code == asked.cleaned_data["plan"])
    days = _days(line, choice, asked.cleaned_data, now)
    form = KeyForm(request.POST or None, initial={"idempotency_key": secrets.token_urlsafe(24)})
    meaning, refused = None, ""
    try:
        meaning = line_changes.meaning(line, choice, now)
        if form.is_valid():
            key = form.cleaned_data["idempotency_key"]
            order = _place(request, line, qualification, choice, days, key, now)
            return redirect("portal:order", order.public_id)
    except Refusal as refusal:
        refused = refusal.detail
    context = {
        "line": line,
        "qualification": qualification,
        "choice": choice,
        "meaning": meaning,
        "form": form,
        "refused": refused,
        "monthly_now": line_changes.monthly_now(line, now),
        "currency": subscriber.currency,
        **days,
    }
    return render(request, "portal/review_change.html", context, status=409 if refused else 200)


def _days(
    line: Service, choice: line_changes.Choice, asked: dict[str, Any], now: datetime
) -> dict[str, datetime | None]:
    """Return the moments that were asked for; the old line's day is its last one."""
    if choice.intent == Intent.CHANGE:
        is_next = asked["when"] == NEXT
        return {"wanted_from": line_changes.next_period_starts_at(line, now) if is_next else None}
    old_day = asked["old_day"]
    return {
        "wanted_from": begin_of(asked["new_day"], now),
        "old_line_until": begin_of(old_day + timedelta(days=1), now) if old_day else None,
    }


def _place(
    request: HttpRequest,
    line: Service,
    qualification: ServiceQualification,
    choice: line_changes.Choice,
    days: dict[str, Any],
    key: str,
    now: datetime,
) -> ProductOrder:
    verbs: dict[str, Callable[..., ProductOrder]] = {
        Intent.CHANGE: changing.change_line,
        Intent.PROVIDER_CHANGE: moving.change_provider,
        Intent.MOVE: moving.move_line,
    }
    common = _common(request, line, key, now)
    return verbs[choice.intent](
        qualification=qualification, plan_code=choice.code, **common, **days
    )


def _common(request: HttpRequest, line: Service, key: str, now: datetime) -> dict[str, Any]:
    return {
        "line": line,
        "channel": ProductOrder.Channel.PORTAL,
        "placed_by": cast(User, request.user),
        "idempotency_key": key,
        "at": now,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def pause(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Say what a pause means, and order it."""
    return _confirm(
        request, _line(subscriber, line_id), PauseForm, "portal/pause.html",
        lambda **common: suspending.suspend_line(reason="requested", **common),
    )  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def end(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Say what ends with the line and what follows, and order it."""
    return _confirm(
        request, _line(subscriber, line_id), EndForm, "portal/end_line.html", suspending.cease_line
    )


def _confirm(
    request: HttpRequest,
    line: Service,
    form_class: type[PauseForm | EndForm],
    template: str,
    verb: Callable[..., ProductOrder],
) -> HttpResponse:
    now = timezone.now()
    form = form_class(request.POST or None, initial={"idempotency_key": secrets.token_urlsafe(24)})
    if form.is_valid():
        day = form.cleaned_data["wanted_from"]
        # A last day is had whole; a pause begins with its day.
        is_last = isinstance(form, EndForm)
        moment = begin_of(day + timedelta(days=1) if day and is_last else day, now)
        common = _common(request, line, form.cleaned_data["idempotency_key"], now)
        try:
            order = verb(**common, wanted_from=moment)
        except Refusal as refused:
            form.refuse(refused)
        else:
            return redirect("portal:order", order.public_id)
    context = {
        "line": line,
        "form": form,
        "carried": [one for one in line.carried.all() if one.state != Service.State.CEASED],
        "period_ends": line_changes.next_period_starts_at(line, now),
    }
    return render(request, template, context, status=409 if form.errors else 200)


def _line(subscriber: Subscriber, line_id: str) -> Service:
    """Return a line of the account that is live; 404 for any other."""
    line = own(lines_of(subscriber).select_related("subscriber"), line_id)
    if line.state not in {Service.State.ACTIVE, Service.State.SUSPENDED}:
        raise Http404
    return line


def _qualify(
    request: HttpRequest, subscriber: Subscriber, place: dict[str, Any]
) -> ServiceQualification:
    return qualify.qualify_address(
        **place,
        channel=ServiceQualification.Channel.PORTAL,
        asker=asker_of(request.user),
        subscriber_kind=subscriber.kind,
        at=timezone.now(),
    )
