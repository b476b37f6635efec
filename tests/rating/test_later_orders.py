"""What a line costs that was changed, paused or moved by an order: each part by its own price."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import accrual
from rating.models import Charge
from tests import factories
from tests.provisioning import later
from tests.rating.ground import JUNE, MAY, NOON, Shop, total

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def of_june(ada: Subscriber) -> list[Charge]:
    return accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)


def amounts(drafts: list[Charge]) -> dict[str, Decimal]:
    """Of each offering, or the aggregated plan that it was part of, the sum of its charges."""
    sums: dict[str, Decimal] = {}
    for draft in drafts:
        sold = draft.bundle or draft.offering
        sums[sold.code] = sums.get(sold.code, Decimal(0)) + draft.amount_net
    return sums


def test_another_plan_in_the_middle_is_billed_in_part(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    later.faster(shop.isp)
    middle = JUNE.start + 10 * DAY
    later.change(line, middle, plan_code="fibre-1000")
    factories.work(at=middle)
    due = of_june(ada)
    assert amounts(due) == {"fibre-500": Decimal(20), "fibre-1000": Decimal(60)}
    old, new = sorted(due, key=lambda draft: draft.period_start)
    assert (old.period_start, old.period_end) == (JUNE.start, middle)
    assert (new.period_start, new.period_end) == (middle, JUNE.end)


def test_at_the_next_period_each_is_whole(shop: Shop, line: Service, ada: Subscriber) -> None:
    later.faster(shop.isp)
    later.change(line, NOON + DAY, plan_code="fibre-1000", wanted_from=JUNE.start)
    factories.work(at=JUNE.start + timedelta(seconds=30))
    assert amounts(of_june(ada)) == {"fibre-1000": Decimal(90)}


def test_a_line_is_switched_on_once(shop: Shop, line: Service, ada: Subscriber) -> None:
    """Changing in the first period does not cost the activation of the new plan too."""
    later.faster(shop.isp)
    later.change(line, NOON + DAY, plan_code="fibre-and-films")
    factories.work(at=NOON + DAY)
    later.change(line, NOON + 2 * DAY, plan_code="fibre-1000")
    factories.work(at=NOON + 2 * DAY)
    once = [d for d in accrual.due(subscriber=ada, period=MAY, at=MAY.end) if d.kind == "one_off"]
    assert [(d.offering.code, d.amount_net) for d in once] == [("fibre-500", Decimal(49))]


def test_each_span_is_charged_by_the_plan_it_was_part_of(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    factories.work(at=NOON)
    for day, wanted in (
        (10, {"plan_code": "fibre-and-films"}),
        (20, {"plan_code": "fibre-500", "add": ["films-streaming"]}),
    ):
        later.change(line, JUNE.start + day * DAY, **wanted)
        factories.work(at=JUNE.start + day * DAY)
    found = {
        code: amount.quantize(Decimal("0.01")) for code, amount in amounts(of_june(ada)).items()
    }
    assert found == {
        "fibre-500": Decimal(40), "fibre-and-films": Decimal("22.67"), "films-streaming": Decimal(4)
    }  # fmt: skip


def test_paused_time_costs_nothing_for_the_line_and_its_boost(
    shop: Shop, line: Service, ada: Subscriber
) -> None:
    later.boost()
    later.change(line, NOON, add=["boost", "films-streaming"])
    factories.work(at=NOON)
    later.suspend(line, JUNE.start + 5 * DAY)
    factories.work(at=JUNE.start + 5 * DAY)
    later.resume(line, JUNE.start + 20 * DAY)
    factories.work(at=JUNE.start + 20 * DAY)
    due = of_june(ada)
    assert amounts(due) == {
        "fibre-500": Decimal(30), "boost": Decimal(5), "films-streaming": Decimal(12)
    }  # fmt: skip
    assert total(due) == Decimal(47)


def test_what_has_ended_is_charged_to_its_end(shop: Shop, line: Service, ada: Subscriber) -> None:
    later.cease(line, NOON, wanted_from=JUNE.start + 6 * DAY)
    factories.work(at=JUNE.start + 6 * DAY)
    assert amounts(of_june(ada)) == {"fibre-500": Decimal(12)}
