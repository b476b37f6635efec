"""Figure 7 for a CSR, looked at before it is ordered: plans, products, a move, another network."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ispops.console import asking, pages, previews
from ispops.errors import Refusal
from ispops.wanted_form import WantedForm
from provisioning import later_orders
from provisioning.models import ProductOrder, Service
from provisioning.queries import open_change_of
from qualification import qualify
from qualification.models import ServiceQualification
from qualification.queries import asker_of
from rating import line_choices
from rating.line_choices import Choice, Products

LIVE = (Service.State.ACTIVE, Service.State.SUSPENDED)


@require_POST
def check(request: HttpRequest, ref: str) -> HttpResponse:
    """Ask what the line's own address can have today, and lead to the choice."""
    line = _line(ref)
    answer = qualified(request, line.subscriber.kind, premises_id=line.premises.public_id)
    return redirect("admin:console_choose_for_line", line.public_id, answer.public_id)


@require_http_methods(["GET", "HEAD", "POST"])
def move(request: HttpRequest, ref: str) -> HttpResponse:
    """Take the new address of a line, named in any way, and lead to what it can have."""
    line = _line(ref)
    refused, candidates = "", []
    if request.method == "POST":
        try:
            place = asking.place_asked(request.POST)
            answer = qualified(request, line.subscriber.kind, **place)
        except Refusal as refusal:
            refused = refusal.detail
        else:
            candidates = answer.candidates
            if answer.premises is not None:
                return redirect("admin:console_choose_for_line", ref, answer.public_id)
            if not candidates:
                refused = "No network reaches this address. Check how it is written."
    return pages.show(
        request,
        "console/line_order/move.html",
        "Move a line",
        status=422 if refused else 200,
        line=line,
        given=request.POST.get("address", ""),
        refused=refused,
        candidates=candidates,
    )


@require_safe
def choose(request: HttpRequest, ref: str, answer_ref: str) -> HttpResponse:
    """Show the plans and products that the line can have, and what it has."""
    line, answer = _line(ref), _answer(answer_ref)
    now = timezone.now()
    plans, products = _choices(line, answer, now)
    return pages.show(
        request,
        "console/line_order/choose.html",
        _title(line, answer),
        line=line,
        answer=answer,
        plans=plans,
        products=products,
        is_move=answer.premises_id != line.premises_id,
        waits=answer.state == ServiceQualification.State.PENDING,
        next_period=line_choices.next_period_starts_at(line, now),
        open_order=open_change_of(line),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def preview(request: HttpRequest, ref: str, answer_ref: str) -> HttpResponse:
    """Say what would happen, from when and at what cost; place it when that is confirmed."""
    line, answer = _line(ref), _answer(answer_ref)
    now = timezone.now()
    back = reverse("admin:console_choose_for_line", args=[ref, answer_ref])
    form = _form(request.GET, *_choices(line, answer, now))
    if not form.is_valid():
        return previews.send_back(request, form, back)
    wanted = form.wanted(now=now, next_period=line_choices.next_period_starts_at(line, now))

    def place(reason: str, key: str, slot: UUID | None) -> ProductOrder:
        return later_orders.place(
            line=line,
            qualification=answer,
            wanted=replace(wanted, slot_id=slot),
            reason=reason,
            channel=ProductOrder.Channel.CSR,
            placed_by=request.user,  # type: ignore[arg-type]
            idempotency_key=key,
            at=now,
        )

    return previews.confirm(
        request, place, subscriber=line.subscriber, back=back, at=now, line=line, answer=answer
    )


def _title(line: Service, answer: ServiceQualification) -> str:
    return "Move a line" if answer.premises_id != line.premises_id else "Change a line"


def _choices(
    line: Service, answer: ServiceQualification, now: datetime
) -> tuple[list[Choice], Products]:
    return (
        line_choices.choices(line, answer, now),
        line_choices.products(line, answer, line.subscriber.kind),
    )


def _form(data: Any, plans: list[Choice], products: Products) -> WantedForm:
    return WantedForm(
        data,
        plans=[plan.code for plan in plans],
        add=products.codes_to_add,
        remove=products.codes_to_remove,
    )


def _line(ref: str) -> Service:
    """Return a line that can be changed; 404 for another."""
    rows = Service.objects.filter(line__isnull=True, state__in=LIVE).select_related(
        "premises", "subscriber", "offering__provider", "bundle"
    )
    return pages.get(rows, Service, ref)


def _answer(ref: str) -> ServiceQualification:
    rows = ServiceQualification.objects.filter(premises__isnull=False).select_related("premises")
    return pages.get(rows, ServiceQualification, ref)


def qualified(request: HttpRequest, kind: str, **place: Any) -> ServiceQualification:
    """Ask what a place can have today, for an account of this kind."""
    return qualify.qualify_address(
        **place,
        channel=ServiceQualification.Channel.CSR,
        asker=asker_of(request.user),
        subscriber_kind=kind,
        at=timezone.now(),
    )
