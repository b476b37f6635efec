"""Everything of one order: what was ordered, the work it causes, who waits for whom, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet

from ispops.console import graph, tones
from provisioning import causes, plan
from provisioning import queries as provisioning_queries
from provisioning.models import OrderTask, ProductOrder, ProductOrderItem, ServiceOrder, TaskAttempt

# What fits into a box of the drawing; the state's full name is on hover.
_BRIEF = {"pending": "Not begun", "awaiting": "At the partner"}
# Who is waited for where it is no partner.
_AWAITED = {
    plan.INSTALL_VISIT: "Visit to come",
    plan.IDENTITY_CHECK: "Being checked",
    plan.CREDIT_CHECK: "Being checked",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One task of an order with its attempts, and how its state is shown."""

    task: OrderTask
    attempts: list[TaskAttempt]
    item: ProductOrderItem | None = None
    # What is done, in plain words.
    words: str = ""

    @property
    def label(self) -> str:
        """What stands in the box of the drawing: a partner's part by its name."""
        if self.item is not None and self.task.kind in (plan.GRANT_ENTITLEMENT, plan.ORDER_LINE):
            return str(self.item.offering)
        return self.task.kind.replace("_", " ").capitalize()

    @property
    def tone(self) -> str:
        return tones.task_tone(self.task.state)

    @property
    def shape(self) -> str:
        return tones.SHAPES[self.tone]

    @property
    def brief(self) -> str:
        if self.task.state == OrderTask.State.AWAITING and self.task.kind in _AWAITED:
            return _AWAITED[self.task.kind]
        return _BRIEF.get(self.task.state, self.task.get_state_display())

    @property
    def cause(self) -> causes.Cause:
        """Why it needs a person, and what to do."""
        return causes.of(self.task.cause)

    @property
    def has_conversation(self) -> bool:
        return any(row.request is not None or row.reply is not None for row in self.attempts)

    @property
    def last(self) -> TaskAttempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as it is shown: its items, its steps in order, and the drawing of them."""

    row: ProductOrder
    items: list[ProductOrderItem]
    steps: list[Step]
    drawing: graph.Drawing

    @property
    def done(self) -> int:
        return sum(step.task.state in ("completed", "skipped") for step in self.steps)

    @property
    def boxes(self) -> Iterator[tuple[graph.Box, Step]]:
        by_key = {step.task.pk: step for step in self.steps}
        return ((box, by_key[box.key]) for box in self.drawing.boxes)


def with_work(orders: QuerySet[ProductOrder]) -> list[ProductOrder]:
    """Read orders with items, tasks, dependencies and attempts: five queries for any number."""
    tasks = (
        OrderTask.objects.order_by("position")
        .select_related("service_order__partner", "assigned_to")
        .prefetch_related(
            Prefetch("tries", TaskAttempt.objects.order_by("number")),
            Prefetch("depends_on", OrderTask.objects.only("id")),
        )
    )
    items = ProductOrderItem.objects.select_related(
        "offering__provider", "old_offering", "bundle", "service"
    )
    return list(
        orders.select_related(
            "subscriber", "placed_by", "qualification__premises", "line__premises"
        ).prefetch_related(Prefetch("items", items.order_by("pk")), Prefetch("tasks", tasks))
    )


def describe(order: ProductOrder) -> OrderView:
    """Return an order from `with_work` with its tasks in plain words and drawn; costs no query."""
    tasks = list(order.tasks.all())
    items = {item.pk: item for item in order.items.all()}
    progress = iter(provisioning_queries.order_progress(order))
    steps = []
    for task in tasks:
        item = items[task.item_id] if task.item_id is not None else None
        words = next(progress).words if item else ""
        steps.append(Step(task, list(task.tries.all()), item, words))
    drawing = graph.draw(
        {task.pk: [before.pk for before in task.depends_on.all()] for task in tasks}
    )
    return OrderView(order, list(items.values()), steps, drawing)


def partner_requests(order: ProductOrder) -> list[ServiceOrder]:
    """What partners were asked for because of this order, and what they said."""
    services = [item.service_id for item in order.items.all() if item.service_id]
    return list(
        ServiceOrder.objects.filter(service__in=services)
        .select_related("partner", "offering", "delivery")
        .prefetch_related("delivery__tries", "delivery__notices")
        .order_by("requested_at")
    )
