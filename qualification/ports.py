"""Verbs for ports: the last free one goes to one service, whoever else wants it.

A port can be held for an answer for a time, so that it is still there when its order comes. A hold
that has run out is no hold any more: nothing has to sweep it up.
"""

from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Partner, User
from qualification.models import (
    AccessNode,
    AccessPort,
    CoverageArea,
    Premises,
    ServiceQualification,
)


class NoFreePort(Refusal):
    code = "no_free_port"
    title = "All connections in this area are taken"


class NotReached(NoFreePort):
    """No list says that the network ever reached the place, so no node is known there."""


class TooManyHolds(Refusal):
    code = "too_many_holds"
    title = "No more connections can be kept here at the moment"


@transaction.atomic
def reserve_port(
    *,
    premises: Premises,
    provider: Partner,
    technology: int,
    service_ref: str,
    qualification: ServiceQualification | None = None,
    at: datetime,
) -> AccessPort | None:
    """Take a free port of the node that serves a place, for one service.

    The port that is held for `qualification` comes first, and its hold ends; a hold on another
    network ends, too, unless one of us keeps it. Repeating it for the same service gives the port
    it has. Returns None where the network counts no ports. Coverage that ended after the promise
    still counts, because the promise stands.

    Raises:
        NoFreePort: the last one was taken meanwhile, or is held for somebody else.
        NotReached: the network never reached the place.
    """
    taken = AccessPort.objects.filter(service_ref=service_ref).first()
    if taken:
        return taken
    coverage = _coverage(premises, provider, technology, at)
    if coverage is None:
        raise NotReached(f"{provider.name} has no connection at this address.", field="offering")
    held = _lock_held_port(qualification)
    port = None
    if coverage.node:
        is_here = held is not None and held.node_id == coverage.node.pk
        port = held if is_here else _lock_free_port(coverage.node, at)
        if port is None:
            raise _none_left(provider)
    if held and held != port and not _is_kept_by_us(held, at):
        _free(held)
    return _take(port, service_ref, at) if port else None


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


@transaction.atomic
def hold_port(
    *,
    qualification: ServiceQualification,
    provider: Partner,
    technology: int,
    until: datetime,
    at: datetime,
    actor: User | None = None,
) -> AccessPort | None:
    """Keep a port for the order that may come of an answer, until a moment or until it expires.

    An answer has one hold: holding again changes its end, or moves it to another network. Without
    a member of staff as `actor` only so many ports of a node can be held at once
    (`settings.PORTS_TO_ONE_HOLD`), lest visitors keep a node from those who order; a hold is never
    shortened, and one of staff stays where it is. Returns None where the network counts no ports.

    Raises:
        InvalidInput: the end is past or too far off, or the answer offers nothing on this network.
        NoFreePort: all ports are taken or held.
        TooManyHolds: as many ports are held there as may be, or staff keep one elsewhere.
    """
    _refuse_strange_end(until, qualification, at, actor)
    promised = qualification.offers.filter(eligible=True, technology=technology, provider=provider)
    if qualification.premises is None or not promised.exists():
        raise InvalidInput("The answer offers nothing on this network.", field="provider")
    coverage = _coverage(qualification.premises, provider, technology, at)
    if coverage is None or coverage.node is None:
        return None
    # One at a time for each node, so that the limit is kept by those who come at once.
    node = db.lock(AccessNode, coverage.node.pk)
    held = _lock_held_port(qualification)
    port = held if held and held.node_id == node.pk else None
    if actor is None and port is None and held and _is_kept_by_us(held, at):
        raise TooManyHolds("A connection of another network is kept for this answer.")
    until = min(until, qualification.expires_at)
    if actor is None and port and port.is_held(at):
        until = max(until, port.held_until or until)
    elif actor is None:
        _refuse_too_many(node, at)
    port = port or _lock_free_port(node, at)
    if port is None:
        raise _none_left(provider)
    if held and held != port:
        _free(held)
    port.held_by_staff = actor is not None or _is_kept_by_us(port, at)
    port.held_for, port.held_until = qualification.public_id, until
    port.save(update_fields=["held_for", "held_until", "held_by_staff"])
    if actor:
        audit.record(
            actor=actor, action="port.held", subject=qualification.public_id, at=at,
            port=str(port), until=until,
        )  # fmt: skip
    return port


@transaction.atomic
def release_hold(
    *, qualification: ServiceQualification, at: datetime, actor: User | None = None
) -> bool:
    """Let others have the port that is held for an answer; False when none is (any more).

    What staff keep, a visitor who goes elsewhere leaves as it is, and only staff let go.
    """
    port = _lock_held_port(qualification)
    if port is None or (actor is None and _is_kept_by_us(port, at)):
        return False
    was_held = port.is_held(at)
    _free(port)
    if actor:
        audit.record(
            actor=actor, action="port.hold_released", subject=qualification.public_id, at=at,
            port=str(port),
        )  # fmt: skip
    return was_held


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


def _lock_free_port(node: AccessNode, at: datetime) -> AccessPort | None:
    """Lock the first free port that nobody else is about to take.

    When all that are free are locked, their holders may yet give up: so wait for them, and only
    then say that none is left.
    """
    free = AccessPort.objects.filter(node=node).free(at).order_by("number")
    port = free.select_for_update(skip_locked=True).first()
    return port or free.select_for_update().first()


def _lock_held_port(qualification: ServiceQualification | None) -> AccessPort | None:
    """Lock the port that an answer holds, or held until the hold ran out and nobody took it."""
    if qualification is None:
        return None
    held = AccessPort.objects.filter(held_for=qualification.public_id)
    return held.select_for_update(of=("self",)).select_related("node").first()


def _refuse_strange_end(
    until: datetime, qualification: ServiceQualification, at: datetime, actor: User | None
) -> None:
    longest = settings.PORT_HELD_BY_STAFF_FOR if actor else settings.PORT_HELD_FOR_REGISTRATION
    if at >= qualification.expires_at:
        raise InvalidInput("The answer has expired. Check the address again.", field="until")
    if not at < until <= at + longest:
        raise InvalidInput("A connection is not kept for so long.", field="until")


def _refuse_too_many(node: AccessNode, at: datetime) -> None:
    most = max(1, node.ports.count() // settings.PORTS_TO_ONE_HOLD)
    if node.ports.held(at).count() >= most:
        raise TooManyHolds("No more connections are kept in this area. Order to be sure of one.")


def _take(port: AccessPort, service_ref: str, at: datetime) -> AccessPort:
    port.service_ref, port.taken_at = service_ref, at
    port.held_for = port.held_until = None
    port.held_by_staff = False
    try:
        with transaction.atomic():
            port.save()
    except IntegrityError:
        # The same service asked twice at once; the other one was quicker.
        return AccessPort.objects.get(service_ref=service_ref)
    return port


def _free(port: AccessPort) -> None:
    """End a hold."""
    port.held_for = port.held_until = None
    port.held_by_staff = False
    port.save(update_fields=["held_for", "held_until", "held_by_staff"])


def _is_kept_by_us(port: AccessPort, at: datetime) -> bool:
    return port.held_by_staff and port.is_held(at)


def _none_left(provider: Partner) -> NoFreePort:
    return NoFreePort(
        f"The last connection of {provider.name} in this area has just been taken. "
        "Check the address again to see what else there is.",
        field="offering",
    )
