"""Addresses follow the sessions of their devices: a place of the plan is free when one has stopped.

A message of a session may be old, or the device may be back already: who holds all that it may is
answered without a word being written. So an address that a stopped session had is given to nobody
else before the end of its lease, the longest time of whatever session there may be; and one that
begins with it after all has it again. Where another device took the place meanwhile, it has it
beside the plan, so that the history tells of it, until it is cut: the device has to ask. An address
that was taken from a device that was online rests as long, or until its session is heard to have
stopped.

Locks: the holders' rows, then their allocations.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from ipam import allowance, leases, overallocation, selection
from ipam.models import AddressHolder, AddressServer, Allocation, Pool

# A line whose devices come and go does not empty the pool: with so many addresses resting, what
# its sessions leave behind stays its own, and counts against its plan, until the lease ends.
MOST_RESTING = 8


class Session(NamedTuple):
    """What is told of a session: its line, its device as it names itself, and its IPv4 address.

    `at` is when it began, or ended.
    """

    service_ref: str
    device: str
    address: str
    at: datetime


@transaction.atomic
def end_sessions(ended: Iterable[Session], *, at: datetime) -> int:
    """Take back what devices held whose sessions have stopped. Returns how many devices' it was.

    Each is the last session that the line had with its address, as far as the caller knows. What
    was given, or asked for anew, after it ended is another session's and stays. Safe to repeat.
    """
    told = _by_key(ended)
    rows = _lock(told)
    resting: dict[int, int] = {}
    for row in rows:
        is_resting = row.state == leases.QUARANTINED
        resting[row.holder_id] = resting.get(row.holder_id, 0) + is_resting
    stopped = 0
    left: list[tuple[Allocation, datetime]] = []
    for row in rows:
        session = told.get(_key(row))
        if session is None or row.allocated_at > session.at:
            continue
        if row.state == leases.QUARANTINED:
            _rest_no_longer(row, at)
        elif not _was_asked_for_since(row, session) and resting[row.holder_id] < MOST_RESTING:
            mine = _of_device(rows, row, leases.ACTIVE)
            resting[row.holder_id] += len(mine)
            left += [(each, min(session.at, at)) for each in mine]
            stopped += 1
    leases.let_go(
        [row for row, _ in left],
        because=leases.Because.SESSION_ENDED,
        ended_at=[moment for _, moment in left],
        in_use_until=at + settings.ADDRESS_LEASE,
        at=at,
    )
    return stopped


@transaction.atomic
def begin_sessions(begun: Sequence[Session], *, at: datetime) -> list[Session]:
    """Let sessions that began have the addresses that rest since another one's end.

    Returns those that have to be ended: they began with an address that was taken from their device
    otherwise, or the plan has no place for it any more.
    """
    told = _by_key(begun)
    rows = _lock(told, state=leases.QUARANTINED)
    must_end = []
    for row in rows:
        session = told.get(_key(row))
        if session is None or row.state != leases.QUARANTINED or row.expires_at <= at:
            continue
        if row.stay.ended_because != leases.Because.SESSION_ENDED:
            must_end.append(session)
            continue
        back = _back_for(row, rows)
        is_beyond = any(_is_beyond(each, rows) for each in back)
        if is_beyond:
            must_end.append(session)
        for each in back:
            since = max(session.at, row.stay.held_to or session.at)
            leases.reactivate(
                each, each.pool, each.holder,
                counts=each.counts and not is_beyond,
                lease=max(each.expires_at, since) - since, at=since,
            )  # fmt: skip
    return must_end


def _back_for(row: Allocation, rows: Sequence[Allocation]) -> list[Allocation]:
    """Return what a device left with an address that rests, of families that it has not by now."""
    has = {each.family for each in _of_device(rows, row, leases.ACTIVE)}
    left_at = row.stay.held_to
    resting = _of_device(rows, row, leases.QUARANTINED)
    return [each for each in resting if each.family not in has and each.stay.held_to == left_at]


def _is_beyond(row: Allocation, rows: Sequence[Allocation]) -> bool:
    """Say whether other devices took the place in the plan that an address had."""
    static = {each.pool_id for each in rows if each.pool.purpose == Pool.Purpose.STATIC}
    return (
        row.counts
        and row.pool_id not in static
        and allowance.is_beyond(
            overallocation.entitlement_of(row.holder),
            row.family,
            device=row.device,
            rows=rows,
            extras=lambda: overallocation.devices_with_extra(row.holder),
            static_pools=static,
        )
    )


def _by_key(sessions: Iterable[Session]) -> dict[tuple[str, str, str], Session]:
    """Return the last session of each line, device and address; a device that is none has none."""
    told: dict[tuple[str, str, str], Session] = {}
    for session in sorted(sessions, key=lambda one: one.at):
        try:
            device = selection.normalise_device(session.device)
        except selection.UnusableDevice:
            continue
        told[session.service_ref, device, f"{session.address}/32"] = session
    return told


def _key(row: Allocation) -> tuple[str, str, str]:
    return row.holder.service_ref, row.device, str(row.address)


def _lock(
    told: dict[tuple[str, str, str], Session], *, state: str | None = None
) -> list[Allocation]:
    """Lock the holders that have one of these addresses (in a state), and all that they have."""
    wanted = Allocation.objects.filter(
        holder__service_ref__in={line for line, _, _ in told},
        address__in={address for _, _, address in told},
        pool__server__kind=AddressServer.Kind.RADIUS,
        **({"state": state} if state else {}),
    )
    keys = set(wanted.values_list("holder", flat=True)) if told else set()
    if not keys:
        return []
    holders = AddressHolder.objects.filter(pk__in=keys, ended_at__isnull=True).order_by("pk")
    held = [holder.pk for holder in holders.select_for_update(of=("self",), no_key=True)]
    return list(
        Allocation.objects.filter(holder__in=held)
        .select_related("holder", "stay", "pool__block")
        .select_for_update(of=("self",))
        .order_by("pk")
    )


def _of_device(rows: Iterable[Allocation], of: Allocation, state: str) -> list[Allocation]:
    return [
        row
        for row in rows
        if (row.holder_id, row.device, row.pool.server_id, row.state)
        == (of.holder_id, of.device, of.pool.server_id, state)
    ]


def _was_asked_for_since(row: Allocation, session: Session) -> bool:
    """Say whether a lease was begun anew after a session's end, so that another one has it."""
    in_garden = row.pool.purpose == Pool.Purpose.WALLED_GARDEN
    lease = settings.WALLED_GARDEN_LEASE if in_garden else settings.ADDRESS_LEASE
    return row.expires_at - lease > session.at


def _rest_no_longer(row: Allocation, at: datetime) -> None:
    """Let an address that was taken from a device rest as usual, from the end of its session on.

    One that rests because a session ended does not: the same word may have come twice.
    """
    rested_at = at + row.pool.quarantine
    if row.stay.ended_because != leases.Because.SESSION_ENDED and rested_at < row.expires_at:
        row.expires_at = rested_at
        row.save(update_fields=["expires_at"])
