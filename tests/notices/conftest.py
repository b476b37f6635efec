"""A subscriber who agreed to SMS, and kinds of notices of these tests' own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ispops.parties.models import Subscriber

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def at() -> datetime:
    return NOON


@pytest.fixture
def ada(db: None) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=NOON, email="ada@example.com")
