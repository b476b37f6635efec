"""The small ISP and the people of these tests. Imports of the product wait for its settings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ipam.models import AddressServer
    from ispops.parties.models import Subscriber, User
    from tests.small_isp import SmallIsp

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def at() -> datetime:
    return NOON


@pytest.fixture
def isp(db: None) -> SmallIsp:
    from tests.small_isp import make_small_isp

    return make_small_isp()


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
