"""What the tests of rating share: a shop with every kind of price, and short ways to act in it.

Ada registers at noon on 4 May 2026, so her periods begin on fourths, at midnight in New York.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from ipam import overallocation
from ipam.allocation import request_addresses
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.parties.models import Partner, Subscriber
from ispops.periods import Period
from provisioning import partner_orders
from provisioning.models import Service
from rating import posting, purchases, usage
from rating.models import Charge, Purchase, RatedUsage
from rating.usage import RowResult
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_partner, priced

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MAY = Period(datetime(2026, 5, 4, 4, tzinfo=UTC), datetime(2026, 6, 4, 4, tzinfo=UTC))
JUNE = Period(MAY.end, datetime(2026, 7, 4, 4, tzinfo=UTC))
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Shop:
    """The small ISP, and partner products of every kind."""

    isp: SmallIsp
    film: ProductOffering
    minutes: ProductOffering
    backup: Partner
    storage: ProductOffering

    @property
    def films(self) -> Partner:
        return self.isp.films


def make_shop(isp: SmallIsp, at: datetime = LAUNCH) -> Shop:
    """Add 10 % tax, shares, a film for 4.99, minutes by use, and a second partner."""
    publishing.set_tax_rate(category="telecom", percent=Decimal(10), at=at)
    film = product("film", "A film", isp.films, at)
    publishing.set_price(offering=film, charge="one_off", amount=Decimal("4.99"), at=at)
    minutes = product("minutes", "Streaming", isp.films, at, is_subscription=True)
    publishing.set_price(
        offering=minutes,
        charge="usage",
        amount=Decimal(0),
        unit="minute",
        allowance=100,
        tiers=[{"up_to": 500, "amount": "0.02"}, {"up_to": None, "amount": "0.01"}],
        at=at,
    )
    backup = make_partner("backup", "Backup", Partner.Kind.BSP, at)
    storage = product("storage", "Storage", backup, at, is_subscription=True)
    priced(storage, "3", at)
    for offering in (film, minutes, isp.streaming):
        share(offering, isp.films, "bsp", percent="70", at=at)
    share(storage, backup, "bsp", percent="50", at=at)
    share(isp.fast, isp.fibre, "network_provider", amount="25", at=at)
    return Shop(isp, film, minutes, backup, storage)


def product(code: str, name: str, partner: Partner, at: datetime, **facts: Any) -> ProductOffering:
    return publishing.create_offering(
        code=code, name=name, kind="bsp", provider=partner, at=at, **facts
    )


def package(code: str, *parts: tuple[ProductOffering, int], **facts: Any) -> ProductOffering:
    """A bundle of partners' products, without a price."""
    made = publishing.create_offering(code=code, name=code, kind="package", at=LAUNCH, **facts)
    publishing.define_bundle(bundle=made, components=parts, at=LAUNCH)
    return made


def share(
    offering: ProductOffering,
    partner: Partner,
    role: str,
    *,
    at: datetime,
    percent: str = "0",
    amount: str = "0",
) -> None:
    publishing.set_settlement_term(
        offering=offering,
        role=role,
        partner=partner,
        basis="fixed" if Decimal(amount) else "percent_of_net",
        percent=Decimal(percent),
        amount=Decimal(amount),
        at=at,
    )


def buy(
    line: Service, offering: ProductOffering, *, at: datetime = NOON, key: str = "", **other: Any
) -> Purchase:
    return purchases.place_purchase(
        **{
            "subscriber": line.subscriber,
            "line": line,
            "offering": offering,
            "channel": "portal",
            "placed_by": None,
            "idempotency_key": key or f"buy-{next(_numbers)}",
            "at": at,
            **other,
        }
    )


def subscribed(line: Service, offering: ProductOffering, *, at: datetime = NOON) -> Service:
    """A product that was bought and that its partner has confirmed."""
    purchase = buy(line, offering, at=at)
    purchases.complete_purchase(service_order_id=purchase.service_order_id, at=at)
    purchase.service.refresh_from_db()
    return purchase.service


def granted_extra(line: Service, ada: Subscriber, *, at: datetime) -> None:
    """A second device of a line gets an address beyond the plan."""
    server = factories.address_server(at=at)
    for device in ("02:00:00:00:00:01", "02:00:00:00:00:02"):
        answer = request_addresses(service_ref=line.public_id, device=device, server=server, at=at)
    overallocation.accept(
        request_id=answer.request.pk, actor=ada.users.get(), decided_by="subscriber", at=at
    )


def event(line: Service, offering: ProductOffering, quantity: Any = 10, **other: Any) -> Any:
    """A partner's event about the subscriber of a line, an hour after noon."""
    return {
        "event_id": f"event-{next(_numbers)}",
        "subscriber_ref": partner_orders.reference_of(
            partner=offering.provider, subscriber=line.subscriber
        ),
        "offering": offering.code,
        "started_at": (NOON + timedelta(hours=1)).isoformat(),
        "quantity": quantity,
        "unit": "minute",
        **other,
    }


def report(partner: Partner, *events: Any, at: datetime | None = None) -> list[RowResult]:
    received_at = at or NOON + timedelta(hours=2)
    return usage.record_usage(partner=partner, events=events, received_at=received_at)


def rate(at: datetime = NOON + timedelta(hours=3), limit: int = 1000) -> int:
    return usage.rate_usage(at=at, limit=limit)


def rate_all() -> int:
    """Rate until nothing waits, as a worker does."""
    done = 0
    while count := rate():
        done += count
    return done


def charges(subscriber: Subscriber, **only: Any) -> list[Charge]:
    return list(Charge.objects.filter(subscriber=subscriber, **only).order_by("charged_at", "pk"))


def rated(subscriber: Subscriber) -> list[RatedUsage]:
    """What single uses came to, in the order in which they came."""
    return list(RatedUsage.objects.filter(subscriber=subscriber).order_by("pk"))


def posted(subscriber: Subscriber) -> list[Charge]:
    """The charges for all use that is rated."""
    posting.post_rated_usage(until=datetime.max.replace(tzinfo=UTC))
    return charges(subscriber, kind="usage")


def total(rows: list[Any], part: str = "amount_net") -> Decimal:
    return sum((getattr(row, part) for row in rows), Decimal(0))


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """What happens inside is refused by the database itself, at the latest at commit."""
    with pytest.raises(DatabaseError) as caught, transaction.atomic():
        yield
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert any(word in str(caught.value) for word in words), str(caught.value)


def execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
