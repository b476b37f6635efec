"""Figure 11, second half: a pool that fills asks for a further block, and gets it or a reason."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from ipam import (
    allocation,
    block_steps,
    blocks,
    growing,
    live,
    policies,
    reclaiming,
    returning,
    sampling,
    transitions,
)
from ipam.models import AddressServer, Allocation, Block, BlockRequest, FreeExtent, Pool
from ipam.servers.base import ServerRefused
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, TransientFault
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber
from tests.ipam.ground import NOON, Isp, a_pool, a_server, a_user, after, mac
from tests.ipam.growing import a_town, a_week

pytestmark = pytest.mark.django_db
State = BlockRequest.State


def work(**span: float) -> None:
    block_steps.go_on_due(at=after(**span))


def requests() -> list[str]:
    return list(BlockRequest.objects.order_by("asked_at").values_list("state", flat=True))


# --- From the threshold to the block in use -----------------------------------------------------


def test_a_pool_over_its_threshold_gets_a_block_by_itself(db: None) -> None:
    town = a_town()
    town.fill(0.9)
    assert growing.watch(at=NOON) == 1
    work()

    request = BlockRequest.objects.get()
    made = request.made
    assert request.state == State.CONFIRMED
    assert request.decided_by == "policy"
    assert "93 % are in use, and 80 % is its threshold." in request.reason
    assert made is not None
    assert (made.name, made.grown_from, made.state) == ("town-2", town.pool, "active")
    assert made.block.parent == town.parent
    assert made.block.network == "10.9.0.16/28"
    kinds = Event.objects.filter(subject=request.public_id).order_by("pk")
    assert [e.kind for e in kinds] == ["block.requested", "block.granted", "block.confirmed"]


def test_devices_get_addresses_of_the_further_block_once_the_first_is_full(db: None) -> None:
    town = a_town(network="10.9.0.0/30", threshold_percent=100)
    for number in (1, 2):
        ask = allocation.open_holder(
            service_ref=f"svc_t{number}", subscriber=town.isp.subscriber, plan=town.isp.plan,
            at=NOON,
        )  # fmt: skip
        assert town.isp.ask(mac(number), service_ref=ask.service_ref, server=town.pool.server).ipv4
    holder = allocation.open_holder(
        service_ref="svc_t3", subscriber=town.isp.subscriber, plan=town.isp.plan, at=NOON
    )
    third = {"service_ref": holder.service_ref, "server": town.pool.server}
    assert town.isp.ask(mac(3), **third).outcome == "denied"

    growing.watch(at=NOON)
    work()

    assert BlockRequest.objects.get().reason == "It has run dry."
    answer = town.isp.ask(mac(3), **third)
    assert answer.ipv4 is not None
    assert answer.ipv4.startswith("10.9.0.")
    assert Allocation.objects.get(device=mac(3)).pool.grown_from == town.pool


def test_the_size_is_what_the_measured_growth_needs(db: None) -> None:
    """113 in use and 9 more a day for 90 days, at 80 %: 1,154 in all, so a /21 beside the /25."""
    town = a_town(parent="10.8.0.0/16", network="10.8.0.0/25", largest_automatic=5000)
    a_week(town.pool, first=0, a_day=9, total=126, days=10)
    town.fill(0.9)
    growing.watch(at=NOON)

    request = BlockRequest.objects.get()
    assert request.growth_a_day == 9
    assert request.length == 21
    assert request.days_left == Decimal("1.44")


def test_days_to_exhaustion_are_a_reason_too(db: None) -> None:
    town = a_town(parent="10.8.0.0/16", network="10.8.0.0/25", least_days=14)
    a_week(town.pool, first=0, a_day=5, total=126)
    town.fill(0.5)
    growing.watch(at=NOON)
    assert BlockRequest.objects.get().cause == (
        "It will be full in 13 days, sooner than the 14 days that its policy keeps."
    )


def test_beside_its_policy_a_person_decides_once(db: None) -> None:
    town, boss = a_town(largest_automatic=8), a_user("boss@isp.example")
    town.fill(0.9)
    growing.watch(at=NOON)
    work()
    assert requests() == [State.ASKED]
    assert growing.watch(at=after(hours=1)) == 0, "it waits for its answer"

    request = BlockRequest.objects.get()
    growing.grant(request_id=request.pk, actor=boss, at=after(hours=2), length=27)
    growing.grant(request_id=request.pk, actor=boss, at=after(hours=2), length=27)
    work(hours=2)
    request.refresh_from_db()
    assert request.made is not None
    assert request.made.block.network == "10.9.0.32/27"
    assert request.decided_by_user == boss
    assert AuditEntry.objects.filter(subject=request.public_id).count() == 1


def test_a_person_may_refuse_and_is_not_asked_again_at_once(db: None) -> None:
    town, boss = a_town(decision="csr"), a_user("boss@isp.example")
    town.fill(0.9)
    growing.watch(at=NOON)
    work()
    request = BlockRequest.objects.get()
    growing.refuse(request_id=request.pk, actor=boss, reason="Renumbered on Friday", at=NOON)
    with pytest.raises(growing.BlockRequestClosed):
        growing.grant(request_id=request.pk, actor=a_user("other@isp.example"), at=NOON)

    assert growing.watch(at=after(hours=5, minutes=59)) == 0
    town.fill(0.9, at=after(hours=6))
    assert growing.watch(at=after(hours=6)) == 1
    assert not Pool.objects.filter(grown_from=town.pool).exists()


# --- What is not in use goes back first ---------------------------------------------------------


@pytest.fixture
def stale(db: None) -> Isp:
    """A pool of six addresses with five held, of which four lines have not been heard of since."""
    made = a_town(network="10.9.0.0/29", stale_hours=6)
    for number in range(5):
        holder = allocation.open_holder(
            service_ref=f"svc_s{number}", subscriber=made.isp.subscriber, plan=made.isp.plan,
            at=NOON,
        )  # fmt: skip
        made.isp.ask(mac(number), service_ref=holder.service_ref, server=made.pool.server)
    made.isp.dynamic = made.pool
    return made.isp


def hears_of(monkeypatch: pytest.MonkeyPatch, *devices: str, hours: float = 6.5) -> None:
    """Let a witness hear of these devices, and of no others."""
    monkeypatch.setattr(
        reclaiming,
        "_witnesses",
        [lambda rows: {row.pk: after(hours=hours) for row in rows if row.device in devices}],
    )


def test_stale_leases_are_ended_before_a_block_is_cut(
    stale: Isp, monkeypatch: pytest.MonkeyPatch
) -> None:
    hears_of(monkeypatch, mac(0))
    growing.watch(at=after(hours=7))
    work(hours=7)
    assert requests() == [State.OPEN], "their notice runs"
    work(hours=7, seconds=15)

    request = BlockRequest.objects.get()
    assert (request.state, request.reclaimed) == (State.WITHDRAWN, 4)
    assert "4 stale leases were ended" in request.reason
    held = Allocation.objects.filter(pool=stale.dynamic, state="active")
    assert [row.device for row in held] == [mac(0)]
    ended = Allocation.objects.filter(pool=stale.dynamic, state="quarantined")
    assert {row.stay.ended_because for row in ended} == {"reclaimed_as_stale"}


def test_a_device_that_comes_back_during_the_notice_keeps_its_address(
    stale: Isp, monkeypatch: pytest.MonkeyPatch
) -> None:
    hears_of(monkeypatch)
    growing.watch(at=after(hours=7))
    work(hours=7)
    back = stale.ask(
        mac(1), service_ref="svc_s1", server=stale.dynamic.server, at=after(hours=7, seconds=5)
    )
    hears_of(monkeypatch, mac(2), hours=7)
    work(hours=7, seconds=15)

    kept = Allocation.objects.filter(pool=stale.dynamic, state="active").order_by("device")
    assert [row.device for row in kept] == [mac(1), mac(2)]
    assert all(row.expires_at >= after(hours=31) for row in kept), "whole leases again"
    assert back.ipv4 == str(kept[0].address).removesuffix("/32")


def test_the_leases_of_a_dhcp_server_are_its_own(
    stale: Isp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are as long as it likes, so that their end says nothing of when a device asked."""
    hears_of(monkeypatch)
    silent = {"first": stale.dynamic, "silent": timedelta(hours=6), "at": after(hours=7)}
    assert reclaiming.count_stale(**silent) == 5
    AddressServer.objects.filter(pk=stale.dynamic.server_id).update(kind="dhcp")
    assert reclaiming.count_stale(**silent) == reclaiming.put_on_notice(**silent) == 0


def test_a_dry_pool_gets_its_block_though_stale_ones_rest(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = a_town(network="10.9.0.0/30", stale_hours=6)
    for number in range(2):
        holder = allocation.open_holder(
            service_ref=f"svc_s{number}", subscriber=town.isp.subscriber, plan=town.isp.plan,
            at=NOON,
        )  # fmt: skip
        town.isp.ask(mac(number), service_ref=holder.service_ref, server=town.pool.server)
    hears_of(monkeypatch)
    growing.watch(at=after(hours=7))
    work(hours=7)
    work(hours=7, seconds=15)
    assert requests() == [State.CONFIRMED]


# --- When the parent has no room ----------------------------------------------------------------


def test_an_exhausted_parent_refuses_with_what_would_help(db: None) -> None:
    town = a_town(parent="10.9.0.0/27", network="10.9.0.0/28", stale_hours=None)
    other = blocks.create_block(
        network="10.9.0.16/29", tier=Block.Tier.POOL, parent=town.parent, at=NOON
    )
    blocks.create_pool(name="idle", server=town.pool.server, block=other, purpose="static", at=NOON)
    top = blocks.create_block(network="10.10.0.0/24", tier=Block.Tier.ALLOCATION, at=NOON)
    blocks.create_block(
        network="10.10.0.0/24", tier=Block.Tier.REGION, parent=top, name="South", at=NOON
    )
    town.fill(0.9)
    growing.watch(at=NOON)
    work()

    request = BlockRequest.objects.get()
    assert request.state == State.REFUSED
    assert request.reason.startswith("No /28 is free in 10.9.0.0/27.")
    assert request.help == [
        "The largest free range of 10.9.0.0/27 is 10.9.0.24/29: grant that.",
        "idle (10.9.0.16/29 of town) holds nothing: take it away.",
        "No lease of this pool is ever taken for stale: set after how many hours it is.",
        "10.10.0.0/24 South has room for a /28.",
    ]
    boss = a_user("boss@isp.example")
    growing.note_seen(request_id=request.pk, actor=boss, at=NOON)
    growing.note_seen(request_id=request.pk, actor=boss, at=after(hours=1))
    request.refresh_from_db()
    assert request.seen_at == NOON


# --- Telling the server -------------------------------------------------------------------------


def test_a_server_that_is_away_is_told_again_and_at_last_a_person(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(pool: Pool, **_: object) -> None:
        raise TransientFault("it does not answer")

    town, boss = a_town(), a_user("boss@isp.example")
    monkeypatch.setattr(live, "add", away)
    town.fill(0.9)
    growing.watch(at=NOON)
    work()
    request = BlockRequest.objects.get()
    assert (request.state, request.last_error) == (State.CARVED, "it does not answer")
    assert request.made is not None
    assert request.made.state == "pending"
    assert request.made not in allocation.statements.pools_of(town.pool.server)

    for hour in range(1, 12):
        work(hours=hour)
    request.refresh_from_db()
    assert (request.state, request.next_attempt_at) == (State.PARKED, None)
    monkeypatch.undo()
    growing.try_again(request_id=request.pk, actor=boss, reason="Back up", at=after(hours=20))
    work(hours=20)
    request.refresh_from_db()
    assert (request.state, request.made.state) == (State.CONFIRMED, "active")
    assert Pool.objects.filter(grown_from=town.pool).count() == 1, "it was cut once"


def test_what_nobody_foresaw_is_tried_for_a_while_and_then_parked(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(pool: Pool) -> None:
        raise LookupError("unheard of")

    town = a_town()
    monkeypatch.setattr(live, "add", breaks)
    town.fill(0.9)
    growing.watch(at=NOON)
    for hour in range(14):
        work(hours=hour)
    assert requests() == [State.PARKED]


def test_a_server_that_refuses_parks_at_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(pool: Pool, **_: object) -> None:
        raise ServerRefused("it cannot be told")

    town = a_town()
    monkeypatch.setattr(live, "confirm", refuses)
    town.fill(0.9)
    growing.watch(at=NOON)
    work()
    assert requests() == [State.PARKED]


# --- Asking by name, and bad input --------------------------------------------------------------


def test_a_server_s_own_request_is_one_for_ever(db: None) -> None:
    town = a_town()
    first = town.ask(server=town.pool.server, reference="r-1")
    assert town.ask(server=town.pool.server, reference="r-1") == first
    assert town.ask(server=town.pool.server, reference="r-2") == first, "one is open"
    work()
    first.refresh_from_db()
    assert first.state == State.ASKED, "under its threshold a person decides"
    growing.refuse(request_id=first.pk, actor=a_user("b@isp.example"), reason="No", at=NOON)
    assert town.ask(server=town.pool.server, reference="r-1").state == State.REFUSED
    assert town.ask(server=town.pool.server, reference="r-2") != first
    other = a_pool("10.77.0.0/24", server=town.pool.server)
    with pytest.raises(InvalidInput, match="another pool"):
        growing.ask_for_block(
            pool=other, server=town.pool.server, cause="Full", reference="r-1", at=NOON
        )


def test_a_server_asks_for_its_own_pools_only(db: None) -> None:
    town = a_town()
    with pytest.raises(growing.NotYourPool):
        town.ask(server=a_server("other"))
    assert requests() == []


@pytest.mark.parametrize("length", [7, 33])
def test_a_length_that_is_none_is_refused(db: None, length: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        a_town().ask(length=length)
    assert refused.value.field == "length"


def test_a_policy_says_what_is_wrong_with_it(isp: Isp) -> None:
    for values, field in (
        ({"threshold_percent": 0}, "threshold_percent"),
        ({"threshold_percent": 40, "low_water_percent": 40}, "low_water_percent"),
        ({"decision": "nobody"}, "decision"),
        ({"lines_per_address": "0.5"}, "lines_per_address"),
    ):
        with pytest.raises(InvalidInput) as refused:
            policies.set_policy(pool=isp.dynamic, at=NOON, **values)
        assert refused.value.field == field
    assert not hasattr(isp.dynamic, "policy")


# --- The database keeps it so -------------------------------------------------------------------


def test_the_database_knows_the_same_table(db: None) -> None:
    """Every pair of states that the table does not have is refused, whatever the verbs say."""
    town = a_town()
    request = town.ask()
    for state in State.values:
        legal = transitions.BLOCK["open"]
        if state in legal or state == "open":
            continue
        with pytest.raises(IntegrityError), transaction.atomic():
            BlockRequest.objects.filter(pk=request.pk).update(state=state, made=town.pool)
    with pytest.raises(IntegrityError), transaction.atomic():
        request.delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        BlockRequest.objects.filter(pk=request.pk).update(length=8)


# --- Low water ----------------------------------------------------------------------------------


def grown() -> tuple[Pool, Pool]:
    town = a_town(unused_days=30)
    town.fill(0.9)
    growing.watch(at=NOON)
    work()
    return town.pool, Pool.objects.get(grown_from=town.pool)


def test_a_block_unused_for_its_days_goes_back_to_its_parent(db: None) -> None:
    first, further = grown()
    assert returning.watch(at=after(days=29)) == 0
    assert returning.watch(at=after(days=31)) == 1
    assert returning.watch(at=after(days=31)) == 0
    further.refresh_from_db()
    assert further.state == "draining"
    assert not FreeExtent.objects.filter(pool=further).exists()

    returning.go_on_due(at=after(days=31))
    further.refresh_from_db()
    assert (further.state, further.block) == ("returned", None)
    assert not Block.objects.filter(network="10.9.0.16/28").exists()
    assert not first.returns.exists()
    boss = a_user("b@isp.example")
    again = growing.ask_for_block(pool=first, cause="again", at=after(days=40), actor=boss)
    work(days=40)
    growing.grant(request_id=again.pk, actor=boss, at=after(days=40))
    work(days=40)
    assert Pool.objects.get(name="town-3").block.network == "10.9.0.16/28"


def test_a_block_that_is_drained_waits_for_its_devices(db: None) -> None:
    first, further = grown()
    plan_holder = allocation.open_holder(
        service_ref="svc_d",
        subscriber=Subscriber.objects.get(),
        plan=ProductOffering.objects.get(code="plan"),
        at=NOON,
    )
    FreeExtent.objects.filter(pool=first).delete()
    answer = allocation.request_addresses(
        service_ref=plan_holder.service_ref, device=mac(9), server=first.server, at=NOON
    )
    assert Allocation.objects.get(device=mac(9)).pool == further, answer
    row = returning.begin(pool=further, cause="by hand", at=after(hours=1))
    returning.go_on_due(at=after(hours=1))
    row.refresh_from_db()
    assert row.state == "draining"
    allocation.expire_due(at=after(hours=25))
    returning.go_on_due(at=after(hours=25))
    returning.go_on_due(at=after(hours=26))
    row.refresh_from_db()
    assert row.state == "returned"


def test_a_block_on_its_way_back_is_kept_when_the_group_fills_again(db: None) -> None:
    first, further = grown()
    returning.begin(pool=further, cause="by hand", at=after(days=1))
    sampling.report_use(server=first.server, pool=first, assigned=13, at=after(days=1))
    assert growing.watch(at=after(days=1)) == 0
    further.refresh_from_db()
    free = FreeExtent.objects.filter(pool=further)
    assert further.state == "active"
    assert sum(extent.last - extent.first + 1 for extent in free) == 14
    assert requests() == [State.CONFIRMED], "nothing new was asked for"


def test_only_a_further_block_goes_back_and_only_by_its_server(db: None) -> None:
    first, further = grown()
    with pytest.raises(returning.NotAFurtherBlock):
        returning.begin(pool=first, cause="by hand", at=NOON)
    with pytest.raises(growing.NotYourPool):
        returning.begin(pool=further, cause="by hand", server=a_server("other"), at=NOON)
    further.refresh_from_db()
    assert further.state == "active"
