"""People and partners that the tests of this department share.

Imports of the product are inside: this file is read before Django knows its settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

from tests.receiver import Receiver, listening

if TYPE_CHECKING:
    from ispops.parties.models import Partner, User

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    with listening() as found:
        yield found


@pytest.fixture
def partner(db: None, receiver: Receiver) -> Partner:
    from ispops.parties import partners

    return partners.create_partner(
        code="cinebox", name="Cinebox", kind="bsp", webhook_url=receiver.url, at=NOW
    )


@pytest.fixture
def ada(db: None) -> User:
    from ispops.parties import accounts

    return accounts.create_login(
        email="ada@example.com",
        password="lovelace-1843",
        name="Ada Lovelace",
        email_is_verified=True,
        at=NOW,
    )


@pytest.fixture
def cara(db: None) -> User:
    from ispops.parties import accounts, roles

    return accounts.create_login(
        email="cara@isp.example",
        password="hopper-1906",
        groups=[roles.CSR],
        is_staff=True,
        email_is_verified=True,
        at=NOW,
    )


@pytest.fixture
def sent_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, dict[str, object]]]:
    """What would have been asked of Celery, as pairs of task and arguments."""
    from ispops import jobs

    sent: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr(jobs, "send", lambda task, **kwargs: sent.append((task, kwargs)))
    return sent
