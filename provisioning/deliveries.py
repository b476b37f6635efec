"""Our orders at providers that have an API of their own: begun, taken back, tried again.

A delivery is written in the transaction of its service order; a worker calls the provider, see
`provisioning.delivering`. Locks are taken in the order: service order, delivery, connection.
"""

from datetime import datetime, timedelta

from django.db import transaction

from ispops import db, jobs
from ispops.errors import IllegalTransition, NotFound
from ispops.parties import audit
from ispops.parties.models import Partner, User
from provisioning.models import Delivery, DeliveryConnection, ServiceOrder
from provisioning.transitions import DELIVERY

State = Delivery.State
# After this, a person has to see to it that the provider does not deliver.
TAKEN_BACK_WITHIN = timedelta(days=3)


def connection_of(partner: Partner) -> DeliveryConnection | None:
    """Return how a provider takes orders by its API; None for one that is told by webhook."""
    return DeliveryConnection.objects.filter(partner=partner, active=True).first()


def begin(*, order: ServiceOrder, at: datetime) -> Delivery | None:
    """Have a new order placed by the provider's API; None where the partner has none."""
    connection = connection_of(order.partner) if order.kind == ServiceOrder.Kind.LINE else None
    if connection is None:
        return None
    delivery = Delivery.objects.create(
        service_order=order, connection=connection, next_attempt_at=at
    )
    send(delivery)
    return delivery


def of_order(order: ServiceOrder) -> Delivery | None:
    """Hold the delivery of an order that the caller has locked; None where it went by webhook."""
    held = Delivery.objects.select_for_update(of=("self",), no_key=True)
    delivery = held.filter(service_order=order).first()
    if delivery is not None:
        delivery.service_order = order
    return delivery


def is_anothers(delivery: Delivery, reference: str) -> bool:
    """Say whether a provider's id is that of another of our orders."""
    others = Delivery.objects.filter(connection=delivery.connection_id).exclude(pk=delivery.pk)
    return bool(reference) and others.filter(reference=reference).exists()


def take_back(*, delivery: Delivery, at: datetime) -> None:
    """Have a locked delivery cancelled at the provider, whatever it knows of it by now.

    A worker that is calling the provider at this moment keeps its lease, so that nobody looks for
    the order before it can have arrived.
    """
    if delivery.state in {State.TO_CANCEL, State.CANCELLING}:
        return
    delivery.cancel_by = at + TAKEN_BACK_WITHIN
    delivery.attempts = 0
    go_to(delivery, State.TO_CANCEL, due_at=at)
    send(delivery)


def go_to(delivery: Delivery, state: str, *, due_at: datetime | None) -> None:
    """Write the state of a locked delivery with all that was changed; closed, it is not due."""
    if delivery.state != state:
        DELIVERY.require(delivery.state, state)
        delivery.state = state
    is_over = state in {State.CLOSED, State.PARKED}
    delivery.next_attempt_at = None if is_over else due_at
    if is_over:
        delivery.leased_until = None
    delivery.save()


@transaction.atomic
def try_again(*, service_order_id: object, actor: User, at: datetime, reason: str = "") -> Delivery:
    """Call the provider now: for a parked delivery with its whole time again.

    Raises:
        NotFound: there is no such order at a provider's API.
        IllegalTransition: it is closed, or the provider is being called at this moment.
    """
    order = db.lock(ServiceOrder, service_order_id)
    delivery = of_order(order)
    if delivery is None:
        raise NotFound("This order was not placed by an API.")
    if delivery.state == State.CLOSED:
        raise IllegalTransition("There is nothing left to say to the provider.")
    if delivery.leased_until and delivery.leased_until > at:
        raise IllegalTransition("The provider is being called right now. Look again in a minute.")
    before = delivery.state
    if delivery.state == State.PARKED:
        take_back(delivery=delivery, at=at)
    else:
        go_to(delivery, delivery.state, due_at=at)
        send(delivery)
    _close_breaker(delivery.connection_id, at)
    audit.record(
        actor=actor,
        action="delivery.tried_again",
        subject=order.public_id,
        reason=reason,
        at=at,
        was=before,
    )
    return delivery


def _close_breaker(connection_id: int, at: datetime) -> None:
    connection = db.lock(DeliveryConnection, connection_id)
    if connection.open_until and connection.open_until > at:
        connection.open_until = at
        connection.save(update_fields=["open_until"])


def send(delivery: Delivery) -> None:
    """Ask a worker to call the provider once this transaction is committed."""
    from provisioning.tasks import deliver

    jobs.send_on_commit(deliver, delivery_id=delivery.pk)
