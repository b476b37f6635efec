"""The add-on of a static address: ordered, assigned when live, charged, released when it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ipam import allocation
from ipam.models import StaticAddress
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.parties.models import Subscriber
from provisioning import services
from provisioning.models import Service
from tests import factories
from tests.provisioning import later
from tests.small_isp import LAUNCH, SmallIsp, priced


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    addon = publishing.create_offering(
        code="static-address", name="Static address", kind="addon", addon_type="static_address",
        at=LAUNCH,
    )  # fmt: skip
    priced(addon, "9", LAUNCH)
    factories.static_pool(factories.address_server(at=at), at=at)
    return factories.live_line(isp, ada, at=at)


def test_it_comes_with_the_order_and_goes_with_the_next(line: Service, at: datetime) -> None:
    later.change(line, at, add=["static-address"])
    assert not StaticAddress.objects.exists()
    factories.work(at=at)
    addon = Service.objects.get(line=line, offering__code="static-address")
    static = StaticAddress.objects.get()
    assert (addon.state, static.cause_ref) == ("active", addon.public_id)
    answer = allocation.request_addresses(
        service_ref=line.public_id, device="02:00:00:00:00:01", server=static.pool.server, at=at
    )
    assert answer.ipv4 == str(static)
    after = at + timedelta(days=3)
    later.change(line, after, remove=["static-address"])
    factories.work(at=after)
    static.refresh_from_db()
    addon.refresh_from_db()
    assert (addon.state, static.released_at) == ("ceased", after)


def include(plan: ProductOffering, number: int) -> None:
    publishing.set_entitlement(offering=plan, policy="deny", static_addresses=number, at=LAUNCH)


def test_a_plan_has_its_own_from_the_first_day_to_the_last(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    factories.static_pool(factories.address_server(at=at), at=at)
    include(isp.fast, 1)
    line = factories.live_line(isp, ada, at=at)
    static = StaticAddress.objects.get()
    assert (static.is_of_plan, static.assigned_at, static.place) == (True, at, 1)
    include(later.faster(isp), 2)
    later.change(line, at, plan_code="fibre-1000")
    factories.work(at=at)
    assert StaticAddress.objects.filter(released_at=None).count() == 2
    services.cease(service=line, at=at)
    assert not StaticAddress.objects.filter(released_at=None).exists()


def test_an_order_waits_for_a_person_where_the_plan_has_none_to_give(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    include(isp.fast, 1)
    order = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
    factories.work(at=at)
    task = order.tasks.get(kind="go_live")
    assert (task.state, task.cause) == ("fallout", "address_pool_exhausted")
