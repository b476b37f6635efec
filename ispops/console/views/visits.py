"""The visit of a technician on the page of an order: another time, and none."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from ispops.console import actions, pages
from provisioning import visit_results, visiting, visits
from provisioning.models import Appointment, InstallSlot, OrderTask, ProductOrder
from provisioning.plan import INSTALL_VISIT

MOST_OFFERED = 60


def of(request: HttpRequest, order: ProductOrder) -> dict[str, Any]:
    """Return what the page of an order shows of its visit; empty where nobody comes."""
    if not visiting.is_visited(order):
        return {}
    now = timezone.now()
    visit = visiting.visit_of(order)
    awaits = order.tasks.filter(kind=INSTALL_VISIT, state=OrderTask.State.AWAITING).exists()
    is_over = visit is not None and visit.slot.starts_at <= now
    free = visiting.free_slots(order, at=now, asker=request.user)  # type: ignore[arg-type]
    return {
        "visit": visiting.in_words(visit.slot) if visit else "",
        "visit_is_over": is_over,
        "visit_slots": []
        if is_over
        else [(slot.public_id, visiting.in_words(slot)) for slot in free[:MOST_OFFERED]],
        "is_visited": True,
        "booked": visit,
        "awaits_visit": awaits,
        "visit_in_vain": _in_vain(order) if visit is None else None,
        "failures": Appointment.Failure.choices,
    }


def _in_vain(order: ProductOrder) -> Appointment | None:
    last = visiting.last_visit_of(order)
    return last if last is not None and last.state == Appointment.State.FAILED else None


@require_POST
def book(request: HttpRequest, ref: str) -> HttpResponse:
    """Book a visit for an order, or move it to another time."""
    order = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    actions.attempt(
        request,
        visits.book_visit,
        done="The visit is booked. The subscriber is told.",
        order_id=order.pk,
        # A value that is no slot is refused by the verb, as one of another area is.
        slot_id=InstallSlot.key_of(request.POST.get("slot", "")) or order.pk,
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_order", args=[order.public_id]))


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Let nobody come."""
    order = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    actions.attempt_with_reason(
        request,
        visits.cancel_visit,
        done="Nobody comes. The subscriber is asked to choose another time.",
        order_id=order.pk,
    )
    return redirect("admin:console_order", order.public_id)


@require_POST
def go_without(request: HttpRequest, ref: str) -> HttpResponse:
    """Let an order go on without the visit that it waits for."""
    order = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    actions.attempt_with_reason(
        request,
        visit_results.go_without_visit,
        done="The order goes on without a visit.",
        order_id=order.pk,
    )
    return redirect("admin:console_order", order.public_id)
