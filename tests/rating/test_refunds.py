"""Giving charges back in part, cancelling what was bought, and disputes; the sums stay exact."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.errors import IllegalTransition, InvalidInput, NotFound
from ispops.models import Event
from ispops.notices.models import Notice
from ispops.parties import partners, roles
from ispops.parties.models import AuditEntry, Subscriber, User, WebhookDelivery
from provisioning.models import Service, ServiceOrder
from rating import (
    billing,
    cancelling,
    charges,
    disputes,
    ledger,
    purchases,
    refunds,
    spending,
    standing,
)
from rating.amounts import spread
from rating.models import Charge, Dispute, Purchase
from rating.refunds import NothingToRefund, RefundKeyReused, RefundTooLarge
from tests import factories
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, refused, subscribed, total
from tests.rating.ground import charges as charges_of
from tests.rating.test_reservations import hold

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def film(shop: Shop, line: Service) -> Charge:
    """4.99 and 0.499 tax, of which the partner gets 3.493."""
    buy(line, shop.film)
    return Charge.objects.get(offering=shop.film)


@pytest.fixture
def cara(db: None) -> User:
    return factories.staff(roles.CSR, at=NOON)


def refund(charge: Charge, key: str = "k1", **how: object) -> Charge:
    return refunds.refund_charge(
        **{
            "charge_id": charge.pk, "because": "It broke off.", "idempotency_key": key,
            "actor": None, "at": LATER, **how,
        }
    )  # fmt: skip


@given(
    parts=st.lists(st.integers(0, 10**9), min_size=4, max_size=4).filter(any),
    steps=st.lists(st.integers(1, 100), min_size=1, max_size=6),
)
def test_parts_that_are_taken_bit_by_bit_are_never_more_than_there_is(
    parts: list[int], steps: list[int]
) -> None:
    left = list(parts)
    for step in steps:
        wanted = sum(left) * step // 100
        if sum(left) == 0:
            break
        taken = spread(wanted, left)
        assert sum(taken) == wanted
        left = [had - part for had, part in zip(left, taken, strict=True)]
        assert min(left) >= 0
    if sum(left):
        assert spread(sum(left), left) == left


class TestRefund:
    def test_half_takes_half_of_every_share_and_of_the_tax(
        self, film: Charge, shop: Shop, cara: User
    ) -> None:
        back = refund(film, percent=Decimal(50), actor=cara)
        assert (back.kind, back.corrects, back.amount_net, back.amount_tax) == (
            "adjustment", film, Decimal("-2.495"), Decimal("-0.2495"),
        )  # fmt: skip
        assert (back.bsp_share, back.isp_share) == (Decimal("-1.7465"), Decimal("-0.7485"))
        assert "50 % of USD 5.489" in back.explanation["arithmetic"]
        assert AuditEntry.objects.filter(action="charge.refunded", actor=cara).count() == 1
        assert Event.objects.filter(kind="charge.refunded").count() == 1
        factories.deliver_events(at=LATER)
        notice = Notice.objects.get(kind="charge_refunded")
        assert "USD 2.74" in notice.body
        assert "It broke off." in notice.body

    def test_in_parts_to_the_last_micro_unit_and_no_further(self, film: Charge) -> None:
        refund(film, "a", amount=Decimal("1.111111"))
        refund(film, "b", percent=Decimal("33.333"))
        with pytest.raises(RefundTooLarge) as caught:
            refund(film, "c", amount=Decimal("5"))
        assert caught.value.field == "amount"
        assert "USD 2.548" in caught.value.detail
        refund(film, "d")
        assert charges.left_of(film) == [0, 0, 0, 0]
        with pytest.raises(NothingToRefund):
            refund(film, "e", amount=Decimal("0.01"))

    def test_a_partner_does_not_hear_what_others_have_left(self, shop: Shop, film: Charge) -> None:
        with pytest.raises(RefundTooLarge) as caught:
            refund(film, amount=Decimal(9), partner=shop.films)
        assert not re.search(r"\d", caught.value.detail)

    def test_the_same_key_is_one_refund(self, film: Charge) -> None:
        first = refund(film, amount=Decimal(1))
        assert refund(film, amount=Decimal("1.00")) == first
        with pytest.raises(RefundKeyReused):
            refund(film, amount=Decimal(2))
        assert film.corrections.count() == 1

    @pytest.mark.parametrize(
        ("how", "field"),
        [
            ({"amount": Decimal("NaN")}, "amount"),
            ({"amount": Decimal(-1)}, "amount"),
            ({"amount": Decimal(10) ** 30}, "amount"),
            ({"amount": Decimal("0.0000001")}, "amount"),
            ({"percent": Decimal(101)}, "percent"),
            ({"percent": Decimal(0)}, "percent"),
            ({"amount": Decimal(1), "percent": Decimal(1)}, "amount"),
            ({"because": " "}, "reason"),
            ({"key": ""}, "idempotency_key"),
        ],
    )
    def test_what_makes_no_sense_names_the_field(
        self, film: Charge, how: dict[str, object], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            refund(film, **how)  # type: ignore[arg-type]
        assert caught.value.field == field
        assert not film.corrections.exists()

    def test_a_partner_gives_back_of_its_own_products_alone(self, film: Charge, shop: Shop) -> None:
        with pytest.raises(NotFound):
            refund(film, partner=shop.backup)
        assert refund(film, partner=shop.films, percent=Decimal(10)).bsp == shop.films

    def test_a_bill_that_is_out_stays_and_the_next_one_takes_it(
        self, film: Charge, ada: Subscriber
    ) -> None:
        bill = billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
        refund(film, percent=Decimal(100), at=JUNE.start + timedelta(days=1))
        after = billing.running_bill(subscriber=ada, at=JUNE.start + timedelta(days=2))
        [line] = [line for line in after.lines if line.charge_kind == "adjustment"]
        assert (line.amount_net, line.amount_tax) == (Decimal("-4.99"), Decimal("-0.50"))
        second = billing.issue_bill(subscriber=ada, period=JUNE, at=JUNE.end)
        assert ledger.balance(ada) == bill.amount_due + second.amount_due

    def test_it_makes_room_below_the_spending_limit(
        self, film: Charge, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        spent = spending.third_party_spend(ada, NOON)
        refund(film, percent=Decimal(50))
        assert spending.third_party_spend(ada, LATER) == spent - Decimal("2.7445")

    def test_it_makes_room_in_the_period_of_what_it_gives_back(
        self, film: Charge, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        later = JUNE.start + timedelta(days=1)
        refund(film, percent=Decimal(50), at=later)
        refund(film, "k2", at=later)
        assert spending.third_party_spend(ada, NOON) == 0
        assert spending.third_party_spend(ada, later) == 0
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(6))
        buy(line, shop.film, at=later)
        with pytest.raises(spending.SpendingLimitReached):
            buy(line, shop.film, at=later)

    def test_the_database_gives_no_room_for_it_in_a_later_period(
        self, film: Charge, shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        later = JUNE.start + timedelta(days=1)
        refund(film, at=later, percent=Decimal(100))
        standing.give(
            subscriber=ada,
            partner=shop.films,
            monthly_limit=Decimal(100),
            user=ada.users.get(),
            at=NOON,
        )
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(15))
        monkeypatch.setattr(spending, "require_room", lambda *_, **__: None)
        until = later + timedelta(hours=1)
        hold(shop, ada, at=later, held_until=until)
        with refused("passes the spending limit"):
            hold(shop, ada, "more", net=Decimal(4), at=later, held_until=until)

    def test_the_database_refuses_more(self, film: Charge) -> None:
        refund(film, amount=Decimal(5))
        with refused("more would be given back"):
            charges.correct(
                charge=film, parts=[-60_000, -300_000, 0, -130_000], cause="x", explanation={},
                at=LATER,
            )  # fmt: skip
        with refused("more would be given back"):
            charges.reverse(charge=film, because="all of it", at=LATER)
        with refused("a_correction_takes_nothing"):
            charges.correct(charge=film, parts=[1, 0, 0, 0], cause="y", explanation={}, at=LATER)

    def test_a_refused_purchase_takes_back_what_a_refund_left(
        self, film: Charge, ada: Subscriber
    ) -> None:
        refund(film, percent=Decimal(30))
        purchase = Purchase.objects.get()
        purchases.reverse_purchase(
            service_order_id=purchase.service_order_id, because="No rights.", at=LATER
        )
        assert (total(charges_of(ada)), total(charges_of(ada), "bsp_share")) == (0, 0)


class TestCancel:
    def test_what_waits_is_taken_back_and_the_partner_told(
        self, shop: Shop, line: Service, ada: Subscriber, cara: User
    ) -> None:
        partners.set_webhook_url(
            partner_id=shop.films.pk, webhook_url="http://127.0.0.1:9/hook", at=NOON
        )
        purchase = buy(line, shop.film)
        done = cancelling.cancel_purchase(
            purchase_id=purchase.pk, reason="Wrong film", actor=cara, at=LATER
        )
        assert (done.state, done.cancelled_at, done.reason) == ("cancelled", LATER, "Wrong film")
        assert total(charges_of(ada)) == 0
        assert ServiceOrder.objects.get(pk=purchase.service_order_id).state == "cancelled"
        kinds = set(WebhookDelivery.objects.values_list("kind", flat=True))
        assert {"purchase.cancelled", "service_order.cancelled"} <= kinds
        again = cancelling.cancel_purchase(purchase_id=purchase.pk, reason="", at=LATER)
        assert again.reason == "Wrong film"
        factories.deliver_events(at=LATER)
        purchase.refresh_from_db()
        assert purchase.state == "cancelled"

    def test_a_subscription_ends_and_the_time_to_come_goes_back(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        service = subscribed(line, shop.storage)
        [charge] = charges_of(ada, kind="recurring")
        middle = charge.period_start + (charge.period_end - charge.period_start) / 4
        cancelling.cancel_purchase(purchase_id=service.purchase.pk, reason="Enough", at=middle)
        [back] = charges_of(ada, corrects=charge)
        assert abs(back.amount_net + charge.amount_net * 3 / 4) <= Decimal("0.000001")
        service.refresh_from_db()
        assert service.state == "ceased"
        assert not [c for c in billing.running_bill(subscriber=ada, at=JUNE.start).lines
                    if c.offering == shop.storage]  # fmt: skip

    def test_what_was_delivered_once_can_only_be_given_back(
        self, shop: Shop, line: Service
    ) -> None:
        subscribed(line, shop.film)
        with pytest.raises(cancelling.DeliveredAlready):
            cancelling.cancel_purchase(purchase_id=Purchase.objects.get().pk, reason="", at=LATER)

    def test_another_partners_is_not_there(self, shop: Shop, line: Service) -> None:
        purchase = buy(line, shop.film)
        with pytest.raises(NotFound):
            cancelling.cancel_purchase(
                purchase_id=purchase.pk, reason="", partner=shop.backup, at=LATER
            )

    def test_what_was_cancelled_stays(self, shop: Shop, line: Service) -> None:
        purchase = buy(line, shop.film)
        cancelling.cancel_purchase(purchase_id=purchase.pk, reason="", at=LATER)
        with refused("cannot go from cancelled"):
            Purchase.objects.update(state="completed", cancelled_at=None)


class TestDisputes:
    def opened(self, film: Charge, **how: object) -> Dispute:
        return disputes.open_dispute(
            **{"charge": film, "words": "I never saw it.", "at": LATER, **how}
        )

    def test_upheld_gives_back_and_tells(self, film: Charge, ada: Subscriber, cara: User) -> None:
        dispute = self.opened(film, actor=ada.users.get())
        assert self.opened(film) == dispute
        done = disputes.uphold(
            dispute_id=dispute.pk, percent=Decimal(40), reason="It stuttered.", actor=cara, at=LATER
        )
        assert (done.state, done.answer) == ("upheld", "It stuttered.")
        assert done.correction.amount_net == Decimal("-1.996")
        actions = AuditEntry.objects.filter(subject=done.public_id).values_list("action", flat=True)
        assert set(actions) == {"dispute.opened", "dispute.upheld"}
        factories.deliver_events(at=LATER)
        assert "It stuttered." in Notice.objects.get(kind="dispute_answered").body

    def test_rejected_says_why_and_gives_nothing(self, film: Charge, cara: User) -> None:
        dispute = self.opened(film)
        with pytest.raises(InvalidInput):
            disputes.reject(dispute_id=dispute.pk, reason=" ", actor=cara, at=LATER)
        disputes.reject(dispute_id=dispute.pk, reason="Watched to the end.", actor=cara, at=LATER)
        assert not film.corrections.exists()
        with pytest.raises(IllegalTransition):
            disputes.uphold(dispute_id=dispute.pk, reason="x", actor=cara, at=LATER)
        with refused("what was answered stays"):
            Dispute.objects.update(answer="Something else")

    def test_a_partners_share_is_put_right_at_our_cost(
        self, film: Charge, shop: Shop, ada: Subscriber, cara: User
    ) -> None:
        dispute = self.opened(film, partner=shop.films, words="We agreed on 80 %.")
        with pytest.raises(InvalidInput):
            disputes.uphold(dispute_id=dispute.pk, reason="Right.", actor=cara, at=LATER)
        done = disputes.uphold(
            dispute_id=dispute.pk, amount=Decimal("0.499"), reason="Right.", actor=cara, at=LATER
        )
        assert (done.correction.amount_net, done.correction.bsp_share) == (0, Decimal("0.499"))
        assert total(charges_of(ada)) == Decimal("4.99")
        refund(film)
        assert total(charges_of(ada), "bsp_share") == 0
        factories.deliver_events(at=LATER)
        assert not Notice.objects.filter(kind="dispute_answered").exists()

    def test_what_was_given_back_cannot_be_disputed(self, film: Charge) -> None:
        back = refund(film)
        for charge in (film, back):
            with pytest.raises(disputes.NothingToDispute):
                self.opened(charge)
