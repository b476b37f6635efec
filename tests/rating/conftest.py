"""The small ISP with something to charge for. Imports of the product wait for its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from ispops.parties.models import Subscriber
    from provisioning.models import Service
    from tests.rating.ground import Shop
    from tests.small_isp import SmallIsp


@pytest.fixture
def at() -> datetime:
    from tests.rating.ground import NOON

    return NOON


@pytest.fixture
def isp(db: None) -> SmallIsp:
    from tests.small_isp import make_small_isp

    return make_small_isp()


@pytest.fixture
def shop(isp: SmallIsp) -> Shop:
    from tests.rating.ground import make_shop

    return make_shop(isp)


@pytest.fixture
def ada(shop: Shop, at: datetime) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=at, email="ada@example.com")


@pytest.fixture
def line(shop: Shop, ada: Subscriber, at: datetime) -> Service:
    """Ada's line, live since noon."""
    from tests import factories

    return factories.live_line(shop.isp, ada, at=at)
