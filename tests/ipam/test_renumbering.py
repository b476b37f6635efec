"""Renumbering: holders move at their next request, at the deadline all do, and it can go back."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from ipam import renumbering, returning, static_addresses, transitions
from ipam.models import (
    Allocation,
    AllocationHistory,
    FreeExtent,
    Pool,
    Renumbering,
    StaticAddress,
)
from ispops.errors import IllegalTransition, InvalidInput, NotFound, Refusal
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry
from tests import factories
from tests.ipam.ground import NOON, Isp, Purpose, a_pool, a_server, after, an_isp, mac

pytestmark = pytest.mark.django_db
DEADLINE = after(days=3)


@pytest.fixture
def isp() -> Isp:
    return an_isp(ipv4_addresses=9, ipv6_prefixes=9)


@pytest.fixture
def target(isp: Isp) -> Pool:
    return a_pool("203.0.113.0/24", server=isp.server, name="new")


def start(isp: Isp, target: Pool, **changes: Any) -> Renumbering:
    usual: dict[str, Any] = {
        "source": isp.dynamic, "target": target, "deadline_at": DEADLINE,
        "reason": "The range goes back", "actor": isp.user, "at": NOON,
    }  # fmt: skip
    return renumbering.start(**usual | changes)


def told(isp: Isp) -> dict[str, Any]:
    return {"actor": isp.user, "reason": "Because", "at": after(hours=20)}


def held(pool: Pool) -> int:
    return Allocation.objects.filter(pool=pool, state="active").count()


def free(pool: Pool) -> int:
    extents = FreeExtent.objects.filter(pool=pool)
    return sum(extent.last - extent.first + 1 for extent in extents)


def test_holders_move_when_they_ask_next_and_newcomers_at_once(isp: Isp, target: Pool) -> None:
    old = isp.ask(mac(1)).ipv4
    row = start(isp, target)
    assert (row.held_at_start, row.target_was_empty) == (1, True)
    newcomer = isp.ask(mac(2)).ipv4
    assert str(newcomer).startswith("203.0.113.")
    # What it has stands for half of its lease, as ever.
    assert isp.ask(mac(1), at=after(hours=1)).ipv4 == old
    assert str(isp.ask(mac(1), at=after(hours=13)).ipv4).startswith("203.0.113.")
    assert (held(isp.dynamic), held(target), free(isp.dynamic)) == (0, 2, 0)
    renumbering.go_on(at=after(hours=14))
    row.refresh_from_db()
    assert (row.state, row.ended_at) == ("finished", after(hours=14))
    assert free(isp.dynamic) == 0
    assert AuditEntry.objects.get().action == "renumbering.started"


def test_at_the_deadline_the_rest_is_ended_and_told(isp: Isp, target: Pool) -> None:
    long = timedelta(days=30)
    address = isp.ask(mac(1), lease=long).ipv4
    start(isp, target)
    assert renumbering.go_on(at=DEADLINE - timedelta(seconds=1)) == 0
    assert renumbering.go_on(at=DEADLINE) == 1
    assert renumbering.go_on(at=DEADLINE) == 0
    stay = AllocationHistory.objects.get(address=f"{address}/32")
    assert (stay.held_to, stay.ended_because) == (DEADLINE, "renumbered")
    event = Event.objects.get(kind="address.renumbered")
    assert (event.payload["address"], event.payload["service"]) == (f"{address}/32", isp.service)
    # It rests first; then the plan is done.
    assert Renumbering.objects.get().state == "running"
    renumbering.go_on(at=DEADLINE + isp.dynamic.quarantine)
    assert Renumbering.objects.get().state == "finished"


def test_who_lost_an_address_gets_another_beside_the_prefix(isp: Isp, target: Pool) -> None:
    prefix = isp.ask(mac(1), lease=timedelta(days=30)).ipv6_prefix
    start(isp, target)
    renumbering.go_on(at=DEADLINE)
    again = isp.ask(mac(1), at=DEADLINE)
    assert str(again.ipv4).startswith("203.0.113.")
    assert again.ipv6_prefix == prefix


def test_a_paused_plan_moves_nobody_and_goes_on(isp: Isp, target: Pool) -> None:
    isp.ask(mac(1))
    row = start(isp, target)
    for _ in range(2):
        renumbering.pause(renumbering_id=row.pk, **told(isp))
    assert free(isp.dynamic) == 253
    assert renumbering.go_on(at=after(days=4)) == 0
    renumbering.resume(renumbering_id=row.pk, **told(isp))
    assert free(isp.dynamic) == 0
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "renumbering.started", "renumbering.paused", "renumbering.resumed",
    ]  # fmt: skip


def test_a_plan_goes_back_wholly_into_what_was_empty(isp: Isp, target: Pool) -> None:
    old = isp.ask(mac(1)).ipv4
    row = start(isp, target)
    isp.release(mac(1), at=after(hours=1))
    assert str(isp.ask(mac(1), at=after(hours=2)).ipv4).startswith("203.0.113.")
    for _ in range(2):
        renumbering.roll_back(renumbering_id=row.pk, **told(isp))
    assert str(isp.ask(mac(1), at=after(hours=20)).ipv4) == old
    renumbering.go_on(at=after(hours=22))
    row.refresh_from_db()
    target.refresh_from_db()
    assert (row.state, target.state, free(target)) == ("rolled_back", "active", 254)
    with pytest.raises(IllegalTransition):
        renumbering.pause(renumbering_id=row.pk, **told(isp))


def test_who_lived_in_the_target_before_stays_there(isp: Isp, target: Pool) -> None:
    Pool.objects.filter(pk=isp.dynamic.pk).update(state="draining")
    isp.ask(mac(5))
    Pool.objects.filter(pk=isp.dynamic.pk).update(state="active")
    row = start(isp, target)
    assert not row.target_was_empty
    renumbering.roll_back(renumbering_id=row.pk, **told(isp))
    row.refresh_from_db()
    assert row.state == "rolled_back"
    assert (held(target), free(isp.dynamic)) == (1, 254)


def test_a_pool_is_in_one_plan_at_a_time(isp: Isp, target: Pool) -> None:
    start(isp, target)
    other = a_pool("198.18.0.0/24", server=isp.server, name="third")
    with pytest.raises(renumbering.PoolsDoNotFit, match="not in use"):
        start(isp, other)
    with pytest.raises(renumbering.AlreadyRenumbered):
        start(isp, target, source=other)
    assert Renumbering.objects.count() == 1
    other.refresh_from_db()
    assert other.state == "active"


def test_a_pool_of_an_open_plan_does_not_go_back(isp: Isp, target: Pool) -> None:
    Pool.objects.filter(pk=target.pk).update(grown_from=isp.dynamic)
    target.refresh_from_db()
    row = start(isp, target)
    for call in (
        lambda: returning.begin(pool=target, cause="Low water", at=NOON),
        lambda: returning.retire(pool=isp.dynamic, cause="Empty", actor=isp.user, at=NOON),
    ):
        with pytest.raises(Refusal, match=r"being renumbered|cut for"):
            call()
    renumbering.roll_back(renumbering_id=row.pk, **told(isp))
    renumbering.go_on(at=after(days=1))
    begun = returning.begin(pool=target, cause="Low water", at=after(days=1))
    with pytest.raises(renumbering.PoolsDoNotFit, match="not in use"):
        start(isp, target)
    assert begun.state == "draining"


def test_a_plan_that_fails_does_not_keep_the_others(isp: Isp, target: Pool) -> None:
    server = a_server("other")
    others = [a_pool(f"10.{n}.0.0/28", server=server, name=f"p{n}") for n in (1, 2)]
    stuck = start(isp, target)
    fine = start(isp, others[1], source=others[0])
    renumbering.roll_back(renumbering_id=stuck.pk, **told(isp))
    FreeExtent.objects.create(pool=target, first=5, last=9)  # what no verb does
    renumbering.go_on(at=after(days=1))
    stuck.refresh_from_db()
    fine.refresh_from_db()
    assert (stuck.state, fine.state) == ("rolling_back", "finished")


@pytest.mark.parametrize("what", ["server", "purpose", "small", "self"])
def test_pools_that_do_not_fit_are_refused(isp: Isp, what: str) -> None:
    for number in range(7):
        isp.ask(mac(number))
    pools = {
        "server": lambda: a_pool("198.18.0.0/24", server=a_server("other"), name="x"),
        "purpose": lambda: isp.garden,
        "small": lambda: a_pool("198.18.0.0/29", server=isp.server, name="x"),
        "self": lambda: isp.dynamic,
    }
    with pytest.raises(renumbering.PoolsDoNotFit):
        start(isp, pools[what]())
    assert not Renumbering.objects.exists()
    assert free(isp.dynamic) == 247


def test_other_purposes_and_empty_reasons_are_refused(isp: Isp, target: Pool) -> None:
    static = a_pool("198.18.1.0/24", server=isp.server, purpose=Purpose.STATIC)
    with pytest.raises(Refusal, match="purpose"):
        start(isp, target, source=static, deadline_at=after(days=8))
    with pytest.raises(InvalidInput):
        start(isp, target, reason=" ")
    with pytest.raises(InvalidInput):
        start(isp, target, deadline_at=NOON)
    with pytest.raises(NotFound):
        renumbering.pause(renumbering_id=isp.user.pk, **told(isp))


def test_the_database_keeps_the_table_of_states(isp: Isp, target: Pool) -> None:
    row = start(isp, target)
    for state, following in transitions.RENUMBERING.items():
        assert state in Renumbering.State.values
        assert following <= set(Renumbering.State.values)
    for changes in (
        {"state": "rolled_back", "ended_at": NOON},
        {"reason": "Another"},
        {"state": "paused", "deadline_at": after(days=9)},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Renumbering.objects.filter(pk=row.pk).update(**changes)
    with pytest.raises(IntegrityError), transaction.atomic():
        Renumbering.objects.filter(pk=row.pk).delete()


class TestStaticAddresses:
    @pytest.fixture
    def statics(self, isp: Isp) -> tuple[Pool, Pool]:
        pools = (("198.18.1.0/30", "old-static"), ("198.18.2.0/30", "new-static"))
        old, new = (
            a_pool(network, server=isp.server, purpose=Purpose.STATIC, name=name)
            for network, name in pools
        )
        static_addresses.assign_static(service_ref=isp.service, cause_ref="svc_addon", at=NOON)
        return old, new

    def test_they_move_on_the_day_that_was_said(self, isp: Isp, statics: tuple[Pool, Pool]) -> None:
        old, new = statics
        was = StaticAddress.objects.get()
        day = after(days=8)
        with pytest.raises(InvalidInput, match="7 days"):
            start(isp, new, source=old, deadline_at=after(days=6))
        row = start(isp, new, source=old, deadline_at=day)
        assert row.held_at_start == 1
        factories.deliver_events(at=NOON)
        asked = {"at": after(hours=1)}
        assert isp.ask(mac(1), **asked).ipv4 == str(was), "it stays until then"
        assert renumbering.go_on(at=after(days=7)) == 0
        assert isp.ask(mac(1), at=after(days=7)).ipv4 == str(was)
        assert renumbering.go_on(at=day) == 1
        static = StaticAddress.objects.get(released_at=None)
        assert (static.pool, static.cause_ref) == (new, "svc_addon")
        assert isp.ask(mac(1), at=day).ipv4 == str(static)
        renumbering.go_on(at=day + old.quarantine)
        row.refresh_from_db()
        assert row.state == "finished"
        factories.deliver_events(at=day)
        letters = Notice.objects.filter(kind__startswith="static_address")
        told = {notice.kind: notice.body for notice in letters}
        assert f"address {was} stops" in " ".join(told["static_address_moves"].split())
        assert str(static) in told["static_address_moved"]

    def test_who_has_moved_comes_back(self, isp: Isp, statics: tuple[Pool, Pool]) -> None:
        old, new = statics
        day = after(days=8)
        row = start(isp, new, source=old, deadline_at=day)
        isp.ask(mac(1), at=day - timedelta(hours=1))
        renumbering.go_on(at=day)
        assert StaticAddress.objects.get(released_at=None).pool == new
        renumbering.roll_back(renumbering_id=row.pk, actor=isp.user, reason="Not routed", at=day)
        renumbering.go_on(at=day)
        assert StaticAddress.objects.get(released_at=None).pool == old
        row.refresh_from_db()
        assert row.state == "rolled_back"


class TestRetiring:
    def test_the_source_goes_back_when_nobody_has_or_had_an_address(
        self, isp: Isp, target: Pool
    ) -> None:
        isp.ask(mac(1))
        row = start(isp, target)
        said = {"renumbering_id": row.pk, "actor": isp.user, "reason": "Back", "at": DEADLINE}
        with pytest.raises(IllegalTransition):
            renumbering.retire_source(**said)
        renumbering.go_on(at=DEADLINE)
        renumbering.go_on(at=DEADLINE + isp.dynamic.quarantine)
        with pytest.raises(InvalidInput):
            renumbering.retire_source(**said | {"reason": " "})
        going = renumbering.retire_source(**said)
        assert renumbering.retire_source(**said) == going
        for _ in range(2):
            returning.go_on_due(at=DEADLINE + timedelta(days=1))
        isp.dynamic.refresh_from_db()
        assert (isp.dynamic.state, isp.dynamic.block) == ("returned", None)
        actions = AuditEntry.objects.filter(action="renumbering.source_retired")
        assert actions.count() >= 1

    def test_a_pool_that_others_were_cut_for_stays(self, isp: Isp, target: Pool) -> None:
        row = start(isp, target)
        renumbering.go_on(at=DEADLINE)
        Pool.objects.filter(pk=target.pk).update(grown_from=isp.dynamic)
        with pytest.raises(returning.NotAFurtherBlock):
            renumbering.retire_source(
                renumbering_id=row.pk, actor=isp.user, reason="Back", at=DEADLINE
            )
