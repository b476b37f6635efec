"""The small ISP with something to charge for. Imports of the product wait for its settings.

Making it takes longer than most tests, so each file makes it once, in a transaction that is rolled
back at its end; each test works in a savepoint of its own, on copies of the rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from ispops.parties.models import Subscriber
    from provisioning.models import Service
    from tests.rating.ground import Shop


@pytest.fixture(scope="module")
def ground(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    from django.db import transaction

    from tests import factories
    from tests.rating.ground import NOON, make_shop
    from tests.small_isp import make_small_isp

    with django_db_blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        shop = make_shop(make_small_isp())
        ada = factories.subscriber(at=NOON, email="ada@example.com")
        bob = factories.subscriber(at=NOON, name="Bob", email="bob@example.com")
        line = factories.live_line(shop.isp, ada, at=NOON)
    yield {"shop": shop, "ada": ada, "bob": bob, "line": line}
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


@pytest.fixture
def at() -> datetime:
    from tests.rating.ground import NOON

    return NOON


@pytest.fixture
def shop(ground: dict[str, Any], db: None) -> Shop:
    return copy.deepcopy(ground["shop"])


@pytest.fixture
def ada(ground: dict[str, Any], db: None) -> Subscriber:
    return copy.deepcopy(ground["ada"])


@pytest.fixture
def bob(ground: dict[str, Any], db: None) -> Subscriber:
    """Somebody who registered and has nothing yet."""
    return copy.deepcopy(ground["bob"])


@pytest.fixture
def line(ground: dict[str, Any], db: None) -> Service:
    """Ada's line, live since noon."""
    return copy.deepcopy(ground["line"])
