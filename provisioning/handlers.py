"""What provisioning does when something happened; registered when Django starts."""

from typing import Any

from ispops import events
from provisioning import execution
from provisioning.models import ServiceOrder


def _go_on(event: Any) -> None:
    key = ServiceOrder.key_of(event.subject)
    if key is not None:
        execution.take_answer(service_order_id=key, at=event.occurred_at)


@events.on("service_order.completed", name="provisioning.partner_confirmed")
def partner_confirmed(event: Any) -> None:
    """A step that waited for the partner is done, and the order goes on."""
    _go_on(event)


@events.on("service_order.failed", name="provisioning.partner_refused")
def partner_refused(event: Any) -> None:
    """A step that waited for the partner needs a person."""
    _go_on(event)


@events.on("service_order.timed_out", name="provisioning.partner_timed_out")
def partner_timed_out(event: Any) -> None:
    """A step that waited for the partner needs a person."""
    _go_on(event)


@events.on("service_order.cancelled", name="provisioning.partner_order_withdrawn")
def partner_order_withdrawn(event: Any) -> None:
    """A step that waited for the partner needs a person, unless its order was cancelled."""
    _go_on(event)
