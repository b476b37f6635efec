"""The queues of orders and of work that needs a person, and the page of one order."""

import uuid
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, order_page, pages, queues, timeline
from provisioning import fallout as fallout_verbs
from provisioning import orders as order_verbs
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from provisioning.plan import MAY_BE_SKIPPED

PER_PAGE = 50


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List orders, newest first: `state` is one state, `open`, or absent; `late` keeps the late."""
    asked = request.GET.get("state", "")
    rows = ProductOrder.objects.select_related(
        "subscriber", "qualification__premises", "line__premises"
    ).annotate(
        task_count=Count("tasks"),
        done_count=Count("tasks", filter=Q(tasks__state__in=["completed", "skipped"])),
    )
    if asked == "open":
        rows = rows.filter(state__in=queues.OPEN_ORDERS)
    elif asked in ProductOrder.State.values:
        rows = rows.filter(state=asked)
    now = timezone.now()
    if late := request.GET.get("late") == "1":
        rows = rows.filter(expected_at__lt=now, state__in=queues.OPEN_ORDERS)
    counted = queues.by_state(ProductOrder.objects.all())
    shown = Paginator(rows.order_by("-placed_at"), PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/orders.html",
        "Orders",
        rows=shown,
        filters=_filters(counted),
        asked=asked,
        late=late,
        late_keys={row.pk for row in shown if _is_late(row, now)},
    )


def _is_late(order: ProductOrder, now: datetime) -> bool:
    return order.state in queues.OPEN_ORDERS and order.expected_at < now


def _filters(counted: dict[str, int]) -> list[tuple[str, str, int]]:
    """The filters of the list as (value in the address, words, how many)."""
    is_open = sum(counted.get(state, 0) for state in queues.OPEN_ORDERS)
    named = [(value, str(label), counted.get(value, 0)) for value, label in _state_choices()]
    return [("open", "In progress", is_open), *named, ("", "All", sum(counted.values()))]


def _state_choices() -> list[tuple[str, Any]]:
    shown = ("held", "completed", "failed", "cancelled")
    return [(value, label) for value, label in ProductOrder.State.choices if value in shown]


@require_safe
def fallout(request: HttpRequest) -> HttpResponse:
    """List the work that stopped and needs a person, the oldest first."""
    rows = (
        OrderTask.objects.filter(state=OrderTask.State.FALLOUT)
        .select_related("order__subscriber", "item__offering__provider")
        .prefetch_related(Prefetch("tries", TaskAttempt.objects.order_by("number")))
        .order_by("order__placed_at", "position")
    )
    shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/fallout.html",
        "Fallout",
        rows=shown,
        steps=[order_page.Step(task, list(task.tries.all())) for task in shown],
        may_work=request.user.has_perm("provisioning.work_fallout"),
        may_be_skipped=MAY_BE_SKIPPED,
    )


@require_safe
def page(request: HttpRequest, ref: str) -> HttpResponse:
    """Show one order: what was ordered, every task with its attempts, and the way on."""
    row = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    order = order_page.with_work(ProductOrder.objects.filter(pk=row.pk))[0]
    described = order_page.describe(order)
    requests = order_page.partner_requests(order)
    names = {order.public_id: ""}
    names |= {asked.public_id: f"{asked.partner}: {asked.offering}" for asked in requests}
    return pages.show(
        request,
        "console/order.html",
        "Order",
        order=described,
        requests=requests,
        timeline=timeline.of(
            names,
            may_see_audit=request.user.has_perm("parties.view_auditentry"),
        ),
        may_work=request.user.has_perm("provisioning.work_fallout"),
        may_be_skipped=MAY_BE_SKIPPED,
        can_be_cancelled=order.state in queues.OPEN_ORDERS,
    )


@require_safe
def from_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Lead from a row of the plain list to the page about the order."""
    order = ProductOrder.objects.filter(pk=key).first()
    if order is None:
        raise Http404("There is no such order.")
    return redirect("admin:console_order", order.public_id)


@require_POST
def retry(request: HttpRequest, ref: str, position: int) -> HttpResponse:
    """Try a task once more, now."""
    task = _task(ref, position)
    actions.attempt(
        request,
        fallout_verbs.retry_task,
        done="The task will be tried again now.",
        task_id=task.pk,
        actor=request.user,
    )
    return actions.back(request, reverse("admin:console_order", args=[ref]))


@require_POST
def skip(request: HttpRequest, ref: str, position: int) -> HttpResponse:
    """Go on without a task that was settled by other means."""
    task = _task(ref, position)
    actions.attempt_with_reason(
        request,
        fallout_verbs.skip_task,
        done="The task is skipped. The order goes on.",
        task_id=task.pk,
    )
    return actions.back(request, reverse("admin:console_order", args=[ref]))


@require_POST
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Cancel an order and give back what it had reserved."""
    order = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    actions.attempt_with_reason(
        request, order_verbs.cancel_order, done="The order is cancelled.", order_id=order.pk
    )
    return actions.back(request, reverse("admin:console_order", args=[ref]))


def _task(ref: str, position: int) -> OrderTask:
    order = pages.get(ProductOrder.objects.all(), ProductOrder, ref)
    task = order.tasks.filter(position=position).first()
    if task is None:
        raise Http404("There is no such task in this order.")
    return task
