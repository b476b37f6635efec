"""The small ISP and the people of these tests. Imports of the product wait for its settings."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ipam.models import AddressServer
    from ispops.parties.models import Subscriber, User
    from tests.small_isp import SmallIsp

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def at() -> datetime:
    return NOON


@pytest.fixture(scope="module")
def _ground(django_db_setup: None, django_db_blocker: Any) -> Iterator[SmallIsp]:
    """The small ISP, made once for a file: every test works in a savepoint on top of it."""
    from django.db import transaction

    from tests.small_isp import make_small_isp

    with django_db_blocker.unblock(), transaction.atomic():
        yield make_small_isp()
        transaction.set_rollback(True)


@pytest.fixture
def isp(_ground: SmallIsp, db: None) -> SmallIsp:
    return copy.deepcopy(_ground)


@pytest.fixture
def ada(isp: SmallIsp, at: datetime) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=at, email="ada@example.com")


@pytest.fixture
def otto(isp: SmallIsp, at: datetime) -> User:
    """A member of the operations staff."""
    from ispops.parties import roles
    from tests import factories

    return factories.staff(roles.OPERATIONS, at=at)


@pytest.fixture
def radius_server(isp: SmallIsp, at: datetime) -> AddressServer:
    from tests import factories

    return factories.address_server(at=at)
