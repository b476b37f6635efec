"""A small ISP with one subscriber who has everything, and staff of every role.

Imports of the product are inside: this file is read before Django knows its settings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoDbBlocker

if TYPE_CHECKING:
    from ipam.models import AddressServer, OverallocationRequest
    from ispops.catalog.models import ProductOffering
    from ispops.parties.models import Subscriber, User
    from provisioning.models import OrderTask, ProductOrder, Service
    from tests.small_isp import SmallIsp

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(days=2)


@dataclass(frozen=True, slots=True)
class World:
    """Ada has a live line, a purchase, an address and a request; Bob's order is stuck."""

    isp: SmallIsp
    film: ProductOffering
    server: AddressServer
    ada: Subscriber
    line: Service
    request: OverallocationRequest
    bob: Subscriber
    stuck: ProductOrder
    stuck_task: OrderTask


@pytest.fixture
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(scope="module")
def _built(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Make the world once for all tests of a file: it costs more than most of them.

    It stays in a transaction that is undone at the end; each test works in a savepoint of it.
    """
    from django.db import transaction

    with django_db_blocker.unblock(), transaction.atomic():
        with time_machine.travel(NOW, tick=False):
            built = make_world()
        yield built
        transaction.set_rollback(True)


@pytest.fixture
def world(_built: World, db: None, clock: None) -> World:
    # A copy, so that no test meets what another one has changed in memory.
    return copy.deepcopy(_built)


def make_world() -> World:
    from ipam import allocation
    from ipam.models import OverallocationRequest
    from ispops.catalog import publishing
    from rating import purchases
    from tests import factories, small_isp

    isp = small_isp.make_small_isp(at=EARLIER)
    film = publishing.create_offering(
        code="one-film", name="A film tonight", kind="bsp", provider=isp.films, at=EARLIER
    )
    publishing.set_price(offering=film, charge="one_off", amount=Decimal("4.99"), at=EARLIER)
    publishing.set_tax_rate(category="telecom", percent=Decimal(10), at=EARLIER)
    server = factories.address_server(at=EARLIER)
    ada = factories.subscriber(at=EARLIER, name="Ada Lovelace", email="ada@example.com")
    line = factories.live_line(isp, ada, isp.streaming.code, at=EARLIER)
    purchases.place_purchase(
        subscriber=ada,
        line=line,
        offering=film,
        channel="portal",
        placed_by=ada.users.get(),
        idempotency_key="film-1",
        at=EARLIER,
    )
    factories.work(at=EARLIER)
    for device in ("02-00-00-00-00-01", "02-00-00-00-00-02"):
        allocation.request_addresses(
            service_ref=line.public_id, device=device, server=server, at=NOW
        )
    bob, stuck = stuck_order(isp)
    request = OverallocationRequest.objects.get()
    task = stuck.tasks.get(state="fallout")
    return World(isp, film, server, ada, line, request, bob, stuck, task)


def stuck_order(isp: SmallIsp) -> tuple[Subscriber, ProductOrder]:
    """An order whose partner refused its part, so that a person is needed."""
    from provisioning import partner_orders
    from provisioning.models import ServiceOrder
    from tests import factories, small_isp

    bob = factories.subscriber(at=EARLIER, name="Bob Noyce", email="bob@example.com", phone="")
    place = small_isp.place("3 OAK ST")
    order = factories.order(bob, place, isp.bundle.code, at=EARLIER)
    factories.work(at=EARLIER, answer_partners=False)
    for asked in ServiceOrder.objects.filter(state="acknowledged").select_related("partner"):
        partner_orders.fail(
            service_order_id=asked.pk, partner=asked.partner, reason="Not in Barre", at=EARLIER
        )
    factories.work(at=EARLIER, answer_partners=False)
    order.refresh_from_db()
    return bob, order


@pytest.fixture
def boss(db: None) -> User:
    from ispops.parties.models import User

    return User.objects.create_superuser("boss@isp.example", "hopper-1906", date_joined=EARLIER)


@pytest.fixture
def as_user(settings: object) -> Callable[[User], Client]:
    """Return a browser in which a user is logged in; second factors are tested elsewhere."""
    settings.STAFF_NEED_SECOND_FACTOR = False  # type: ignore[attr-defined]

    def browser(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return browser


@pytest.fixture
def as_role(as_user: Callable[[User], Client], db: None) -> Callable[[str], Client]:
    """Return a browser of a member of staff with this role."""
    from tests import factories

    return lambda role: as_user(factories.staff(role, at=EARLIER))
