"""What an order would change on the bill, beside what it does change on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from ispops.parties.models import Subscriber
from provisioning import boosts, later_orders
from provisioning.later_orders import Wanted
from provisioning.models import ProductOrder, Service
from qualification.models import Premises
from rating import accrual, outlook
from rating.outlook import Outlook
from tests import factories
from tests.provisioning import later
from tests.rating.ground import granted_extra
from tests.small_isp import SmallIsp, make_small_isp, place

pytestmark = pytest.mark.django_db

CAME = datetime(2026, 5, 4, 12, tzinfo=UTC)
AT = datetime(2026, 5, 11, 9, 13, 7, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
def isp(db: None) -> SmallIsp:
    made = make_small_isp()
    later.faster(made)
    later.boost()
    return made


@pytest.fixture
def ada(isp: SmallIsp) -> Subscriber:
    return factories.subscriber(at=CAME, email="ada@example.com")


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber) -> Service:
    return factories.live_line(isp, ada, "films-streaming", at=CAME)


def placing(
    line: Service, wanted: Wanted, to: Premises | None = None
) -> Callable[[], ProductOrder]:
    answer = factories.qualified(to or line.premises, at=AT)
    return lambda: later_orders.place(
        line=line, qualification=answer, wanted=wanted, reason="", channel="portal",
        placed_by=None, idempotency_key="k", at=AT,
    )  # fmt: skip


def foreseen(line: Service, wanted: Wanted, to: Premises | None = None) -> Outlook:
    seen = later_orders.rehearse(placing(line, wanted, to), asker=None, at=AT)
    assert not ProductOrder.objects.filter(idempotency_key="k").exists()
    return outlook.of(seen, subscriber=line.subscriber, at=AT)


def owed(subscriber: Subscriber) -> Decimal:
    """What the running period will cost, by the same reading as its bill."""
    period = accrual.period_at(subscriber, AT)
    drafts = accrual.due(subscriber=subscriber, period=period, at=AT)
    return sum((Decimal(draft.amount_net) for draft in drafts), Decimal(0))


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(plan_code="fibre-1000"),
        Wanted(plan_code="fibre-and-films"),
        Wanted(add=("boost",)),
        Wanted(add=("boost",), boosts_until=AT + WEEK),
        Wanted(remove=("films-streaming",)),
        Wanted(plan_code="fibre-1000", remove=("films-streaming",)),
        Wanted(plan_code="fibre-1000", wanted_from=AT + WEEK),
        Wanted(add=("boost",), wanted_from=AT + WEEK, boosts_until=AT + 2 * WEEK),
        Wanted(plan_code="fibre-1000", wanted_from=AT + 8 * WEEK),
    ],
    ids=str,
)
def test_what_was_foreseen_is_what_is_owed(ada: Subscriber, line: Service, wanted: Wanted) -> None:
    before = owed(ada)
    cost = foreseen(line, wanted)
    placing(line, wanted)()
    factories.work(at=AT)
    in_period = accrual.period_at(ada, AT)
    if wanted.wanted_from and wanted.wanted_from in in_period:
        factories.work(at=wanted.wanted_from)
    if wanted.boosts_until and wanted.boosts_until in in_period:
        assert boosts.end_next(at=wanted.boosts_until)
    difference = owed(ada) - before
    # Each thing's charge is a step of a running total: cut elsewhere, a step may be a micro less.
    assert abs(difference - cost.this_period) <= Decimal("0.000004")
    assert (cost.this_period == 0) == (wanted.wanted_from == AT + 8 * WEEK)


def test_a_month_before_and_after(line: Service) -> None:
    cost = foreseen(line, Wanted(plan_code="fibre-1000"))
    assert (cost.monthly_then - cost.monthly_now, cost.once) == (Decimal(30), 0)
    assert [(row.offering.code, row.how) for row in cost.lines] == [
        ("fibre-1000", "changes"),
        ("films-streaming", "stays"),
    ]
    was = cost.lines[0].was
    assert was is not None
    assert was.code == "fibre-500"


def test_extra_addresses_go_on_with_a_line_and_end_with_it(
    isp: SmallIsp, ada: Subscriber, line: Service
) -> None:
    granted_extra(line, ada, at=CAME)
    before = foreseen(line, Wanted(add=("boost",)))
    moved = foreseen(line, Wanted(plan_code="fibre-500"), place("3 OAK ST"))
    stays, ends = before.lines[-1], moved.lines[-1]
    assert (stays.how, stays.monthly_now, stays.monthly_then) == ("stays", Decimal(5), Decimal(5))
    assert (ends.how, ends.monthly_now, ends.monthly_then) == ("ends", Decimal(5), Decimal(0))
    period = accrual.period_at(ada, AT)
    everything = accrual.due(subscriber=ada, period=accrual.period_at(ada, period.end), at=AT)
    assert before.monthly_now == sum(charge.amount_net for charge in everything)
    assert ends.this_period < 0


def test_a_move_has_both_lines_while_they_overlap(line: Service) -> None:
    at_once = foreseen(line, Wanted(plan_code="fibre-500"), place("3 OAK ST"))
    overlap = foreseen(
        line, Wanted(plan_code="fibre-500", old_line_until=AT + 2 * WEEK), place("3 OAK ST")
    )
    assert [(row.offering.code, row.how) for row in overlap.lines] == [
        ("fibre-500", "comes"),
        ("films-streaming", "stays"),
        ("fibre-500", "ends"),
    ]
    assert overlap.monthly_then == at_once.monthly_then == overlap.monthly_now
    assert overlap.this_period > at_once.this_period
    assert overlap.starts_at == AT + timedelta(days=overlap_days(line))


def overlap_days(line: Service) -> int:
    """How long a line at the new address takes."""
    answer = factories.qualified(place("3 OAK ST"), at=AT)
    return answer.offers.get(offering__code="fibre-500").install_days or 0


def test_a_paused_line_saves_nothing_more(ada: Subscriber, line: Service) -> None:
    later.suspend(line, AT)
    factories.work(at=AT)
    cost = foreseen(line, Wanted(plan_code="fibre-1000"))
    assert cost.this_period == 0
    assert cost.difference == 30
