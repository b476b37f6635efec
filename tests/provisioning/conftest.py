"""The small ISP and the people of these tests. Imports of the product wait for its settings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ipam.models import AddressServer
    from ispops.parties.models import Partner, Subscriber, User
    from tests.small_isp import SmallIsp

ALL = ["orders:read", "orders:write", "service_orders:read", "service_orders:write"]
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


@pytest.fixture
def now() -> datetime:
    """The API takes the time from the clock."""
    from django.utils import timezone

    return timezone.now()


@pytest.fixture
def asker(isp: SmallIsp, now: datetime) -> Subscriber:
    from tests import factories

    return factories.subscriber(at=now, email="ada@example.com")


@pytest.fixture
def token(isp: SmallIsp, now: datetime) -> Callable[..., dict[str, str]]:
    """Make an access token of a user or of a partner's program."""
    from allauth.idp.oidc.adapter import get_adapter
    from allauth.idp.oidc.models import Client as ApiClient
    from allauth.idp.oidc.models import Token

    from ispops.parties import partners
    from ispops.parties.models import Partner

    program = ApiClient.objects.create(name="Tests", created_at=now)

    def made(owner: User | Partner, *scopes: str) -> dict[str, str]:
        value = f"token-{Token.objects.count()}"
        client, user = program, owner
        if isinstance(owner, Partner):
            client, _ = partners.create_api_client(
                partner=owner, name=owner.name, scopes=scopes or ALL, at=now
            )
            user = None
        row = Token(
            type=Token.Type.ACCESS_TOKEN,
            client=client,
            user=user,
            hash=get_adapter().hash_token(value),
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
        row.set_scopes(scopes or ALL)
        row.save()
        return {"Authorization": f"Bearer {value}"}

    return made
