"""What each kind of step does. How all of them are undone is `services.cease`.

A step of `INSIDE` only writes rows of this database. It runs in the transaction that records its
outcome, so it happened exactly when it is recorded. A step of `OUTSIDE` calls the world outside,
before that transaction; it may run twice when its worker dies, and must do no harm then.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from ipam import allocation
from provisioning import partner_orders, plan, services, telling
from provisioning.models import AaaCredential, OrderTask, Service, ServiceOrder
from qualification import ports
from qualification.models import QualifiedOffer

# The letters of a login: no vowels, so no words, and none that are mistaken for another.
_LOGIN_LETTERS = "bcdfghjkmnpqrstvwxz23456789"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did, in words; with a partner's order, the step now waits for its answer."""

    detail: str
    awaits: ServiceOrder | None = None


def reserve_port(task: OrderTask, at: datetime) -> Outcome:
    """Hold a port of the access node for the line; the placing of the order took it already.

    Where the place is on no list, because staff promised the line by hand or the network itself
    said that it delivers, there is no port to take. A node that is full is for a person to see to.
    """
    offer = _offer(task)
    try:
        port = services.take_port(
            line=_service(task), qualification=task.order.qualification, at=at
        )
    except ports.NotReached:
        if offer.coverage_id is not None:
            raise
        return Outcome(_without_port(offer))
    return Outcome(f"{port} is taken." if port else "This network counts no ports here.")


def _without_port(offer: QualifiedOffer) -> str:
    if offer.overridden:
        reason = offer.qualification.override_reason
        return (
            f"No port was taken, because {offer.provider_name} is on no list for this place. "
            f"The line was promised by hand: {reason}"
        )
    return f"No port was taken: {offer.provider_name} said that it delivers, and counts its own."


def open_address_holder(task: OrderTask, at: datetime) -> Outcome:
    """Let the line hold the addresses that its plan includes."""
    line = _service(task)
    allocation.open_holder(
        service_ref=line.public_id, subscriber=line.subscriber, plan=line.offering, at=at
    )
    return Outcome("The line may hold the addresses of its plan.")


def create_credentials(task: OrderTask, at: datetime) -> Outcome:
    """Make the name and secret of the line's equipment; they are of no use until it is live."""
    letters = "".join(secrets.choice(_LOGIN_LETTERS) for _ in range(12))
    login, _ = AaaCredential.objects.get_or_create(
        service=_service(task),
        defaults={"username": f"line-{letters}", "secret": secrets.token_urlsafe(18)},
    )
    return Outcome(f"The network login is {login.username}.")


def order_line(task: OrderTask, at: datetime) -> Outcome:
    """Ask the network provider for its line, and wait until it is delivered."""
    answer_by = max(at, task.order.expected_at) + settings.LINE_ANSWERED_AFTER_DUE
    order = partner_orders.request_line(
        service=_service(task), cause=_cause(task), answer_by=answer_by, at=at
    )
    return Outcome(f"{order.partner} was asked for the line: {order.public_id}.", awaits=order)


def grant_entitlement(task: OrderTask, at: datetime) -> Outcome:
    """Ask the BSP to grant its product, and wait until it confirms."""
    service = _service(task)
    line = service.line
    if line is None:
        raise ValueError(f"{service.pk} is an entitlement without a line")
    order = partner_orders.request_entitlement(
        line=line, service=service, offering=service.offering, cause=_cause(task), at=at
    )
    return Outcome(f"{order.partner} was asked to grant it: {order.public_id}.", awaits=order)


def go_live(task: OrderTask, at: datetime) -> Outcome:
    """Let the line in, and make it and all that was granted with it active: charging begins.

    What a person skipped was not granted; it ends here, so that nobody pays for it.
    """
    line = _service(task)
    services.activate(service=line, at=at)
    granted = ended = 0
    entitlements = task.order.tasks.filter(kind=plan.GRANT_ENTITLEMENT).order_by("position")
    for entitlement in entitlements.select_related("item__service"):
        if entitlement.state == OrderTask.State.COMPLETED:
            services.activate(service=_service(entitlement), at=at)
            granted += 1
        else:
            services.cease(service=_service(entitlement), at=at)
            ended += 1
    return Outcome(f"The line is live, with {granted} partner products; {ended} were left out.")


def welcome(task: OrderTask, at: datetime) -> Outcome:
    """Write to the subscriber that the line works; the letter is sent by itself from here on."""
    line = _service(task)
    telling.welcome(order=task.order, line=line, at=at)
    return Outcome(f"A welcome to {line.subscriber.email} is on its way.")


def _offer(task: OrderTask) -> QualifiedOffer:
    """Return the promise that a step works for."""
    if task.item is None or task.item.offer is None:
        raise ValueError(f"step {task.pk} has no promise to keep")
    return task.item.offer


def _service(task: OrderTask) -> Service:
    """Return the service that a step works for; every step of an order has one."""
    if task.item is None or task.item.service is None:
        raise ValueError(f"step {task.pk} has no service to work for")
    return task.item.service


def _cause(task: OrderTask) -> str:
    """Name the request of a step: the same until the partner refuses or lets it pass."""
    of_this_step = ServiceOrder.objects.filter(cause__startswith=f"task:{task.pk}:")
    closed = of_this_step.exclude(
        state__in=[ServiceOrder.State.ACKNOWLEDGED, ServiceOrder.State.COMPLETED]
    )
    return f"task:{task.pk}:{closed.count() + 1}"


Step = Callable[[OrderTask, datetime], Outcome]

INSIDE: dict[str, Step] = {
    plan.RESERVE_PORT: reserve_port,
    plan.OPEN_ADDRESS_HOLDER: open_address_holder,
    plan.CREATE_CREDENTIALS: create_credentials,
    plan.ORDER_LINE: order_line,
    plan.GRANT_ENTITLEMENT: grant_entitlement,
    plan.GO_LIVE: go_live,
    plan.WELCOME: welcome,
}
OUTSIDE: dict[str, Step] = {}
