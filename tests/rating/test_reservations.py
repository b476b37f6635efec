"""Holding, using and releasing; and the balance, right to the last charge, hold and rated use."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Partner, Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import balances, consents, posting, probing, reservations, spending, standing
from rating.models import Charge, Reservation, ReservationUse, StandingConsent
from rating.probing import RefusedTooOften
from rating.purchases import OfferingNotCarried, OfferingWithdrawn
from rating.reservations import MoreThanHeld, NotConsented, ReservationKeyReused, ReservationOver
from rating.spending import SpendingLimitReached
from tests import factories
from tests.rating.ground import (
    NOON,
    Shop,
    buy,
    charges,
    event,
    posted,
    product,
    rate,
    refused,
    report,
    subscribed,
)
from tests.rating.ground import total as sum_of
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(minutes=5)
UNTIL = NOON + timedelta(hours=1)


@pytest.fixture
def given(shop: Shop, line: Service, ada: Subscriber) -> StandingConsent:
    return standing.give(
        subscriber=ada, partner=shop.films, monthly_limit=Decimal(100), user=ada.users.get(),
        at=NOON,
    )  # fmt: skip


def hold(shop: Shop, ada: Subscriber, key: str = "h", **how: object) -> Reservation:
    reference = partner_orders.reference_of(partner=shop.films, subscriber=ada)
    return reservations.hold(
        **{
            "partner": shop.films, "subscriber_ref": reference, "offering_code": "film",
            "held_until": UNTIL, "idempotency_key": key, "at": NOON,
            **({} if "units" in how else {"net": Decimal(10)}), **how,
        }
    )  # fmt: skip


def use(held: Reservation, key: str = "u", **how: object) -> ReservationUse:
    return reservations.use(
        **{
            "reservation_id": held.pk, "partner": held.partner, "idempotency_key": key,
            "at": LATER, **how,
        }
    )  # fmt: skip


@pytest.mark.usefixtures("given")
class TestHolding:
    def test_an_amount_is_used_in_parts_that_sum_exactly(self, shop: Shop, ada: Subscriber) -> None:
        held = hold(shop, ada)
        assert (held.net, held.amount) == (10, 11)
        assert hold(shop, ada) == held
        for number in range(3):
            use(held, f"u{number}", net=Decimal("3.333333"))
        use(held, "rest")
        held.refresh_from_db()
        assert (held.used_net, held.used_amount, held.released_at) == (10, 11, LATER)
        rows = charges(ada)
        assert (sum_of(rows), sum_of(rows, "amount_tax")) == (10, 1)
        assert sum_of(rows, "bsp_share") == 7
        assert {row.bsp for row in rows} == {shop.films}

    def test_units_are_held_at_their_price(self, shop: Shop, ada: Subscriber) -> None:
        held = hold(shop, ada, units=3)
        assert held.net == Decimal("14.97")
        use(held, units=2)
        [charge] = charges(ada)
        assert charge.amount_net == Decimal("9.98")
        assert charge.explanation["arithmetic"].startswith("2 units, USD 9.98 of USD 14.97")
        with pytest.raises(MoreThanHeld):
            use(held, "more", units=2)
        with pytest.raises(InvalidInput):
            use(held, "amount", net=Decimal(1))

    def test_a_key_counts_once(self, shop: Shop, ada: Subscriber) -> None:
        held = hold(shop, ada)
        assert use(held, net=Decimal(4)) == use(held, net=Decimal(4))
        with pytest.raises(ReservationKeyReused):
            use(held, net=Decimal(5))
        with pytest.raises(ReservationKeyReused):
            hold(shop, ada, net=Decimal(11))
        assert Charge.objects.count() == 1

    def test_what_is_over_holds_nothing_without_a_sweep(self, shop: Shop, ada: Subscriber) -> None:
        held = hold(shop, ada)
        use(held, net=Decimal(4))
        before, after = UNTIL - timedelta(seconds=1), UNTIL
        assert spending.third_party_spend(ada, before) == 11
        assert spending.third_party_spend(ada, after) == Decimal("4.4")
        with pytest.raises(ReservationOver):
            use(held, "late", at=after)

    def test_the_last_part_and_a_release_give_the_rest_back(
        self, shop: Shop, ada: Subscriber
    ) -> None:
        use(hold(shop, ada, "a"), net=Decimal(1), is_last=True)
        other = hold(shop, ada, "b")
        for _ in range(2):
            reservations.release(reservation_id=other.pk, partner=shop.films, at=LATER)
        assert spending.third_party_spend(ada, LATER) == Decimal("1.1")
        with pytest.raises(ReservationOver):
            use(other)
        cara = factories.staff("CSR", at=NOON)
        third = hold(shop, ada, "c")
        reservations.release(reservation_id=third.pk, actor=cara, reason="Asked", at=LATER)
        assert AuditEntry.objects.filter(action="reservation.released").count() == 1

    @pytest.mark.parametrize(
        ("how", "field"),
        [
            ({"net": Decimal("NaN")}, "net"),
            ({"net": Decimal(0)}, "net"),
            ({"net": Decimal(10) ** 30}, "net"),
            ({"units": 0}, "units"),
            ({"units": 1, "net": Decimal(1)}, "net"),
            ({"offering_code": "tips", "units": 1}, "units"),
            ({"offering_code": "minutes"}, "offering"),
            ({"offering_code": "storage"}, "offering"),
            ({"subscriber_ref": "x"}, "subscriber_ref"),
            ({"held_until": NOON}, "held_until"),
            ({"held_until": NOON + timedelta(days=8)}, "held_until"),
            ({"key": ""}, "idempotency_key"),
        ],
    )
    def test_what_makes_no_sense_names_the_field(
        self, shop: Shop, ada: Subscriber, how: dict[str, object], field: str
    ) -> None:
        product("tips", "Tips", shop.films, LAUNCH)
        with pytest.raises(InvalidInput) as caught:
            hold(shop, ada, **how)  # type: ignore[arg-type]
        assert caught.value.field == field

    @pytest.mark.parametrize(
        ("facts", "refusal"),
        [
            ({"sold_to": NOON}, OfferingWithdrawn),
            ({"sold_from": LATER}, OfferingWithdrawn),
            ({"kind": "addon", "addon_type": "other"}, OfferingWithdrawn),
            ({"subscriber_kind": "business"}, OfferingNotCarried),
        ],
    )
    def test_only_what_could_be_bought_is_held(
        self, shop: Shop, ada: Subscriber, facts: dict[str, object], refusal: type[Refusal]
    ) -> None:
        ProductOffering.objects.filter(pk=shop.film.pk).update(**facts)
        with pytest.raises(refusal) as caught:
            hold(shop, ada)
        assert caught.value.field == "offering"

    def test_what_is_charged_of_it_is_told_once(self, shop: Shop, ada: Subscriber) -> None:
        row = hold(shop, ada)
        first = use(row, "a", net=Decimal(1))
        use(row, "b", net=Decimal(1))
        factories.deliver_events(at=LATER)
        notice = Notice.objects.get(kind="charged_by_standing_consent")
        for words in ("A film", "USD 11.00", first.charge.public_id, "/consents/"):
            assert words in notice.body

    def test_what_is_charged_of_it_counts_for_the_warning(
        self, shop: Shop, ada: Subscriber
    ) -> None:
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(12))
        use(hold(shop, ada))
        factories.deliver_events(at=LATER)
        assert "USD 11.00" in Notice.objects.get(kind="spending_limit").body

    @pytest.mark.parametrize("how", [{"units": 2}, {}], ids=["units", "amount"])
    def test_it_is_taxed_as_its_price_is(
        self, shop: Shop, ada: Subscriber, how: dict[str, int]
    ) -> None:
        publishing.set_tax_rate(category="films", percent=Decimal(20), at=LAUNCH)
        publishing.set_price(
            offering=shop.film, charge="one_off", amount=Decimal(5), tax_category="films", at=NOON
        )
        row = hold(shop, ada, **how)
        assert row.amount == 12
        charge = use(row).charge
        assert (charge.amount_net, charge.amount_tax) == (10, 2)
        assert (charge.price is not None) == ("units" in how)

    def test_nothing_is_held_beyond_the_month(
        self, shop: Shop, ada: Subscriber, given: StandingConsent
    ) -> None:
        """In New York, May ends at four in the morning of 1 June by UTC."""
        end = datetime(2026, 6, 1, 4, tzinfo=UTC)
        before, after = end - timedelta(minutes=5), end + timedelta(minutes=5)
        row = hold(shop, ada, net=Decimal(90), at=before, held_until=end + timedelta(days=3))
        assert row.held_until == end
        with pytest.raises(ReservationOver):
            use(row, at=after)
        assert standing.left_of_month(given, before) == 1
        assert standing.left_of_month(given, after) == 100

    def test_the_spending_limit_counts_what_is_held(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(15))
        hold(shop, ada)
        with pytest.raises(SpendingLimitReached) as told:
            hold(shop, ada, "more")
        assert not re.search(r"\d", told.value.detail)
        with pytest.raises(SpendingLimitReached):
            buy(line, shop.film)
        buy(line, shop.film, at=UNTIL)

    def test_the_limit_cannot_be_found_by_halves(
        self, shop: Shop, line: Service, ada: Subscriber
    ) -> None:
        """Nor by asking for purchases instead, which wait for the subscriber then."""
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(15))
        later, until = LATER + timedelta(hours=2), NOON + timedelta(hours=5)
        for number in range(probing.MOST_REFUSED_AN_HOUR):
            with pytest.raises(SpendingLimitReached) as told:
                hold(shop, ada, f"r{number}", net=Decimal(20 - number), at=later, held_until=until)
            assert not re.search(r"\d", told.value.detail)
        with pytest.raises(RefusedTooOften) as often:
            hold(shop, ada, "small", net=Decimal(1), at=later, held_until=until)
        assert "15" not in often.value.detail
        reference = partner_orders.reference_of(partner=shop.films, subscriber=ada)
        asked = consents.request_purchase(
            partner=shop.films, subscriber_ref=reference, offering_code="film",
            idempotency_key="instead", at=later,
        )  # fmt: skip
        assert asked.state == "waiting"
        hold(shop, ada, "small", net=Decimal(1), at=later + timedelta(hours=1), held_until=until)

    def test_the_consent_counts_it_too(self, shop: Shop, ada: Subscriber) -> None:
        hold(shop, ada, net=Decimal(88))
        reference = partner_orders.reference_of(partner=shop.films, subscriber=ada)
        asked = consents.request_purchase(
            partner=shop.films, subscriber_ref=reference, offering_code="film",
            idempotency_key="r", at=NOON,
        )  # fmt: skip
        assert asked.state == "waiting"
        with pytest.raises(NotConsented):
            hold(shop, ada, "more", net=Decimal(5))

    def test_the_database_adds_it_up(
        self, shop: Shop, ada: Subscriber, given: StandingConsent
    ) -> None:
        held = hold(shop, ada)
        held.pk, held.idempotency_key, held.net = None, "x", Decimal(100)
        held.amount = Decimal(110)
        with refused("does not cover"):
            Reservation.objects.create(**facts(held))
        Subscriber.objects.filter(pk=ada.pk).update(spending_limit=Decimal(15))
        held.net, held.amount = Decimal(10), Decimal(11)
        with refused("passes the spending limit"):
            Reservation.objects.create(**facts(held))
        for change in ({"used_net": 11, "used_amount": 12}, {"amount": 5}, {"net": 20}):
            with refused("no_more_is_used", "stays"):
                Reservation.objects.update(**change)


@pytest.mark.usefixtures("line")
class TestWithdrawing:
    """Nothing is charged for what the subscriber no longer lets the partner do."""

    def test_what_is_held_is_released_with_the_consent(
        self, shop: Shop, ada: Subscriber, given: StandingConsent
    ) -> None:
        held = hold(shop, ada)
        first = use(held, net=Decimal(4))
        standing.withdraw(consent_id=given.pk, user=ada.users.get(), at=LATER)
        held.refresh_from_db()
        assert (held.released_at, spending.third_party_spend(ada, LATER)) == (
            LATER,
            Decimal("4.4"),
        )
        with pytest.raises(NotConsented):
            use(held, "more", net=Decimal(1))
        assert use(held, net=Decimal(4)) == first
        assert Charge.objects.count() == 1

    def test_another_amount_releases_it_too(
        self, shop: Shop, ada: Subscriber, given: StandingConsent
    ) -> None:
        held = hold(shop, ada)
        standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(5), user=ada.users.get(),
            at=LATER,
        )  # fmt: skip
        with pytest.raises(NotConsented):
            use(held)

    @pytest.mark.parametrize("account", ["restricted", "closed"])
    def test_an_account_that_cannot_buy_is_charged_nothing(
        self, shop: Shop, ada: Subscriber, given: StandingConsent, account: str
    ) -> None:
        held = hold(shop, ada)
        Subscriber.objects.filter(pk=ada.pk).update(standing=account)
        with pytest.raises(NotConsented) as caught:
            use(held)
        assert account not in caught.value.detail
        with refused("may be used any more"):
            Reservation.objects.update(used_net=1, used_amount=1)

    def test_the_database_sees_the_end_of_the_consent(
        self, shop: Shop, ada: Subscriber, given: StandingConsent
    ) -> None:
        hold(shop, ada)
        StandingConsent.objects.update(ended_at=LATER, ended_by=ada.users.get())
        with refused("may be used any more"):
            Reservation.objects.update(used_net=1, used_amount=1)


@pytest.mark.usefixtures("line", "given")
class TestWhatIsChargedMeanwhile:
    """What becomes a charge while the spending is added up is not forgotten."""

    def test_a_part_that_is_used(
        self, shop: Shop, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subscribed(ada.services.get(), shop.minutes)
        row, usual = hold(shop, ada), spending._coming

        def coming(*whose: Any) -> Decimal:
            use(row)
            return usual(*whose)

        monkeypatch.setattr(spending, "_coming", coming)
        assert spending.third_party_spend(ada, LATER) == 11

    def test_use_that_is_posted(
        self, shop: Shop, ada: Subscriber, line: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subscribed(line, shop.minutes)
        report(shop.films, event(line, shop.minutes, 150))
        rate()
        usual = posting.due

        def due(**whose: Any) -> list[Charge]:
            posted(ada)
            return usual(**whose)

        monkeypatch.setattr(posting, "due", due)
        assert spending.third_party_spend(ada, LATER) == Decimal("1.1")


def facts(row: Reservation) -> dict[str, object]:
    names = [field.name for field in row._meta.concrete_fields if field.name != "id"]
    return {name: getattr(row, name) for name in names}


def test_without_consent_nothing_is_held(shop: Shop, line: Service, ada: Subscriber) -> None:
    with pytest.raises(NotConsented):
        hold(shop, ada)


def test_another_partner_has_no_such_reservation(
    shop: Shop, ada: Subscriber, given: StandingConsent
) -> None:
    held = hold(shop, ada)
    with pytest.raises(NotFound):
        use(held, partner=shop.backup)


class TestBalance:
    def buckets(self, partner: Partner | None, ada: Subscriber) -> dict[str, tuple[Decimal, ...]]:
        found = (
            balances.balance_for(partner, ada, LATER)
            if partner
            else balances.balance_of(ada, LATER).buckets
        )
        return {row.kind: (row.allowed, row.used, row.reserved, row.remaining) for row in found}

    def test_it_is_right_to_the_last_charge_hold_and_rated_use(
        self, shop: Shop, line: Service, ada: Subscriber, given: StandingConsent
    ) -> None:
        ada.spending_limit = Decimal(50)
        ada.save()
        subscribed(line, shop.minutes)
        buy(line, shop.film)
        hold(shop, ada)
        seen = self.buckets(None, ada)
        assert seen["spending_limit"] == (50, Decimal("5.489"), 11, Decimal("33.511"))
        assert seen["standing_consent"] == (100, 0, 11, 89)
        assert seen["allowance"] == (100, 0, 0, 100)
        report(shop.films, event(line, shop.minutes, 30))
        rate()
        assert self.buckets(None, ada)["allowance"] == (100, 30, 0, 70)
        # 50 beyond what is included, at 0.02 and 10 % tax.
        report(shop.films, event(line, shop.minutes, 120))
        rate()
        assert self.buckets(None, ada)["spending_limit"][1] == Decimal("6.589")

    def test_a_partner_sees_its_own_part(
        self, shop: Shop, line: Service, ada: Subscriber, given: StandingConsent
    ) -> None:
        subscribed(line, shop.minutes)
        assert set(self.buckets(shop.films, ada)) == {"standing_consent", "allowance"}
        assert self.buckets(shop.backup, ada) == {}
