"""A bundle of several partners' products: one purchase at one price, all of it or nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput
from ispops.parties.models import Partner, Subscriber
from provisioning import changing, partner_orders
from provisioning.models import Service, ServiceOrder
from rating import billing, cancelling, line_choices, purchases, queries, refunds, spending
from rating.accrual import due
from rating.billing import running_bill
from rating.goods import goods
from rating.models import Charge, Purchase
from tests import factories
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, charges, package, product, share, total
from tests.rating.test_priced_use import sold, used
from tests.small_isp import LAUNCH, priced

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def song(shop: Shop) -> ProductOffering:
    """Something else that is bought once, of another partner."""
    made = product("song", "A song", shop.backup, LAUNCH)
    publishing.set_price(offering=made, charge="one_off", amount=Decimal(1), at=LAUNCH)
    share(made, shop.backup, "bsp", percent="50", at=LAUNCH)
    return made


@pytest.fixture
def evening(shop: Shop, song: ProductOffering) -> ProductOffering:
    """A film and a song for 5: three parts to one, no cent of which is even."""
    made = package("evening", (shop.film, 2), (song, 1))
    publishing.set_price(offering=made, charge="one_off", amount=Decimal(5), at=LAUNCH)
    return made


@pytest.fixture
def quiet(shop: Shop) -> ProductOffering:
    """Two subscriptions at 4 a month together."""
    guard = product("guard", "Guard", shop.films, LAUNCH, is_subscription=True)
    priced(guard, "3", LAUNCH)
    share(guard, shop.films, "bsp", percent="70", at=LAUNCH)
    made = package("quiet", (guard, 1), (shop.storage, 1), is_subscription=True)
    publishing.set_price(offering=made, charge="recurring", amount=Decimal(4), at=LAUNCH)
    return made


def answer(part: Purchase, *, grants: bool = True) -> None:
    key, partner = part.service_order_id, part.offering.provider
    if grants:
        partner_orders.complete(service_order_id=key, partner=partner, at=LATER)
    else:
        partner_orders.fail(service_order_id=key, partner=partner, reason="Sold out.", at=LATER)
    factories.deliver_events(at=LATER)


def states(whole: Purchase) -> list[str]:
    whole.refresh_from_db()
    return [whole.state, *whole.parts.order_by("pk").values_list("state", flat=True)]


def test_each_partner_gets_its_part_of_the_one_price(
    evening: ProductOffering, shop: Shop, line: Service, ada: Subscriber
) -> None:
    whole = buy(line, evening, key="once")
    film, song = charges(ada)
    assert (film.amount_net, song.amount_net) == (Decimal("3.333333"), Decimal("1.666667"))
    assert (film.bsp, song.bsp) == (shop.films, shop.backup)
    assert (film.bsp_share, song.bsp_share) == (Decimal("2.333333"), Decimal("0.833333"))
    assert total([film, song], "isp_share") + film.bsp_share + song.bsp_share == 5
    assert {film.bundle, song.bundle} == {evening}
    told = queries.why(film)
    assert told["bundle"] == "3.333333 is the part 2 of 3 of the one price of 5.00"
    lines = running_bill(subscriber=ada, at=NOON).lines
    assert [line.amount_net for line in lines if line.offering == evening] == [5]
    asked = ServiceOrder.objects.order_by("pk")
    assert [one.partner for one in asked] == [shop.films, shop.backup]
    assert buy(line, evening, key="once") == whole
    assert Purchase.objects.count() == 3


def test_each_partner_sees_its_own_part(
    evening: ProductOffering, shop: Shop, line: Service
) -> None:
    buy(line, evening)
    assert [row.offering for row in queries.partner_purchases(shop.films)] == [shop.film]


def test_what_came_in_a_bundle_is_not_offered_by_itself(
    quiet: ProductOffering, line: Service, ada: Subscriber
) -> None:
    def offered() -> set[str]:
        checked = factories.qualified(line.premises, at=LATER)
        return {"guard", "storage"} & set(
            line_choices.products(line, checked, ada.kind).codes_to_add
        )

    assert offered() == {"guard", "storage"}
    for part in buy(line, quiet).parts.all():
        answer(part)
    assert offered() == set()


def test_it_is_there_when_the_last_partner_has_confirmed(
    quiet: ProductOffering, line: Service, ada: Subscriber
) -> None:
    whole = buy(line, quiet)
    first, second = whole.parts.order_by("pk")
    answer(first)
    assert states(whole) == ["pending", "completed", "pending"]
    answer(second)
    assert states(whole) == ["completed"] * 3
    assert [one.state for one in line.carried.all()] == ["active", "active"]
    # From the next period on, the bill takes the price in the same parts.
    june = [row for row in due(subscriber=ada, period=JUNE, at=JUNE.start) if row.bundle_id]
    assert [row.amount_net for row in june] == [2, 2]


def test_when_one_does_not_come_the_others_are_taken_back(
    quiet: ProductOffering, line: Service, ada: Subscriber
) -> None:
    whole = buy(line, quiet)
    first, second = whole.parts.order_by("pk")
    answer(first)
    answer(second, grants=False)
    assert states(whole) == ["reversed"] * 3
    assert whole.reason == "Storage: Sold out."
    for part in ("amount_net", "amount_tax", "isp_share", "bsp_share"):
        assert total(charges(ada), part) == 0
    assert {one.state for one in line.carried.all()} == {"ceased"}
    first.service_order.refresh_from_db()
    assert first.service_order.state == "cancelled"


@pytest.mark.parametrize("ends", ["refused", "cancelled"])
def test_what_one_partner_says_the_others_are_not_told(
    quiet: ProductOffering, shop: Shop, line: Service, ends: str
) -> None:
    Partner.objects.filter(pk=shop.films.pk).update(webhook_url="https://films.example/hook")
    whole = buy(line, quiet)
    first, second = whole.parts.order_by("pk")
    answer(first)
    if ends == "refused":
        answer(second, grants=False)
        said, told = "Sold out.", "Another part of the bundle was not delivered."
    else:
        said, told = "Our licence lapsed.", "The bundle of which this is a part was cancelled."
        cancelling.cancel_purchase(
            purchase_id=second.pk, partner=shop.backup, reason=said, at=LATER
        )
    for part in (whole, first, second):
        part.refresh_from_db()
    assert said in whole.reason
    assert (first.reason, second.reason) == (told, said)
    assert queries.partner_purchases(shop.films).get().reason == told
    first.service_order.refresh_from_db()
    assert first.service_order.reason
    assert first.service_order.reason != said
    backs = Charge.objects.filter(service=first.service, kind="adjustment")
    assert {row.explanation["because"] for row in backs} == {told}
    sent = [str(body) for body in shop.films.webhooks.values_list("body", flat=True)]
    assert sent
    assert not [body for body in sent if said in body]


@pytest.mark.parametrize("ends", ["timed out", "cancelled"])
def test_what_never_came_is_not_charged_across_the_end_of_a_period(
    shop: Shop, line: Service, ada: Subscriber, ends: str
) -> None:
    games = sold(shop, period_minimum=Decimal(9))
    priced(games, "3", LAUNCH)
    made = package("both", (games, 1), (shop.storage, 1), is_subscription=True)
    publishing.set_price(offering=made, charge="recurring", amount=Decimal(4), at=LAUNCH)
    before, after = MAY.end - timedelta(minutes=10), MAY.end + timedelta(minutes=10)
    whole = buy(line, made, at=before)
    first, second = whole.parts.order_by("pk")
    granted = before + timedelta(minutes=1)
    partner_orders.complete(
        service_order_id=first.service_order_id, partner=games.provider, at=granted
    )
    factories.deliver_events(at=granted)
    used(shop, line, games, 30, 20, started_at=(granted + timedelta(minutes=1)).isoformat())
    billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
    assert total(charges(ada, offering=games)) > 5
    used(shop, line, games, 10, started_at=(MAY.end + timedelta(minutes=1)).isoformat())
    if ends == "timed out":
        partner_orders.time_out_due(at=second.service_order.answer_by)
        factories.deliver_events(at=second.service_order.answer_by)
    else:
        cancelling.cancel_purchase(purchase_id=whole.pk, reason="No.", at=after)
    used(shop, line, games, 5, started_at=(MAY.end + timedelta(minutes=2)).isoformat())
    billing.issue_bill(subscriber=ada, period=JUNE, at=JUNE.end)
    for part in ("amount_net", "amount_tax", "isp_share", "bsp_share"):
        assert total(charges(ada, bundle=made), part) == 0
        assert total(charges(ada, offering=games), part) == 0


def test_what_was_delivered_once_is_taken_back_too(
    evening: ProductOffering, line: Service, ada: Subscriber
) -> None:
    whole = buy(line, evening)
    first, second = whole.parts.order_by("pk")
    answer(first)
    assert partner_orders.time_out_due(at=second.service_order.answer_by) == 1
    factories.deliver_events(at=second.service_order.answer_by)
    assert states(whole) == ["reversed"] * 3
    assert total(charges(ada), "amount_net") == 0
    first.service_order.refresh_from_db()
    assert first.service_order.state == "cancelled"


@pytest.mark.parametrize("by", ["subscriber", "partner"])
def test_it_is_cancelled_as_a_whole(
    quiet: ProductOffering, shop: Shop, line: Service, ada: Subscriber, by: str
) -> None:
    whole = buy(line, quiet)
    for part in whole.parts.order_by("pk"):
        answer(part)
    half = MAY.start + (MAY.end - MAY.start) / 2
    mine = whole.parts.get(offering=shop.storage)
    cancelling.cancel_purchase(
        purchase_id=mine.pk if by == "partner" else whole.pk,
        partner=shop.backup if by == "partner" else None,
        reason="Enough.",
        at=half,
    )
    assert states(whole) == ["cancelled"] * 3
    assert {one.state for one in line.carried.all()} == {"ceased"}
    assert total(charges(ada), "amount_net") < 2
    assert len(charges(ada)) == 4


def test_it_is_given_back_as_a_whole(
    evening: ProductOffering, line: Service, ada: Subscriber
) -> None:
    whole, owner = buy(line, evening), ada.users.get()

    def back(key: str, **how: Any) -> list[Charge]:
        return refunds.refund_purchase(
            purchase_id=whole.pk, because="Half.", idempotency_key=key, actor=owner, at=LATER, **how
        )

    first = back("one", percent=Decimal(50))
    assert [(row.amount_net, row.amount_tax) for row in first] == [
        (Decimal("-1.666667"), Decimal("-0.166666")),
        (Decimal("-0.833334"), Decimal("-0.083333")),
    ]
    assert back("one", percent=Decimal(50)) == first
    with pytest.raises(refunds.RefundKeyReused):
        back("one", percent=Decimal(40))
    with pytest.raises(refunds.RefundTooLarge):
        back("two", amount=Decimal("2.76"))
    back("two")
    for part in ("amount_net", "amount_tax", "isp_share", "bsp_share"):
        assert total(charges(ada), part) == 0
    with pytest.raises(refunds.NothingToRefund):
        back("three", amount=Decimal("0.01"))


def test_the_limit_counts_all_of_it(
    evening: ProductOffering, line: Service, ada: Subscriber
) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal("5.49"))
    with pytest.raises(spending.SpendingLimitReached):
        buy(line, evening)
    assert not Purchase.objects.exists()
    Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal("5.50"))
    buy(line, evening)


def test_what_the_line_has_already_is_not_bought_with_it(
    quiet: ProductOffering, shop: Shop, line: Service
) -> None:
    buy(line, shop.storage)
    with pytest.raises(purchases.AlreadySubscribed, match="Storage"):
        buy(line, quiet)
    [good] = [good for good in goods(line, "USD", NOON) if good.offering == quiet]
    assert (good.held.offering, good.sellers, good.saves) == (
        shop.storage,
        "Films and Backup",
        Decimal(2),
    )


def test_one_part_that_is_not_sold_and_it_is_not(
    evening: ProductOffering, shop: Shop, line: Service
) -> None:
    Partner.objects.filter(pk=shop.backup.pk).update(active=False)
    with pytest.raises(purchases.OfferingWithdrawn):
        buy(line, evening)
    assert evening not in [good.offering for good in goods(line, "USD", NOON)]


def test_a_part_stays_when_the_plan_changes_and_does_not_go_alone(
    quiet: ProductOffering, shop: Shop, line: Service
) -> None:
    for part in buy(line, quiet).parts.order_by("pk"):
        answer(part)
    with pytest.raises(InvalidInput, match="part of quiet"):
        changing.compose(line, None, [], ["storage"], at=LATER)
    wanted = changing.compose(line, None, [], [], at=LATER)
    differ = wanted.products
    assert [*differ.added, *differ.removed, *differ.regrouped] == []


@pytest.mark.parametrize("wrong", ["one", "plan", "mixed"])
def test_its_parts_are_products_that_last_alike(shop: Shop, wrong: str) -> None:
    parts = {
        "one": [(shop.film, 1)],
        "plan": [(shop.film, 1), (shop.isp.fast, 1)],
        "mixed": [(shop.film, 1), (shop.storage, 1)],
    }[wrong]
    with pytest.raises(InvalidInput) as refused:
        package("wrong", *parts)
    assert refused.value.field == "components"


def test_it_has_no_price_by_use(evening: ProductOffering) -> None:
    with pytest.raises(InvalidInput):
        publishing.set_price(
            offering=evening, charge="usage", amount=Decimal(1), unit="minute", at=NOON
        )


def test_the_database_keeps_what_was_completed_with_all_of_it(
    evening: ProductOffering, line: Service
) -> None:
    whole = buy(line, evening)
    for part in whole.parts.order_by("pk"):
        answer(part)
    with pytest.raises(DatabaseError), transaction.atomic():
        whole.parts.update(state="reversed")
    assert Charge.objects.count() == 2
