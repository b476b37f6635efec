"""Every rule that the database keeps by itself, attacked with plain SQL."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from ispops.db import uuid7
from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import billing, charges, partitions, posting, settlement
from rating.models import (
    BillLine,
    Charge,
    CustomerBill,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    MeteredSession,
    Purchase,
    RatedUsage,
    SettlementStatement,
    Usage,
    UsageKey,
)
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    event,
    execute,
    rate,
    refused,
    report,
    subscribed,
)

pytestmark = pytest.mark.django_db
# May can be closed then.
LATER = JUNE.end + timedelta(days=60)


@pytest.fixture
def billed(shop: Shop, line: Service, ada: Subscriber) -> CustomerBill:
    """A bill with a film, use and the line on it; nothing left unbilled."""
    buy(line, shop.film)
    subscribed(line, shop.minutes)
    report(shop.films, event(line, shop.minutes, 150))
    rate()
    return billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)


def a_charge(shop: Shop, ada: Subscriber, **other: Any) -> Charge:
    """A charge that is in order, not saved, changed as told."""
    return Charge(
        **{
            "subscriber": ada,
            "offering": shop.film,
            "kind": "one_off",
            "cause": f"test:{uuid7()}",
            "period_start": NOON,
            "currency": "USD",
            "amount_net": Decimal(5),
            "isp_share": Decimal(2),
            "bsp_share": Decimal(3),
            "amount_tax": Decimal(1),
            "bsp": shop.films,
            "charged_at": NOON,
            **other,
        }
    )


class TestNothingPostedIsChanged:
    @pytest.mark.parametrize(
        ("table", "column"),
        [
            ("rating_charge", "amount_net = amount_net"),
            ("rating_charge", "explanation = '{}'"),
            ("rating_customerbill", "amount_due = amount_due + 1"),
            ("rating_billline", "description = 'x'"),
            ("rating_ledgertransaction", "description = 'x'"),
            ("rating_ledgerentry", "amount = amount + 1"),
            ("rating_settlementstatement", "amount = 0"),
            ("rating_ratedusage", "amount_net = amount_net + 1"),
        ],
    )
    def test_by_update_or_delete(
        self, shop: Shop, billed: CustomerBill, table: str, column: str
    ) -> None:
        settlement.settle_period(partner=shop.films, period=MAY, at=JUNE.end)
        changed = column if "amount_net = amount_net" not in column else "quantity = quantity + 1"
        with refused("append-only"):
            execute(f"UPDATE {table} SET {changed}")
        with refused("append-only"):
            execute(f"DELETE FROM {table}")

    def test_a_charge_gets_its_bill_once(self, shop: Shop, billed: CustomerBill) -> None:
        line = billed.lines.first()
        with refused("append-only"):
            execute("UPDATE rating_charge SET bill_line_id = NULL")
        with refused("append-only"):
            execute("UPDATE rating_charge SET bill_line_id = %s WHERE kind = 'usage'", line.pk)
        with refused("append-only"):
            execute("UPDATE rating_charge SET bill_line_id = %s, quantity = 9", line.pk)


class TestCharges:
    def test_shares_sum_to_the_charge(self, shop: Shop, ada: Subscriber) -> None:
        a_charge(shop, ada).save()
        with refused("shares_add_up"):
            a_charge(shop, ada, isp_share=Decimal("2.000001")).save()

    @pytest.mark.parametrize("role", ["bsp", "network_provider"])
    def test_a_share_names_its_partner(self, shop: Shop, ada: Subscriber, role: str) -> None:
        shares = {"isp_share": Decimal(4), "bsp_share": Decimal(0), f"{role}_share": Decimal(1)}
        with refused("a_share_names_its_partner"):
            a_charge(shop, ada, **shares, bsp=None, network_provider=None).save()

    def test_a_cause_charges_once(self, shop: Shop, ada: Subscriber) -> None:
        a_charge(shop, ada, cause="usage:1").save()
        with refused("charged_once"):
            a_charge(shop, ada, cause="usage:1").save()

    @pytest.mark.parametrize("part", ["amount_net", "amount_tax"])
    def test_only_an_adjustment_gives_back(self, shop: Shop, ada: Subscriber, part: str) -> None:
        amounts = {"isp_share": Decimal(0), "bsp_share": Decimal(0), "amount_net": Decimal(0)}
        amounts |= {part: Decimal(-1)} | ({"isp_share": Decimal(-1)} if "net" in part else {})
        with refused("only_an_adjustment"):
            a_charge(shop, ada, **amounts).save()
        a_charge(shop, ada, **amounts, kind="adjustment").save()

    def test_one_moment_is_charged_once(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        span = {"kind": "recurring", "service": line}
        middle = MAY.start + timedelta(days=5)
        a_charge(shop, ada, **span, period_start=MAY.start, period_end=middle).save()
        a_charge(shop, ada, **span, period_start=middle, period_end=MAY.end).save()
        with refused("a_moment_is_charged_once"):
            a_charge(shop, ada, **span, period_start=NOON, period_end=JUNE.end).save()
        other = subscribed(line, shop.minutes)
        a_charge(
            shop, ada, kind="recurring", service=other, period_start=NOON, period_end=MAY.end
        ).save()

    def test_a_recurring_charge_has_a_span_and_a_service(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        for wrong in (
            {"service": None, "period_end": MAY.end},
            {"service": line, "period_end": None},
            {"service": line, "period_end": NOON},
        ):
            with refused("recurring_charge_has_a_span"):
                a_charge(shop, ada, kind="recurring", **wrong).save()

    def test_a_reversal_is_the_opposite_of_one_charge_and_comes_once(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        buy(line, shop.film)
        first = Charge.objects.get()
        for wrong in ({}, {"amount_net": Decimal(-5), "isp_share": Decimal(-5)}):
            with refused("is not the opposite"):
                a_charge(shop, ada, kind="adjustment", reverses=first, **wrong).save()
        back = charges.reverse(charge=first, because="No.", at=NOON)
        back.pk, back.cause = uuid7(), "again"
        with refused("more would be given back"):
            back.save(force_insert=True)
        for charge in (first, Charge.objects.get(reverses=first)):
            with pytest.raises(charges.AlreadyReversed):
                charges.reverse(charge=charge, because="No.", at=NOON)

    def test_a_reversal_is_an_adjustment(self, shop: Shop, line: Service, ada: Subscriber) -> None:
        first = a_charge(shop, ada, amount_net=0, isp_share=0, bsp_share=0, amount_tax=0)
        first.save()
        with refused("a_reversal_is_an_adjustment"):
            a_charge(
                shop, ada, amount_net=0, isp_share=0, bsp_share=0, amount_tax=0, reverses=first
            ).save()


class TestUsage:
    @pytest.fixture
    def use(self, shop: Shop, line: Service) -> Usage:
        subscribed(line, shop.minutes)
        report(shop.films, event(line, shop.minutes, 150))
        return Usage.objects.get()

    def test_an_event_counts_once(self, use: Usage) -> None:
        key = UsageKey.objects.get()
        assert key.usage_id == use.pk
        key.usage_id += 1
        with refused("rating_usagekey_pkey"):
            key.save(force_insert=True)

    @pytest.mark.parametrize(
        "change",
        ["quantity = 1", "started_at = now()", "unit = 'hour'", "id = id + 1",
         "attributes = '{}'", "source = 'x'", "event_id = 'x'", "subscriber_ref = 'x'",
         "product_ref = 'x'", "received_at = now()", "ended_at = now()"],
    )  # fmt: skip
    def test_what_was_reported_stays(self, use: Usage, change: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE rating_usage SET error = error")
        if change.startswith("attributes"):
            change = """attributes = '{"x": 1}'"""
        with refused("never changed"):
            execute(f"UPDATE rating_usage SET {change}")

    def test_it_is_never_deleted(self, use: Usage) -> None:
        with refused("never deleted"):
            execute("DELETE FROM rating_usage")

    def test_what_is_guided_is_not_guided_elsewhere(self, use: Usage, line: Service) -> None:
        with refused("guided already"):
            execute("UPDATE rating_usage SET service_id = %s", line.pk)

    def test_what_is_rated_is_not_rated_again(self, use: Usage) -> None:
        rate()
        with refused("rated already"):
            execute("UPDATE rating_usage SET error_code = 'x'")
        step = RatedUsage.objects.get()
        with refused("pkey"):
            step.save(force_insert=True)

    def test_what_is_not_guided_is_in_error(self, use: Usage, shop: Shop, line: Service) -> None:
        other = event(line, shop.minutes, unit="hour", event_id="x") | {"subscriber_ref": "nobody"}
        report(shop.films, other)
        with refused("usage_is_guided"):
            execute("UPDATE rating_usage SET error_code = ''")

    def test_it_ends_after_it_starts_and_is_not_negative(self, use: Usage) -> None:
        use.pk, use.event_id = use.pk + 1, "x"
        use.ended_at = use.started_at - timedelta(microseconds=1)
        with refused("usage_ends_after_it_starts"):
            use.save(force_insert=True)
        use.ended_at, use.quantity = None, -1
        with refused("quantity"):
            use.save(force_insert=True)

    def test_a_step_begins_once_where_another_ended(self, use: Usage) -> None:
        rate()
        step = RatedUsage.objects.get()
        step.pk += 1
        with refused("_step"):
            step.save(force_insert=True)

    @pytest.mark.parametrize(
        ("wrong", "rule"),
        [
            ({"isp_share": Decimal("0.31")}, "shares_add_up"),
            ({"bsp": None}, "a_share_of_use_names"),
            ({"step": 0}, "steps_begin"),
        ],
    )
    def test_what_a_use_came_to_adds_up(self, use: Usage, wrong: dict[str, Any], rule: str) -> None:
        rate()
        step = RatedUsage.objects.get()
        step.pk, step.step = step.pk + 1, 2
        for name, value in wrong.items():
            setattr(step, name, value)
        with refused(rule):
            step.save(force_insert=True)

    def test_a_charge_is_the_sum_of_the_use_that_it_gathers(
        self, use: Usage, ada: Subscriber
    ) -> None:
        rate()
        [draft] = posting.due(subscriber=ada)
        for name, value in (("quantity", 151), ("step_before", 1), ("amount_tax", Decimal(1))):
            [wrong] = posting.due(subscriber=ada)
            setattr(wrong, name, value)
            wrong.step_after = 2
            with refused("is not the sum"):
                wrong.save()
        draft.step_before = None
        with refused("gathers_says_what"):
            draft.save()

    def test_a_month_that_is_closed_takes_nothing_more(
        self, use: Usage, shop: Shop, line: Service
    ) -> None:
        with pytest.raises(partitions.MonthNotOver, match="waits to be rated"):
            partitions.close_month(month=NOON, at=LATER)
        rate()
        with pytest.raises(partitions.MonthNotOver, match="waits to be charged"):
            partitions.close_month(month=NOON, at=LATER)
        posting.post_rated_usage(until=LATER)
        with pytest.raises(partitions.MonthNotOver, match="2026-08-02"):
            partitions.close_month(month=NOON, at=JUNE.end)
        partitions.close_month(month=NOON, at=LATER)
        partitions.close_month(month=NOON, at=LATER)
        with refused("is closed"):
            report(shop.films, event(line, shop.minutes))
        with refused("is closed"):
            execute("UPDATE rating_usage SET error = 'x'")
        assert report(shop.films, event(line, shop.minutes), at=JUNE.end)[0].status == "accepted"

    def test_what_was_counted_counts_once_when_its_month_is_gone(
        self, use: Usage, shop: Shop, line: Service
    ) -> None:
        years_later = LATER + timedelta(days=800)
        with pytest.raises(InvalidInput):
            partitions.detach_month(month=NOON, at=years_later)
        rate()
        posting.post_rated_usage(until=LATER)
        partitions.close_month(month=NOON, at=LATER)
        with pytest.raises(partitions.MonthNotOver, match="2028-08-09"):
            partitions.detach_month(month=NOON, at=LATER)
        gone = partitions.detach_month(month=NOON, at=years_later)
        assert gone == ["rating_usage_2026_05", "rating_ratedusage_2026_05"]
        assert Usage.objects.count() == 0
        again = event(line, shop.minutes, 150) | {"event_id": use.event_id}
        assert report(shop.films, again, at=JUNE.end)[0].status == "duplicate"

    def test_an_incarnation_is_one_also_where_the_device_is_not_known(self, line: Service) -> None:
        session = MeteredSession(
            unique_session_id="u", username="x", started_at=NOON, last_event_at=NOON
        )
        session.save()
        session.pk = None
        with refused("session_incarnation_once"):
            session.save(force_insert=True)


class TestPurchases:
    def test_a_key_buys_once(self, shop: Shop, line: Service) -> None:
        purchase = buy(line, shop.film)
        purchase.pk, purchase.service, purchase.service_order = uuid7(), None, None
        with refused("purchase_placed_once"):
            purchase.save(force_insert=True)

    @pytest.mark.parametrize("state", ["completed", "reversed", "cancelled"])
    def test_what_is_settled_is_settled(self, shop: Shop, line: Service, state: str) -> None:
        buy(line, shop.film)
        with refused("purchase_says_when"):
            execute("UPDATE rating_purchase SET state = %s", state)
        when = ", cancelled_at = now()" if state == "cancelled" else ""
        execute(f"UPDATE rating_purchase SET state = %s, settled_at = now(){when}", state)
        others = {"pending", "completed", "reversed", "cancelled"} - {state}
        # A subscription is cancelled after it was completed.
        others -= {"cancelled"} if state == "completed" else set()
        for other in others:
            with refused("cannot go from"):
                execute("UPDATE rating_purchase SET state = %s", other)

    def test_what_was_bought_stays(self, shop: Shop, line: Service) -> None:
        buy(line, shop.film)
        with refused("never changed"):
            execute("UPDATE rating_purchase SET offering_id = %s", shop.minutes.pk)
        with refused("never deleted"):
            execute("DELETE FROM rating_purchase")
        assert Purchase.objects.count() == 1


class TestBills:
    def test_one_an_account_and_period_and_no_moment_on_two(self, billed: CustomerBill) -> None:
        other = CustomerBill.objects.get()
        other.pk, other.number = uuid7(), 99
        with refused("one_bill_an_account", "no_moment_on_two_bills"):
            other.save(force_insert=True)
        other.period_start = NOON
        with refused("no_moment_on_two_bills"):
            other.save(force_insert=True)

    def test_a_number_is_given_once(self, billed: CustomerBill) -> None:
        other = CustomerBill.objects.get()
        other.pk, other.period_start, other.period_end = uuid7(), JUNE.start, JUNE.end
        with refused("number"):
            other.save(force_insert=True)
        with refused("one_row_of_bill_numbers"):
            execute("INSERT INTO rating_billnumber (id, last) VALUES (2, 0)")

    def test_a_bill_adds_up(self, billed: CustomerBill) -> None:
        other = CustomerBill.objects.get()
        other.pk, other.number = uuid7(), 99
        other.period_start, other.period_end = JUNE.start, JUNE.end
        with refused("do not sum to it"):
            other.save(force_insert=True)
        other.amount_due += 1
        with refused("bill_adds_up"):
            other.save(force_insert=True)

    def test_a_line_is_its_charges(self, billed: CustomerBill) -> None:
        with refused("do not sum to it"):
            BillLine.objects.create(
                bill=billed,
                position=99,
                description="Something more",
                offering=billed.lines.first().offering,
                charge_kind="one_off",
                amount_net=Decimal(0),
                amount_tax=Decimal(0),
                rounding=Decimal(1),
            )
        line = billed.lines.first()
        line.pk = None
        with refused("bill_line_position_once"):
            line.save(force_insert=True)

    def test_statements_do_not_overlap(self, shop: Shop) -> None:
        settlement.settle_period(partner=shop.films, period=MAY, at=JUNE.end)
        other = SettlementStatement.objects.get()
        other.pk = uuid7()
        with refused("one_statement_a_period", "no_moment_on_two_statements"):
            other.save(force_insert=True)
        other.period_start = NOON
        with refused("no_moment_on_two_statements"):
            other.save(force_insert=True)


class TestTheLedger:
    def entries(self, *amounts: str, currencies: str = "USD") -> None:
        posted = LedgerTransaction.objects.create(cause="x", description="x", posted_at=NOON)
        for number, amount in enumerate(amounts):
            account, _ = LedgerAccount.objects.get_or_create(
                kind="cash" if number else "tax",
                currency="EUR" if currencies == "mixed" and number else "USD",
            )
            LedgerEntry.objects.create(transaction=posted, account=account, amount=Decimal(amount))

    def test_it_balances_at_commit(self) -> None:
        self.entries("5", "-5")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")

    @pytest.mark.parametrize("amounts", [(), ("5",), ("5", "-4.999999")])
    def test_what_does_not_balance_is_refused(self, amounts: tuple[str, ...]) -> None:
        with refused("ledger transaction"):
            self.entries(*amounts)

    def test_nothing_is_added_to_what_balanced(self) -> None:
        self.entries("5", "-5")
        with refused("ledger transaction"):
            LedgerEntry.objects.create(
                transaction=LedgerTransaction.objects.get(),
                account=LedgerAccount.objects.first(),
                amount=Decimal(1),
            )

    def test_one_currency(self) -> None:
        with refused("2 currencies"):
            self.entries("5", "-5", currencies="mixed")

    def test_no_entry_is_nothing(self) -> None:
        with refused("ledger_entry_is_not_zero"):
            self.entries("0")

    def test_a_cause_is_posted_once(self) -> None:
        self.entries("5", "-5")
        with refused("cause"):
            LedgerTransaction.objects.create(cause="x", description="x", posted_at=NOON)

    def test_accounts_are_once_and_of_whom_their_kind_says(
        self, shop: Shop, ada: Subscriber
    ) -> None:
        LedgerAccount.objects.create(kind="cash", currency="USD")
        with refused("ledger_account_once"):
            LedgerAccount.objects.create(kind="cash", currency="USD")
        for kind, owner in (
            ("cash", {"subscriber": ada}),
            ("receivable", {}),
            ("receivable", {"partner": shop.films}),
            ("payable", {"subscriber": ada}),
        ):
            with refused("ledger_account_names_its_owner"):
                LedgerAccount.objects.create(kind=kind, currency="USD", **owner)
