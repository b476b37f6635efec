"""Figure 10: an address server asks for addresses for a device of a service.

One request is one decision and one transaction, for IPv4 and IPv6 together: the device gets all
that its plan includes and its server can give, or the walled garden, or a reason.

Locks: the holder's row, its allocations, then the extents of the pools, IPv4 before IPv6.
"""

from datetime import datetime, timedelta
from functools import cached_property

from django.conf import settings
from django.db import transaction

from ipam import (
    allowance,
    asking,
    extents,
    leases,
    overallocation,
    selection,
    statements,
    static_addresses,
    stepping,
)
from ipam.answers import Answer as Answer
from ipam.answers import Outcome as Outcome
from ipam.answers import granted, plain, seconds_left
from ipam.answers import held_already as held_already
from ipam.answers import settled_until as settled_until
from ipam.models import (
    AddressHolder,
    AddressServer,
    Allocation,
    Pool,
    StaticAddress,
)
from ipam.statements import Held
from ispops import db
from ispops.catalog.models import AddressEntitlement, ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber

SHORTEST_SECRET = 16


class ServiceEnded(Refusal):
    """A service that was ceased holds no addresses again; a new service does."""

    code = "service_ended"
    title = "The service has ended"


class ServerExists(Refusal):
    """Two address servers cannot have one name: it is their login."""

    code = "server_exists"
    title = "There is such an address server already"


# --- Servers and holders ------------------------------------------------------------------------


def create_server(*, name: str, kind: str, secret: str) -> AddressServer:
    """Register an address server, which calls with its name and a long random secret.

    Raises:
        InvalidInput: the name or kind cannot be used, or the secret is under 16 characters.
        ServerExists: the name is taken.
    """
    if len(secret) < SHORTEST_SECRET:
        raise InvalidInput("Choose a random secret of 16 characters or more.", field="secret")
    server = AddressServer(name=name, kind=kind, secret_digest=AddressServer.digest_of(secret))
    db.check_fields(server, "name", "kind")
    if AddressServer.objects.filter(name=name).exists():
        raise ServerExists(f"There is an address server {name} already.", field="name")
    server.save(force_insert=True)
    return server


def open_holder(
    *, service_ref: str, subscriber: Subscriber, plan: ProductOffering, at: datetime
) -> AddressHolder:
    """Let a service hold addresses as its plan says. Opening what is open changes nothing.

    Raises:
        ServiceEnded: the holder was closed.
    """
    holder, _ = AddressHolder.objects.get_or_create(
        service_ref=service_ref,
        defaults={"subscriber": subscriber, "plan": plan, "opened_at": at},
    )
    if holder.ended_at is not None:
        raise ServiceEnded(f"{service_ref} has ended and holds no addresses again.")
    return holder


def change_plan(*, service_ref: str, plan: ProductOffering, at: datetime) -> None:
    """Let a service hold addresses as another plan says from its next request on.

    What its devices hold stays until its lease ends. Extra addresses for which the new plan has
    places are charged no longer. A service that holds nothing (yet, or any more) is passed over.
    """
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is not None and found[0].ended_at is None:
            found[0].plan = plan
            found[0].save(update_fields=["plan"])
            overallocation.end_covered(holder=found[0], at=at)


def close_holder(*, service_ref: str, at: datetime) -> None:
    """End all that a service holds: addresses, extras and open questions. Safe to repeat."""
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is None or found[0].ended_at is not None:
            return
        holder = found[0]
        held = leases.lock_allocations(holder, at=at)
        because = leases.Because.SERVICE_CEASED
        overallocation.end_all(holder=holder, held=held, because=because, at=at)
        statics = list(holder.static_addresses.filter(released_at__isnull=True))
        static_addresses.release_all(statics, held, at)
        active = [row for row in held if row.state == leases.ACTIVE]
        leases.let_go(active, because=because, at=at)
        holder.ended_at = at
        holder.save(update_fields=["ended_at"])


def release_address(*, service_ref: str, device: str, at: datetime, because: str) -> int:
    """Take back what a device holds that uses it no more.

    The addresses rest for it: if it asks again soon it gets the same ones. An extra address stays
    granted and charged until `overallocation.end_extra`. Returns how many were taken back; zero
    when the device or the service is not known, so that a repeated message does no harm. Of
    `because`, which may come from the network, the history keeps 40 characters.
    """
    with transaction.atomic():
        holder, mine = _lock_held_by(service_ref, device, at)
        if holder is not None:
            leases.let_go(mine, because=because[:40], at=at)
    return len(mine)


def free_device(*, service_ref: str, device: str, at: datetime) -> int:
    """Take back what a device holds, which may be online with it: its place is another's now.

    Its session is ended, and nobody else has its addresses before that. Otherwise it is as
    `release_address`.
    """
    with transaction.atomic():
        holder, mine = _lock_held_by(service_ref, device, at)
        if holder is not None:
            leases.take_back(holder, mine, because=leases.Because.FREED, at=at)
    return len(mine)


def _lock_held_by(
    service_ref: str, device: str, at: datetime
) -> tuple[AddressHolder | None, list[Allocation]]:
    """Lock a holder, and return what a device has of it; nothing when either is not known."""
    try:
        name = selection.normalise_device(device)
    except selection.UnusableDevice:
        return None, []
    found = statements.lock_holder(service_ref)
    if found is None:
        return None, []
    rows = leases.lock_allocations(found[0], at=at)
    return found[0], [row for row in rows if row.device == name and row.state == leases.ACTIVE]


def expire_due(*, at: datetime) -> int:
    """End the leases that have run out and free the addresses that have rested long enough.

    Returns how many of both. Each batch is a transaction of its own, so askers hardly wait.
    """
    done = 0
    while batch := leases.end_overdue(at=at):
        done += batch
    return done + extents.give_back_all(at=at)


# --- Requests -----------------------------------------------------------------------------------


def request_addresses(
    *,
    service_ref: str,
    device: str,
    server: AddressServer,
    at: datetime,
    lease: timedelta | None = None,
    anew: bool = False,
) -> Answer:
    """Decide which addresses a device of a service gets from a server.

    The same device gets the same addresses while it can. A device for which the plan includes no
    address goes by the plan's over-allocation policy; while somebody is asked it gets a short
    lease in the walled garden. The answer is always definite; when a pool has run dry it is a
    denial, and nothing was written. `lease` is how long the addresses are held without being asked
    for again, if not as usual. `anew` looks again although the device holds enough for longer.
    """
    wanted = lease or settings.ADDRESS_LEASE
    try:
        name = selection.normalise_device(device)
    except selection.UnusableDevice as unusable:
        return Answer(Outcome.DENIED, reason=f"The device cannot be served: {unusable}.")
    held, flooded_at = statements.held_until(
        service_ref=service_ref, device=name, server=server, until=at + wanted / 2
    )
    if held and not anew:
        return held_already(held, at)
    if words := asking.refuse_in_flood(service_ref, name, server, flooded_at=flooded_at, at=at):
        return Answer(Outcome.DENIED, reason=words)
    try:
        try:
            return _decide(service_ref, name, server, at, wanted)
        except extents.PoolsChanged:
            return _decide(service_ref, name, server, at, wanted)
    except extents.AddressPoolExhausted as exhausted:
        stepping.look_soon(server)
        return Answer(Outcome.DENIED, reason=exhausted.detail)


def _decide(
    service_ref: str, device: str, server: AddressServer, at: datetime, lease: timedelta
) -> Answer:
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is None:
            return Answer(Outcome.DENIED, reason="The service is not known here.")
        if found[0].ended_at is not None:
            return Answer(Outcome.DENIED, reason="The service has ended.")
        return _Request(*found, device, server, at, lease).answer()


class _Request:
    """One request while its transaction runs: the holder is locked, all it holds is read."""

    def __init__(
        self,
        holder: AddressHolder,
        entitlement: AddressEntitlement,
        device: str,
        server: AddressServer,
        at: datetime,
        lease: timedelta,
    ) -> None:
        self.holder, self.entitlement = holder, entitlement
        self.device, self.server, self.at, self.lease = device, server, at, lease
        self.rows = leases.lock_allocations(holder, at=at)
        self.pools = statements.pools_of(server)

    def answer(self) -> Answer:
        offered = allowance.offered(self.entitlement, self.server, self.pools)
        static = static_addresses.for_device(self.holder, self.device, self.rows, self.pools)
        if not offered and static is None:
            return Answer(
                Outcome.DENIED, reason=f"{self.server.name} has no pool for what the plan includes."
            )
        self._leave_other_servers()
        self._leave_what_is_beside_the_plan()
        if static is not None:
            return self._grant_static(static, offered)
        kept = [row for row in self._mine() if row.counts and row.family in offered]
        missing = offered.keys() - {row.family for row in kept}
        if kept:
            # It keeps what it has, and goes without the other where the plan has none left.
            missing = {family for family in missing if not self._is_beyond(family)}
        if any(self._is_beyond(family) for family in missing):
            verdict = asking.decide(
                holder=self.holder,
                entitlement=self.entitlement,
                device=self.device,
                server=self.server,
                open_extras=len(self._devices_with_extra),
                at=self.at,
            )
            if not verdict.granted:
                return self._not_granted(verdict)
        elif self.rows:
            # There was something to ask only beside other addresses, so a first device skips this.
            overallocation.withdraw(holder=self.holder, device=self.device, at=self.at)
        return self._grant(kept, {family: offered[family] for family in missing})

    def _mine(self) -> list[Allocation]:
        return [
            row for row in self.rows if row.device == self.device and row.state == leases.ACTIVE
        ]

    def _leave_other_servers(self) -> None:
        """A device that has moved cannot use an address that is routed to another server.

        Neither can it stay in a pool that is on its way back to its parent.
        """
        here = {pool.pk for pool in self.pools}
        elsewhere = [row for row in self._mine() if row.pool_id not in here]
        drained = [row for row in elsewhere if row.pool.server_id == self.server.pk]
        leases.let_go(drained, because=leases.Because.POOL_DRAINED, at=self.at)
        moved = [row for row in elsewhere if row not in drained]
        leases.let_go(moved, because=leases.Because.OTHER_SERVER, at=self.at)

    def _leave_what_is_beside_the_plan(self) -> None:
        """End what a session had that began when others had its place; it may not be cut yet."""
        gardens = {pool.pk for pool in self.pools if pool.purpose == Pool.Purpose.WALLED_GARDEN}
        beside = [row for row in self._mine() if not row.counts and row.pool_id not in gardens]
        until = self.at + settings.ADDRESS_LEASE
        because = leases.Because.SESSION_ENDED
        leases.let_go(beside, because=because, in_use_until=until, at=self.at)

    def _is_beyond(self, family: int) -> bool:
        return allowance.is_beyond(
            self.entitlement,
            family,
            device=self.device,
            rows=self.rows,
            extras=lambda: self._devices_with_extra,
            static_pools=self._static_pools,
        )

    @cached_property
    def _devices_with_extra(self) -> set[str]:
        return overallocation.devices_with_extra(self.holder)

    def _grant(self, kept: list[Allocation], missing: dict[int, list[Pool]]) -> Answer:
        self._leave_walled_garden()
        leases.renew(kept, lease=self.lease, at=self.at)
        given = leases.hold(
            holder=self.holder,
            device=self.device,
            pools=missing,
            resting=self.rows,
            counts=True,
            lease=self.lease,
            at=self.at,
        )
        return granted([*map(leases.held_by, kept), *given], self.at)

    def _grant_static(self, static: StaticAddress, offered: dict[int, list[Pool]]) -> Answer:
        """Give a static address in the place of one of the plan, and the prefix beside it."""
        dynamic = [
            row
            for row in self._mine()
            if row.family == selection.IPv4 and row.pool_id not in self._static_pools
        ]
        leases.let_go(dynamic, because=leases.Because.STATIC_GIVEN, at=self.at)
        pool = next(pool for pool in self.pools if pool.pk == static.pool_id)
        given = static_addresses.serve(
            static, pool=pool, device=self.device, held=self.rows, lease=self.lease, at=self.at
        )
        kept = [row for row in self._mine() if row.family == selection.IPv6]
        wanted = selection.IPv6 in offered and not kept and not self._is_beyond(selection.IPv6)
        missing = {selection.IPv6: offered[selection.IPv6]} if wanted else {}
        self._leave_walled_garden()
        beside = self._grant(kept, missing) if kept or missing else None
        overallocation.withdraw(holder=self.holder, device=self.device, at=self.at)
        return Answer(
            Outcome.GRANTED,
            ipv4=plain(given.address),
            ipv6_prefix=beside.ipv6_prefix if beside else None,
            lease_seconds=seconds_left([given], self.at),
        )

    @cached_property
    def _static_pools(self) -> set[int]:
        return {pool.pk for pool in self.pools if pool.purpose == Pool.Purpose.STATIC}

    def _leave_walled_garden(self) -> None:
        stays = [row for row in self._mine() if not row.counts]
        leases.let_go(stays, because=leases.Because.LEFT_WALLED_GARDEN, at=self.at)

    def _not_granted(self, verdict: asking.Verdict) -> Answer:
        if not verdict.pending:
            self._leave_walled_garden()
            return Answer(Outcome.DENIED, request=verdict.request, reason=verdict.reason)
        try:
            stay = self._stay_in_walled_garden()
        except extents.AddressPoolExhausted as exhausted:
            return Answer(
                Outcome.DENIED,
                request=verdict.request,
                reason=f"{verdict.reason} Meanwhile: {exhausted.detail}",
            )
        return Answer(
            Outcome.WALLED_GARDEN,
            ipv4=plain(stay[0].address),
            lease_seconds=seconds_left(stay, self.at),
            request=verdict.request,
            reason=verdict.reason,
        )

    def _stay_in_walled_garden(self) -> list[Held]:
        """Give a short lease, or let the one that runs go on.

        Raises:
            AddressPoolExhausted: the server's walled garden is full, or it has none.
        """
        stay = [row for row in self._mine() if not row.counts]
        if stay:
            leases.renew(stay, lease=settings.WALLED_GARDEN_LEASE, at=self.at)
            return [leases.held_by(row) for row in stay]
        garden = [
            pool
            for pool in self.pools
            if pool.purpose == Pool.Purpose.WALLED_GARDEN and pool.family == selection.IPv4
        ]
        if not garden:
            raise extents.AddressPoolExhausted(f"{self.server.name} has no walled garden.")
        return leases.hold(
            holder=self.holder,
            device=self.device,
            pools={selection.IPv4: garden},
            resting=self.rows,
            counts=False,
            lease=settings.WALLED_GARDEN_LEASE,
            at=self.at,
        )
