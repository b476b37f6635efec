"""Placing an order and taking it back: rows, events, refusals, repeats."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from pytest_django import Settings

from ipam.models import AddressHolder
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering, Technology
from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.models import Event
from ispops.parties import accounts
from ispops.parties.models import AuditEntry, Partner, Subscriber, User, WebhookDelivery
from provisioning import execution, orders
from provisioning.models import AaaCredential, OrderTask, ProductOrder, Service, ServiceOrder
from provisioning.orders import TooManyLines
from qualification import coverage
from qualification.models import AccessPort, ServiceQualification
from qualification.ports import NoFreePort
from qualification.qualify import OfferNotQualified, QualificationExpired
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp, priced

Place = Callable[..., ProductOrder]


@pytest.fixture
def qualification(isp: SmallIsp, at: datetime) -> ServiceQualification:
    return factories.qualified(isp.oak_1, at=at)


@pytest.fixture
def place(ada: Subscriber, qualification: ServiceQualification, at: datetime) -> Place:
    """Place an order of Ada's; what is not said is as usual."""

    def placed(*codes: str, **changes: object) -> ProductOrder:
        usual: dict[str, object] = {
            "subscriber": ada,
            "qualification": qualification,
            "offering_codes": codes,
            "channel": "portal",
            "placed_by": ada.users.get(),
            "idempotency_key": "form-1",
            "at": at,
        }
        return orders.place_order(**usual | changes)  # type: ignore[arg-type]

    return placed


def test_one_account_does_not_take_all_ports(place: Place, otto: User, settings: Settings) -> None:
    settings.LINES_ORDERED_ALONE = 2
    first = place("fibre-500")
    place("fibre-500", idempotency_key="form-2")
    with pytest.raises(TooManyLines):
        place("fibre-500", idempotency_key="form-3")
    assert place("fibre-500") == first, "a repeat is no new order"
    place("fibre-500", idempotency_key="form-4", placed_by=otto, channel="csr")
    for order in ProductOrder.objects.all()[:2]:
        orders.cancel_order(order_id=order.pk, actor=None, reason="Enough", at=order.placed_at)
    place("fibre-500", idempotency_key="form-5")


class TestPlacing:
    def test_an_order_for_a_plan(
        self, isp: SmallIsp, ada: Subscriber, place: Place, at: datetime
    ) -> None:
        order = place("fibre-500")
        assert (order.state, order.channel, order.placed_at) == ("acknowledged", "portal", at)
        assert order.expected_at == at + timedelta(days=5)
        item = order.items.get()
        assert (item.action, item.offering, item.bundle) == ("add", isp.fast, None)
        assert item.offer.offering == isp.fast
        line = item.service
        assert line is not None
        assert (line.state, line.line, line.premises) == ("reserved", None, isp.oak_1)
        assert not line.periods.exists()
        assert AccessPort.objects.get(service_ref=line.public_id).node == isp.fibre_node
        assert ground.states(order) == {
            "reserve_port": "ready",
            "open_address_holder": "ready",
            "create_credentials": "ready",
            "go_live": "pending",
            "welcome": "pending",
        }
        placed = Event.objects.get(kind="order.placed")
        assert (placed.subject, placed.payload) == (order.public_id, {"offerings": ["fibre-500"]})
        entry = AuditEntry.objects.get(action="order.placed")
        assert (entry.subject, entry.subscriber, entry.actor) == (
            order.public_id, ada, ada.users.get()
        )  # fmt: skip

    def test_only_what_waits_for_nothing_is_due(self, place: Place, at: datetime) -> None:
        order = place("fibre-500")
        due = order.tasks.filter(next_attempt_at=at).values_list("kind", flat=True)
        assert set(due) == {"reserve_port", "open_address_holder", "create_credentials"}
        assert order.tasks.filter(next_attempt_at__isnull=True).count() == 2
        assert set(order.tasks.get(kind="go_live").depends_on.values_list("position", flat=True)) \
            == {0, 1, 2}  # fmt: skip

    def test_a_product_beside_the_plan(self, isp: SmallIsp, place: Place) -> None:
        order = place("films-streaming", "fibre-500")
        line = Service.objects.get(offering=isp.fast)
        films = Service.objects.get(offering=isp.streaming)
        assert (films.line, films.bundle, films.premises) == (line, None, line.premises)
        assert ground.states(order)["grant_entitlement"] == "pending"

    def test_an_aggregated_plan_becomes_its_parts(self, isp: SmallIsp, place: Place) -> None:
        order = place("fibre-and-films")
        line = Service.objects.get(offering=isp.fast)
        films = Service.objects.get(offering=isp.streaming)
        assert (line.bundle, films.bundle, films.line) == (isp.bundle, isp.bundle, line)
        items = order.items.order_by("pk")
        assert [item.offering for item in items] == [isp.fast, isp.streaming]
        assert {item.offer.offering for item in items} == {isp.bundle}

    def test_another_network_s_line_has_to_be_asked_for(self, place: Place) -> None:
        assert ground.states(place("dsl-25"))["order_line"] == "pending"

    def test_a_visitor_of_no_login_is_named_by_the_channel(self, place: Place) -> None:
        order = place("fibre-500", placed_by=None, channel="csr")
        assert AuditEntry.objects.get(subject=order.public_id).actor_name == "csr"


class TestRepeats:
    def test_the_same_key_gives_the_first_order(self, place: Place) -> None:
        first = place("fibre-500", "films-streaming")
        before = ground.rows()
        assert place("films-streaming", "fibre-500") == first
        assert ground.rows() == before

    def test_a_repeat_of_an_aggregated_plan(self, place: Place) -> None:
        first = place("fibre-and-films")
        assert place("fibre-and-films") == first

    def test_even_when_it_could_not_be_placed_any_more(
        self, place: Place, ada: Subscriber, at: datetime
    ) -> None:
        first = place("fibre-500")
        ada.standing = Subscriber.Standing.RESTRICTED
        ada.save()
        assert place("fibre-500", at=at + timedelta(days=90)) == first

    def test_the_same_key_for_something_else_is_refused(
        self, isp: SmallIsp, place: Place, at: datetime
    ) -> None:
        place("fibre-500")
        before = ground.rows()
        with pytest.raises(orders.OrderKeyReused):
            place("dsl-25")
        with pytest.raises(orders.OrderKeyReused):
            place("fibre-500", qualification=factories.qualified(isp.oak_1, at=at))
        assert ground.rows() == before

    def test_two_keys_are_two_orders(self, place: Place) -> None:
        assert place("fibre-500") != place("fibre-500", idempotency_key="form-2")

    def test_the_key_of_another_subscriber_is_another_key(self, place: Place, at: datetime) -> None:
        bob = factories.subscriber(at=at, name="Bob")
        assert place("fibre-500") != place("fibre-500", subscriber=bob)

    @pytest.mark.parametrize("key", ["", "x" * 201])
    def test_a_key_that_cannot_be_kept(self, place: Place, key: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            place("fibre-500", idempotency_key=key)
        assert refused.value.field == "idempotency_key"


def withdrawn(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    publishing.withdraw_offering(offering=isp.fast, at=at - timedelta(seconds=1))


def restricted(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    staff = factories.staff("CSR", at=at)
    accounts.set_standing(
        subscriber_id=ada.pk, standing="restricted", actor=staff, reason="unpaid", at=at
    )


def no_port_left(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    for port in AccessPort.objects.filter(node=isp.fibre_node):
        AccessPort.objects.filter(pk=port.pk).update(service_ref=f"svc_{port.pk}", taken_at=at)


def nothing(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    """The order is wrong by itself."""


class TestRefusals:
    @pytest.mark.parametrize(
        ("codes", "prepare", "error", "words"),
        [
            (["fibre-500"], withdrawn, orders.OfferingWithdrawn, "no longer sold"),
            (["fibre-500"], restricted, orders.SubscriberNotInGoodStanding, "is restricted"),
            (["fibre-500"], no_port_left, NoFreePort, "last connection of Fast Fibre"),
            (["fibre-office"], nothing, OfferNotQualified, "for businesses only"),
            (["fibre-900"], nothing, InvalidInput, "There is no offering fibre-900"),
            ([], nothing, InvalidInput, "exactly one internet plan"),
            (["films-streaming"], nothing, InvalidInput, "exactly one internet plan"),
            (["fibre-500", "dsl-25"], nothing, InvalidInput, "exactly one internet plan"),
            (["fibre-500", "fibre-and-films"], nothing, InvalidInput, "exactly one internet plan"),
            (["fibre-500", "fibre-500"], nothing, InvalidInput, "each offering once"),
            (["fibre-and-films", "films-streaming"], nothing, InvalidInput, "part of the aggreg"),
            (["fibre-500", "extra-address"], nothing, InvalidInput, "when a device asks for it"),
            (["dsl-6", "films-streaming"], nothing, OfferNotQualified, "Films needs 25 Mbit/s"),
        ],
    )
    def test_a_refused_order_leaves_nothing(
        self,
        isp: SmallIsp,
        ada: Subscriber,
        place: Place,
        at: datetime,
        codes: list[str],
        prepare: Callable[[SmallIsp, Subscriber, datetime], None],
        error: type[Refusal],
        words: str,
    ) -> None:
        prepare(isp, ada, at)
        before = ground.rows()
        with pytest.raises(error) as refused:
            place(*codes)
        assert words in refused.value.detail
        assert ground.rows() == before

    def test_an_old_promise(
        self, place: Place, qualification: ServiceQualification, at: datetime
    ) -> None:
        last = qualification.expires_at - timedelta(microseconds=1)
        with pytest.raises(QualificationExpired):
            place("fibre-500", at=qualification.expires_at)
        assert not ProductOrder.objects.exists()
        assert place("fibre-500", at=last).placed_at == last

    def test_an_address_that_nobody_reaches(
        self, isp: SmallIsp, place: Place, at: datetime
    ) -> None:
        with pytest.raises(OfferNotQualified):
            place("fibre-500", qualification=factories.qualified(isp.stowe, at=at))

    def test_a_promise_to_a_business_is_none_to_a_person(
        self, isp: SmallIsp, place: Place, at: datetime
    ) -> None:
        """The answer was asked for as a business, and then used by a private account."""
        from qualification import qualify

        promised = qualify.qualify_address(
            premises_id=isp.oak_1.public_id, channel="portal", subscriber_kind="business", at=at
        )
        with pytest.raises(OfferNotQualified, match="for business accounts"):
            place("fibre-office", qualification=promised)
        assert not ProductOrder.objects.exists()

    def test_what_is_bought_once_is_bought_later(
        self, isp: SmallIsp, ada: Subscriber, place: Place, at: datetime
    ) -> None:
        film = publishing.create_offering(
            code="one-film", name="A film", kind="bsp", provider=isp.films, at=at
        )
        publishing.set_price(offering=film, charge="one_off", amount=Decimal(4), at=at)
        with pytest.raises(InvalidInput, match="bought once the line is live"):
            place("fibre-500", "one-film", qualification=factories.qualified(isp.oak_1, at=at))

    def test_a_long_response_time(self, isp: SmallIsp, place: Place, at: datetime) -> None:
        """Fibre answers quickly, so games are offered here; the copper line does not carry them."""
        games = publishing.create_offering(
            code="games", name="Games", kind="bsp", provider=isp.films, is_subscription=True,
            needs_low_latency=True, at=at,
        )  # fmt: skip
        priced(games, "5", at)
        coverage.import_coverage(
            provider=isp.copper,
            at=at,
            rows=[
                {
                    "technology": Technology.COPPER,
                    "h3_res8": isp.oak_cell,
                    "max_download_kbps": 50_000,
                    "max_upload_kbps": 10_000,
                    "low_latency": False,
                }
            ],
        )
        promised = factories.qualified(isp.oak_1, at=at)
        with pytest.raises(OfferNotQualified, match="short response time"):
            place("dsl-25", "games", qualification=promised)
        assert place("fibre-500", "games", qualification=promised)


class TestTakingBack:
    def cancel(self, order: ProductOrder, at: datetime, reason: str = "Moved away") -> ProductOrder:
        actor = order.subscriber.users.get()
        return orders.cancel_order(order_id=order.pk, actor=actor, reason=reason, at=at)

    def assert_nothing_is_held(self, order: ProductOrder) -> None:
        assert not AccessPort.objects.filter(service_ref__isnull=False).exists()
        assert not AaaCredential.objects.filter(enabled=True).exists()
        assert not AddressHolder.objects.filter(ended_at__isnull=True).exists()
        assert not ServiceOrder.objects.filter(state__in=["acknowledged", "completed"]).exists()
        assert set(Service.objects.values_list("state", flat=True)) == {"ceased"}
        assert set(ground.states(order).values()) == {"cancelled"}
        assert not OrderTask.objects.filter(next_attempt_at__isnull=False).exists()

    def test_before_anything_was_done(self, place: Place, at: datetime) -> None:
        order = self.cancel(place("fibre-and-films"), at)
        assert order.state == "cancelled"
        self.assert_nothing_is_held(order)
        assert execution.run_due(at=at, limit=10) == 0
        entry = AuditEntry.objects.get(action="order.cancelled")
        assert (entry.reason, entry.subject) == ("Moved away", order.public_id)
        assert ground.kinds()[-1] == "order.cancelled"

    def test_while_partners_are_asked(self, isp: SmallIsp, place: Place, at: datetime) -> None:
        Partner.objects.filter(pk=isp.films.pk).update(webhook_url="https://films.example/hooks")
        order = place("fibre-and-films")
        execution.run_due(at=at, limit=10)
        assert ground.states(order)["grant_entitlement"] == "awaiting"
        self.cancel(order, at)
        self.assert_nothing_is_held(order)
        asked = ServiceOrder.objects.get()
        assert (asked.state, asked.reason) == ("cancelled", "The service has ended.")
        told = WebhookDelivery.objects.order_by("sequence").values_list("kind", "subject")
        assert list(told) == [
            ("service_order.created", asked.public_id),
            ("service_order.cancelled", asked.public_id),
        ]

    def test_what_a_partner_delivered_is_asked_back(
        self, isp: SmallIsp, place: Place, at: datetime
    ) -> None:
        order = place("fibre-and-films")
        execution.run_due(at=at, limit=10)
        factories.confirm_partner_orders(at=at)
        factories.deliver_events(at=at)
        assert ground.states(order)["go_live"] == "ready"
        self.cancel(order, at)
        self.assert_nothing_is_held(order)

    def test_what_was_done_is_noted_as_undone_in_reverse(self, place: Place, at: datetime) -> None:
        order = place("fibre-500")
        execution.run_due(at=at, limit=3)
        self.cancel(order, at)
        undone = OrderTask.objects.filter(tries__outcome="undone").order_by("-tries__id")
        assert [task.kind for task in undone] == [
            "reserve_port", "open_address_holder", "create_credentials"
        ]  # fmt: skip

    def test_an_answer_that_comes_after_changes_nothing(
        self, isp: SmallIsp, place: Place, at: datetime
    ) -> None:
        # What making the small ISP has told of.
        factories.deliver_events(at=at)
        order = place("fibre-and-films")
        execution.run_due(at=at, limit=10)
        factories.confirm_partner_orders(at=at)
        self.cancel(order, at)
        before = ground.rows()
        factories.deliver_events(at=at)
        after = ground.rows()
        assert after.pop("EventDelivery") != before.pop("EventDelivery")
        assert after == before

    def test_a_live_line_is_not_cancelled(self, place: Place, at: datetime) -> None:
        order = place("fibre-500")
        execution.run_due(at=at, limit=4)
        assert ground.states(order)["go_live"] == "completed"
        before = ground.rows()
        with pytest.raises(orders.TooLateToCancel):
            self.cancel(order, at)
        execution.run_due(at=at, limit=4)
        with pytest.raises(orders.TooLateToCancel):
            self.cancel(order, at)
        assert before["Service"] == ground.rows()["Service"]

    def test_twice(self, place: Place, at: datetime) -> None:
        order = self.cancel(place("fibre-500"), at)
        before = ground.rows()
        assert self.cancel(order, at + timedelta(hours=1)).state == "cancelled"
        assert ground.rows() == before

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_a_reason_is_needed(self, place: Place, at: datetime, reason: str) -> None:
        order = place("fibre-500")
        with pytest.raises(InvalidInput) as refused:
            self.cancel(order, at, reason)
        assert refused.value.field == "reason"
        assert order.tasks.filter(state="ready").count() == 3

    def test_giving_up_is_our_fault(self, place: Place, otto: User, at: datetime) -> None:
        order = place("fibre-500")
        execution.run_due(at=at, limit=1)
        failed = orders.fail_order(order_id=order.pk, actor=otto, reason="No duct", at=at)
        assert failed.state == "failed"
        self.assert_nothing_is_held(order)
        assert AuditEntry.objects.get(action="order.failed").actor == otto
        with pytest.raises(IllegalTransition):
            self.cancel(order, at)

    def test_the_port_is_free_for_the_next(self, isp: SmallIsp, place: Place, at: datetime) -> None:
        AccessPort.objects.filter(node=isp.fibre_node, number__gt=1).delete()
        order = place("fibre-500")
        with pytest.raises(NoFreePort):
            place("fibre-500", idempotency_key="form-2")
        self.cancel(order, at)
        assert place("fibre-500", idempotency_key="form-2")


def test_an_offering_is_not_forgotten_by_the_tests(isp: SmallIsp) -> None:
    """The refusals above name offerings by code; they would pass for a code that is gone."""
    known = set(ProductOffering.objects.values_list("code", flat=True))
    assert {"fibre-500", "fibre-office", "dsl-25", "dsl-6", "films-streaming", "extra-address",
            "fibre-and-films"} <= known  # fmt: skip
