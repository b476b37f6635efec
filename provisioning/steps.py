"""What each kind of step does. How they are undone is `orders.undo`.

A step of `INSIDE` only writes rows of this database. It runs in the transaction that records its
outcome, so it happened exactly when it is recorded. A step of `OUTSIDE` calls the world outside,
before that transaction; it may run twice when its worker dies, and must do no harm then.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from ipam import allocation
from ispops import db
from ispops.catalog.models import ProductOffering
from ispops.parties import checks
from ispops.parties.models import SubscriberCheck
from provisioning import (
    equipment,
    partner_orders,
    plan,
    profiles,
    reservations,
    services,
    steering,
    telling,
    visit_results,
    visiting,
    visits,
)
from provisioning.models import (
    AaaCredential,
    OrderTask,
    ProductOrderItem,
    Service,
    ServiceOrder,
)
from provisioning.outcomes import Outcome as Outcome
from qualification import ports
from qualification.models import QualifiedOffer

# The letters of a login: no vowels, so no words, and none that are mistaken for another.
_LOGIN_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
# What is done this soon after the moment that it was wanted for counts from that moment.
SAME_MOMENT = timedelta(minutes=15)

Action = ProductOrderItem.Action


def check(task: OrderTask, at: datetime) -> Outcome:
    """Have somebody look into who the subscriber is, or whether they pay, and wait for that."""
    kind = task.kind.removesuffix("_check")
    row = checks.request_check(subscriber=task.order.subscriber, kind=kind, at=at)
    if row.state == SubscriberCheck.State.PASSED:
        return Outcome(f"Passed: {row.reason}")
    if row.state == SubscriberCheck.State.ASKING:
        return Outcome("The checker is asked.", awaits_check=row)
    return Outcome("A member of staff has to decide.", awaits_check=row)


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


def book_visit(task: OrderTask, at: datetime) -> Outcome:
    """Book the first free visit of a technician, unless the subscriber has chosen one."""
    visit = visits.book_first(order=task.order, at=at)
    if visit is None:
        return Outcome("No calendar of visits is kept for this place any more: arrange it by hand.")
    if visit.closed_at is not None:
        return Outcome("Our technician was there already.")
    return Outcome(f"Our technician comes on {visiting.in_words(visit.slot)}.")


def install_visit(task: OrderTask, at: datetime) -> Outcome:
    """Wait until the technician was there."""
    words, waits = visit_results.await_visit(order=task.order, at=at)
    return Outcome(words, awaits_visit=waits)


def order_line(task: OrderTask, at: datetime) -> Outcome:
    """Ask the network provider for its line, and wait until it is delivered."""
    answer_by = max(at, task.order.expected_at) + settings.LINE_ANSWERED_AFTER_DUE
    order = partner_orders.request_line(
        service=_service(task), cause=_cause(task), answer_by=answer_by, at=at
    )
    return Outcome(
        f"{order.partner} was asked for the line: {order.public_id}.",
        awaits=order,
        request=partner_orders.told_about(order),
    )


def grant_entitlement(task: OrderTask, at: datetime) -> Outcome:
    """Ask the BSP to grant its product, and wait until it confirms."""
    service = _service(task)
    line = service.line
    if line is None:
        raise ValueError(f"{service.pk} is an entitlement without a line")
    order = partner_orders.request_entitlement(
        line=line, service=service, offering=service.offering, cause=_cause(task), at=at
    )
    return Outcome(
        f"{order.partner} was asked to grant it: {order.public_id}.",
        awaits=order,
        request=partner_orders.told_about(order),
    )


def modify_line(task: OrderTask, at: datetime) -> Outcome:
    """Ask the network provider to change its line to the new plan, and wait until it is done."""
    answer_by = max(at, task.order.expected_at) + settings.LINE_ANSWERED_AFTER_DUE
    item = _item(task)
    order = partner_orders.request_line(
        service=_service(task),
        offering=item.offering,
        action=ServiceOrder.Action.MODIFY,
        cause=_cause(task),
        answer_by=answer_by,
        at=at,
    )
    return Outcome(
        f"{order.partner} was asked to change it: {order.public_id}.",
        awaits=order,
        request=partner_orders.told_about(order),
    )


def go_live(task: OrderTask, at: datetime) -> Outcome:
    """Let the line in, and make it and all that was granted with it active: charging begins.

    What a person skipped was not granted; it ends here, so that nobody pays for it. What the old
    line of the order carried, and is kept, is carried by this one from now on; and for what we
    suspended that one, this one is suspended.
    """
    line = _service(task)
    services.activate(service=line, at=at)
    granted, ended = _activate_added(task, at)
    moved = _carry_over(task, line, at) if task.order.line_id else 0
    if task.order.line is not None:
        services.carry_suspensions(old=task.order.line, line=line, at=at)
    _match_addons(line, at)
    brought = f" {moved} were brought along." if moved else ""
    return Outcome(
        f"The line is live, with {granted} partner products; {ended} were left out.{brought}"
    )


def change_service(task: OrderTask, at: datetime) -> Outcome:
    """Make the line what was ordered, with what it carries, all in one moment.

    A change that was wanted for a moment and is made soon after counts from that moment, so that
    a change at the end of a billing period leaves no seconds of the old plan in the next.
    """
    line = _service(task)
    since = _counts_from(task, at)
    if gone := _has_ended(line):
        return gone
    for item in _items(task, Action.MODIFY):
        if item.service is not None:
            services.change(
                service=item.service, offering=item.offering, bundle=item.bundle, at=since
            )
    granted, ended = _activate_added(task, since)
    removed = _items(task, Action.DELETE)
    for item in removed:
        if item.service is not None:
            services.cease(service=item.service, at=since)
    _match_addons(line, since)
    return Outcome(
        f"The line has what was ordered: {granted} products came to it, {len(removed)} ended"
        + (f", {ended} were left out." if ended else ".")
    )


def suspend_service(task: OrderTask, at: datetime) -> Outcome:
    """Suspend the line for the reason of the order."""
    line = _service(task)
    if gone := _has_ended(line):
        return gone
    order = task.order
    opened = services.open_suspension(
        line=line, reason=order.suspension, treatment=order.treatment, note=order.reason, at=at
    )
    return Outcome(f"The line is suspended: {opened.get_reason_display().lower()}.")


def resume_service(task: OrderTask, at: datetime) -> Outcome:
    """Lift the reason that the order names; the line is active again when it was the last."""
    line = _service(task)
    if gone := _has_ended(line):
        return gone
    services.close_suspension(line=line, reason=task.order.suspension, at=at)
    line.refresh_from_db(fields=["state"])
    if line.state == Service.State.SUSPENDED:
        return Outcome("This reason is lifted; the line stays suspended for another.")
    return Outcome("The line is active again.")


def cease_service(task: OrderTask, at: datetime) -> Outcome:
    """End the line: its port, addresses, login and products are free, and partners are told.

    What is kept of its products when its subscriber moves goes to the new line before.
    """
    line = _service(task)
    moved = 0
    if successor := _successor(task, line):
        moved = _carry_over(task, successor, at)
        services.carry_suspensions(old=line, line=successor, at=at)
    services.cease(service=line, at=at)
    brought = f" {moved} products went to the new line." if moved else ""
    return Outcome(f"The line has ended, with all that hung on it.{brought}")


def apply_to_session(task: OrderTask, at: datetime) -> Outcome:
    """Bring the line's live sessions up to date, and see that they are."""
    return Outcome(steering.bring_up(service=_service(task), at=at))


def bring_to_dhcp(task: OrderTask, at: datetime) -> Outcome:
    """See that the line's DHCP server serves it as it should by now, or no more."""
    return reservations.bring_up(service=_service(task), at=at)


def bring_to_equipment(task: OrderTask, at: datetime) -> Outcome:
    """See that the line's device logs in as the line, or does so no more."""
    return equipment.bring_up(service=_service(task), at=at)


def welcome(task: OrderTask, at: datetime) -> Outcome:
    """Write to the subscriber that the line works; the letter is sent by itself from here on."""
    line = _service(task)
    telling.welcome(order=task.order, line=line, at=at)
    return Outcome(f"A welcome to {line.subscriber.email} is on its way.")


def _items(task: OrderTask, *actions: str) -> list[ProductOrderItem]:
    """Return the items of a step's order that do this, with their services."""
    items = task.order.items.filter(action__in=actions)
    return list(items.select_related("service", "offering", "bundle").order_by("pk"))


def _activate_added(task: OrderTask, at: datetime) -> tuple[int, int]:
    """Make active what the order adds to its line, if it was granted; end what was passed over.

    Returns how many were the one and the other.
    """
    grants = task.order.tasks.filter(kind=plan.GRANT_ENTITLEMENT, item__isnull=False)
    state_of = dict(grants.values_list("item", "state"))
    granted = ended = 0
    for item in _items(task, Action.ADD):
        service = item.service
        if service is None or service.line_id is None:
            continue
        if state_of.get(item.pk, OrderTask.State.COMPLETED) == OrderTask.State.COMPLETED:
            services.activate(service=service, at=at)
            granted += 1
        else:
            services.cease(service=service, at=at)
            ended += 1
    return granted, ended


def _match_addons(line: Service, at: datetime) -> None:
    """Let our own add-ons be as the line is, and the line as fast as they make it."""
    held = db.lock(Service, line.pk)
    if held.state == Service.State.SUSPENDED:
        services.suspend_addons(line=held, at=at)
    profiles.refresh(service=held, at=at)


def _carry_over(task: OrderTask, line: Service, at: datetime) -> int:
    """Bring the partners' products of the old line of an order to the new one, once.

    What was bought since the order was placed comes too; what the order ends does not.
    """
    ends = {item.service_id for item in _items(task, Action.DELETE) if item.service_id}
    regrouped = {item.service_id: item for item in _items(task, Action.MODIFY)}
    old_line = task.order.line_id
    living = Service.objects.filter(line=old_line, offering__kind=ProductOffering.Kind.BSP)
    moved = 0
    for product in living.exclude(state=Service.State.CEASED).exclude(pk__in=ends).order_by("pk"):
        services.transfer(service=product, line=line, at=at)
        if item := regrouped.get(product.pk):
            services.change(service=product, offering=item.offering, bundle=item.bundle, at=at)
        moved += 1
    return moved


def _successor(task: OrderTask, old_line: Service) -> Service | None:
    """Return the line that takes the place of the one that ends, if there is one and it lives."""
    if task.order.intent not in plan.NEW_LINES:
        return None
    added = _items(task, Action.ADD)
    lines = [item.service for item in added if item.service and item.service.line_id is None]
    living = [line for line in lines if line.state != Service.State.CEASED]
    return living[0] if living else None


def _has_ended(line: Service) -> Outcome | None:
    """Say that there is nothing left to do for a line that ended while its order waited."""
    state = Service.objects.values_list("state", flat=True).get(pk=line.pk)
    return Outcome("The line has ended meanwhile.") if state == Service.State.CEASED else None


def _counts_from(task: OrderTask, at: datetime) -> datetime:
    """Return from when a change counts: the moment that was asked for, if it was met."""
    wanted = task.begins_at
    return wanted if wanted is not None and at - wanted <= SAME_MOMENT else at


def _item(task: OrderTask) -> ProductOrderItem:
    if task.item is None:
        raise ValueError(f"step {task.pk} has no item to work for")
    return task.item


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
    plan.IDENTITY_CHECK: check,
    plan.CREDIT_CHECK: check,
    plan.RESERVE_PORT: reserve_port,
    plan.OPEN_ADDRESS_HOLDER: open_address_holder,
    plan.CREATE_CREDENTIALS: create_credentials,
    plan.BOOK_VISIT: book_visit,
    plan.INSTALL_VISIT: install_visit,
    plan.ORDER_LINE: order_line,
    plan.MODIFY_LINE: modify_line,
    plan.GRANT_ENTITLEMENT: grant_entitlement,
    plan.GO_LIVE: go_live,
    plan.CHANGE_SERVICE: change_service,
    plan.SUSPEND_SERVICE: suspend_service,
    plan.RESUME_SERVICE: resume_service,
    plan.CEASE_SERVICE: cease_service,
    plan.WELCOME: welcome,
}
OUTSIDE: dict[str, Step] = {
    plan.CONFIGURE_EQUIPMENT: bring_to_equipment,
    plan.CLEAR_EQUIPMENT: bring_to_equipment,
    plan.RESERVE_IN_DHCP: bring_to_dhcp,
    plan.RELEASE_IN_DHCP: bring_to_dhcp,
    plan.APPLY_TO_SESSION: apply_to_session,
}
