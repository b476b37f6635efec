"""Figure 7 for the subscriber: another plan, another address, a pause, the end."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.errors import Refusal
from ispops.parties import limits
from ispops.parties.models import Subscriber, User
from ispops.portal import previews, queries
from ispops.portal.access import for_subscriber, own
from ispops.portal.forms import AddressForm
from ispops.portal.line_forms import EndForm, PauseForm
from ispops.portal.views.errors import too_many_requests
from ispops.wanted_form import WantedForm, begin_of, end_of
from provisioning import later_orders, suspending
from provisioning.models import ProductOrder, Service
from provisioning.queries import lines_of
from qualification import qualify
from qualification.models import ServiceQualification
from qualification.queries import asker_of
from rating import line_choices

# Beside *until I remove it*: in words, and how many days after today is the last one.
BOOST_TERMS = (("Today only", 0), ("A week", 6), ("30 days", 29))


@require_POST
@for_subscriber
def check_plans(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Ask what the line's own address can have today, and show it as a choice."""
    line = _line(subscriber, line_id)
    if wait := limits.seconds_to_wait(request, limits.QUALIFY):
        return too_many_requests(request, wait=wait)
    answer = qualified(request, subscriber, {"premises_id": line.premises.public_id})
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
            answer = qualified(request, subscriber, form.place)
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
    found = line_choices.choices(line, qualification, now)
    context = {
        "line": line,
        "qualification": qualification,
        "choices": found,
        "form": WantedForm(),
        "is_move": qualification.premises_id != line.premises_id,
        "next_period": line_choices.next_period_starts_at(line, now),
        "currency": subscriber.currency,
        "waits": qualification.state == ServiceQualification.State.PENDING,
    }
    return render(request, "portal/choose_plan.html", context)


@require_POST
@for_subscriber
def check_extras(request: HttpRequest, subscriber: Subscriber, line_id: str) -> HttpResponse:
    """Ask what the line can carry today, and show it beside what it carries."""
    line = _line(subscriber, line_id)
    if wait := limits.seconds_to_wait(request, limits.QUALIFY):
        return too_many_requests(request, wait=wait)
    answer = qualified(request, subscriber, {"premises_id": line.premises.public_id})
    return redirect("portal:choose_extras", line.public_id, answer.public_id)


@require_safe
@for_subscriber
def choose_extras(
    request: HttpRequest, subscriber: Subscriber, line_id: str, qualification_id: str
) -> HttpResponse:
    """Show what can come to the line by itself, and what of it can go."""
    line = _line(subscriber, line_id)
    qualification = queries.qualification(qualification_id)
    if qualification.premises_id != line.premises_id:
        raise Http404
    now = timezone.now()
    products = line_choices.products(line, qualification, subscriber.kind, keeps_plan=True)
    context = {
        "line": line,
        "qualification": qualification,
        "products": products,
        "terms": boost_terms(now),
        "next_period": line_choices.next_period_starts_at(line, now),
        "currency": subscriber.currency,
    }
    return render(request, "portal/choose_extras.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def review_change(
    request: HttpRequest, subscriber: Subscriber, line_id: str, qualification_id: str
) -> HttpResponse:
    """Say what the choice means, and place the order; sent twice it is placed once."""
    line = _line(subscriber, line_id)
    qualification = queries.qualification(qualification_id)
    now = timezone.now()
    found = line_choices.choices(line, qualification, now)
    products = line_choices.products(line, qualification, subscriber.kind)
    form = WantedForm(
        request.GET,
        plans=[choice.code for choice in found],
        add=products.codes_to_add,
        remove=products.codes_to_remove,
    )
    name = "choose_plan" if request.GET.get("plan") else "choose_extras"
    back = reverse(f"portal:{name}", args=[line_id, qualification_id])
    if not form.is_valid():
        return previews.send_back(request, form, back)
    wanted = form.wanted(now=now, next_period=line_choices.next_period_starts_at(line, now))

    def place(key: str, slot: UUID | None) -> ProductOrder:
        return later_orders.place(
            qualification=qualification,
            wanted=replace(wanted, slot_id=slot),
            reason="",
            **_common(request, line, key, now),
        )

    return previews.confirm(
        request, cast(User, request.user), place,
        subscriber=subscriber, back=back, at=now, line=line, qualification=qualification,
    )  # fmt: skip


def boost_terms(now: datetime) -> list[tuple[str, date | None]]:
    """Return for how long a speed boost is offered: in words, and its last day."""
    today = now.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()
    return [
        ("Until I remove it", None),
        *((words, today + timedelta(days=days)) for words, days in BOOST_TERMS),
    ]


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
        moment = end_of(day) if is_last else begin_of(day, now)
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
        "period_ends": line_choices.next_period_starts_at(line, now),
    }
    return render(request, template, context, status=409 if form.errors else 200)


def _line(subscriber: Subscriber, line_id: str) -> Service:
    """Return a line of the account that is live; 404 for any other."""
    line = own(lines_of(subscriber).select_related("subscriber"), line_id)
    if line.state not in {Service.State.ACTIVE, Service.State.SUSPENDED}:
        raise Http404
    return line


def qualified(
    request: HttpRequest, subscriber: Subscriber, place: dict[str, Any]
) -> ServiceQualification:
    """Ask what a place can have today, for the subscriber."""
    return qualify.qualify_address(
        **place,
        channel=ServiceQualification.Channel.PORTAL,
        asker=asker_of(request.user),
        subscriber_kind=subscriber.kind,
        at=timezone.now(),
    )
