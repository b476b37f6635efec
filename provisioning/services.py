"""The life of services: reserved, active, suspended, ceased; and the periods for charging."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from ipam import allocation
from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput
from provisioning import partner_orders, profiles
from provisioning.models import Service, ServiceOrder, ServicePeriod
from provisioning.transitions import SERVICE
from qualification import ports
from qualification.models import AccessPort, ServiceQualification

# A period has a length: what ends in the moment it began lasts this long.
SHORTEST = timedelta(microseconds=1)


@transaction.atomic
def create_carried_service(
    *, line: Service, offering: ProductOffering, at: datetime, bundle: ProductOffering | None = None
) -> Service:
    """Make the service of a partner's product on a line, reserved until the partner confirms.

    Raises:
        InvalidInput: the line has been ceased, or is itself carried by another.
    """
    if line.line_id is not None or line.state == Service.State.CEASED:
        raise InvalidInput("Choose a line that is not ceased.", field="line")
    return Service.objects.create(
        subscriber_id=line.subscriber_id,
        offering=offering,
        bundle=bundle,
        line=line,
        premises_id=line.premises_id,
        created_at=at,
    )


def take_port(
    *, line: Service, at: datetime, qualification: ServiceQualification | None = None
) -> AccessPort | None:
    """Take a port for a line; the one that it has, if it has one. None where none are counted.

    One that is held for `qualification`, the answer that was ordered from, comes first.

    Raises:
        NoFreePort: all ports at the premises are taken, or held for others.
        NotReached: no list says that the network reaches the premises.
    """
    plan = line.offering
    if plan.provider is None or plan.technology is None:
        raise ValueError(f"{plan.code} is no access plan")
    return ports.reserve_port(
        premises=line.premises,
        provider=plan.provider,
        technology=plan.technology,
        service_ref=line.public_id,
        qualification=qualification,
        at=at,
    )


@transaction.atomic
def activate(*, service: Service, at: datetime) -> Service:
    """Make a service active, new or after a suspension. Publishes `service.activated`.

    An active service stays as it is. Raises IllegalTransition when it has been ceased.
    """
    held = db.lock(Service, service.pk)
    if held.state == Service.State.ACTIVE:
        return held
    return _move(held, Service.State.ACTIVE, "service.activated", at=at)


@transaction.atomic
def suspend(*, service: Service, reason: str, at: datetime) -> Service:
    """Stop a service for a time: the AAA refuses a suspended line. Publishes `service.suspended`.

    A suspended service stays as it is. Raises IllegalTransition when it is not active.
    """
    held = db.lock(Service, service.pk)
    if held.state == Service.State.SUSPENDED:
        return held
    return _move(held, Service.State.SUSPENDED, "service.suspended", at=at, reason=reason)


@transaction.atomic
def cease(*, service: Service, at: datetime) -> Service:
    """End a service for good, with all that hangs on it. Publishes `service.ceased`.

    A line's carried services end first, then its login, addresses and port are free again.
    Partners who were asked for something are asked to end it. A ceased service stays as it is.
    """
    family = Service.objects.select_for_update(of=("self",)).order_by("pk")
    members = list(family.filter(pk=service.pk) | family.filter(line_id=service.pk))
    for carried in (member for member in members if member.pk != service.pk):
        _cease_one(carried, at)
    held = next(member for member in members if member.pk == service.pk)
    return _cease_one(held, at)


def _cease_one(service: Service, at: datetime) -> Service:
    if service.state == Service.State.CEASED:
        return service
    _move(service, Service.State.CEASED, "service.ceased", at=at)
    for order in _asked_of_partners(service):
        partner_orders.withdraw(service_order_id=order.pk, reason="The service has ended.", at=at)
    if service.line_id is None:
        allocation.close_holder(service_ref=service.public_id, at=at)
        ports.release_port(service_ref=service.public_id, at=at)
    return service


def _asked_of_partners(service: Service) -> list[ServiceOrder]:
    """What partners still have to end: all but a one-off product that was delivered and used."""
    used_up = Q(kind="entitlement", state="completed", offering__is_subscription=False)
    return list(service.service_orders.exclude(used_up).order_by("pk"))


def _move(service: Service, state: str, event: str, *, at: datetime, reason: str = "") -> Service:
    """Write the state of a locked service, end its open period and begin the next.

    What the network lets the line do follows at once, and so do its sessions.
    """
    SERVICE.require(service.state, state)
    service.state = state
    service.save(update_fields=["state"])
    if service.line_id is None:
        profiles.refresh(service=service, at=at)
    began = _end_period(service, at)
    if state in {Service.State.ACTIVE, Service.State.SUSPENDED}:
        ServicePeriod.objects.create(
            service=service, offering_id=service.offering_id, state=state, started_at=began
        )
    events.publish(
        event, subject=service.public_id, at=at, **({"reason": reason} if reason else {})
    )
    return service


def _end_period(service: Service, at: datetime) -> datetime:
    """End the open period, if there is one; return the moment at which the next may begin."""
    for period in service.periods.filter(ended_at__isnull=True):
        period.ended_at = max(at, period.started_at + SHORTEST)
        period.save(update_fields=["ended_at"])
        return period.ended_at
    return at
