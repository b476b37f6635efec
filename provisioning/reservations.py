"""What a line's device gets by DHCP, written into the database of its server (figure 4, step 3).

What the server should have is a row of ours, written in the transaction of the change that causes
it, with a revision; the row is due until the server has that revision. Steps of orders bring it
up and see that it is; a sweep does the same for what no step waits for, as when an order is taken
back. The address is ipam's. Locks are taken in the order: service, reservation, addresses.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, QuerySet

from ipam import allocation, queries, selection
from ipam.models import Pool
from ispops import db, jobs
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, PermanentFault, TransientFault
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import dhcp_telling, in_force, upkeep
from provisioning.models import DhcpReservation, DhcpServer, OrderTask, ProductOrderItem, Service
from provisioning.network import kea
from provisioning.outcomes import Outcome
from qualification.models import AccessPort

log = logging.getLogger(__name__)

PAUSES = upkeep.Pauses(timedelta(seconds=5), timedelta(minutes=10))
# A reservation has no lease: the address is the line's until it is released.
FOR_GOOD = timedelta(days=36_525)
Access = DhcpReservation.Access


class DeviceUnknown(PermanentFault):
    """Nothing says by what the DHCP server would tell the line's device."""

    cause = "dhcp_device_unknown"


class NoAddress(PermanentFault):
    """Ipam gives the line no address."""

    cause = "dhcp_no_address"


def server_of(offering: ProductOffering) -> DhcpServer | None:
    """Return where a new line of a plan gets its addresses; None when it is by RADIUS."""
    servers = DhcpServer.objects.select_related("address_server").filter(
        provider=offering.provider_id
    )
    fits = servers.filter(Q(technology=offering.technology) | Q(technology__isnull=True))
    return fits.order_by(F("technology").asc(nulls_last=True)).first()


def with_waiting(servers: QuerySet[DhcpServer]) -> QuerySet[DhcpServer]:
    """Add `waiting_count` to each server: the reservations that it does not know of yet."""
    unknown = Q(reservations__written_revision__lt=F("reservations__revision"))
    return servers.annotate(waiting_count=Count("reservations", filter=unknown))


def is_by_dhcp(item: ProductOrderItem) -> bool:
    """Say whether a DHCP server has to be told of what an order does to a line."""
    if item.action == ProductOrderItem.Action.ADD:
        return server_of(item.offering) is not None
    return DhcpReservation.objects.filter(service=item.service_id).exists()


def server_of_step(task: OrderTask) -> DhcpServer | None:
    """Return the server that a step of an order tells; None when the line has none any more."""
    item = task.item
    if item is None:
        return None
    kept = DhcpReservation.objects.select_related("dhcp_server__address_server")
    found = kept.filter(service=item.service_id).first()
    return found.dhcp_server if found else server_of(item.offering)


@transaction.atomic
def refresh(*, service: Service, at: datetime) -> DhcpReservation | None:
    """Bring what the server should have in line with the service and its suspensions.

    The caller has locked the service. None where the line has no reservation.
    """
    held = _lock(service)
    if held is None:
        return None
    before = (held.access, held.device, held.address)
    held.access = _access(service, held)
    if service.state == Service.State.CEASED:
        # The next line of the port has its circuit, and somebody else its address.
        held.device, held.address = "", None
    if (held.access, held.device, held.address) != before:
        _want(held, at)
    return held


def bring_up(*, service: Service, at: datetime) -> Outcome:
    """See that the DHCP server has what it should; for steps of orders, outside any transaction.

    The first time, it finds out by what the device is told, and reserves the address.

    Raises:
        DeviceUnknown, NoAddress: there is nothing to write yet, or nothing left to give.
        TransientFault: the server's database is away, or another worker is at it.
        PermanentFault: it refused.
    """
    prepared = _prepare(service, at)
    if prepared is None:
        return Outcome("The line gets no address by DHCP.")
    if prepared.written_revision == prepared.revision:
        return Outcome(f"{prepared.dhcp_server} has it already.")
    mine = DhcpReservation.objects.filter(pk=prepared.pk)
    taken = _take(upkeep.due_now(mine, at), at)
    if taken is None:
        raise TransientFault("Another worker is writing the reservation.")
    return upkeep.write(taken, dhcp_telling.tell, at, pauses=PAUSES)


def sync_due(*, at: datetime, limit: int) -> int:
    """Write up to `limit` reservations that are due; returns how many were worked on.

    A server that does not answer is not asked again by the same call.
    """
    done, away = 0, set[int]()
    while done < limit:
        taken = _take(DhcpReservation.objects.exclude(dhcp_server__in=away), at)
        if taken is None:
            break
        done += 1
        try:
            upkeep.write(taken, dhcp_telling.tell, at, pauses=PAUSES)
        except TransientFault:
            away.add(taken.dhcp_server_id)
        except Exception:
            log.exception("reservation %s could not be written", taken.pk)
    return done


@transaction.atomic
def name_device(
    *, service: Service, device: str, actor: User, reason: str, at: datetime
) -> DhcpReservation:
    """Say by what the line's device is told: a hardware address, a DUID or a circuit id.

    Empty is the circuit of its port again. Another device gets another address.

    Raises:
        InvalidInput: it is no such thing, another line has it, there is no reservation, or no
            address for it.
    """
    if not reason.strip():
        raise InvalidInput("Say why the device is named.", field="reason")
    held_service = db.lock(Service, service.pk)
    held = _lock(held_service)
    if held is None or held_service.state == Service.State.CEASED:
        raise InvalidInput("This line has no reservation.", field="service")
    named = _checked(device)
    held.is_named = bool(named)
    if held.device != (wanted := named or _circuit(held_service, held.dhcp_server)):
        allocation.release_address(
            service_ref=held_service.public_id, device=held.device, at=at, because="device_changed"
        )
        held.device, held.address = wanted, None
        if wanted:
            try:
                _give_address(held_service, held, at)
            except NoAddress as none:
                raise InvalidInput(str(none), field="device") from none
        held.access = _access(held_service, held)
        _want(held, at)
    held.save(update_fields=["is_named"])
    audit.record(
        actor=actor,
        action="dhcp_reservation.device_named",
        subject=held_service.public_id,
        subscriber=held_service.subscriber,
        reason=reason.strip(),
        at=at,
        device=held.device,
    )
    return held


@transaction.atomic
def follow_addresses(*, service: Service, at: datetime) -> DhcpReservation | None:
    """Reserve what the line's devices have by ipam now: a static address came or went, they were
    renumbered, or a further device was let in. None where the line has no reservation.

    The server is told at once, by the next sweep.
    """
    line = db.lock(Service, service.pk)
    held = _lock(line)
    if held is None or line.state == Service.State.CEASED:
        return None
    if not held.device:
        held.last_error = (
            f"The line has an address at {held.dhcp_server}, which does not know its device: name "
            "the device."
        )
        held.save(update_fields=["last_error"])
        return held
    held.address, refused = None, ""
    try:
        _give_address(line, held, at, anew=True)
    except NoAddress as none:
        refused = str(none)
    held.access = _access(line, held)
    _want(held, at)
    held.next_attempt_at, held.last_error = at, refused[:300]
    held.save(update_fields=["next_attempt_at", "last_error"])
    return held


def require_device(line: Service) -> None:
    """See that a DHCP server could be told of an address of a line's own.

    Raises:
        DeviceUnknown: the line is served by one, and nothing says by what it tells the device.
    """
    held = DhcpReservation.objects.filter(service=line, device="").first()
    if held is not None:
        raise DeviceUnknown(
            f"{held.dhcp_server} does not know the line's device, so an address cannot be kept for "
            "it: name the device."
        )


@transaction.atomic
def write_again(*, reservation_id: int, actor: User, at: datetime) -> DhcpReservation:
    """Write a reservation to its server anew, as after the server's database was lost."""
    held = DhcpReservation.objects.select_for_update(of=("self",)).get(pk=reservation_id)
    _want(held, at)
    held.next_attempt_at = at
    held.save(update_fields=["next_attempt_at"])
    audit.record(
        actor=actor,
        action="dhcp_reservation.written_again",
        subject=held.service.public_id,
        subscriber=held.service.subscriber,
        at=at,
    )
    return held


# --- What the server should have ----------------------------------------------------------------


def _lock(service: Service) -> DhcpReservation | None:
    rows = DhcpReservation.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("dhcp_server__address_server").filter(service=service).first()


def _access(service: Service, held: DhcpReservation) -> str:
    """Return what the device is to get. A line that is being set up has got that far already."""
    if not held.device or service.state == Service.State.CEASED:
        return Access.NONE
    if held.address is None and not _chooses(held.dhcp_server):
        return Access.NONE
    open_ones = service.suspensions.filter(ended_at__isnull=True)
    treatment = in_force.treatment(
        state=service.state, treatments=list(open_ones.values_list("treatment", flat=True))
    )
    served = {"": Access.OPEN, in_force.WALLED_GARDEN: Access.WALLED_GARDEN}
    return served.get(treatment, Access.NONE)


def _want(held: DhcpReservation, at: datetime) -> None:
    upkeep.want_anew(held, at)
    try:
        with transaction.atomic():
            held.save()
    except IntegrityError as refused:
        if "one_reservation_a_device" in str(refused):
            raise InvalidInput(
                f"Another line is told by {held.device} already.", field="device"
            ) from refused
        raise


def _prepare(service: Service, at: datetime) -> DhcpReservation | None:
    """Return the row of a line, complete; made if the line is new on a network with DHCP.

    The row is there even if nothing is known of the device, so that a person can name it.
    """
    with transaction.atomic():
        line = db.lock(Service, service.pk)
        held = _lock(line)
        if held is None:
            server = server_of(line.offering)
            if server is None or line.state == Service.State.CEASED:
                return None
            held = DhcpReservation(service=line, dhcp_server=server, next_attempt_at=None)
            held.save(force_insert=True)
    with transaction.atomic():
        line = db.lock(Service, service.pk)
        held = _lock(line)
        if held is not None and line.state != Service.State.CEASED and not _is_complete(held):
            _complete(line, held, at)
    return held


def _chooses(server: DhcpServer) -> bool:
    """Say whether a server chooses the addresses of its lines itself; see `ipam.observed`."""
    purposes = set(server.address_server.pools.values_list("purpose", flat=True))
    return Pool.Purpose.LEASED in purposes and Pool.Purpose.DYNAMIC not in purposes


def _is_complete(held: DhcpReservation) -> bool:
    return bool(held.address) or (bool(held.device) and _chooses(held.dhcp_server))


def _complete(line: Service, held: DhcpReservation, at: datetime) -> None:
    held.device = held.device or _circuit(line, held.dhcp_server)
    if not held.device:
        raise DeviceUnknown(
            f"{held.dhcp_server} tells lines by their circuit, and the line has no port that would "
            "give it one: name its device."
        )
    _give_address(line, held, at)
    held.access = _access(line, held)
    _want(held, at)


def _circuit(line: Service, server: DhcpServer) -> str:
    """Return the circuit id of a line's port; empty when there is none."""
    port = AccessPort.objects.select_related("node").filter(service_ref=line.public_id).first()
    if port is None or not server.circuit_id:
        return ""
    return server.circuit_id.format(node=port.node.name, port=port.number)


def _give_address(
    line: Service, held: DhcpReservation, at: datetime, *, anew: bool = False
) -> None:
    """Reserve what ipam gives the device; where the server chooses, only a static address is."""
    server = held.dhcp_server.address_server
    if _chooses(held.dhcp_server) and not queries.keeps_static(line.public_id, server):
        return
    answer = allocation.request_addresses(
        service_ref=line.public_id, device=held.device, server=server, at=at, lease=FOR_GOOD,
        anew=anew,
    )  # fmt: skip
    if answer.outcome != allocation.Outcome.GRANTED or answer.ipv4 is None:
        raise NoAddress(answer.reason or "The plan includes no IPv4 address.")
    held.address = answer.ipv4


def _checked(device: str) -> str:
    """Return the one name of a device; a circuit id as it is, because its case counts."""
    if not device.strip():
        return ""
    try:
        name = selection.normalise_device(device)
    except selection.UnusableDevice as unusable:
        raise InvalidInput(f"The device cannot be told: {unusable}.", field="device") from unusable
    is_circuit = kea.device(name).type == kea.CIRCUIT_ID
    return device.strip() if is_circuit else name


# --- Telling the server -------------------------------------------------------------------------


def _take(rows: QuerySet[DhcpReservation], at: datetime) -> DhcpReservation | None:
    """Take the next due row, for longer than its server may take."""
    takes = timedelta(seconds=dhcp_telling.CONNECT_SECONDS + 5 * dhcp_telling.STATEMENT_SECONDS)
    taken = jobs.claim(
        rows.select_related("dhcp_server__address_server", "service"),
        at=at,
        lease=takes + settings.TASK_LEASE,
    )
    return taken[0] if taken else None
