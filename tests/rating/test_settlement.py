"""Statements are the sums of the shares, and every share is on exactly one."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from ispops.catalog import publishing
from ispops.models import Event
from ispops.parties.models import Partner, Subscriber
from provisioning.models import Service
from rating import billing, cancelling, closing, purchases, settlement
from rating.differences import Tally
from rating.models import Charge, Purchase, SettlementStatement
from rating.settlement import SETTLED_AFTER, PeriodNotOver, settle_period
from tests import factories
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    rate,
    report,
    subscribed,
    total,
)
from tests.rating.test_priced_use import sold, used
from tests.rating.test_simulations import drafted, tried
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db


def settle(partner: Partner, period=MAY) -> SettlementStatement:
    [statement] = settle_period(partner=partner, period=period, at=period.end + SETTLED_AFTER)
    return statement


def test_a_statement_is_the_sum_of_the_partners_shares(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    buy(line, shop.film)
    subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 150))
    rate()
    buy(line, shop.storage)
    statement = settle(shop.films)
    # 70 % of a film for 4.99 and of 50 minutes for 1.00.
    assert (statement.amount, statement.charge_count) == (Decimal("4.193"), 2)
    assert settle(shop.backup).charge_count == 1
    told = Event.objects.filter(kind="statement.issued").earliest("pk")
    assert (told.subject, told.payload["partner"]) == (statement.public_id, "films")


def test_a_network_provider_gets_its_part_when_the_bill_is_made(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
    assert settle(shop.isp.fibre).amount == 0
    rows = Charge.objects.filter(network_provider=shop.isp.fibre)
    assert settle(shop.isp.fibre, JUNE).amount == sum(c.network_provider_share for c in rows)


def test_what_is_taken_back_counts_in_the_period_in_which_it_is(shop: Shop, line: Service) -> None:
    film = buy(line, shop.film)
    first = settle(shop.films)
    purchases.reverse_purchase(service_order_id=film.service_order_id, because="No.", at=JUNE.start)
    assert settle(shop.films) == first
    second = settle(shop.films, JUNE)
    assert (first.amount, second.amount) == (Decimal("3.493"), Decimal("-3.493"))


def test_what_is_taken_back_too_late_for_a_statement_is_on_the_next(
    shop: Shop, line: Service
) -> None:
    """It happened in May, and was heard of when May's statement was out."""
    film = buy(line, shop.film)
    settle(shop.films)
    late = MAY.end - timedelta(minutes=1)
    purchases.reverse_purchase(service_order_id=film.service_order_id, because="No.", at=late)
    assert settle(shop.films, JUNE).amount == Decimal("-3.493")


def test_a_charge_on_the_edge_is_on_one_statement(shop: Shop, line: Service) -> None:
    buy(line, shop.film, at=MAY.end - timedelta(microseconds=1))
    buy(line, shop.film, at=MAY.end)
    assert [settle(shop.films, period).charge_count for period in (MAY, JUNE)] == [1, 1]


def test_a_second_run_changes_nothing(shop: Shop, line: Service) -> None:
    buy(line, shop.film)
    first = settle(shop.films)
    assert settle(shop.films) == first
    assert SettlementStatement.objects.count() == 1


def test_a_partner_without_shares_gets_a_statement_of_nothing(shop: Shop) -> None:
    statement = settle(shop.films)
    assert (statement.amount, statement.charge_count) == (Decimal(0), 0)


def test_a_period_is_settled_once_everything_in_it_is_stored(shop: Shop) -> None:
    early = MAY.end + SETTLED_AFTER - timedelta(microseconds=1)
    with pytest.raises(PeriodNotOver):
        settlement.settle_period(partner=shop.films, period=MAY, at=early)
    assert SettlementStatement.objects.count() == 0
    assert NOON in MAY


@pytest.mark.parametrize("minutes", [0, 150], ids=["nothing used", "used in the first part"])
def test_each_guaranteed_minimum_counts_for_its_part_of_the_period(
    minutes: int, shop: Shop, line: Service, ada: Subscriber
) -> None:
    """31 a period until 14 May, 62 from then on, and nothing from 24 May: 10, 10 and 11 days."""
    games = sold(shop, terms={"minimum": Decimal(31)}, allowance=100, proration="day")
    facts = {"offering": games, "role": "bsp", "partner": shop.films, "basis": "percent_of_net"}
    for days, percent, minimum in ((10, 50, 62), (20, 50, 0)):
        publishing.set_settlement_term(
            **facts, percent=Decimal(percent), minimum=Decimal(minimum), at=LAUNCH,
            valid_from=MAY.start + timedelta(days=days),
        )  # fmt: skip
    subscribed(line, games, at=MAY.start)
    if minutes:
        report(shop.films, event(line, games, minutes), at=JUNE.start)
        rate(JUNE.start)
    billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
    lasts = Charge.objects.filter(offering=games, cause__startswith="minimum:").order_by("cause")
    # 70 % of 50 minutes for 0.10 each are a part of the first minimum, and not of the second.
    got = Decimal("3.5") if minutes else Decimal(0)
    assert [row.bsp_share for row in lasts] == [10 - got, Decimal(20)]
    assert [row.isp_share for row in lasts] == [got - 10, Decimal(-20)]
    assert settle(shop.films, JUNE).amount == Decimal(30)
    assert sum(row.bsp_share for row in Charge.objects.filter(offering=games)) == Decimal(30)
    again = closing.close_use(subscriber=ada, period=MAY, at=JUNE.end)
    assert again == []


@pytest.mark.parametrize(
    ("then", "reported", "got"),
    [
        # 70 % of 10.00 is less than the 10 of the first ten days, and 70 % of 20.00 is more.
        (0, [(1, 100), (1, 40), (1, 60), (20, 100), (1, 10)], ["10", "10", "14", "21", "21.7"]),
        # Of the 21 days after them 42 are guaranteed, which are paid and not paid again.
        (
            62,
            [(1, 600), (20, 400), (20, 200), (20, 100), (1, 10)],
            ["84", "84", "84", "91", "91.7"],
        ),
    ],
    ids=["and then nothing", "and then more"],
)
def test_late_use_counts_against_the_guarantee_of_its_part(
    then: int, reported: list[tuple[int, int]], got: list[str],
    shop: Shop, line: Service, ada: Subscriber,
) -> None:  # fmt: skip
    games = sold(shop, terms={"minimum": Decimal(31)}, proration="day")
    publishing.set_settlement_term(
        offering=games, role="bsp", partner=shop.films, basis="percent_of_net", at=LAUNCH,
        percent=Decimal(70), minimum=Decimal(then), valid_from=MAY.start + timedelta(days=10),
    )  # fmt: skip
    subscribed(line, games, at=MAY.start)
    found = []
    for day, minutes in reported:
        moment = (MAY.start + timedelta(days=day)).isoformat()
        used(shop, line, games, minutes, started_at=moment)
        if not found:
            billing.issue_bill(subscriber=ada, period=MAY, at=MAY.end)
        found.append(total(charges(ada, offering=games, kind="usage"), "bsp_share"))
    assert found == [Decimal(amount) for amount in got]
    # What all of it comes to at once is the same.
    tally = tried(drafted(games, {"amount": Decimal("0.10"), "proration": "day"}, shop))
    assert Tally.read(tally.summary).paid == Tally.read(tally.summary).would


def test_another_partner_is_guaranteed_its_own_part(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    """Also the least that the period costs is divided by time, and nothing of it is lost."""
    games = sold(
        shop, terms={"minimum": Decimal(31)}, amount=Decimal("0.01"), proration="day",
        period_minimum=Decimal("9.30"),
    )  # fmt: skip
    publishing.set_settlement_term(
        offering=games, role="bsp", partner=shop.backup, basis="percent_of_net",
        percent=Decimal(50), at=LAUNCH, valid_from=MAY.start + timedelta(days=10),
    )  # fmt: skip
    subscribed(line, games, at=MAY.start)
    billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
    first, second = Charge.objects.filter(cause__startswith="minimum:").order_by("cause")
    assert (first.bsp, second.bsp) == (shop.films, shop.backup)
    assert (first.amount_net, second.amount_net) == (Decimal(3), Decimal("6.3"))
    assert (first.bsp_share, second.bsp_share) == (Decimal(10), Decimal("3.15"))
    assert "10 / 31 of the time" in first.explanation["arithmetic"]


def test_what_is_active_on_no_day_owes_nothing_although_its_terms_changed(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    games = sold(shop, proration="day", period_minimum=Decimal(9))
    publishing.set_settlement_term(
        offering=games, role="bsp", partner=shop.films, basis="percent_of_net",
        percent=Decimal(60), at=LAUNCH, valid_from=NOON + timedelta(hours=2),
    )  # fmt: skip
    bought = Purchase.objects.get(service=subscribed(line, games, at=NOON))
    ends = NOON + timedelta(hours=4)
    cancelling.cancel_purchase(purchase_id=bought.pk, reason="No.", at=ends)
    assert billing.running_bill(subscriber=ada, at=ends)
    for _ in range(2):
        assert closing.close_use(subscriber=ada, period=MAY, at=MAY.end) == []


def test_another_currency_comes_on_a_statement_of_its_own(
    shop: Shop, line: Service, bob: Subscriber
) -> None:
    buy(line, shop.film)
    publishing.set_price(
        offering=shop.film, charge="one_off", amount=Decimal(10), currency="EUR", at=LAUNCH
    )
    bob.currency = "EUR"
    bob.save()
    buy(factories.live_line(shop.isp, bob, at=NOON), shop.film)
    at = MAY.end + SETTLED_AFTER
    dollars, euros = settle_period(partner=shop.films, period=MAY, at=at)
    assert (dollars.currency, dollars.amount) == ("USD", Decimal("3.493"))
    assert (euros.currency, euros.amount, euros.charge_count) == ("EUR", Decimal(7), 1)
    again = settle_period(partner=shop.films, period=MAY, at=at)
    assert [row.pk for row in again] == [dollars.pk, euros.pk]
