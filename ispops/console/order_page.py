"""Everything of one order: what was ordered, the work it causes, who waits for whom, and why."""

from typing import Any

from django.db.models import Prefetch, QuerySet

from ispops.console import graph, tones
from provisioning import queries as provisioning_queries
from provisioning.models import OrderTask, ProductOrder, ProductOrderItem, ServiceOrder, TaskAttempt

# What fits into a box of the drawing; the list beside it says the same in full.
_BRIEF = {"pending": "Not begun", "awaiting": "At the partner"}


def with_work(orders: QuerySet[ProductOrder]) -> list[ProductOrder]:
    """Read orders with their items, tasks, dependencies and attempts: five queries for any number.

    Every task's `tries` are in order and its `waits_for` are the keys of the tasks before it.
    """
    tasks = OrderTask.objects.order_by("position").select_related("service_order__partner")
    tasks = tasks.prefetch_related(
        Prefetch("tries", TaskAttempt.objects.order_by("number")),
        Prefetch("depends_on", OrderTask.objects.only("id"), to_attr="before"),
    )
    items = ProductOrderItem.objects.select_related("offering__provider", "bundle", "service")
    return list(
        orders.select_related(
            "subscriber", "placed_by", "qualification__premises"
        ).prefetch_related(Prefetch("items", items.order_by("pk")), Prefetch("tasks", tasks))
    )


def describe(order: ProductOrder) -> dict[str, Any]:
    """Return an order from `with_work` with its tasks named in plain words and drawn."""
    tasks = list(order.tasks.all())
    drawing = graph.draw({task.pk: [before.pk for before in task.before] for task in tasks})
    by_key = {task.pk: task for task in tasks}
    items = {item.pk: item for item in order.items.all()}
    steps = iter(provisioning_queries.order_progress(order))
    for task in tasks:
        task.item = items.get(task.item_id)
        task.words = next(steps).words if task.item else ""
        task.attempts_made = list(task.tries.all())
        task.last_try = task.attempts_made[-1] if task.attempts_made else None
        task.tone = tones.task_tone(task.state)
        task.brief = _BRIEF.get(task.state, task.get_state_display())
        task.shape = tones.SHAPES[task.tone]
    return {
        "row": order,
        "items": list(items.values()),
        "tasks": tasks,
        "done": sum(task.state in ("completed", "skipped") for task in tasks),
        "drawing": drawing,
        "boxes": [(box, by_key[box.key]) for box in drawing.boxes],
    }


def partner_requests(order: ProductOrder) -> list[ServiceOrder]:
    """What partners were asked for because of this order, and what they said."""
    services = [item.service_id for item in order.items.all() if item.service_id]
    return list(
        ServiceOrder.objects.filter(service__in=services)
        .select_related("partner", "offering")
        .order_by("requested_at")
    )
