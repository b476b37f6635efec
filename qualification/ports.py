"""Verbs for ports: the last free one goes to one service, whoever else wants it."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import F

from ispops.errors import Refusal
from ispops.parties.models import Partner
from qualification.models import AccessNode, AccessPort, CoverageArea, Premises


class NoFreePort(Refusal):
    code = "no_free_port"
    title = "All connections in this area are taken"


@transaction.atomic
def reserve_port(
    *, premises: Premises, provider: Partner, technology: int, service_ref: str, at: datetime
) -> AccessPort | None:
    """Take a free port of the node that serves a place, for one service.

    Repeating it for the same service gives the port it has. Returns None where the network counts
    no ports. Coverage that ended after the promise still counts, because the promise stands.

    Raises:
        NoFreePort: the last one was taken meanwhile, or the network never reached the place.
    """
    held = AccessPort.objects.filter(service_ref=service_ref).first()
    if held:
        return held
    coverage = _coverage(premises, provider, technology, at)
    if coverage is None:
        raise NoFreePort(f"{provider.name} has no connection at this address.", field="offering")
    if coverage.node is None:
        return None
    port = _lock_free_port(coverage.node)
    if port is None:
        raise NoFreePort(
            f"The last connection of {provider.name} in this area has just been taken. "
            "Check the address again to see what else there is.",
            field="offering",
        )
    port.service_ref, port.taken_at = service_ref, at
    try:
        with transaction.atomic():
            port.save(update_fields=["service_ref", "taken_at"])
    except IntegrityError:
        # The same service asked twice at once; the other one was quicker.
        return AccessPort.objects.get(service_ref=service_ref)
    return port


@transaction.atomic
def release_port(*, service_ref: str, at: datetime) -> bool:
    """Give back the port of a service; False when it has none (any more)."""
    taken = AccessPort.objects.select_for_update().filter(service_ref=service_ref, taken_at__lte=at)
    port = taken.first()
    if port is None:
        return False
    port.service_ref = port.taken_at = None
    port.save(update_fields=["service_ref", "taken_at"])
    return True


def _coverage(
    premises: Premises, provider: Partner, technology: int, at: datetime
) -> CoverageArea | None:
    """Return the row in force for a place, or the one that was last; the premises' own first."""
    rows = CoverageArea.objects.select_related("node").filter(
        provider=provider, technology=technology, valid_from__lte=at
    )
    newest = F("valid_to").desc(nulls_first=True), "-valid_from"
    own = rows.filter(premises=premises).order_by(*newest).first()
    if own or not premises.h3_res8:
        return own
    return rows.filter(h3_res8=premises.h3_res8).order_by(*newest).first()


def _lock_free_port(node: AccessNode) -> AccessPort | None:
    """Lock the first free port that nobody else is about to take.

    When all that are free are locked, their holders may yet give up: so wait for them, and only
    then say that none is left.
    """
    free = AccessPort.objects.filter(node=node, service_ref__isnull=True).order_by("number")
    port = free.select_for_update(skip_locked=True).first()
    return port or free.select_for_update().first()
