"""Accounts that pay ahead: what is paid in covers what is bought and held, and pays its bills."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from ispops.errors import InvalidInput
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import partner_orders
from provisioning.models import Service
from rating import balances, billing, ledger, prepaid, purchases, refunds, reservations, spending
from rating import standing as standing_consents
from rating.ledger import AlreadyPosted, Kind
from rating.models import Charge, LedgerEntry, LedgerTransaction, Reservation
from rating.prepaid import NotPrepaid
from rating.spending import PrepaidBalanceTooLow
from tests import factories
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, refused, subscribed

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=5)
FILM = Decimal("5.489")  # 4.99 and 10 % tax


@pytest.fixture
def csr(ada: Subscriber) -> User:
    return factories.staff(roles.CSR, at=NOON)


@pytest.fixture
def ahead(ada: Subscriber, line: Service, csr: User) -> Subscriber:
    """Ada's account pays ahead, with nothing paid in yet."""
    prepaid.set_prepaid(subscriber_id=ada.pk, is_prepaid=True, actor=csr, reason="Asked", at=NOON)
    ada.refresh_from_db()
    line.refresh_from_db()
    return ada


def pay_in(ada: Subscriber, amount: str, csr: User, reference: str = "R1") -> LedgerTransaction:
    return prepaid.top_up(
        subscriber_id=ada.pk, amount=Decimal(amount), reference=reference, actor=csr, at=NOON
    )


def left(ada: Subscriber) -> Decimal:
    [bucket] = balances.prepaid(ada, LATER)
    return bucket.remaining


def hold(shop: Shop, ada: Subscriber, net: str, key: str = "h") -> Reservation:
    return reservations.hold(
        partner=shop.films,
        subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
        offering_code="film", held_until=NOON + timedelta(hours=1), net=Decimal(net),
        idempotency_key=key, at=NOON,
    )  # fmt: skip


def consent(shop: Shop, ada: Subscriber) -> None:
    standing_consents.give(
        subscriber=ada, partner=shop.films, monthly_limit=Decimal(100), user=ada.users.get(),
        at=NOON,
    )  # fmt: skip


class TestPayingIn:
    def test_a_payment_counts_once(self, ahead: Subscriber, csr: User) -> None:
        assert pay_in(ahead, "20.00", csr) == pay_in(ahead, "20", csr)
        assert left(ahead) == 20
        kept = AuditEntry.objects.get(action="prepaid.topped_up")
        assert (kept.actor, kept.detail["amount"]) == (csr, "20.00")
        for again in (
            lambda: pay_in(ahead, "21", csr),
            lambda: billing.record_payment(
                subscriber=ahead, amount=Decimal(20), reference="R1", at=NOON
            ),
        ):
            with pytest.raises(AlreadyPosted):
                again()

    @pytest.mark.parametrize("amount", ["0", "-1", "0.001", "NaN", "Infinity", "1e9"])
    def test_what_is_no_amount(self, ahead: Subscriber, csr: User, amount: str) -> None:
        with pytest.raises(InvalidInput) as told:
            pay_in(ahead, amount, csr)
        assert told.value.field == "amount"

    def test_what_is_no_payment(self, ada: Subscriber, line: Service, csr: User) -> None:
        with pytest.raises(InvalidInput):
            pay_in(ada, "20", csr, reference=" ")
        with pytest.raises(NotPrepaid):
            pay_in(ada, "20", csr)
        with pytest.raises(InvalidInput):
            prepaid.set_prepaid(
                subscriber_id=ada.pk, is_prepaid=True, actor=csr, reason=" ", at=NOON
            )


class TestCovering:
    def test_it_covers_to_the_cent(self, shop: Shop, ahead: Subscriber, csr: User) -> None:
        line = ahead.services.get()
        with pytest.raises(PrepaidBalanceTooLow):
            buy(line, shop.film)
        pay_in(ahead, "11.00", csr)
        buy(line, shop.film)
        first = buy(line, shop.film)
        assert left(ahead) == 11 - 2 * FILM
        with pytest.raises(PrepaidBalanceTooLow) as told:
            buy(line, shop.film)
        assert "USD 0.02 of the prepaid balance" in told.value.detail
        purchases.reverse_purchase(service_order_id=first.service_order_id, because="No.", at=LATER)
        assert left(ahead) == 11 - FILM

    def test_a_hold_takes_it_and_a_partner_is_told_no_amount(
        self, shop: Shop, ahead: Subscriber, csr: User
    ) -> None:
        consent(shop, ahead)
        pay_in(ahead, "15", csr)
        held = hold(shop, ahead, "10")
        assert left(ahead) == 4
        with pytest.raises(PrepaidBalanceTooLow) as told:
            hold(shop, ahead, "4", key="more")
        assert not any(one.isdigit() for one in told.value.detail)
        reservations.use(
            reservation_id=held.pk, partner=shop.films, net=Decimal(2), idempotency_key="u",
            is_last=True, at=LATER,
        )  # fmt: skip
        assert left(ahead) == Decimal("12.8")

    def test_subscriptions_to_come_are_covered_first(
        self, shop: Shop, ahead: Subscriber, csr: User
    ) -> None:
        pay_in(ahead, "10", csr)
        subscribed(ahead.services.get(), shop.storage)
        june_5 = MAY.end + timedelta(days=1)
        charged = sum(one.amount_net + one.amount_tax for one in Charge.objects.all())
        now = spending.prepaid_of(ahead, june_5)
        assert (now.charged, now.coming) == (charged, Decimal("3.30"))

    def test_the_database_refuses_what_is_not_covered(
        self, shop: Shop, ahead: Subscriber, csr: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        consent(shop, ahead)
        pay_in(ahead, "6", csr)
        monkeypatch.setattr(spending, "_require_cover", lambda *_: None)
        line = ahead.services.get()
        buy(line, shop.film)
        with refused("passes what is paid ahead"):
            buy(line, shop.film)
        with refused("passes what is paid ahead"):
            hold(shop, ahead, "1")
        account = ledger.account(Kind.PREPAID, "USD", subscriber=ahead)
        with refused("than was paid ahead"):
            cash = ledger.account(Kind.CASH, "USD")
            entries = [(account, Decimal(7)), (cash, Decimal(-7))]
            ledger.post(cause="x", description="x", entries=entries, at=NOON)


class TestBilling:
    def balance(self, ada: Subscriber) -> Decimal:
        rows = LedgerEntry.objects.filter(account__kind=Kind.PREPAID, account__subscriber=ada)
        return -sum(entry.amount for entry in rows)

    def test_the_bill_is_paid_from_it_and_what_goes_back_returns(
        self, shop: Shop, ahead: Subscriber, csr: User
    ) -> None:
        line = ahead.services.get()
        pay_in(ahead, "20", csr)
        buy(line, shop.film)
        bill = billing.issue_bill(subscriber=ahead, period=MAY, at=MAY.end)
        [row] = bill.lines.filter(offering=shop.film)
        paid = row.amount_net + row.amount_tax
        assert paid == Decimal("5.49")
        assert prepaid.paid_on(bill) == paid
        assert ledger.balance(ahead) == bill.amount_due - paid
        assert self.balance(ahead) == 20 - paid

        charge = Charge.objects.get(offering=shop.film)
        refunds.refund_charge(
            charge_id=charge.pk, because="No.", idempotency_key="k", actor=csr, at=MAY.end
        )
        assert spending.prepaid_of(ahead, MAY.end).left == 20 - paid + FILM
        june = billing.issue_bill(subscriber=ahead, period=JUNE, at=JUNE.end)
        assert prepaid.paid_on(june) == -paid
        assert self.balance(ahead) == 20
        assert ledger.balance(ahead) == bill.amount_due + june.amount_due

    def test_what_a_subscription_costs_beyond_it_is_owed(
        self, shop: Shop, ahead: Subscriber, csr: User
    ) -> None:
        pay_in(ahead, "4", csr)
        subscribed(ahead.services.get(), shop.storage)
        billing.issue_bill(subscriber=ahead, period=MAY, at=MAY.end)
        rest = self.balance(ahead)
        june = billing.issue_bill(subscriber=ahead, period=JUNE, at=JUNE.end)
        assert rest < Decimal("3.30")
        assert prepaid.paid_on(june) == rest
        assert self.balance(ahead) == 0

    def test_without_it_the_rest_is_a_credit(self, ahead: Subscriber, csr: User) -> None:
        pay_in(ahead, "20", csr)
        prepaid.set_prepaid(
            subscriber_id=ahead.pk, is_prepaid=False, actor=csr, reason="Asked", at=LATER
        )
        assert (self.balance(ahead), ledger.balance(ahead)) == (0, -20)
        ahead.refresh_from_db()
        assert list(balances.prepaid(ahead, LATER)) == []
