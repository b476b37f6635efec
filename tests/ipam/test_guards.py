"""PostgreSQL refuses what must never be true about addresses, also from a bare SQL prompt."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import Error, connection, transaction

from ipam.models import Allocation, AllocationHistory, ExtraAddress, OverallocationRequest
from tests.ipam.ground import Isp, Policy, Tier, a_block, an_isp, mac

pytestmark = pytest.mark.django_db


def sql(statement: str, *parameters: object) -> int:
    """Run a statement in a transaction of its own; return the rows it touched."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount  # type: ignore[no-any-return]


@contextmanager
def refused_by(name: str) -> Iterator[None]:
    with pytest.raises(Error, match=name):
        yield


# --- Blocks -------------------------------------------------------------------------------------

INSERT_BLOCK = (
    "INSERT INTO ipam_block (vrf, tier, network, parent_id, name, created_at) "
    "VALUES (%s, %s, %s, %s, '', now())"
)


@pytest.mark.parametrize("network", ["192.0.2.0/24", "192.0.2.64/26", "192.0.0.0/16"])
def test_blocks_of_a_tier_never_overlap(network: str) -> None:
    a_block("192.0.2.0/24")
    with refused_by("blocks_of_a_tier_never_overlap"):
        sql(INSERT_BLOCK, 0, Tier.ALLOCATION, network, None)
    assert sql(INSERT_BLOCK, 1, Tier.ALLOCATION, network, None) == 1


@pytest.mark.parametrize(
    ("vrf", "tier", "network"),
    [
        (0, Tier.REGION, "192.0.3.0/24"),
        (0, Tier.REGION, "192.0.0.0/16"),
        (0, Tier.REGION, "2001:db8::/32"),
        (1, Tier.REGION, "192.0.2.0/25"),
    ],
)
def test_a_block_lies_inside_its_parent(vrf: int, tier: int, network: str) -> None:
    parent = a_block("192.0.2.0/24").parent
    with refused_by("is not inside its parent"):
        sql(INSERT_BLOCK, vrf, tier, network, parent.pk)


def test_a_block_is_of_a_lower_tier_than_its_parent() -> None:
    leaf = a_block("192.0.2.0/24")
    with refused_by("is not inside its parent"):
        sql(INSERT_BLOCK, 0, Tier.REGION, "192.0.2.0/25", leaf.pk)


def test_only_an_allocation_has_no_parent() -> None:
    with refused_by("only_an_allocation_has_no_parent"):
        sql(INSERT_BLOCK, 0, Tier.POOL, "192.0.2.0/24", None)


def test_a_block_with_host_bits_cannot_be_stored() -> None:
    with refused_by("invalid cidr value"):
        sql(INSERT_BLOCK, 0, Tier.ALLOCATION, "192.0.2.1/24", None)


@pytest.mark.parametrize(
    "change", ["network = '192.0.2.0/25'", "vrf = 1", "tier = 1", "parent_id = NULL"]
)
def test_a_block_is_never_moved_or_resized(change: str) -> None:
    leaf = a_block("192.0.2.0/24")
    with refused_by("cannot be moved or resized"):
        sql(f"UPDATE ipam_block SET {change} WHERE id = %s", leaf.pk)
    assert sql("UPDATE ipam_block SET name = 'North' WHERE id = %s", leaf.pk) == 1


# --- Slots --------------------------------------------------------------------------------------


def test_no_slot_is_free_twice(isp: Isp) -> None:
    insert = "INSERT INTO ipam_freeextent (pool_id, first, last) VALUES (%s, %s, %s)"
    sql("DELETE FROM ipam_freeextent WHERE pool_id = %s", isp.dynamic.pk)
    sql(insert, isp.dynamic.pk, 10, 20)
    for first, last in [(20, 30), (0, 10), (12, 13), (0, 99)]:
        with refused_by("no_slot_is_free_twice"):
            sql(insert, isp.dynamic.pk, first, last)
    assert sql(insert, isp.dynamic.pk, 21, 30) == 1
    sql("DELETE FROM ipam_freeextent WHERE pool_id = %s", isp.garden.pk)
    assert sql(insert, isp.garden.pk, 10, 20) == 1


@pytest.mark.parametrize(("first", "last"), [(5, 4), (-1, 4)])
def test_an_extent_holds_at_least_one_slot(isp: Isp, first: int, last: int) -> None:
    with refused_by("extent_is_not_empty|22000|range lower bound"):
        sql(
            "INSERT INTO ipam_freeextent (pool_id, first, last) VALUES (%s, %s, %s)",
            isp.dynamic.pk,
            first,
            last,
        )


def test_a_pool_goes_back_when_nothing_of_it_is_anybodys(isp: Isp) -> None:
    give_back = "UPDATE ipam_pool SET state = 'returned', block_id = NULL WHERE id = %s"
    with refused_by("free or somebody's"):
        sql(give_back, isp.dynamic.pk)
    isp.ask(mac(1))
    sql("DELETE FROM ipam_freeextent WHERE pool_id = %s", isp.dynamic.pk)
    with refused_by("free or somebody's"):
        sql(give_back, isp.dynamic.pk)
    sql("DELETE FROM ipam_freeextent WHERE pool_id = %s", isp.garden.pk)
    assert sql(give_back, isp.garden.pk) == 1


COPY_ALLOCATION = (
    "INSERT INTO ipam_allocation (pool_id, slot, address, holder_id, device, family, counts, "
    "state, stay_id, allocated_at, expires_at) SELECT pool_id, {slot}, address, holder_id, "
    "'{device}', family, counts, state, {stay}, allocated_at, expires_at "
    "FROM ipam_allocation WHERE family = 4"
)


def another_stay(isp: Isp, address: str) -> int:
    stay = AllocationHistory.objects.order_by("pk").first()
    assert stay is not None
    stay.pk, stay.address = None, address
    stay.save(force_insert=True)
    return stay.pk


def test_a_slot_has_one_live_allocation(isp: Isp) -> None:
    isp.ask(mac(1))
    stay = another_stay(isp, "198.18.0.1/32")
    with refused_by("one_live_allocation_a_slot"):
        sql(COPY_ALLOCATION.format(slot="slot", device="other", stay=stay))


def test_a_device_holds_one_address_of_a_family(isp: Isp) -> None:
    isp.ask(mac(1))
    stay = another_stay(isp, "198.18.0.1/32")
    with refused_by("one_address_a_device"):
        sql(COPY_ALLOCATION.format(slot="slot + 1", device=mac(1), stay=stay))


def test_a_stay_belongs_to_one_allocation(isp: Isp) -> None:
    isp.ask(mac(1))
    with refused_by("stay_id"):
        sql(COPY_ALLOCATION.format(slot="slot + 1", device="other", stay="stay_id"))


# --- History ------------------------------------------------------------------------------------

COPY_STAY = (
    "INSERT INTO ipam_allocationhistory (vrf, address, pool_id, service_ref, subscriber_id, "
    "device, held_from, held_to, ended_because) SELECT {vrf}, '{address}', pool_id, 'svc_2', "
    "subscriber_id, 'other', {start}, NULL, NULL FROM ipam_allocationhistory "
    "WHERE family(address) = 4 LIMIT 1"
)
ATTACK = {"vrf": 0, "address": "192.0.2.56/32", "start": "held_from + interval '1 day'"}


def test_an_address_has_one_holder_at_a_moment(isp: Isp) -> None:
    held = isp.ask(mac(1)).ipv4
    attack = ATTACK | {"address": f"{held}/32"}
    for change in ({}, {"start": "held_from - interval '1 day'"}, {"address": "192.0.2.0/24"}):
        with refused_by("one_holder_of_an_address_at_a_time"):
            sql(COPY_STAY.format(**attack | change))
    assert sql(COPY_STAY.format(**attack | {"vrf": 1})) == 1
    assert sql(COPY_STAY.format(**attack | {"address": "203.0.113.1/32"})) == 1


def test_the_next_holder_may_follow_in_the_same_instant(isp: Isp) -> None:
    held = isp.ask(mac(1)).ipv4
    isp.release(mac(1))
    attack = ATTACK | {"address": f"{held}/32", "start": "held_to"}
    assert sql(COPY_STAY.format(**attack)) == 1


@pytest.mark.parametrize(
    "change",
    [
        "device = 'somebody else'",
        "held_from = held_from - interval '1 hour'",
        "held_to = held_to + interval '1 hour'",
        "held_to = NULL, ended_because = NULL",
        "ended_because = 'another reason'",
        "service_ref = 'svc_2'",
    ],
)
def test_an_ended_stay_is_never_rewritten(isp: Isp, change: str) -> None:
    isp.ask(mac(1))
    isp.release(mac(1))
    with refused_by("append-only"):
        sql(f"UPDATE ipam_allocationhistory SET {change}")


def test_history_is_never_deleted(isp: Isp) -> None:
    isp.ask(mac(1))
    with refused_by("append-only|violates foreign key"):
        sql("DELETE FROM ipam_allocationhistory")


def test_an_ended_stay_says_why_and_ends_after_it_began(isp: Isp) -> None:
    isp.ask(mac(1))
    for change in (
        "held_to = held_from",
        "ended_because = 'x'",
        "held_to = held_from - interval '1 second', ended_because = 'x'",
    ):
        # A range that ends before it begins is refused by the exclusion, which looks at it first.
        with refused_by("ended_stay_says_why|range lower bound"):
            sql(f"UPDATE ipam_allocationhistory SET {change}")


# --- Requests and extra addresses ---------------------------------------------------------------


@pytest.fixture
def pending(isp: Isp) -> OverallocationRequest:
    isp.ask(mac(1))
    request = isp.ask(mac(2)).request
    assert request is not None
    return request


UPDATE_REQUEST = "UPDATE ipam_overallocationrequest SET {}"
DENY = "state = 'denied', decided_at = now(), decided_by = 'csr', reason = 'no'"


@pytest.mark.parametrize(
    "change",
    [
        "device = 'other'",
        "asked_at = now()",
        "policy = 'deny'",
        "answer_by = now()",
        "reason = 'changed while pending'",
        f"{DENY}, device = 'other'",
    ],
)
def test_a_question_is_never_rewritten(pending: OverallocationRequest, change: str) -> None:
    with refused_by("refused"):
        sql(UPDATE_REQUEST.format(change))


@pytest.mark.parametrize(
    "change",
    [
        "state = 'pending', decided_at = NULL, decided_by = ''",
        "state = 'granted'",
        "state = 'expired'",
        "decided_by = 'subscriber'",
        "decided_at = now() + interval '1 hour'",
        "reason = 'another one'",
    ],
)
def test_a_decision_is_never_changed(pending: OverallocationRequest, change: str) -> None:
    assert sql(UPDATE_REQUEST.format(DENY)) == 1
    with refused_by("refused"):
        sql(UPDATE_REQUEST.format(change))
    assert sql(UPDATE_REQUEST.format("last_asked_at = now()")) == 1


def test_a_request_is_never_deleted(pending: OverallocationRequest) -> None:
    with refused_by("refused"):
        sql("DELETE FROM ipam_overallocationrequest")


def test_a_decision_names_its_decider(pending: OverallocationRequest) -> None:
    for change in ("state = 'granted'", "state = 'denied', decided_at = now()"):
        with refused_by("decided_request_names_its_decider"):
            sql(UPDATE_REQUEST.format(change))


def test_a_device_has_one_open_request(pending: OverallocationRequest) -> None:
    with refused_by("one_open_request_a_device"):
        sql(
            "INSERT INTO ipam_overallocationrequest (id, holder_id, server_id, device, policy, "
            "state, asked_at, last_asked_at, answer_by, decided_by, reason) SELECT "
            "gen_random_uuid(), holder_id, server_id, device, policy, state, asked_at, "
            "last_asked_at, answer_by, '', '' FROM ipam_overallocationrequest"
        )


def test_what_is_charged_for_is_never_rewritten(db: None) -> None:
    isp = an_isp(policy=Policy.GRANT_AND_CHARGE)
    isp.ask(mac(1))
    isp.ask(mac(2))
    extra = ExtraAddress.objects.get()
    for change in ("granted_at = granted_at + interval '1 day'", "device = 'x'"):
        with refused_by("append-only"):
            sql(f"UPDATE ipam_extraaddress SET {change}")
    with refused_by("extra_ends_after_it_starts"):
        sql("UPDATE ipam_extraaddress SET ended_at = granted_at - interval '1 second'")
    sql("UPDATE ipam_extraaddress SET ended_at = granted_at")
    with refused_by("append-only"):
        sql("UPDATE ipam_extraaddress SET ended_at = NULL WHERE id = %s", extra.pk)
    with refused_by("append-only"):
        sql("DELETE FROM ipam_extraaddress")


def test_a_quarantine_outlasts_a_request(isp: Isp) -> None:
    with refused_by("quarantine_outlasts_a_request"):
        sql("UPDATE ipam_pool SET quarantine = interval '9 seconds'")


def test_the_attacks_had_something_to_attack(isp: Isp) -> None:
    isp.ask(mac(1))
    assert Allocation.objects.count() == AllocationHistory.objects.count() == 2
