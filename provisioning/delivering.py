"""How providers with an API of their own are called: the delivery is the queue.

A worker takes a lease on a delivery and opens an attempt, calls the provider outside any
transaction, and records the outcome. A worker that comes back after its lease changes nothing.
Where an attempt may have placed the order already, the next one looks for it first. Where a
provider keeps failing, its breaker opens and its deliveries wait; an order that is not placed or
answered in time is closed by `partner_orders.time_out_due`, and then taken back.
"""

import logging
import time
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from ispops import db, jobs
from ispops.breaker import HALF_OPEN, OPEN, Breaker
from ispops.errors import PermanentFault, TransientFault
from provisioning import deliveries, hearing, partner_orders
from provisioning.delivery.base import (
    Calls,
    Deliverer,
    OrderLost,
    Refused,
    Told,
    Wanted,
    WrongOrder,
)
from provisioning.delivery.tmf641 import Tmf641Deliverer
from provisioning.models import Delivery, DeliveryAttempt, DeliveryConnection, ServiceOrder
from qualification.providers.registry import place_of

log = logging.getLogger(__name__)
State = Delivery.State
Outcome = DeliveryAttempt.Outcome
FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=10)
# What a visit may take beyond the time-outs of its calls.
LEASE_BEYOND_CALLS = timedelta(seconds=15)
MOST_CALLS_A_VISIT = 3
_NO_LONGER_WANTED = "It is not wanted any more."


class _NeverThere(TransientFault):
    """There is nothing to take back: the provider has no such order."""


def deliver(*, delivery_id: int, at: datetime) -> bool:
    """Go on with one delivery, if it is due and its provider may be called now.

    Raises:
        RuntimeError: called inside a transaction, which would be held open by the provider.
    """
    delivery = _due(at).filter(pk=delivery_id).first()
    return delivery is not None and _go_on(delivery, at)


def deliver_next(*, at: datetime) -> bool:
    """Go on with the due delivery that has waited longest; False when none can be gone on with."""
    return jobs.go_on_with_next(_due(at), lambda delivery: _go_on(delivery, at))


def _due(at: datetime) -> QuerySet[Delivery]:
    rows = Delivery.objects.select_related("connection")
    return jobs.due(rows, at=at).order_by("next_attempt_at", "pk")


def _go_on(delivery: Delivery, at: datetime) -> bool:
    attempt = _begin(delivery.pk, delivery.connection_id, at)
    if attempt is None:
        return False
    started = time.monotonic()
    adapter = adapter_of(attempt.delivery.connection)
    outcome = _visit(adapter, attempt)
    _record(attempt, outcome, adapter.calls, at + timedelta(seconds=time.monotonic() - started))
    return True


def adapter_of(connection: DeliveryConnection) -> Deliverer:
    """Return the adapter of a connection, set up as the connection says."""
    return Tmf641Deliverer(
        base_url=connection.base_url,
        token=connection.token,
        seconds=float(connection.timeout_seconds),
    )


@transaction.atomic(durable=True)
def _begin(delivery_id: int, connection_id: int, at: datetime) -> DeliveryAttempt | None:
    """Take the delivery, if its provider may be called now.

    The connection is locked, so that no two workers count its calls or probe it at the same time.
    """
    connection = db.lock(DeliveryConnection, connection_id)
    breaker = breaker_of(connection)
    if not connection.active or breaker.state(at) == OPEN:
        until = connection.open_until if connection.active else None
        _postpone(connection, until or at + LONGEST_PAUSE, at)
        return None
    running = Delivery.objects.filter(connection=connection, leased_until__gt=at)
    if running.count() >= connection.at_once:
        return None
    calls = timedelta(seconds=float(connection.timeout_seconds) * MOST_CALLS_A_VISIT)
    lease = calls + LEASE_BEYOND_CALLS
    rows = Delivery.objects.filter(pk=delivery_id).select_related("service_order__partner")
    claimed = jobs.claim(rows, at=at, lease=lease)
    if not claimed:
        return None
    delivery = claimed[0]
    delivery.connection = connection
    if breaker.state(at) == HALF_OPEN:
        _keep_breaker(connection, breaker.probing(at + lease))
    lost = delivery.tries.filter(ended_at__isnull=True)
    lost.update(outcome=Outcome.LOST, ended_at=at)
    number = delivery.tries.count() + 1
    return DeliveryAttempt.objects.create(delivery=delivery, number=number, started_at=at)


def _postpone(connection: DeliveryConnection, until: datetime, at: datetime) -> None:
    jobs.due(connection.deliveries.all(), at=at).update(next_attempt_at=until)


def _visit(adapter: Deliverer, attempt: DeliveryAttempt) -> Told | Exception:
    """Say to the provider what is to be said; it always ends with something to record."""
    delivery = attempt.delivery
    try:
        if delivery.state == State.TO_PLACE:
            return _place(adapter, attempt)
        if delivery.state == State.TO_CANCEL:
            return _cancel(adapter, delivery)
        return adapter.look(delivery.reference, delivery.service_order.public_id)
    except (TransientFault, PermanentFault) as fault:
        return fault
    except Exception:
        log.exception("the delivery of %s failed", delivery.service_order)
        return TransientFault("The provider could not be called because of a fault of ours.")


def _place(adapter: Deliverer, attempt: DeliveryAttempt) -> Told:
    """Place an order, unless an attempt whose answer we never saw has placed it."""
    order = attempt.delivery.service_order
    known = adapter.find(order.public_id) if attempt.number > 1 else None
    return known or adapter.place(wanted(order))


def _cancel(adapter: Deliverer, delivery: Delivery) -> Told:
    """Take an order back, unless it is over or never arrived."""
    order = delivery.service_order.public_id
    reference = delivery.reference
    told = adapter.look(reference, order) if reference else adapter.find(order)
    if told is None:
        raise _NeverThere("It never had the order.")
    if told.state in hearing.OVER:
        return told
    reason = delivery.service_order.reason or _NO_LONGER_WANTED
    adapter.cancel(reference or told.reference, order, reason)
    return told


def wanted(order: ServiceOrder) -> Wanted:
    """Write a service order as an adapter places it."""
    service, offering = order.service, order.offering
    before = Delivery.objects.filter(service_order__service=service).exclude(service_order=order)
    first = before.filter(service_order__action=ServiceOrder.Action.ADD).exclude(reference="")
    made_by = first.order_by("-pk").first()
    return Wanted(
        order=order.public_id,
        action=order.action,
        place=place_of(service.premises),
        service_ref=service.public_id,
        subscriber_ref=order.subscriber_ref,
        offering=offering.code,
        technology=offering.technology,
        download_kbps=offering.download_kbps,
        upload_kbps=offering.upload_kbps,
        wanted_by=order.answer_by,
        line=made_by.service_reference if made_by else "",
        amends=made_by.reference if made_by else "",
    )


@transaction.atomic
def _record(
    attempt: DeliveryAttempt, outcome: Told | Exception, calls: Calls, at: datetime
) -> None:
    """Write what came of a visit, unless somebody else has taken or closed the delivery."""
    attempt.calls, attempt.ended_at = calls.as_json(), at
    order = db.lock(ServiceOrder, attempt.delivery.service_order_id)
    delivery = deliveries.of_order(order)
    if delivery is None or delivery.leased_until != attempt.delivery.leased_until:
        _end(attempt, Outcome.LATE, "Somebody else went on with it meanwhile.")
        return
    delivery.connection = db.lock(DeliveryConnection, delivery.connection_id)
    delivery.leased_until = None
    if isinstance(outcome, Told) and deliveries.is_anothers(delivery, outcome.reference):
        outcome = WrongOrder("It gave our order the id of another one.")
    if isinstance(outcome, Told):
        _succeed(attempt, delivery, outcome, at)
    elif isinstance(outcome, Refused):
        _be_refused(attempt, delivery, str(outcome)[:300], at)
    else:
        _fail(attempt, delivery, outcome, at)


def _succeed(attempt: DeliveryAttempt, delivery: Delivery, told: Told, at: datetime) -> None:
    delivery.attempts = 0
    _answers(delivery)
    was_cancelling = attempt.delivery.state == State.TO_CANCEL
    if was_cancelling and told.state not in hearing.OVER:
        # The provider has taken in that we do not want it; now it is looked at what becomes of it.
        delivery.reference = delivery.reference or told.reference
        deliveries.go_to(delivery, State.CANCELLING, due_at=at + FIRST_PAUSE)
        _end(attempt, Outcome.TOLD, "They were asked to cancel it.")
        return
    if hearing.hear(delivery=delivery, told=told, at=at):
        detail = f"They say: {told.state.replace('_', ' ')}."
    else:
        detail = f"They say {told.state.replace('_', ' ')}, and said more before."
    _end(attempt, Outcome.TOLD, detail)
    if delivery.state in Delivery.OPEN:
        _look_again(delivery, at)


def _look_again(delivery: Delivery, at: datetime) -> None:
    """Set when the provider is called again, if nothing is heard of it before."""
    pause = timedelta(seconds=delivery.connection.look_every_seconds)
    if delivery.state == State.CANCELLING:
        _give_up_or(delivery, at + min(pause, LONGEST_PAUSE), at)
    elif delivery.state == State.PLACED:
        deliveries.go_to(delivery, State.PLACED, due_at=at + pause)
    else:
        # It was taken back while it was being placed.
        deliveries.go_to(delivery, delivery.state, due_at=at)
        deliveries.send(delivery)


def _be_refused(attempt: DeliveryAttempt, delivery: Delivery, why: str, at: datetime) -> None:
    """The provider is there and will not do it: an order fails, a cancellation is waited for."""
    _answers(delivery)
    _end(attempt, Outcome.REFUSED, why)
    delivery.last_error = why
    order = delivery.service_order
    if delivery.state == State.TO_PLACE:
        deliveries.go_to(delivery, State.CLOSED, due_at=None)
        partner_orders.fail(service_order_id=order.pk, partner=order.partner, reason=why, at=at)
    elif attempt.delivery.state == State.TO_CANCEL and delivery.reference:
        # It will deliver whatever we say; what it delivers is ended when it is there.
        deliveries.go_to(delivery, State.CANCELLING, due_at=at + FIRST_PAUSE)
    else:
        _try_later(delivery, at)


def _fail(attempt: DeliveryAttempt, delivery: Delivery, fault: Exception, at: datetime) -> None:
    why = str(fault)[:300]
    is_away = not isinstance(fault, OrderLost | _NeverThere)
    _end(attempt, Outcome.FAILED if is_away else Outcome.TOLD, why)
    delivery.last_error = why
    if is_away:
        connection = delivery.connection
        connection.last_error = why
        _keep_breaker(connection, breaker_of(connection).after_failure(at))
        _try_later(delivery, at)
        return
    _answers(delivery)
    if delivery.state == State.PLACED:
        delivery.reference = delivery.provider_state = ""
        delivery.told_at = None
        deliveries.go_to(delivery, State.TO_PLACE, due_at=at + FIRST_PAUSE)
    elif attempt.delivery.state in {State.TO_CANCEL, State.CANCELLING}:
        deliveries.go_to(delivery, State.CLOSED, due_at=None)
    else:
        _try_later(delivery, at)


def _try_later(delivery: Delivery, at: datetime) -> None:
    pause = jobs.backoff(delivery.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
    _give_up_or(delivery, at + pause, at)


def _give_up_or(delivery: Delivery, due_at: datetime, at: datetime) -> None:
    """Park what could not be taken back in time; a person has to call the provider then."""
    is_taken_back = delivery.state in {State.TO_CANCEL, State.CANCELLING}
    if is_taken_back and delivery.cancel_by is not None and delivery.cancel_by <= at:
        deliveries.go_to(delivery, State.PARKED, due_at=None)
    else:
        deliveries.go_to(delivery, delivery.state, due_at=due_at)


def _answers(delivery: Delivery) -> None:
    """The provider is there: its breaker closes."""
    delivery.connection.last_error = ""
    _keep_breaker(delivery.connection, breaker_of(delivery.connection).after_success())


def _end(attempt: DeliveryAttempt, outcome: str, detail: str) -> None:
    attempt.outcome, attempt.detail = outcome, detail[:300]
    attempt.save(update_fields=["outcome", "detail", "ended_at", "calls"])


def breaker_of(connection: DeliveryConnection) -> Breaker:
    return Breaker(
        failures=connection.failures,
        open_until=connection.open_until,
        threshold=connection.breaker_threshold,
        pause=timedelta(seconds=connection.breaker_pause_seconds),
    )


def _keep_breaker(connection: DeliveryConnection, breaker: Breaker) -> None:
    connection.failures, connection.open_until = breaker.failures, breaker.open_until
    connection.save(update_fields=["failures", "open_until", "last_error"])
