"""What the tests of provisioning ask of the database again and again."""

from typing import Any

from django.apps import apps
from django.db.models import Model

from ispops.models import Event
from provisioning.models import OrderTask, ProductOrder, TaskAttempt

# Rows that asking alone may leave, or that the tests make themselves.
NOT_COUNTED = {"ServiceQualification", "QualifiedOffer", "Session", "LogEntry"}


def rows() -> dict[str, list[Any]]:
    """Everything in the database, to see that nothing has changed."""
    models: list[type[Model]] = [
        model
        for app in ("ispops", "parties", "qualification", "ipam", "provisioning", "rating")
        for model in apps.get_app_config(app).get_models()
        if model.__name__ not in NOT_COUNTED
    ]
    return {
        model.__name__: list(model._default_manager.order_by("pk").values()) for model in models
    }


def kinds(*, without: str = "") -> list[str]:
    """The kinds of the events so far, in order; `without` leaves out those of one prefix."""
    events = Event.objects.order_by("pk").values_list("kind", flat=True)
    return [kind for kind in events if not (without and kind.startswith(without))]


def states(order: ProductOrder) -> dict[str, str]:
    """The state of each step of an order, by kind."""
    return dict(order.tasks.order_by("position").values_list("kind", "state"))


def step(order: ProductOrder, kind: str) -> OrderTask:
    return order.tasks.get(kind=kind)


def outcomes(task: OrderTask) -> list[str]:
    return list(task.tries.order_by("number").values_list("outcome", flat=True))


def last_try(task: OrderTask) -> TaskAttempt:
    return task.tries.latest("number")
