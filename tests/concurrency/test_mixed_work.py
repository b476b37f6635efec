"""Everything at once, in an order that chance decides: devices ask and go, add-ons are sold and
ended, lines end, CSRs and subscribers decide, pools are renumbered, quarantines end. Afterwards the
sums are right, by SQL and not by our own words."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from ipam import allocation, extents, overallocation, renumbering, static_addresses
from ipam.models import ExtraAddress, OverallocationRequest, Pool, Renumbering
from ispops.errors import Refusal
from tests.concurrency.test_allocation import services
from tests.ipam.ground import Isp, Policy, Purpose, a_plan, a_pool, a_user, after, an_isp, mac

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS, STEPS, LINES, DEVICES = 8, 45, 6, 5


class World:
    """A small ISP whose pools are nearly too small, and one clock for all clients."""

    def __init__(self) -> None:
        self.isp: Isp = an_isp(
            dynamic="192.0.2.0/28", garden="198.51.100.0/29", prefixes="2001:db8::/52",
            ipv4_addresses=2, ipv6_prefixes=2, most_extra_addresses=2, most_requests_an_hour=99,
        )  # fmt: skip
        self.target = a_pool("203.0.113.0/28", server=self.isp.server, name="new")
        self.static = a_pool("203.0.113.64/29", server=self.isp.server, purpose=Purpose.STATIC)
        self.lines = services(self.isp, LINES)
        self.other_plan = a_plan(
            "charged", policy=Policy.GRANT_AND_CHARGE, ipv4_addresses=1, ipv6_prefixes=1,
            most_extra_addresses=1, most_requests_an_hour=99,
        )  # fmt: skip
        self.csr = a_user("csr@isp.example", is_staff=True)
        self._ticks, self._lock = 0, threading.Lock()

    def now(self) -> Any:
        """Twenty minutes later than the last time, so that leases and quarantines end."""
        with self._lock:
            self._ticks += 1
            return after(minutes=20 * self._ticks)


def authorise(w: World, chance: random.Random) -> None:
    w.isp.ask(mac(chance.randrange(DEVICES)), service_ref=chance.choice(w.lines), at=w.now())


def release(w: World, chance: random.Random) -> None:
    w.isp.release(mac(chance.randrange(DEVICES)), service_ref=chance.choice(w.lines), at=w.now())


def sell_static(w: World, chance: random.Random) -> None:
    line = chance.choice(w.lines)
    static_addresses.assign_static(
        service_ref=line, cause_ref=f"{line}-{chance.randrange(2)}", at=w.now()
    )


def end_static(w: World, chance: random.Random) -> None:
    line = chance.choice(w.lines)
    static_addresses.release_static(
        service_ref=line, cause_ref=f"{line}-{chance.randrange(2)}", at=w.now()
    )


def decide(w: World, chance: random.Random) -> None:
    rows = list(OverallocationRequest.objects.filter(state="pending").values_list("pk", flat=True))
    if rows:
        verb = chance.choice((overallocation.accept, overallocation.decline))
        who: dict[str, Any] = chance.choice(
            ({"actor": w.isp.user}, {"actor": w.csr, "decided_by": "csr"})
        )
        verb(request_id=chance.choice(rows), at=w.now(), **who)


def end_extra(w: World, chance: random.Random) -> None:
    rows = list(ExtraAddress.objects.filter(ended_at=None).values_list("pk", flat=True))
    if rows:
        overallocation.end_extra(extra_id=chance.choice(rows), at=w.now())


def change_plan(w: World, chance: random.Random) -> None:
    plan = chance.choice((w.isp.plan, w.other_plan))
    allocation.change_plan(service_ref=chance.choice(w.lines), plan=plan, at=w.now())


def cease(w: World, chance: random.Random) -> None:
    """One line in a while; a new one takes its place."""
    if chance.random() < 0.2:
        place = chance.randrange(LINES)
        allocation.close_holder(service_ref=w.lines[place], at=w.now())
        fresh = allocation.open_holder(
            service_ref=f"svc_{chance.getrandbits(60):x}", subscriber=w.isp.subscriber,
            plan=w.isp.plan, at=w.now(),
        )  # fmt: skip
        w.lines[place] = fresh.service_ref


def renumber(w: World, chance: random.Random) -> None:
    told = {"actor": w.isp.user, "reason": "So", "at": w.now()}
    row = Renumbering.objects.filter(state__in=Renumbering.OPEN_STATES).first()
    if row is None:
        pools = [w.isp.dynamic, w.target]
        chance.shuffle(pools)
        source, target = (Pool.objects.get(pk=pool.pk) for pool in pools)
        renumbering.start(source=source, target=target, deadline_at=after(days=2), **told)
    else:
        verb = chance.choice((renumbering.pause, renumbering.resume, renumbering.roll_back))
        verb(renumbering_id=row.pk, **told)


def sweep(w: World, chance: random.Random) -> None:
    now = w.now()
    allocation.expire_due(at=now)
    overallocation.expire_due_requests(at=now)
    renumbering.go_on(at=now)
    extents.give_back(pool=w.isp.dynamic, at=now)


WORK = [authorise] * 8 + [release] * 4 + [
    sell_static, end_static, decide, decide, end_extra, change_plan, cease, renumber, sweep,
]  # fmt: skip

# Each must find nothing. What is written here knows nothing of the product's code.
WRONG = {
    "an address is held twice": """
        SELECT address FROM ipam_allocation WHERE state = 'active'
        GROUP BY address HAVING count(*) > 1""",
    "a device holds two of a family": """
        SELECT holder_id, device FROM ipam_allocation WHERE state = 'active'
        GROUP BY holder_id, device, family HAVING count(*) > 1""",
    "the parts of a pool that gives are not the pool": """
        SELECT pool.name, free.slots, held.slots, kept.slots FROM ipam_pool pool
        JOIN ipam_block block ON block.id = pool.block_id,
        LATERAL (SELECT coalesce(sum(last - first + 1), 0) AS slots FROM ipam_freeextent
            WHERE pool_id = pool.id) free,
        LATERAL (SELECT count(*) AS slots FROM ipam_allocation WHERE pool_id = pool.id) held,
        LATERAL (SELECT count(*) AS slots FROM ipam_staticaddress kept
            WHERE kept.pool_id = pool.id AND released_at IS NULL AND NOT EXISTS (SELECT
            FROM ipam_allocation WHERE pool_id = kept.pool_id AND slot = kept.slot)) kept
        WHERE pool.state = 'active' AND free.slots + held.slots + kept.slots <>
            (2 ^ (pool.unit_length - masklen(block.network)) - CASE
                WHEN pool.family = 4 AND masklen(block.network) < 31 THEN 2 ELSE 0 END)""",
    "a slot is free and held": """
        SELECT held.pool_id, held.slot FROM ipam_allocation held JOIN ipam_freeextent free
        ON free.pool_id = held.pool_id AND held.slot BETWEEN free.first AND free.last""",
    "a slot is free and promised": """
        SELECT kept.pool_id, kept.slot FROM ipam_staticaddress kept JOIN ipam_freeextent free
        ON free.pool_id = kept.pool_id AND kept.slot BETWEEN free.first AND free.last
        WHERE kept.released_at IS NULL""",
    "a pool that is drained gives": """
        SELECT pool.name FROM ipam_pool pool JOIN ipam_freeextent free ON free.pool_id = pool.id
        WHERE pool.state <> 'active'""",
    "a line has more than it ever could": """
        SELECT held.holder_id, held.family, count(DISTINCT held.device) FROM ipam_allocation held
        JOIN ipam_pool pool ON pool.id = held.pool_id AND pool.purpose <> 'static'
        WHERE held.state = 'active' AND held.counts AND NOT EXISTS (
            SELECT FROM ipam_extraaddress extra WHERE extra.holder_id = held.holder_id
            AND extra.device = held.device AND extra.ended_at IS NULL)
        GROUP BY held.holder_id, held.family HAVING count(DISTINCT held.device) > 2""",
    "a line pays for more extras than it may": """
        SELECT holder_id FROM ipam_extraaddress WHERE ended_at IS NULL
        GROUP BY holder_id HAVING count(*) > 2""",
    "an extra was not granted, or a grant is no extra": """
        SELECT request.id FROM ipam_overallocationrequest request
        FULL JOIN ipam_extraaddress extra ON extra.request_id = request.id
        WHERE (request.state = 'granted') IS DISTINCT FROM (extra.id IS NOT NULL)
        OR extra.granted_at <> request.decided_at""",
    "a charge does not begin and end with its extra": """
        SELECT extra.id FROM ipam_extraaddress extra WHERE 1 <> (
            SELECT count(*) FROM ispops_event event WHERE event.kind = 'address.extra_granted'
            AND replace(event.subject, 'xad_', '')::uuid = extra.id
            AND event.occurred_at = extra.granted_at)
        OR (extra.ended_at IS NOT NULL)::int <> (
            SELECT count(*) FROM ispops_event event WHERE event.kind = 'address.extra_ended'
            AND replace(event.subject, 'xad_', '')::uuid = extra.id)""",
    "a line that ended has something": """
        SELECT line.service_ref FROM ipam_addressholder line WHERE line.ended_at IS NOT NULL
        AND (EXISTS (SELECT FROM ipam_allocation WHERE holder_id = line.id AND state = 'active')
        OR EXISTS (SELECT FROM ipam_extraaddress WHERE holder_id = line.id AND ended_at IS NULL)
        OR EXISTS (SELECT FROM ipam_staticaddress WHERE holder_id = line.id
            AND released_at IS NULL)
        OR EXISTS (SELECT FROM ipam_overallocationrequest WHERE holder_id = line.id
            AND state = 'pending'))""",
    "the history and what is held differ": """
        SELECT stay.id, held.id FROM (SELECT * FROM ipam_allocation WHERE state = 'active') held
        FULL JOIN (SELECT * FROM ipam_allocationhistory WHERE held_to IS NULL) stay
        ON stay.id = held.stay_id AND stay.address = held.address AND stay.device = held.device
        WHERE held.id IS NULL OR stay.id IS NULL""",
}


def find_wrong() -> dict[str, list[Any]]:
    found = {}
    with connection.cursor() as cursor:
        for words, statement in WRONG.items():
            cursor.execute(statement)
            if rows := cursor.fetchall():
                found[words] = rows
    return found


def run(world: World, seed: int) -> list[BaseException]:
    """Let the clients work; returns the errors that are no refusals."""
    errors: list[BaseException] = []
    together = threading.Barrier(CLIENTS)

    def client(number: int) -> None:
        chance = random.Random(f"{seed}-{number}")
        together.wait(timeout=10)
        try:
            for _ in range(STEPS):
                with contextlib.suppress(Refusal):
                    chance.choice(WORK)(world, chance)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return errors


def test_whatever_happens_at_once_the_sums_are_right() -> None:
    world = World()
    errors = run(world, seed=random.randrange(10**6))
    assert not errors, errors
    assert not find_wrong()
    assert OverallocationRequest.objects.exists()
    # In the end all comes back.
    for line in world.lines:
        allocation.close_holder(service_ref=line, at=after(days=60))
    for day in (61, 62, 63):
        allocation.expire_due(at=after(days=day))
        renumbering.go_on(at=after(days=day))
    assert not find_wrong()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ipam_allocation")
        assert cursor.fetchone() == (0,)


def test_the_sums_would_find_what_is_wrong() -> None:
    """The negative control: one row of each kind that no verb writes is found."""
    world = World()
    world.isp.ask(mac(1), service_ref=world.lines[0])
    world.isp.ask(mac(2), service_ref=world.lines[0])
    wrongs = {
        "the parts of a pool that gives are not the pool":
            "DELETE FROM ipam_freeextent WHERE id = (SELECT max(id) FROM ipam_freeextent)",
        "a pool that is drained gives": "UPDATE ipam_pool SET state = 'draining'",
        "a line that ended has something": "UPDATE ipam_addressholder SET ended_at = now()",
        "the history and what is held differ":
            "UPDATE ipam_allocation SET state = 'quarantined'",
    }  # fmt: skip
    assert not find_wrong()
    for words, statement in wrongs.items():
        with connection.cursor() as cursor:
            cursor.execute(statement)
        assert words in find_wrong()
