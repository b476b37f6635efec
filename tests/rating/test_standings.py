"""How much of what is included is used: of a line, with packs and rollover, and of its products."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing
from provisioning.models import Service
from rating import usage
from rating.standings import Standing, standings
from tests import factories
from tests.rating.ground import JUNE, NOON, Shop, event, rate, report, subscribed
from tests.rating.plenty import GB, TB, data_pack, top_up, use
from tests.rating.test_sessions import told

pytestmark = pytest.mark.django_db


def of(line: Service, at: Any = NOON) -> Standing:
    [found] = standings([line], at)
    return found


def test_only_what_is_rated_counts(line: Service) -> None:
    told(factories.address_server(at=NOON), line, down=100, up=24)
    usage.meter_accounting(at=NOON)
    assert (of(line).used, of(line).included, of(line).percent) == (0, TB, 0)
    rate()
    assert (of(line).used, of(line).left, of(line).beyond) == (124, TB - 124, 0)


@pytest.mark.parametrize(
    ("used", "percent", "threshold", "beyond"),
    [
        (TB // 2 - 1, 49, None, 0),
        (TB // 2, 50, 50, 0),
        (TB, 100, 100, 0),
        (TB * 2, 200, 100, TB),
    ],
)
def test_percentages_and_thresholds(
    line: Service, used: int, percent: int, threshold: int | None, beyond: int
) -> None:
    use(line, used)
    found = of(line)
    assert (found.percent, found.threshold, found.beyond) == (percent, threshold, beyond)


def test_a_plan_without_a_limit_has_none(line: Service) -> None:
    line.offering.prices.filter(charge="usage").update(valid_to=NOON)
    assert standings([line], NOON) == []


def test_what_is_included_is_told_apart(shop: Shop, line: Service) -> None:
    plan = shop.isp.fast
    plan.prices.filter(charge="usage").update(valid_to=NOON - timedelta(hours=12))
    publishing.set_price(
        offering=plan, charge="usage", amount=Decimal(1), unit="byte", allowance=TB,
        block_size=GB, rollover_periods=1, at=NOON - timedelta(hours=12),
    )  # fmt: skip
    use(line, 700 * GB)
    at = JUNE.start + timedelta(days=1)
    use(line, TB, at=at)
    top_up(line, data_pack(plan), at=at)
    found = of(line, at)
    assert (found.own, found.carried_over, found.packs) == (TB, 300 * GB, 100 * GB)
    assert (found.included, found.left) == (1_400 * GB, 400 * GB)
    assert [tuple(pack) for pack in found.bought] == [(TB, 100 * GB)]


def test_a_pack_is_whole_after_use_that_was_charged(shop: Shop, line: Service) -> None:
    use(line, TB + 40 * GB)
    top_up(line, data_pack(shop.isp.fast))
    use(line, 30 * GB)
    found = of(line)
    assert (found.used, found.drawn, found.left) == (TB + 70 * GB, TB + 30 * GB, 70 * GB)
    assert (found.beyond, found.percent, found.threshold) == (40 * GB, 93, 80)


def test_a_line_with_its_products_in_as_many_queries_as_alone(
    shop: Shop, line: Service, django_assert_num_queries: Any
) -> None:
    minutes = subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 85))
    rate()
    minutes.subscriber = line.subscriber
    standings([line], NOON)  # the catalogue is kept from here on
    with django_assert_num_queries(3) as alone:
        standings([line], NOON)
    with django_assert_num_queries(len(alone)):
        found = standings([line, minutes], NOON)
    assert [(s.service, s.unit, s.used, s.included) for s in found] == [
        (line, "byte", 0, TB),
        (minutes, "minute", 85, 100),
    ]
