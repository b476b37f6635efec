"""What stands at a subscriber's place, and that it has the name and secret of its line.

As with `reservations`, a row of ours says which revision the device should have, and is due until
it has that; a step of the line's order brings it up, and a sweep does what no step waits for. A
device that is away for long is a person's to see to. Locks: service, then equipment.
"""

import logging
import string
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ispops import db, jobs
from ispops.errors import InvalidInput, TransientFault
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import reservations, upkeep
from provisioning.models import (
    AaaCredential,
    EquipmentModel,
    ProductOrderItem,
    Service,
    SubscriberEquipment,
)
from provisioning.network import genieacs
from provisioning.outcomes import Outcome

log = logging.getLogger(__name__)

PAUSES = upkeep.Pauses(timedelta(seconds=30), timedelta(minutes=30))
# A device that is asked for now answers the ACS within this, or is taken for away.
ACS_SECONDS = 20.0
MOST_PARAMETERS = 20


def is_configured_here() -> bool:
    """Say whether there is an ACS by which devices are configured."""
    return bool(settings.ACS_URL)


def is_configured(item: ProductOrderItem) -> bool:
    """Say whether what an order does to a line is for its device to know.

    Of a new line it may not be known yet which device it has; one by DHCP needs no name.
    """
    if item.action == ProductOrderItem.Action.ADD:
        return is_configured_here() and reservations.server_of(item.offering) is None
    devices = SubscriberEquipment.objects.filter(service=item.service_id)
    return is_configured_here() and devices.exists()


# --- Models and devices -------------------------------------------------------------------------


@transaction.atomic
def set_model(
    *, model_id: int | None = None, name: str, parameters: str, actor: User | None = None,
    at: datetime,
) -> EquipmentModel:  # fmt: skip
    """Write down a make of device, new or known, and where it keeps the name and secret of a line.

    Devices that were configured before stay as they are.

    Raises:
        InvalidInput: the name is taken, or a line of `parameters` is no `path = value`.
    """
    model = EquipmentModel() if model_id is None else db.lock(EquipmentModel, model_id)
    model.name, model.parameters = name.strip(), parameters.strip()
    db.check_fields(model, "name", "parameters")
    filled(model, username="n", password="s")  # noqa: S106
    try:
        with transaction.atomic():
            model.save()
    except IntegrityError as taken:
        raise InvalidInput("There is a model of this name already.", field="name") from taken
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="equipment_model.set",
        subject=f"equipment_model_{model.pk}",
        at=at,
        name=model.name,
    )
    return model


def filled(model: EquipmentModel, *, username: str, password: str) -> dict[str, str]:
    """Return what a device of a model is told for a line. Raises InvalidInput as `set_model`."""
    values: dict[str, str] = {}
    for line in filter(None, map(str.strip, model.parameters.splitlines())):
        path, equals, value = (part.strip() for part in line.partition("="))
        try:
            names = {
                f"{name}{spec}{conversion or ''}"
                for _, name, spec, conversion in string.Formatter().parse(value)
                if name is not None
            }
        except ValueError:
            names = {"?"}
        is_path = path.replace(".", "").replace("_", "").replace("-", "").isalnum() and "." in path
        if not (equals and is_path and path.isascii() and names <= {"username", "password"}):
            raise InvalidInput(
                f"{line[:80]!r} is no line like Device.PPP.Interface.1.Username = {{username}}.",
                field="parameters",
            )
        values[path] = value.format(username=username, password=password)
    if not 1 <= len(values) <= MOST_PARAMETERS:
        raise InvalidInput(f"Write 1 to {MOST_PARAMETERS} lines.", field="parameters")
    return values


@transaction.atomic
def note_equipment(
    *, service: Service, model: EquipmentModel, serial: str, actor: User | None, at: datetime
) -> SubscriberEquipment:
    """Write down which device stands at a line; it is configured when the line is set up, or soon.

    Raises:
        InvalidInput: there is no such serial number, it is another line's, or the line has ended.
    """
    line = db.lock(Service, service.pk)
    if line.line_id is not None or line.state == Service.State.CEASED:
        raise InvalidInput("Choose a line that has not ended.", field="service")
    held = _lock(line) or SubscriberEquipment(service=line, revision=0)
    held.model, held.serial, held.noted_at, held.noted_by = model, serial.strip(), at, actor
    db.check_fields(held, "serial")
    if not (held.serial.isascii() and held.serial.isprintable()):
        raise InvalidInput("Write the serial number as on its label.", field="serial")
    _want(held, at)
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="equipment.noted",
        subject=line.public_id,
        subscriber=line.subscriber,
        at=at,
        model=model.name,
        serial=held.serial,
    )
    return held


@transaction.atomic
def refresh(*, service: Service, at: datetime) -> None:
    """Have the device of a line that has ended cleared. The caller has locked the service."""
    held = _lock(service) if service.state == Service.State.CEASED else None
    if held is not None and held.serial:
        _want(held, at)


def _lock(line: Service) -> SubscriberEquipment | None:
    rows = SubscriberEquipment.objects.select_for_update(of=("self",), no_key=True)
    return rows.filter(service=line).first()


def _want(held: SubscriberEquipment, at: datetime) -> None:
    upkeep.want_anew(held, at)
    try:
        with transaction.atomic():
            held.save()
    except IntegrityError as taken:
        raise InvalidInput(
            f"The serial number {held.serial} is another line's.", field="serial"
        ) from taken


# --- Telling the device -------------------------------------------------------------------------


def bring_up(*, service: Service, at: datetime) -> Outcome:
    """See that the line's device has its name and secret, or not any more; for steps of orders.

    Raises:
        DeviceAway: it was not reached, or another worker is at it.
        TransientFault: the ACS is away.
        PermanentFault: a person has to look; `cause` says why.
    """
    held = SubscriberEquipment.objects.filter(service=service).first()
    if held is None:
        return Outcome("No device of the line is noted that we configure.")
    if held.written_revision == held.revision:
        return Outcome(f"{held} has it already.")
    mine = SubscriberEquipment.objects.filter(pk=held.pk)
    taken = _take(upkeep.due_now(mine, at), at)
    if taken is None:
        raise genieacs.DeviceAway("Another worker is configuring the device.")
    return _configure(taken, at)


def sync_due(*, at: datetime, limit: int) -> int:
    """Configure up to `limit` devices that are due; returns how many were tried."""
    done = 0
    while is_configured_here() and done < limit:
        taken = _take(SubscriberEquipment.objects.all(), at)
        if taken is None:
            break
        done += 1
        try:
            _configure(taken, at)
        except TransientFault as fault:
            if not fault.system_answered:
                break
        except Exception:
            log.exception("equipment %s could not be configured", taken.pk)
    return done


def _take(rows: QuerySet[SubscriberEquipment], at: datetime) -> SubscriberEquipment | None:
    lease = timedelta(seconds=5 * ACS_SECONDS) + settings.TASK_LEASE
    taken = jobs.claim(rows.select_related("model", "service"), at=at, lease=lease)
    return taken[0] if taken else None


def _tell(row: SubscriberEquipment) -> Outcome:
    is_over = row.service.state == Service.State.CEASED
    username = password = ""
    if not is_over:
        login = AaaCredential.objects.get(service=row.service_id)
        username, password = login.username, login.secret
    acs = genieacs.Acs(settings.ACS_URL, settings.ACS_TOKEN, ACS_SECONDS)
    values = filled(row.model, username=username, password=password)
    asked = genieacs.set_parameters(acs, row.serial, values)
    words = "has forgotten the line" if is_over else f"logs in as {username}"
    return Outcome(f"{row} {words}.", request=asked)


def _configure(row: SubscriberEquipment, at: datetime) -> Outcome:
    return upkeep.write(row, _tell, at, pauses=PAUSES, then=_let_go)


def _let_go(held: SubscriberEquipment) -> None:
    if held.service.state == Service.State.CEASED:
        # The device may serve another line now.
        held.serial = ""
