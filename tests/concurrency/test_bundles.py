"""A bundle is taken back while its use is charged: nothing of it is owed, whoever comes first."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing
from ispops.parties.models import Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import cancelling, lanes, posting, purchases
from rating.models import Charge, Purchase
from tests import factories
from tests.concurrency.test_rating import at_once, slow
from tests.rating.ground import NOON, Shop, buy, event, make_shop, package, rate, report, total
from tests.rating.test_priced_use import sold
from tests.small_isp import LAUNCH, make_small_isp, priced

pytestmark = pytest.mark.django_db(transaction=True)
LATER = NOON + timedelta(minutes=1)
AT_LAST = NOON + timedelta(hours=9)


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return make_shop(make_small_isp())


@pytest.fixture
def ada(shop: Shop) -> Subscriber:
    return factories.subscriber(at=NOON)


@pytest.fixture
def line(shop: Shop, ada: Subscriber) -> Service:
    return factories.live_line(shop.isp, ada, at=NOON)


@pytest.fixture
def waits(shop: Shop, line: Service) -> Purchase:
    """A bundle of which one part was granted and used, and is charged for; the other waits."""
    games = sold(shop)
    priced(games, "3", LAUNCH)
    made = package("both", (games, 1), (shop.storage, 1), is_subscription=True)
    publishing.set_price(offering=made, charge="recurring", amount=Decimal(4), at=LAUNCH)
    whole = buy(line, made)
    first = whole.parts.get(offering=games)
    partner_orders.complete(
        service_order_id=first.service_order_id, partner=games.provider, at=LATER
    )
    factories.deliver_events(at=LATER)
    began = (LATER + timedelta(minutes=1)).isoformat()
    report(shop.films, event(line, games, 30, started_at=began))
    assert rate() == 1
    return whole


def use_is_charged_while_it_ends(waits: Purchase, ends: str) -> list[Charge]:
    def work(number: int) -> Any:
        if number:
            return posting.post_rated_usage(until=datetime.max.replace(tzinfo=UTC))
        time.sleep(0.1)
        if ends == "cancelled":
            return cancelling.cancel_purchase(purchase_id=waits.pk, reason="No.", at=AT_LAST)
        other = waits.parts.get(service__state="reserved")
        return purchases.reverse_purchase(
            service_order_id=other.service_order_id, because="Sold out.", at=AT_LAST
        )

    answers = at_once(work, many=2)
    assert not [answer for answer in answers if isinstance(answer, Exception)], answers
    waits.refresh_from_db()
    assert waits.state == ends
    return list(Charge.objects.filter(subscriber=waits.subscriber_id))


@pytest.mark.parametrize("ends", ["reversed", "cancelled"])
@pytest.mark.parametrize("where", ["_drafts", "_that_came"])
def test_nothing_is_owed(
    waits: Purchase, ends: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, posting, where)
    assert total(use_is_charged_while_it_ends(waits, ends)) == 0


def test_without_the_second_look_use_stays_charged(
    waits: Purchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, posting, "_drafts")
    monkeypatch.setattr(posting, "_that_came", list)
    assert total(use_is_charged_while_it_ends(waits, "reversed")) > 0


def test_without_the_lane_use_stays_charged(
    waits: Purchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, posting, "_that_came")
    monkeypatch.setattr(lanes, "hold_lanes", list)
    assert total(use_is_charged_while_it_ends(waits, "reversed")) > 0
