"""An order that is under way, on its subscriber's behalf: another day, plan or products."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from ispops.console import pages, previews
from ispops.console.views.line_orders import qualified
from ispops.errors import Refusal
from ispops.wanted_form import WantedForm, as_filled_in, keeping_moments
from provisioning import later_orders, queries
from provisioning.models import ProductOrder
from qualification.models import ServiceQualification
from rating import line_choices
from rating.accrual import period_at
from rating.line_choices import Choice, Products


@require_http_methods(["GET", "HEAD", "POST"])
def choose(request: HttpRequest, ref: str) -> HttpResponse:
    """Show what an open order is for, to be changed; a POST asks first what can be had today."""
    order = _order(ref)
    if request.method == "POST":
        return _ask(request, order)
    now = timezone.now()
    answer = _answer(request, order, now)
    plans, products = _choices(order, answer, now)
    filled = as_filled_in(later_orders.wanted_by(order))
    return pages.show(
        request,
        "console/line_order/amend.html",
        "Amend an order",
        order=order,
        line=order.line,
        answer=answer,
        plans=plans,
        products=products,
        filled=filled,
        # Of a line that is to be made a boost has no end of its own.
        is_move=order.intent != ProductOrder.Intent.CHANGE,
        is_of_products=queries.is_of_products(order),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def preview(request: HttpRequest, ref: str) -> HttpResponse:
    """Say what the order would become, and make it that when it is confirmed."""
    order = _order(ref)
    now = timezone.now()
    answer = _answer(request, order, now)
    plans, products = _choices(order, answer, now)
    form = WantedForm(
        request.GET,
        plans=[plan.code for plan in plans],
        add=products.codes_to_add if products else (),
        remove=products.codes_to_remove if products else (),
    )
    back = f"{reverse('admin:console_amend_order', args=[ref])}?{_kept(request)}"
    if not form.is_valid():
        return previews.send_back(request, form, back)
    before = later_orders.wanted_by(order)
    filled = form.wanted(now=now, next_period=period_at(order.subscriber, now).end)
    wanted = keeping_moments(filled, before)

    def amend(reason: str, _key: str, slot: UUID | None) -> ProductOrder:
        return later_orders.amend(
            order=order,
            qualification=answer,
            wanted=replace(wanted, slot_id=slot),
            actor=request.user,  # type: ignore[arg-type]
            reason=reason,
            at=now,
        )

    return previews.confirm(
        request, amend, subscriber=order.subscriber, back=back, at=now, before=order,
        line=order.line, answer=answer,
    )  # fmt: skip


def _ask(request: HttpRequest, order: ProductOrder) -> HttpResponse:
    """Ask what the place of an order can have today, because its own answer is too old."""
    address = reverse("admin:console_amend_order", args=[order.public_id])
    try:
        answer = qualified(
            request,
            order.subscriber.kind,
            premises_id=order.premises.public_id if order.premises else "",
        )
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return redirect(address)
    return redirect(f"{address}?{urlencode({'answer': answer.public_id})}")


def _kept(request: HttpRequest) -> str:
    answer = request.GET.get("answer", "")
    return urlencode({"answer": answer}) if answer else ""


def _answer(
    request: HttpRequest, order: ProductOrder, now: datetime
) -> ServiceQualification | None:
    """Return what the order may be for: by the answer that was asked for last, or its own."""
    if not queries.is_of_products(order):
        return None
    if ref := request.GET.get("answer", ""):
        rows = ServiceQualification.objects.filter(premises=order.premises)
        return pages.get(rows, ServiceQualification, ref)
    return line_choices.standing_answer(order, now)


def _choices(
    order: ProductOrder, answer: ServiceQualification | None, now: datetime
) -> tuple[list[Choice], Products | None]:
    return line_choices.of_order(order, answer, now) if answer else ([], None)


def _order(ref: str) -> ProductOrder:
    rows: Any = ProductOrder.objects.select_related(
        "subscriber", "qualification__premises", "line__premises", "line__subscriber",
        "line__offering__provider", "line__bundle",
    )  # fmt: skip
    return pages.get(rows, ProductOrder, ref)
