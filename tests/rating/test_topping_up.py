"""More data for a plan of our own: bought once, there at once, and only where it fits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from ispops.errors import InvalidInput
from ispops.models import Event
from ispops.parties.models import AuditEntry, Subscriber
from provisioning import services
from provisioning.models import Service
from rating import billing, topping_up
from rating.models import Charge, Purchase, UsagePack
from rating.packs import NothingToTopUp
from rating.purchases import NotInGoodStanding, OfferingWithdrawn, PurchaseKeyReused
from tests.provisioning import later
from tests.rating.ground import NOON, Shop
from tests.rating.plenty import GB, TB, data_pack, top_up, use

pytestmark = pytest.mark.django_db


def test_it_is_there_at_once(shop: Shop, line: Service, ada: Subscriber) -> None:
    pack = data_pack(shop.isp.fast)
    use(line, TB + 5 * GB)
    bought = top_up(line, pack)
    assert (bought.state, bought.settled_at, bought.service_order) == ("completed", NOON, None)
    granted = UsagePack.objects.get()
    assert (granted.units, granted.after, granted.counted) == (100 * GB, 5 * GB, TB + 5 * GB)
    charge = Charge.objects.get(offering=pack)
    assert (charge.amount_net, charge.amount_tax, charge.isp_share) == (5, Decimal("0.5"), 5)
    preview = billing.running_bill(subscriber=ada, at=NOON)
    assert [x.amount_net for x in preview.lines if x.offering == pack] == [Decimal(5)]
    [entry] = AuditEntry.objects.filter(action="purchase.placed")
    assert (entry.subject, entry.detail["amount_net"]) == (
        bought.public_id,
        "5.000000",
    )
    assert Event.objects.filter(kind="purchase.completed").count() == 1


def test_twice_with_one_key_is_once(shop: Shop, line: Service) -> None:
    pack, other = data_pack(shop.isp.fast), data_pack(shop.isp.fast)
    assert top_up(line, pack, key="k") == top_up(line, pack, key="k")
    assert (Purchase.objects.count(), UsagePack.objects.count()) == (1, 1)
    with pytest.raises(PurchaseKeyReused):
        top_up(line, other, key="k")


class TestWhatIsRefused:
    def test_a_pack_for_another_plan(self, shop: Shop, line: Service) -> None:
        with pytest.raises(NothingToTopUp):
            top_up(line, data_pack(later.faster(shop.isp)))
        assert not Purchase.objects.exists()
        assert not Charge.objects.exists()

    def test_what_is_no_pack_or_not_sold_any_more(self, shop: Shop, line: Service) -> None:
        pack = data_pack(shop.isp.fast)
        pack.sold_to = NOON
        pack.save()
        for offering in (pack, shop.film, shop.isp.extra_address):
            with pytest.raises(OfferingWithdrawn):
                top_up(line, offering)
        assert topping_up.packs_for(line, NOON) == []

    def test_an_account_or_a_line_that_is_not_in_order(self, shop: Shop, line: Service) -> None:
        pack = data_pack(shop.isp.fast)
        for key in ("", "x" * 201):
            with pytest.raises(InvalidInput):
                topping_up.top_up(
                    subscriber=line.subscriber, line=line, offering=pack, channel="portal",
                    placed_by=None, idempotency_key=key, at=NOON,
                )  # fmt: skip
        Subscriber.objects.filter(pk=line.subscriber_id).update(standing="restricted")
        with pytest.raises(NotInGoodStanding):
            top_up(line, pack)
        Subscriber.objects.filter(pk=line.subscriber_id).update(standing="good")
        services.cease(service=line, at=NOON)
        with pytest.raises(InvalidInput) as caught:
            top_up(line, pack, at=NOON + timedelta(hours=1))
        assert caught.value.field == "line"

    def test_a_line_of_somebody_else(self, shop: Shop, line: Service, bob: Subscriber) -> None:
        with pytest.raises(InvalidInput):
            topping_up.top_up(
                subscriber=bob, line=line, offering=data_pack(shop.isp.fast), channel="portal",
                placed_by=None, idempotency_key="k", at=NOON,
            )  # fmt: skip


def test_the_packs_of_a_plan_the_smallest_first(shop: Shop, line: Service) -> None:
    large, small = data_pack(shop.isp.fast, 500 * GB), data_pack(shop.isp.fast, 50 * GB)
    data_pack(later.faster(shop.isp))
    assert [price.offering for price in topping_up.packs_for(line, NOON)] == [small, large]
