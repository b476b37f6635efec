"""What the fault tests work with: a small ISP, one subscriber, and processes to break."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

# What the database of these tests' Kea is called.
KEA = "kea_faults"

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ispops.parties.models import Subscriber
    from tests.faults.workers import Workers
    from tests.small_isp import SmallIsp


@pytest.fixture
def isp(transactional_db: None) -> SmallIsp:
    from tests.small_isp import make_small_isp

    return make_small_isp(at=timezone.now() - timedelta(days=1))


@pytest.fixture
def ada(isp: SmallIsp) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=timezone.now())


@pytest.fixture(scope="session")
def workers(django_db_setup: None) -> Iterator[Workers]:
    from tests.faults.workers import Workers

    maker = Workers()
    yield maker
    maker.close()


@pytest.fixture(scope="session")
def kea_url(django_db_setup: None) -> Iterator[str]:
    from tests.dhcp import kea

    with kea.database(KEA) as url:
        yield url
