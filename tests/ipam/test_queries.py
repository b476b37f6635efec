"""What may be asked about addresses, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from ipam import allocation, overallocation, queries
from ipam.models import AddressServer, ExtraAddress
from ispops.errors import InvalidInput
from tests.ipam.ground import (
    NOON,
    SECRET,
    Isp,
    Policy,
    a_pool,
    a_server,
    a_subscriber,
    a_user,
    after,
    an_isp,
    mac,
)

pytestmark = pytest.mark.django_db

# --- Servers ------------------------------------------------------------------------------------


def test_a_server_is_known_by_its_name_and_secret() -> None:
    server = a_server()
    assert queries.authenticate_server("aaa-test", SECRET) == server


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("aaa-test", SECRET + "x"),
        ("aaa-test", ""),
        ("aaa-other", SECRET),
        ("", ""),
        ("aaa-test\0", SECRET),
        ("aaa-test", "\u00e9" * 1000),
        ("aaa-test", AddressServer.digest_of(SECRET)),
    ],
)
def test_a_forged_login_is_nobody(name: str, secret: str) -> None:
    a_server()
    assert queries.authenticate_server(name, secret) is None


def test_an_unknown_server_with_an_empty_secret_is_nobody() -> None:
    """The digest that stands in for an unknown name is the digest of nothing."""
    assert queries.authenticate_server("nobody", "") is None


def test_a_server_out_of_service_is_nobody() -> None:
    a_server()
    AddressServer.objects.update(active=False)
    assert queries.authenticate_server("aaa-test", SECRET) is None


# --- A subscriber's addresses -------------------------------------------------------------------


def test_a_subscriber_sees_what_its_devices_hold(isp: Isp, django_assert_num_queries: Any) -> None:
    first = isp.ask(mac(1))
    isp.ask(mac(2))
    other = a_subscriber(a_user("eve@example.com"), name="Eve")
    allocation.open_holder(service_ref="svc_2", subscriber=other, plan=isp.plan, at=NOON)
    isp.ask(mac(1), service_ref="svc_2")
    with django_assert_num_queries(1):
        mine = [
            (row.device, row.address, row.pool.purpose)
            for row in queries.addresses_of(isp.subscriber)
        ]
    assert mine[0] == (mac(1), f"{first.ipv4}/32", "dynamic")
    assert [device for device, _, _ in mine] == [mac(1), mac(1), mac(2)]
    assert mine[2][2] == "walled_garden"
    isp.release(mac(1), at=after(minutes=1))
    assert [row.device for row in queries.addresses_of(isp.subscriber)] == [mac(2)]


def test_pending_requests_are_listed_oldest_first(isp: Isp, django_assert_num_queries: Any) -> None:
    isp.ask(mac(1))
    isp.ask(mac(2), at=after(minutes=2))
    isp.ask(mac(3), at=after(minutes=1))
    other = a_subscriber(a_user("eve@example.com"), name="Eve")
    with django_assert_num_queries(1):
        rows = list(queries.pending_requests())
        assert {row.holder.subscriber for row in rows} == {isp.subscriber}
        assert {row.addon.code for row in rows if row.addon} == {"extra-address"}
    assert [row.device for row in rows] == [mac(3), mac(2)]
    assert list(queries.pending_requests(isp.subscriber)) == rows
    assert not queries.pending_requests(other)
    overallocation.decline(request_id=rows[0].pk, actor=isp.user, at=after(minutes=3))
    assert [row.device for row in queries.pending_requests()] == [mac(2)]


def test_extras_of_a_period_are_those_held_at_some_moment_of_it(db: None) -> None:
    isp = an_isp(policy=Policy.GRANT_AND_CHARGE)
    isp.ask(mac(1), at=after(hours=23))
    isp.ask(mac(2), at=after(days=1))
    overallocation.end_extra(extra_id=ExtraAddress.objects.get().pk, at=after(days=3))

    def held(start: float, end: float) -> int:
        return queries.extra_addresses_between(
            after(days=start), after(days=end), isp.subscriber
        ).count()

    assert [held(0, 1), held(0, 1.01), held(2, 2.5), held(2.9, 9), held(3, 9)] == [0, 1, 1, 1, 0]
    other = a_subscriber(a_user("eve@example.com"), name="Eve")
    assert not queries.extra_addresses_between(NOON, after(days=9), other)
    assert queries.extra_addresses_between(NOON, after(days=9)).count() == 1


# --- Who had it ---------------------------------------------------------------------------------


def test_who_had_an_address_at_a_moment(isp: Isp) -> None:
    answer = isp.ask(mac(1))
    assert answer.ipv4 is not None
    isp.release(mac(1), at=after(hours=1))
    isp.ask(mac(1), at=after(hours=1, minutes=5))

    def had(at: Any, address: str = answer.ipv4) -> Any:
        stay = queries.who_had(address, at)
        return stay and (stay.subscriber, stay.device, stay.held_from)

    first, second = (
        (isp.subscriber, mac(1), NOON),
        (isp.subscriber, mac(1), after(hours=1, minutes=5)),
    )
    assert had(NOON - timedelta(seconds=1)) is None
    assert had(NOON) == had(after(minutes=59, seconds=59)) == first
    assert had(after(hours=1)) is None
    assert had(after(hours=1, minutes=5)) == had(after(days=300)) == second
    assert had(NOON, "203.0.113.99") is None


def test_who_had_an_address_inside_a_prefix(isp: Isp) -> None:
    prefix = isp.ask(mac(1)).ipv6_prefix
    assert prefix is not None
    inside = prefix.replace("::/56", "::1234")
    stay = queries.who_had(f" {inside} ", NOON)
    assert stay is not None
    assert (stay.address, stay.device) == (prefix, mac(1))
    assert queries.who_had(inside, NOON, vrf=1) is None


@pytest.mark.parametrize("address", ["", "192.0.2.0/24", "192.0.2.256", "x", "1; DROP TABLE x"])
def test_who_had_nonsense_is_refused_with_the_field(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        queries.who_had(address, NOON)
    assert refused.value.field == "address"


def test_who_had_is_a_probe_of_an_index_over_a_long_history(isp: Isp) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ipam_allocationhistory (vrf, address, pool_id, service_ref, "
            "subscriber_id, device, held_from, held_to, ended_because) SELECT 0, "
            "'10.0.0.0'::inet + n %% 500, %s, 'svc_1', %s, 'd', %s + n * interval '1 hour', "
            "%s + (n + 1) * interval '1 hour', 'x' FROM generate_series(1, 10000) n",
            [isp.dynamic.pk, isp.subscriber.pk, NOON, NOON],
        )
        cursor.execute("ANALYZE ipam_allocationhistory")
    found = queries.who_had("10.0.1.5", after(hours=7261.5))
    assert found is not None
    assert found.address == "10.0.1.5/32"
    plan = queries.stays_at("10.0.1.5", after(hours=7261.5)).explain()
    assert "Index Scan using one_holder_of_an_address_at_a_time" in plan
    # The moment is part of the probe, so that the many stays at one address do not count.
    assert "tstzrange" in plan.partition("Index Cond:")[2].partition("\n")[0]


# --- Utilisation --------------------------------------------------------------------------------


def test_how_full_the_pools_are_costs_one_query(isp: Isp, django_assert_num_queries: Any) -> None:
    a_pool("10.0.0.0/8", server=isp.server, name="huge")
    isp.ask(mac(1))
    isp.ask(mac(2))
    isp.release(mac(1), at=after(minutes=1))
    with django_assert_num_queries(1):
        uses = {use.pool.name: use for use in queries.utilisation()}
    dynamic, huge = uses["dynamic-192-0-2-0"], uses["huge"]
    assert (dynamic.total, dynamic.free, dynamic.taken) == (254, 253, 1)
    assert dynamic.percent == pytest.approx(100 / 254)
    assert (huge.total, huge.taken, huge.percent) == (2**24 - 2, 0, 0.0)
    assert uses["walled_garden-198-51-100-0"].taken == 1


def test_a_pool_without_a_free_slot_is_full(db: None) -> None:
    isp = an_isp(dynamic="192.0.2.0/32")
    isp.ask(mac(1))
    (use,) = [use for use in queries.utilisation() if use.pool == isp.dynamic]
    assert (use.total, use.free, use.percent) == (1, 0, 100.0)
