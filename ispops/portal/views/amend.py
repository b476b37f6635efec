"""An order that is under way: another day, another plan, other products."""

from dataclasses import replace
from datetime import datetime
from typing import cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ispops.errors import Refusal
from ispops.parties import limits
from ispops.parties.models import Subscriber, User
from ispops.portal import previews
from ispops.portal.access import for_subscriber, own
from ispops.portal.views.errors import too_many_requests
from ispops.portal.views.lines import boost_terms, qualified
from ispops.wanted_form import WantedForm, as_filled_in, keeping_moments
from provisioning import later_orders
from provisioning import queries as orders
from provisioning.models import ProductOrder
from qualification.models import ServiceQualification
from rating import line_choices
from rating.accrual import period_at
from rating.line_choices import Choice, Products

Intent = ProductOrder.Intent


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def amend(request: HttpRequest, subscriber: Subscriber, order_id: str) -> HttpResponse:
    """Show what an order is for, to be changed; a POST asks first what can be had today."""
    order = _order(request, order_id)
    if request.method == "POST":
        if wait := limits.seconds_to_wait(request, limits.QUALIFY):
            return too_many_requests(request, wait=wait)
        return _ask(request, subscriber, order)
    now = timezone.now()
    answer = _answer(request, order, now)
    plans, products = _choices(order, answer, now)
    context = {
        "order": order,
        "line": order.line,
        "answer": answer,
        "plans": plans,
        "products": products,
        "terms": boost_terms(now) if order.intent == Intent.CHANGE else [],
        "form": WantedForm(initial=as_filled_in(later_orders.wanted_by(order))),
        "filled": as_filled_in(later_orders.wanted_by(order)),
        "is_of_products": orders.is_of_products(order),
        "currency": subscriber.currency,
    }
    return render(request, "portal/amend.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscriber
def review(request: HttpRequest, subscriber: Subscriber, order_id: str) -> HttpResponse:
    """Say what the order would become, and make it that when it is confirmed."""
    order = _order(request, order_id)
    now = timezone.now()
    answer = _answer(request, order, now)
    plans, products = _choices(order, answer, now)
    form = WantedForm(
        request.GET,
        plans=[plan.code for plan in plans],
        add=products.codes_to_add if products else (),
        remove=products.codes_to_remove if products else (),
    )
    kept = {"answer": answer.public_id} if answer and request.GET.get("answer") else {}
    back = f"{reverse('portal:amend_order', args=[order_id])}?{urlencode(kept)}".rstrip("?")
    if not form.is_valid():
        return previews.send_back(request, form, back)
    filled = form.wanted(now=now, next_period=period_at(subscriber, now).end)
    wanted = keeping_moments(filled, later_orders.wanted_by(order))
    user = cast(User, request.user)

    def act(_key: str, slot: UUID | None) -> ProductOrder:
        return later_orders.amend(
            order=order,
            qualification=answer,
            wanted=replace(wanted, slot_id=slot),
            actor=user,
            reason="Changed by the subscriber.",
            at=now,
        )

    return previews.confirm(
        request, user, act,
        subscriber=subscriber, back=back, at=now, before=order, line=order.line,
    )  # fmt: skip


def _ask(request: HttpRequest, subscriber: Subscriber, order: ProductOrder) -> HttpResponse:
    """Ask what the place of an order can have today, because its own answer is too old."""
    address = reverse("portal:amend_order", args=[order.public_id])
    try:
        premises = order.premises.public_id if order.premises else ""
        answer = qualified(request, subscriber, {"premises_id": premises})
    except Refusal as refused:
        messages.error(request, refused.detail)
        return redirect(address)
    return redirect(f"{address}?{urlencode({'answer': answer.public_id})}")


def _answer(
    request: HttpRequest, order: ProductOrder, now: datetime
) -> ServiceQualification | None:
    """Return what the order may be for: by the answer that was asked for last, or its own."""
    if not orders.is_of_products(order):
        return None
    if ref := request.GET.get("answer", ""):
        return own(ServiceQualification.objects.filter(premises=order.premises), ref)
    return line_choices.standing_answer(order, now)


def _choices(
    order: ProductOrder, answer: ServiceQualification | None, now: datetime
) -> tuple[list[Choice], Products | None]:
    return line_choices.of_order(order, answer, now) if answer else ([], None)


def _order(request: HttpRequest, order_id: str) -> ProductOrder:
    """Return an order of the login's own that has not taken effect; 404 for any other."""
    rows = orders.orders_of_user(cast(User, request.user)).select_related(
        "subscriber", "qualification__premises", "line__premises", "line__subscriber",
        "line__offering__provider", "line__bundle",
    )  # fmt: skip
    order = own(rows, order_id)
    if not orders.may_be_amended(order):
        raise Http404
    return order
