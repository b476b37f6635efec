"""Bills: what was active becomes charges, charges become lines, lines become a numbered bill."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam import overallocation
from ipam.models import StaticAddress
from ispops.catalog import publishing
from ispops.catalog.models import Technology
from ispops.errors import InvalidInput
from ispops.models import Event, EventDelivery
from ispops.money import format_money
from ispops.notices.models import Notice
from ispops.parties.models import Subscriber
from ispops.periods import Period
from provisioning import services
from provisioning.models import Service
from qualification import coverage
from rating import accrual, billing, ledger, purchases, queries, usage
from rating.billing import NothingToBill, PeriodNotOver
from rating.models import BillLine, Charge, CustomerBill, LedgerEntry, LedgerTransaction
from rating.spans import cut, without
from tests import factories
from tests.provisioning import later
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    charges,
    event,
    granted_extra,
    rate,
    report,
    subscribed,
    total,
)
from tests.small_isp import priced

pytestmark = pytest.mark.django_db


def issue(ada: Subscriber, period: Period = MAY, at: datetime | None = None) -> CustomerBill:
    return billing.issue_bill(subscriber=ada, period=period, at=at or period.end)


def part(amount: str, start: datetime, end: datetime, period: Period = MAY) -> Decimal:
    """A share of a period's price, to the micro-unit below."""
    exact = Decimal(amount) * Decimal((end - start).total_seconds())
    exact /= Decimal((period.end - period.start).total_seconds())
    return exact.quantize(Decimal("0.000001"))


def close_to(amount: Decimal, wanted: Decimal) -> bool:
    return abs(amount - wanted) <= Decimal("0.000002")


def lines(bill: CustomerBill) -> list[tuple[str, str, Decimal]]:
    rows = bill.lines.order_by("position")
    return [(row.description, row.charge_kind, row.amount_net) for row in rows]


class TestTheRunningBill:
    def test_a_new_line_costs_the_rest_of_the_period_and_its_activation(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        bill = billing.running_bill(subscriber=ada, at=NOON)
        assert (bill.period, bill.currency) == (MAY, "USD")
        assert [(row.description, row.charge_kind) for row in bill.lines] == [
            ("Fibre 500", "recurring"),
            ("Fibre 500, once", "one_off"),
        ]
        assert close_to(bill.lines[0].exact_net, part("60", NOON, MAY.end))
        assert bill.lines[1].amount_net == Decimal("49.00")
        assert bill.amount_due == bill.amount_net + bill.amount_tax
        assert bill.amount_tax == sum(row.amount_tax for row in bill.lines)
        assert charges(ada) == []

    def test_the_bill_is_what_the_preview_was(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.film)
        subscribed(line, shop.storage)
        preview = billing.running_bill(subscriber=ada, at=NOON + timedelta(days=3))
        bill = issue(ada)
        assert [(p.description, p.charge_kind, p.amount_net) for p in preview.lines] == lines(bill)
        assert (preview.amount_net, preview.amount_tax, preview.amount_due) == (
            bill.amount_net,
            bill.amount_tax,
            bill.amount_due,
        )

    def test_it_grows_with_use(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        subscribed(line, shop.minutes)
        before = billing.running_bill(subscriber=ada, at=NOON).amount_net
        report(shop.films, event(line, shop.minutes, 200))
        rate()
        bill = billing.running_bill(subscriber=ada, at=NOON)
        assert bill.amount_net - before == Decimal(2)
        use = next(row for row in bill.lines if row.charge_kind == "usage")
        assert (use.description, use.quantity, use.unit) == ("Streaming, use", 200, "minute")

    def test_somebody_without_anything_owes_nothing(self, bob: Subscriber) -> None:
        bill = billing.running_bill(subscriber=bob, at=NOON)
        assert (bill.lines, bill.amount_due) == ([], Decimal(0))

    def test_it_takes_few_queries_however_much_there_is(
        self, shop: Shop, line: Service, ada: Subscriber, django_assert_max_num_queries
    ) -> None:
        subscribed(line, shop.storage)
        subscribed(line, shop.minutes)
        for _ in range(4):
            buy(line, shop.film)
            report(shop.films, event(line, shop.minutes, 50))
        rate()
        billing.running_bill(subscriber=ada, at=NOON)  # The catalogue is read once.
        with django_assert_max_num_queries(16):
            billing.running_bill(subscriber=ada, at=NOON)


class TestWhatWasActive:
    def test_a_whole_period_costs_the_whole_price(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        issue(ada)
        issue(ada, JUNE)
        [charge] = charges(ada, kind="recurring", period_start=JUNE.start)
        assert (charge.amount_net, charge.amount_tax) == (Decimal(60), Decimal(6))
        assert (charge.network_provider, charge.network_provider_share) == (
            shop.isp.fibre,
            Decimal(25),
        )
        assert charge.explanation["arithmetic"] == "the whole period at 60.00"

    def test_a_price_that_changes_cuts_the_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        change = JUNE.start + timedelta(days=10)
        publishing.set_price(
            offering=shop.isp.fast,
            charge="recurring",
            amount=Decimal(90),
            valid_from=change,
            at=NOON,
        )
        due = accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
        first, second = (charge for charge in due if charge.kind == "recurring")
        assert (first.amount_net, second.amount_net) == (Decimal(20), Decimal(60))
        assert (first.period_end, second.period_start) == (change, change)
        assert total([first, second], "network_provider_share") == Decimal(25)

    def test_a_tax_that_changes_cuts_the_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        change = JUNE.start + timedelta(days=15)
        publishing.set_tax_rate(category="telecom", percent=Decimal(20), valid_from=change, at=NOON)
        due = accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
        assert [charge.amount_tax for charge in due] == [Decimal(3), Decimal(6)]

    def test_suspended_time_costs_nothing(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        off = JUNE.start + timedelta(days=5)
        services.suspend(service=line, reason="holiday", at=off)
        services.activate(service=line, at=off + timedelta(days=10))
        due = accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
        assert [charge.amount_net for charge in due] == [Decimal(10), Decimal(30)]

    def test_what_is_ceased_costs_nothing_more(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        services.cease(service=line, at=JUNE.start + timedelta(days=6))
        assert total(accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)) == Decimal(12)
        after = Period(JUNE.end, JUNE.end + timedelta(days=31))
        assert accrual.due(subscriber=ada, period=after, at=after.end) == []

    def test_the_first_period_of_a_purchase_is_not_charged_twice(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        storage = subscribed(line, shop.storage, at=NOON + timedelta(minutes=3))
        issue(ada)
        issue(ada, JUNE)
        first, second = charges(ada, offering=shop.storage)
        assert (first.cause.startswith("purchase:"), first.period_end) == (True, MAY.end)
        assert (second.cause.startswith("recurring:"), second.amount_net) == (True, Decimal(3))
        assert second.service == storage

    def test_the_activation_is_charged_once(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        services.suspend(service=line, reason="holiday", at=NOON + timedelta(days=1))
        services.activate(service=line, at=NOON + timedelta(days=2))
        issue(ada)
        issue(ada, JUNE)
        [charge] = charges(ada, kind="one_off")
        assert (charge.amount_net, charge.cause) == (
            Decimal(49),
            f"activation:{line.public_id}",
        )

    def test_a_line_that_had_to_be_built(self, shop: Shop, bob: Subscriber) -> None:
        coverage.import_coverage(
            provider=shop.isp.fibre,
            at=NOON - timedelta(hours=1),
            rows=[
                {
                    "technology": Technology.FIBRE,
                    "h3_res8": shop.isp.oak_cell,
                    "max_download_kbps": 1_000_000,
                    "max_upload_kbps": 1_000_000,
                    "node": shop.isp.fibre_node,
                    "construction_fee": Decimal(300),
                    "construction_days": 30,
                }
            ],
        )
        line = factories.live_line(shop.isp, bob, at=NOON)
        issue(bob)
        charge = Charge.objects.get(cause=f"construction:{line.public_id}")
        assert (charge.amount_net, charge.amount_tax) == (Decimal(300), Decimal(30))
        assert (charge.isp_share, charge.price) == (Decimal(300), None)

    def test_the_month_of_the_clock_change_costs_a_month(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        november = accrual.period_at(ada, datetime(2026, 11, 1, 12, tzinfo=UTC))
        assert november.end - november.start == timedelta(days=31, hours=1)
        [charge] = accrual.due(subscriber=ada, period=november, at=november.end)
        assert charge.amount_net == Decimal(60)


class TestAnAggregatedPlan:
    @pytest.fixture
    def bundled(self, shop: Shop, bob: Subscriber) -> Service:
        factories.order(bob, shop.isp.oak_1, shop.isp.bundle.code, at=NOON)
        factories.work(at=NOON)
        return Service.objects.get(subscriber=bob, line__isnull=True)

    def test_it_is_one_line_on_the_bill_and_settled_to_each(
        self, shop: Shop, bundled: Service, bob: Subscriber
    ) -> None:
        issue(bob)
        bill = issue(bob, JUNE)
        assert lines(bill) == [("Fibre and films", "recurring", Decimal("68.00"))]
        fast, films = charges(bob, period_start=JUNE.start)
        # The price of 68 by the weights 60 and 12.
        assert (fast.amount_net, films.amount_net) == (
            Decimal("56.666666"),
            Decimal("11.333334"),
        )
        assert (fast.network_provider_share, films.bsp_share) == (
            Decimal(25),
            Decimal("7.933333"),
        )
        assert {charge.bundle for charge in (fast, films)} == {shop.isp.bundle}
        assert fast.explanation["bundle"] == (
            "56.666666 is the part 60 of 72 of the one price of 68.00"
        )

    def test_each_part_is_charged_from_when_it_is_active(
        self, shop: Shop, bundled: Service, bob: Subscriber
    ) -> None:
        films = bundled.carried.get()
        services.cease(service=films, at=JUNE.start + timedelta(days=15))
        due = accrual.due(subscriber=bob, period=JUNE, at=JUNE.end)
        assert total(due) == Decimal("56.666666") + Decimal("5.666667")

    def test_its_own_price_is_the_only_one(
        self, shop: Shop, bundled: Service, bob: Subscriber
    ) -> None:
        priced(shop.isp.streaming, "99", NOON)
        due = accrual.due(subscriber=bob, period=JUNE, at=JUNE.end)
        assert total(due) == Decimal(68)


class TestExtraAddresses:
    def test_one_costs_from_the_moment_it_is_granted(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        granted = NOON + timedelta(days=10)
        granted_extra(line, ada, at=granted)
        preview = billing.running_bill(subscriber=ada, at=granted)
        row = next(row for row in preview.lines if row.offering == shop.isp.extra_address)
        assert close_to(row.exact_net, part("5", granted, MAY.end))
        issue(ada)
        [charge] = charges(ada, offering=shop.isp.extra_address)
        assert (charge.service, charge.extra_address.device) == (line, "02:00:00:00:00:02")
        assert charge.isp_share == charge.amount_net
        overallocation.end_extra(
            extra_id=charge.extra_address.pk, at=JUNE.start + timedelta(days=3)
        )
        due = accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
        assert total([c for c in due if c.extra_address_id]) == Decimal("0.5")

    def test_a_pause_of_the_line_is_one_of_its_extra_address(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        granted_extra(line, ada, at=NOON)
        paused, resumed = JUNE.start + timedelta(days=6), JUNE.start + timedelta(days=12)
        services.open_suspension(
            line=line, reason="requested", treatment="refused", note="", at=paused
        )
        line.refresh_from_db()
        services.close_suspension(line=line, reason="requested", at=resumed)
        due = accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
        spans = [(c.period_start, c.period_end) for c in due if c.extra_address_id]
        assert spans == [(JUNE.start, paused), (resumed, JUNE.end)]


class TestStaticAddresses:
    def test_one_costs_from_its_grant_to_its_release_and_says_why(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        addon = publishing.create_offering(
            code="static-address", name="Static address", kind="addon",
            addon_type="static_address", tax_category="telecom", at=NOON,
        )  # fmt: skip
        priced(addon, "9", NOON)
        factories.static_pool(factories.address_server(at=NOON), at=NOON)
        granted, released = NOON + timedelta(days=10), NOON + timedelta(days=13)
        later.change(line, granted, add=["static-address"])
        assert total(charges(ada, offering=addon)) == 0
        factories.work(at=granted)
        preview = billing.running_bill(subscriber=ada, at=granted)
        row = next(row for row in preview.lines if row.offering == addon)
        assert close_to(row.exact_net, part("9", granted, MAY.end))
        later.change(line, released, remove=["static-address"])
        factories.work(at=released)
        assert StaticAddress.objects.get().released_at == released
        bill = issue(ada)
        [charge] = charges(ada, offering=addon)
        assert close_to(charge.amount_net, part("9", granted, released))
        assert charge.bill_line.bill == bill
        said = queries.why(charge)["arithmetic"]
        assert said == "9.00 x 259,200 / 2,678,400 seconds of the period"
        assert not [c for c in accrual.due(subscriber=ada, period=JUNE, at=JUNE.end)
                    if c.offering == addon]  # fmt: skip


class TestIssuing:
    def test_a_bill_is_numbered_due_and_told(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        bill = issue(ada, at=MAY.end + timedelta(hours=1))
        assert (bill.number, bill.due_date) == (1, date(2026, 6, 18))
        assert (bill.period_start, bill.period_end) == (MAY.start, MAY.end)
        told = Event.objects.get(kind="bill.issued")
        assert (told.subject, told.payload["number"]) == (bill.public_id, 1)
        assert not Charge.objects.filter(bill_line__isnull=True).exists()

    def test_whoever_pays_is_written_to_once(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        bill = issue(ada)
        for _ in range(2):
            EventDelivery.objects.update(delivered_at=None, next_attempt_at=MAY.end)
            factories.deliver_events(at=MAY.end)
        notice = Notice.objects.get(kind="bill_issued")
        amount = format_money(bill.amount_due, bill.currency)
        assert notice.subject == f"Your bill 1: {amount}"
        assert "due by June 18, 2026" in notice.body
        assert f"/account/bills/{bill.public_id}/" in notice.body

    def test_a_second_run_gives_the_same_bill(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        first = issue(ada)
        counts = [model.objects.count() for model in (Charge, BillLine, LedgerEntry)]
        assert issue(ada, at=JUNE.end) == first
        assert [model.objects.count() for model in (Charge, BillLine, LedgerEntry)] == counts

    def test_numbers_have_no_gaps_when_a_bill_fails(
        self, shop: Shop, line: Service, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(billing.ledger, "post", lambda **_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                issue(ada)
        assert (CustomerBill.objects.count(), Charge.objects.count()) == (0, 0)
        assert [issue(ada).number, issue(ada, JUNE).number] == [1, 2]

    def test_a_running_period_is_not_billed(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        with pytest.raises(PeriodNotOver):
            issue(ada, at=MAY.end - timedelta(microseconds=1))
        assert charges(ada) == []

    def test_only_the_accounts_own_periods_are_billed(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            issue(ada, Period(MAY.start, MAY.end - timedelta(days=1)))
        assert refused.value.field == "period"

    def test_an_empty_bill_is_not_issued(self, bob: Subscriber) -> None:
        with pytest.raises(NothingToBill):
            issue(bob)

    def test_use_that_comes_after_its_bill_is_on_the_next(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.minutes)
        issue(ada)
        in_june = (MAY.end + timedelta(hours=9)).isoformat()
        of_june = event(line, shop.minutes, 150, started_at=in_june)
        late = event(line, shop.minutes, 200)
        report(shop.films, late, of_june, at=MAY.end + timedelta(days=1))
        rate(at=MAY.end + timedelta(days=1))
        preview = billing.running_bill(subscriber=ada, at=MAY.end + timedelta(days=2))
        bill = issue(ada, JUNE)
        assert lines(bill)[-2:] == [
            ("Streaming, use, for May 4 to Jun 3, reported late", "usage", Decimal("2.00")),
            ("Streaming, use", "usage", Decimal("1.00")),
        ]
        assert preview.amount_due == bill.amount_due

    def test_charges_wait_for_the_bill_of_their_own_period(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.film)
        june = issue(ada, JUNE)
        assert lines(june) == [("Fibre 500", "recurring", Decimal("60.00"))]
        assert ("A film, once", "one_off", Decimal("4.99")) in lines(issue(ada))

    def test_what_was_taken_back_is_a_line_of_its_own(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        film = buy(line, shop.film)
        purchases.reverse_purchase(
            service_order_id=film.service_order_id, because="No.", at=NOON + timedelta(days=1)
        )
        bill = issue(ada)
        assert ("A film, once", "one_off", Decimal("4.99")) in lines(bill)
        assert ("A film, given back", "adjustment", Decimal("-4.99")) in lines(bill)


class TestRoundingAndTheLedger:
    def test_each_line_is_rounded_once_and_the_rest_is_kept(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        for _ in range(3):
            buy(line, shop.film)
        bill = issue(ada)
        film = bill.lines.get(offering=shop.film)
        # Three times 4.99 with 0.499 tax: 14.97 and 1.497, which is 1.50.
        assert (film.amount_net, film.amount_tax) == (Decimal("14.97"), Decimal("1.50"))
        assert film.rounding == Decimal("0.003")
        for row in bill.lines.all():
            rows = list(row.charges.all())
            exact = total(rows) + total(rows, "amount_tax")
            assert row.amount_net + row.amount_tax == exact + row.rounding
            assert row.amount_net == round(row.amount_net, 2)

    def test_a_bill_is_posted_to_everybody_who_has_a_part(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.film)
        subscribed(line, shop.storage)
        bill = issue(ada)
        posted = LedgerTransaction.objects.get(cause=f"bill:{bill.public_id}")
        entries = {
            (e.account.kind, str(e.account.partner or "")): e.amount
            for e in posted.entries.select_related("account__partner")
        }
        rows = charges(ada)
        assert entries["receivable", ""] == bill.amount_due
        assert entries["revenue", ""] == -total(rows, "isp_share")
        assert entries["tax", ""] == -total(rows, "amount_tax")
        assert entries["payable", "Films"] == -Decimal("3.493")
        assert entries["payable", "Backup"] == -total(rows, "bsp_share") + Decimal("3.493")
        assert entries["payable", "Fast Fibre"] == -total(rows, "network_provider_share")
        assert entries["rounding", ""] == -sum(row.rounding for row in bill.lines.all())
        assert sum(entries.values()) == 0
        assert ledger.balance(ada) == bill.amount_due

    def test_a_bill_of_free_things_is_not_posted(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        subscribed(line, shop.minutes)
        services.cease(service=line, at=NOON + timedelta(hours=2))
        report(shop.films, event(line, shop.minutes, 5))
        rate()
        Charge.objects.filter(kind="never").delete()
        issue(ada)
        report(shop.films, event(line, shop.minutes, 5), at=NOON + timedelta(hours=2))
        usage.rate_usage(at=JUNE.end)
        bill = issue(ada, JUNE)
        assert (bill.amount_due, bill.number) == (Decimal(0), 2)
        assert not LedgerTransaction.objects.filter(cause=f"bill:{bill.public_id}").exists()

    def test_a_payment_pays_once(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        bill = issue(ada)
        for _ in range(2):
            billing.record_payment(
                subscriber=ada, amount=bill.amount_due, reference="bank-1", at=JUNE.start
            )
        assert ledger.balance(ada) == 0
        with pytest.raises(ledger.AlreadyPosted):
            billing.record_payment(
                subscriber=ada, amount=Decimal(1), reference="bank-1", at=JUNE.start
            )

    @pytest.mark.parametrize(
        ("amount", "reference", "field"),
        [("0", "x", "amount"), ("-1", "x", "amount"), ("NaN", "x", "amount"),
         ("1e30", "x", "amount"), ("1", "", "reference"), ("1", "r" * 101, "reference")],
    )  # fmt: skip
    def test_a_payment_must_make_sense(
        self, ada: Subscriber, amount: str, reference: str, field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            billing.record_payment(
                subscriber=ada, amount=Decimal(amount), reference=reference, at=NOON
            )
        assert refused.value.field == field

    def test_a_transaction_must_balance_in_one_currency(self, ada: Subscriber) -> None:
        cash, tax = ledger.account("cash", "USD"), ledger.account("tax", "USD")
        euros = ledger.account("tax", "EUR")
        for entries in (
            [(cash, Decimal(1))],
            [(cash, Decimal(1)), (tax, Decimal("-0.999999"))],
            [(cash, Decimal(1)), (cash, Decimal(-1))],
            [],
            [(cash, Decimal(1)), (euros, Decimal(-1))],
        ):
            with pytest.raises(ledger.Unbalanced):
                ledger.post(cause="x", description="x", entries=entries, at=NOON)
        assert LedgerTransaction.objects.count() == 0


instants = st.integers(0, 100).map(lambda n: NOON + timedelta(hours=n))
times = st.lists(st.tuples(instants, instants).filter(lambda p: p[0] < p[1]), max_size=6)


@given(times, st.lists(instants, max_size=6))
def test_what_is_left_of_a_span_and_its_pieces(
    taken: list[tuple[datetime, datetime]], edges: list[datetime]
) -> None:
    whole = Period(NOON + timedelta(hours=10), NOON + timedelta(hours=90))
    gone = [Period(start, end) for start, end in taken]
    left = without(whole, gone)
    pieces = list(cut(left, edges))
    for hour in range(100):
        moment = NOON + timedelta(hours=hour, minutes=30)
        is_left = moment in whole and not any(moment in span for span in gone)
        assert sum(moment in span for span in left) == is_left
        assert sum(moment in piece for piece in pieces) == is_left
    for edge in edges:
        assert not any(piece.start < edge < piece.end for piece in pieces)
