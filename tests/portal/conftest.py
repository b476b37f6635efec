"""People at the small ISP of `tests.small_isp`.

Imports of the product are inside: this file is read before Django knows its settings.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from ispops.parties.models import Subscriber
    from provisioning.models import Service
    from qualification.models import Premises
    from tests.small_isp import SmallIsp


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """Rate limits of one test are not those of the next."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def now() -> datetime:
    from django.utils import timezone

    return timezone.now()


@pytest.fixture
def before(now: datetime) -> datetime:
    """When Ada came: so long ago that her first billing period is over."""
    return now - timedelta(days=40)


@pytest.fixture
def isp(db: None) -> SmallIsp:
    from tests.small_isp import make_small_isp

    return make_small_isp()


@pytest.fixture
def house(isp: SmallIsp) -> Premises:
    return isp.oak_1


@pytest.fixture
def ada(db: None, before: datetime) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=before)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, before: datetime) -> Service:
    from tests import factories

    return factories.live_line(isp, ada, at=before)


@pytest.fixture
def owner(ada: Subscriber) -> Client:
    return _signed_in(ada)


@pytest.fixture
def stranger(db: None, now: datetime) -> Client:
    from tests import factories

    return _signed_in(factories.subscriber(at=now, name="Mallory Stranger"))


def _signed_in(subscriber: Subscriber) -> Client:
    from django.test import Client

    client = Client()
    client.force_login(subscriber.users.get(), backend="django.contrib.auth.backends.ModelBackend")
    return client
