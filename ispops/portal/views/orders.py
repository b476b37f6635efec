"""Figure 4, after the order: watch it being done."""

import hashlib
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from ispops.catalog.models import ProductOffering
from ispops.errors import Refusal
from ispops.portal.access import own
from ispops.portal.wording import look
from provisioning.models import Appointment, OrderTask, ProductOrder, ProductOrderItem
from provisioning.orders import cancel_order, is_ours
from provisioning.plan import BOOK_VISIT, INSTALL_VISIT, NO_RETURN
from provisioning.queries import (
    StepProgress,
    may_be_amended,
    order_progress,
    orders_of_user,
)
from provisioning.transitions import CLOSED_ORDER
from provisioning.visiting import in_words, last_visit_of, may_be_moved, visit_of

Intent = ProductOrder.Intent

# The heading of an order while it is open, and when it is done.
_TITLES = {
    Intent.NEW: ("We are setting up your line", "Your line is on"),
    Intent.CHANGE: ("We are changing your line", "Your line has changed"),
    Intent.SUSPEND: ("We are pausing your line", "Your line is paused"),
    Intent.RESUME: ("We are switching your line on again", "Your line is resumed"),
    Intent.MOVE: ("We are moving your line", "Your line has moved"),
    Intent.PROVIDER_CHANGE: ("We are changing your network", "Your line is on the new network"),
    Intent.CEASE: ("We are ending your line", "Your line has ended"),
}
_CHOOSE = "We need you: choose when our technician can come."
_IN_VAIN = {
    Appointment.Failure.NOBODY_HOME: "and nobody was at home",
    Appointment.Failure.NOT_POSSIBLE: "and the work was not possible",
}
_COMES = {Intent.NEW, Intent.CHANGE, Intent.RESUME, Intent.MOVE, Intent.PROVIDER_CHANGE}
_BECOMES = {"add": "", "modify": "goes on", "no_change": "goes on", "delete": "ends"}
_AT_WORK = {OrderTask.State.READY, OrderTask.State.AWAITING, OrderTask.State.FALLOUT}


@require_safe
@login_required
def order(request: HttpRequest, order_id: str) -> HttpResponse:
    """Show an order with its steps; the steps keep themselves up to date while it is open."""
    return render(request, "portal/order.html", _progress(request, order_id))


@require_POST
@login_required
def cancel(request: HttpRequest, order_id: str) -> HttpResponse:
    """Take an order back that has not taken effect; a cancelled one stays as it is."""
    order = own(orders_of_user(request.user), order_id)  # type: ignore[arg-type]
    try:
        cancel_order(
            order_id=order.pk,
            actor=request.user,  # type: ignore[arg-type]
            reason="Cancelled by the subscriber.",
            at=timezone.now(),
        )
    except Refusal as refused:
        messages.error(request, refused.detail)
    return redirect("portal:order", order.public_id)


@require_safe
@never_cache
@login_required
def progress(request: HttpRequest, order_id: str) -> HttpResponse:
    """Give the steps again, or nothing when they are as the page shows them already."""
    context = _progress(request, order_id)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "portal/parts/progress.html", context)


def _seen_as(order: ProductOrder, step: StepProgress) -> str:
    """The state of a step as the subscriber sees it: until the order's day nobody works on it."""
    waits = order.state == ProductOrder.State.PENDING and step.state == OrderTask.State.READY
    return OrderTask.State.PENDING if waits else step.state


def _progress(request: HttpRequest, order_id: str) -> dict[str, Any]:
    order = own(orders_of_user(request.user), order_id)  # type: ignore[arg-type]
    steps = order_progress(order)
    items = list(order.items.all())
    visit = visit_of(order) if any(step.kind == BOOK_VISIT for step in steps) else None
    waits = any(
        step.kind == INSTALL_VISIT and step.state == OrderTask.State.AWAITING for step in steps
    )
    must_choose = waits and visit is None
    shown = [(step, look("OrderTask", _seen_as(order, step))) for step in steps]
    return {
        "order": order,
        "items": items,
        "plan": next((item.bundle or item.offering for item in items), None),
        "was": _was(items),
        "title": _title(order),
        "extras": [(item, _BECOMES[item.action]) for item in items[1:]],
        "steps": shown,
        "done": sum(step.is_finished for step in steps),
        "now": _CHOOSE if must_choose else _with_visit(_now(order, steps), visit, waits=waits),
        "must_choose": must_choose,
        "in_vain": _in_vain(order) if must_choose else "",
        "open": order.state not in CLOSED_ORDER,
        "may_cancel": _may_cancel(order, steps),
        "may_amend": may_be_amended(order) and not is_ours(order),
        "visit": in_words(visit.slot) if visit else "",
        "may_move_visit": visit is not None and may_be_moved(visit, at=timezone.now()),
        "seen": _fingerprint(order, steps, visit),
        "as_fragment": request.headers.get("HX-Request") == "true",
    }


def _may_cancel(order: ProductOrder, steps: list[StepProgress]) -> bool:
    """Say whether its subscriber can take an order back; the verb decides."""
    final = any(step.kind in NO_RETURN and step.is_finished for step in steps)
    return order.state not in CLOSED_ORDER and not final and not is_ours(order)


def _was(items: list[ProductOrderItem]) -> ProductOffering | None:
    """Return the plan that a line had before an order that gives it another."""
    first = items[0] if items else None
    if first is None or first.old_offering_id == first.offering_id:
        return None
    return first.old_offering


def _title(order: ProductOrder) -> str:
    """Say what the order is about and how it stands, as a heading."""
    match order.state:
        case ProductOrder.State.CANCELLED:
            return "Order cancelled"
        case ProductOrder.State.FAILED:
            return "We could not deliver this"
    open_words, done_words = _TITLES[ProductOrder.Intent(order.intent)]
    return open_words if order.state not in CLOSED_ORDER else done_words


def _now(order: ProductOrder, steps: list[StepProgress]) -> str:
    """Say in one sentence what is happening, for the top of the page and for screen readers."""
    match order.state:
        case ProductOrder.State.COMPLETED if order.intent in _COMES:
            return "Everything is set up. You can use it now."
        case ProductOrder.State.COMPLETED:
            return "Everything is done."
        case ProductOrder.State.PARTIAL:
            return "It is done, but for what could not be delivered. Nothing is charged for that."
        case ProductOrder.State.CANCELLED:
            return "This order was cancelled. Nothing is charged for it."
        case ProductOrder.State.FAILED:
            return "We could not deliver this order. Nothing is charged for it."
    if order.state == ProductOrder.State.PENDING:
        return "We have your order, and begin when its day comes."
    at_work = [step for step in steps if step.state in _AT_WORK]
    if not at_work:
        return "We have your order and are about to start."
    first = at_work[0]
    # A partner's own words end as they like: "Paused by Tidewater: “The door is shut.”"
    stop = "" if first.status.rstrip("”").endswith((".", "!", "?")) else "."
    return f"Now: {first.words[0].lower()}{first.words[1:]}. {first.status}{stop}"


def _with_visit(now: str, visit: Appointment | None, *, waits: bool) -> str:
    """Add when the technician comes, while that is to come; it is all where the order waits."""
    if visit is None or visit.slot.ends_at <= timezone.now():
        return now
    if waits:
        return f"Our technician comes on {in_words(visit.slot)}. Then we switch your line on."
    return f"{now} Our technician comes on {in_words(visit.slot)}."


def _in_vain(order: ProductOrder) -> str:
    """Say that the technician came before, and why it was in vain."""
    last = last_visit_of(order)
    if last is None or last.state != Appointment.State.FAILED:
        return ""
    why = _IN_VAIN[Appointment.Failure(last.failure)]
    return f"Our technician came on {in_words(last.slot)}, {why}."


def _fingerprint(order: ProductOrder, steps: list[StepProgress], visit: Appointment | None) -> str:
    """Name what a page shows of an order, so that an unchanged one is not drawn again."""
    shown = [order.state, str(order.expected_at), visit.public_id if visit else ""]
    shown += [f"{s.words}{s.state}{s.status}" for s in steps]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:16]
