"""The queues of orders and of work that needs a person, and the page of one order."""

import uuid
from datetime import datetime

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ispops.console import actions, order_page, pages, queues, timeline, work_page
from ispops.console.views import visits
from provisioning import fallout as fallout_verbs
from provisioning import orders as order_verbs
from provisioning import queries as provisioning_queries
from provisioning.models import OrderTask, ProductOrder
from provisioning.plan import MAY_BE_SKIPPED

PER_PAGE = 50


@require_safe
def listing(request: HttpRequest) -> HttpResponse:
    """List the orders that fit the filters of the address, newest first."""
    now = timezone.now()
    rows = _with_progress(work_page.orders(request.GET, now))
    shown = Paginator(rows.order_by("-placed_at"), PER_PAGE).get_page(request.GET.get("page"))
    return pages.show(
        request,
        "console/orders.html",
        "Orders",
        rows=shown,
        groups=work_page.order_filters(request.GET, now),
        asked=request.GET.urlencode(),
        late_keys={row.pk for row in shown if _is_late(row, now)},
    )


@require_safe
def as_file(request: HttpRequest) -> StreamingHttpResponse:
    """Give the whole list as a file, with the filters of the page."""
    rows = _with_progress(work_page.orders(request.GET, timezone.now())).order_by("-placed_at")
    return pages.file_of("orders", work_page.order_table(rows.iterator(chunk_size=500)))


def _with_progress(rows: QuerySet[ProductOrder]) -> QuerySet[ProductOrder]:
    done = Q(tasks__state__in=["completed", "skipped"])
    return rows.select_related("subscriber", "qualification__premises", "line__premises").annotate(
        task_count=Count("tasks"),
        done_count=Count("tasks", filter=done),
        jeopardy_count=Count(
            "tasks", filter=Q(tasks__in_jeopardy_at__isnull=False, tasks__finished_at__isnull=True)
        ),
    )


def _is_late(order: ProductOrder, now: datetime) -> bool:
    return order.state in queues.OPEN_ORDERS and order.expected_at < now


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
        **visits.of(request, order),
        timeline=timeline.of(
            names,
            may_see_audit=request.user.has_perm("parties.view_auditentry"),
        ),
        may_work=request.user.has_perm("provisioning.work_fallout"),
        may_be_skipped=MAY_BE_SKIPPED,
        can_be_cancelled=order.state in queues.OPEN_ORDERS,
        may_amend=request.user.has_perm("provisioning.add_productorder")
        and provisioning_queries.may_be_amended(order),
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
def take(request: HttpRequest, ref: str, position: int) -> HttpResponse:
    """Take a task on, or give it back."""
    task = _task(ref, position)
    to = None if task.assigned_to_id == request.user.pk else request.user
    actions.attempt(
        request,
        fallout_verbs.assign_tasks,
        done="The task is yours." if to else "The task is nobody's.",
        tasks=OrderTask.objects.filter(pk=task.pk),
        to=to,
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
