"""The life of services: reserved, active, suspended, ceased; and the periods for charging."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest

from ipam import allocation, static_addresses
from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import partner_orders, profiles, reservations
from provisioning.models import (
    AaaCredential,
    Service,
    ServiceOrder,
    ServicePeriod,
    ServiceSuspension,
    Slowdown,
)
from provisioning.transitions import SERVICE
from qualification import ports
from qualification.models import AccessPort, ServiceQualification

# A period has a length: what ends in the moment it began lasts this long.
SHORTEST = timedelta(microseconds=1)


@transaction.atomic
def create_carried_service(
    *,
    line: Service,
    offering: ProductOffering,
    at: datetime,
    bundle: ProductOffering | None = None,
    ends_at: datetime | None = None,
) -> Service:
    """Make the service of a partner's product on a line, reserved until the partner confirms.

    One that has an `ends_at` ends by itself then; see `provisioning.boosts`.

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
        ends_at=ends_at,
    )


def show_login(*, line: Service, actor: User, at: datetime) -> AaaCredential | None:
    """Return the login by which a line's equipment gets in, for somebody to read.

    Its password is kept as it is, so each time it is shown is written down. None for a line that
    has no login (yet).
    """
    login = AaaCredential.objects.filter(service=line).first()
    if login is not None:
        audit.record(
            actor=actor, action="line.login_shown", subject=line.public_id,
            subscriber=line.subscriber, at=at, username=login.username,
        )  # fmt: skip
    return login


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
    if held.line_id is None and held.state == Service.State.RESERVED:
        static_addresses.follow_plan(service_ref=held.public_id, at=at)
    if is_static(held) and held.line is not None:
        reservations.require_device(held.line)
        static_addresses.assign_static(
            service_ref=held.line.public_id, cause_ref=held.public_id, at=at
        )
    return _move(held, Service.State.ACTIVE, "service.activated", at=at)


def is_static(service: Service) -> bool:
    """Say whether a carried service is the add-on that pays for a static address."""
    return service.offering.addon_type == ProductOffering.Addon.STATIC_ADDRESS


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
def open_suspension(
    *, line: Service, reason: str, treatment: str, note: str, at: datetime
) -> ServiceSuspension:
    """Suspend a line for a reason, with our own add-ons on it; a partner's products go on.

    While one reason is open the line is suspended. One that is open already stays as it is.
    Raises IllegalTransition when the line is not live.
    """
    held = db.lock(Service, line.pk)
    known = held.suspensions.filter(reason=reason, ended_at__isnull=True).first()
    if known is not None:
        return known
    made = ServiceSuspension.objects.create(
        service=held, reason=reason, treatment=treatment, note=note, started_at=at
    )
    if held.state == Service.State.SUSPENDED:
        profiles.refresh(service=held, at=at)
        return made
    suspend_addons(line=held, at=at)
    suspend(service=held, reason=reason, at=at)
    return made


@transaction.atomic
def carry_suspensions(*, old: Service, line: Service, at: datetime) -> None:
    """Keep a line suspended that takes the place of one that we have suspended.

    Otherwise whoever is suspended for abuse, or for bills, would only have to move. A pause that
    the subscriber asked for ends with the old line. A line that is not live yet is suspended when
    it is, by the same call; a reason that it had before, and that may be lifted, is not repeated.
    """
    held = db.lock(Service, line.pk)
    for one in old.suspensions.filter(ended_at__isnull=True).order_by("pk"):
        is_ours = one.reason != ServiceSuspension.Reason.REQUESTED
        if is_ours and not held.suspensions.filter(reason=one.reason).exists():
            ServiceSuspension.objects.create(
                service=held,
                reason=one.reason,
                treatment=one.treatment,
                note=one.note,
                started_at=at,
            )
    first = held.suspensions.filter(ended_at__isnull=True).order_by("pk").first()
    if first is not None and held.state == Service.State.ACTIVE:
        suspend_addons(line=held, at=at)
        suspend(service=held, reason=first.reason, at=at)


@transaction.atomic
def suspend_addons(*, line: Service, at: datetime) -> None:
    """Suspend our own add-ons on a line that the caller has locked and is suspending."""
    for addon in _own_addons(line, Service.State.ACTIVE):
        _move(addon, Service.State.SUSPENDED, "service.suspended", at=at)


@transaction.atomic
def close_suspension(*, line: Service, reason: str, at: datetime) -> bool:
    """Lift one reason for which a line is suspended; it is active again when it was the last.

    Returns False when the line is not suspended for it (any more).
    """
    held = db.lock(Service, line.pk)
    open_ones = held.suspensions.filter(ended_at__isnull=True)
    if not open_ones.filter(reason=reason).update(ended_at=at):
        return False
    if open_ones.exists():
        profiles.refresh(service=held, at=at)
        return True
    for addon in _own_addons(held, Service.State.SUSPENDED):
        _move(addon, Service.State.ACTIVE, "service.activated", at=at)
    activate(service=held, at=at)
    return True


def _own_addons(line: Service, state: str) -> list[Service]:
    """Lock the add-ons of a line, such as a speed boost, which are of no use without it."""
    carried = Service.objects.select_for_update(of=("self",)).filter(line=line, state=state)
    return list(carried.filter(offering__kind=ProductOffering.Kind.ADDON).order_by("pk"))


@transaction.atomic
def change(
    *, service: Service, offering: ProductOffering, bundle: ProductOffering | None, at: datetime
) -> Service:
    """Make a service one of another offering, or part of another aggregated plan, from now on.

    The period of the old one ends where that of the new one begins. The line's addresses and its
    profile on the network follow. Publishes `service.changed`; what is so already stays as it is.
    """
    held = db.lock(Service, service.pk)
    if held.offering_id == offering.pk and held.bundle_id == (bundle.pk if bundle else None):
        return held
    held.offering, held.bundle = offering, bundle
    held.save(update_fields=["offering", "bundle"])
    if held.line_id is None:
        allocation.change_plan(service_ref=held.public_id, plan=offering, at=at)
        if held.state != Service.State.RESERVED:
            static_addresses.follow_plan(service_ref=held.public_id, at=at)
        profiles.refresh(service=held, at=at)
    if held.state in {Service.State.ACTIVE, Service.State.SUSPENDED}:
        _begin_period(held, _end_period(held, at))
    events.publish("service.changed", subject=held.public_id, at=at, offering=offering.code)
    return held


@transaction.atomic
def transfer(*, service: Service, line: Service, at: datetime) -> Service:
    """Let another line carry a product: its subscriber moves, and the partner notices nothing."""
    held = db.lock(Service, service.pk)
    if held.line_id is None or held.subscriber_id != line.subscriber_id:
        raise ValueError(f"{held.pk} cannot be carried by {line.pk}")
    held.line, held.premises_id = line, line.premises_id
    held.save(update_fields=["line", "premises"])
    events.publish("service.transferred", subject=held.public_id, at=at, line=line.public_id)
    return held


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
    service.suspensions.filter(ended_at__isnull=True).update(ended_at=at)
    service.slowdowns.filter(ended_at__isnull=True).update(
        # A line may end from a moment before the one at which it was slowed.
        ended_at=Greatest(F("started_at"), Value(at)),
        ended_for=Slowdown.EndedFor.LINE,
    )
    _move(service, Service.State.CEASED, "service.ceased", at=at)
    for order in _asked_of_partners(service):
        partner_orders.withdraw(service_order_id=order.pk, reason="The service has ended.", at=at)
    if service.line is not None and is_static(service):
        static_addresses.release_static(
            service_ref=service.line.public_id, cause_ref=service.public_id, at=at
        )
    if service.line_id is None:
        allocation.close_holder(service_ref=service.public_id, at=at)
        ports.release_port(service_ref=service.public_id, at=at)
    return service


def _asked_of_partners(service: Service) -> list[ServiceOrder]:
    """What partners still have to end: all but a one-off product that was delivered and used."""
    used_up = Q(kind="entitlement", state="completed", offering__is_subscription=False)
    # An order that ends a line is not taken back when the line ends.
    asked = service.service_orders.exclude(used_up).exclude(action=ServiceOrder.Action.DELETE)
    return list(asked.order_by("pk"))


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
        _begin_period(service, began)
    events.publish(
        event, subject=service.public_id, at=at, **({"reason": reason} if reason else {})
    )
    return service


def _begin_period(service: Service, at: datetime) -> None:
    ServicePeriod.objects.create(
        service=service,
        offering_id=service.offering_id,
        bundle_id=service.bundle_id,
        state=service.state,
        started_at=at,
    )


def _end_period(service: Service, at: datetime) -> datetime:
    """End the open period, if there is one; return the moment at which the next may begin."""
    for period in service.periods.filter(ended_at__isnull=True):
        period.ended_at = max(at, period.started_at + SHORTEST)
        period.save(update_fields=["ended_at"])
        return period.ended_at
    return at
