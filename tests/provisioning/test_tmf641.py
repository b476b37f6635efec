"""Ordering by a provider's own API, over real HTTP: each of its faults, and what is left after."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from ispops.errors import IllegalTransition, InvalidInput, NotFound
from ispops.models import Event
from ispops.parties.models import AuditEntry, Partner, Subscriber, User, WebhookDelivery
from provisioning import (
    deliveries,
    delivering,
    delivery_connections,
    fallout,
    listener,
    orders,
    partner_orders,
    queries,
    services,
)
from provisioning.delivery import base, tmf641
from provisioning.delivery.base import Told, WrongOrder
from provisioning.delivery_connections import DeliveryConnected
from provisioning.models import (
    Delivery,
    DeliveryAttempt,
    DeliveryConnection,
    DeliveryNotice,
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
)
from qualification.providers.base import Unusable
from tests import factories
from tests.desk import CALLBACK_TOKEN, Desk, connect, deliver, order_desk, until
from tests.provisioning import ground
from tests.small_isp import SmallIsp, make_partner

LISTENER = "/tmf-api/serviceOrdering/v4/listener/serviceOrderStateChangeEvent"
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    with order_desk() as running:
        yield running


@pytest.fixture
def connection(isp: SmallIsp, desk: Desk, at: datetime) -> DeliveryConnection:
    return connect(isp.copper, desk, at=at)


@pytest.fixture
def order(
    isp: SmallIsp, connection: DeliveryConnection, ada: Subscriber, at: datetime
) -> ProductOrder:
    """A line of the network, ordered and waiting to be placed there."""
    placed = factories.order(ada, isp.elm_1, isp.slow_dsl.code, at=at)
    factories.work(at=at, answer_partners=False)
    return placed


def asked() -> ServiceOrder:
    return ServiceOrder.objects.get()


def delivery() -> Delivery:
    return Delivery.objects.get()


def line_step(order: ProductOrder) -> OrderTask:
    return ground.step(order, "order_line")


def event(
    state: str, *, order: ServiceOrder | None = None, reference: str = "", **facts: Any
) -> dict[str, Any]:
    row = order or asked()
    told = {
        "id": reference or row.delivery.reference or "so-1", "externalId": row.public_id,
        "state": state, **facts.pop("order_facts", {}),
    }  # fmt: skip
    return {
        "eventId": uuid.uuid4().hex,
        "eventType": "ServiceOrderStateChangeEvent",
        "event": {"serviceOrder": told},
        **facts,
    }


def call_back(body: Any, *, token: str = CALLBACK_TOKEN, path: str = LISTENER) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return Client().post(
        path, data, content_type="application/json", headers={"Authorization": f"Bearer {token}"}
    )


class TestFromOrderToLine:
    def test_an_order_is_placed_and_found_delivered(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        assert delivery().state == "to_place"
        assert not WebhookDelivery.objects.exists(), "it is not told by webhook as well"
        assert deliver(at=at) == 1
        assert (delivery().state, delivery().provider_state) == ("placed", "acknowledged")
        assert deliver(at=at) == 0, "it is left alone until something can have happened"
        until(lambda: desk.has("completed"))
        assert deliver(at=at + HOUR) == 1
        assert (asked().state, delivery().state) == ("completed", "closed")
        assert asked().partner_reference == delivery().reference == desk.orders[0]["id"]
        factories.work(at=at + 2 * HOUR)
        order.refresh_from_db()
        assert order.state == "completed"
        assert deliver(at=at + 48 * HOUR) == 0

    def test_what_goes_over_the_wire(
        self, order: ProductOrder, desk: Desk, ada: Subscriber, isp: SmallIsp, at: datetime
    ) -> None:
        deliver(at=at)
        [call] = DeliveryAttempt.objects.get().calls
        assert (call["call"], call["status"]) == ("POST /serviceOrder", 201)
        assert call["answer"]["id"] == desk.orders[0]["id"]
        sent = call["sent"]
        assert sent["externalId"] == asked().public_id
        assert sent["requestedCompletionDate"] == asked().answer_by.isoformat()
        [item] = sent["serviceOrderItem"]
        assert item["action"] == "add"
        assert item["service"]["place"][0]["streetName"] == "Elm Street"
        told = {e["name"]: e["value"] for e in item["service"]["serviceCharacteristic"]}
        assert told["downloadSpeed"] == isp.slow_dsl.download_kbps
        assert told["subscriberReference"] == asked().subscriber_ref
        for secret in (ada.name, ada.email, ada.public_id, ada.phone):
            assert secret not in json.dumps(sent)

    def test_a_repeat_of_the_request_places_nothing_more(
        self, order: ProductOrder, at: datetime
    ) -> None:
        row = asked()
        again = partner_orders.request_line(
            service=row.service, cause=row.cause, answer_by=row.answer_by, at=at
        )
        assert (again.pk, Delivery.objects.count()) == (row.pk, 1)

    def test_another_partner_still_hears_by_webhook(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        isp.copper.webhook_url = "https://copper.example/hooks"
        isp.copper.save()
        factories.order(ada, isp.elm_1, isp.slow_dsl.code, at=at)
        factories.work(at=at, answer_partners=False)
        assert not Delivery.objects.exists()
        assert WebhookDelivery.objects.get().body["data"]["action"] == "add"


class TestProviderFaults:
    @pytest.mark.parametrize("fault", ["error", "garbage"])
    def test_trouble_is_tried_again_until_it_passes(
        self, order: ProductOrder, desk: Desk, fault: str, at: datetime
    ) -> None:
        desk.misbehave(fault)
        assert deliver(at=at) == 1
        row = delivery()
        assert (row.state, row.attempts, row.leased_until) == ("to_place", 1, None)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at > at
        assert DeliveryAttempt.objects.get().outcome == "failed"
        desk.misbehave("")
        deliver(at=at + HOUR)
        assert delivery().state == "placed"
        assert len(desk.orders) == 1

    @pytest.mark.parametrize("fault", ["slow", "drop"])
    def test_an_order_that_arrived_unanswered_is_found_and_not_placed_twice(
        self, order: ProductOrder, desk: Desk, connection: DeliveryConnection, fault: str,
        at: datetime,
    ) -> None:  # fmt: skip
        DeliveryConnection.objects.update(timeout_seconds=0.2)
        desk.misbehave(fault, seconds=0.5)
        deliver(at=at)
        assert delivery().reference == ""
        until(lambda: len(desk.orders) == 1)
        desk.misbehave("")
        DeliveryConnection.objects.update(timeout_seconds=5)
        deliver(at=at + HOUR)
        [first, second] = DeliveryAttempt.objects.order_by("number")
        assert (first.outcome, first.calls[0]["status"]) == ("failed", None)
        assert [call["call"].partition("?")[0] for call in second.calls] == ["GET /serviceOrder"]
        assert delivery().reference == desk.orders[0]["id"]
        assert len(desk.orders) == 1

    def test_one_that_never_calls_back_is_looked_after(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        desk.misbehave("no_callback")
        deliver(at=at)
        until(lambda: desk.has("completed"))
        deliver(at=at + HOUR)
        assert asked().state == "completed"

    def test_one_that_does_nothing_is_timed_out_and_taken_back(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        desk.misbehave("silent")
        deliver(at=at)
        late = asked().answer_by
        assert partner_orders.time_out_due(at=late) == 1
        factories.work(at=late, answer_partners=False)
        assert (line_step(order).state, line_step(order).cause) == ("fallout", "partner_timed_out")
        deliver(at=late)
        assert delivery().state == "cancelling"
        deliver(at=late + HOUR)
        assert (desk.has("cancelled"), delivery().state) == (True, "closed")

    def test_a_refusal_is_for_a_person(self, order: ProductOrder, desk: Desk, at: datetime) -> None:
        desk.misbehave("refuse")
        deliver(at=at)
        until(lambda: desk.has("failed"))
        deliver(at=at + HOUR)
        factories.work(at=at + 2 * HOUR, answer_partners=False)
        assert (asked().state, asked().reason) == (
            "failed",
            "Our cable does not reach this building.",
        )
        assert line_step(order).cause == "partner_refused"

    def test_a_request_that_is_refused_at_once_says_why(
        self, order: ProductOrder, desk: Desk, connection: DeliveryConnection, at: datetime
    ) -> None:
        DeliveryConnection.objects.update(base_url=connection.base_url + "/elsewhere")
        deliver(at=at)
        assert (asked().state, asked().reason) == ("failed", "There is nothing here")
        assert DeliveryAttempt.objects.get().outcome == "refused"

    def test_a_wrong_token_is_not_the_order_s_fault(
        self, order: ProductOrder, connection: DeliveryConnection, at: datetime
    ) -> None:
        delivery_connections.change_delivery(connection_id=connection.pk, token="wrong", at=at)
        deliver(at=at)
        assert asked().state == "acknowledged"
        assert "does not take our token" in delivery().last_error

    def test_an_answer_for_another_order_is_no_answer(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        deliver(at=at)
        until(lambda: desk.has("completed"))
        desk.misbehave("other_order")
        deliver(at=at + HOUR)
        assert (asked().state, delivery().state) == ("acknowledged", "placed")
        assert "another order" in delivery().last_error
        desk.misbehave("")
        deliver(at=at + 2 * HOUR)
        assert asked().state == "completed"

    def test_one_that_goes_back_changes_nothing(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        desk.misbehave("silent")
        deliver(at=at)
        Delivery.objects.update(provider_state="in_progress")
        deliver(at=at + HOUR)
        assert delivery().provider_state == "in_progress", "acknowledged is less than that"
        assert "said more before" in DeliveryAttempt.objects.latest("number").detail
        assert delivery().state == "placed"

    def test_one_that_pauses_is_shown_with_its_words_and_its_date(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        desk.misbehave("hold", seconds=60)
        deliver(at=at)
        until(lambda: desk.has("held"))
        late = at + timedelta(days=60)
        desk.orders[0]["expectedCompletionDate"] = late.isoformat()
        deliver(at=at + HOUR)
        factories.deliver_events(at=at + 2 * HOUR)
        row = asked()
        assert (row.progress, row.expected_at) == ("held", late)
        assert row.answer_by > late, "it is not given up on before its own date"
        order.refresh_from_db()
        assert order.expected_at == late
        assert "order.rescheduled" in ground.kinds()
        told = next(s for s in queries.order_progress(order) if s.kind == "order_line")
        assert told.status == "Paused by Old Copper: “The way into the building is closed.”"
        assert told.expected_at == late

    def test_one_that_forgot_the_order_gets_it_again(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        deliver(at=at)
        first = delivery().reference
        assert desk.program.desk is not None
        desk.program.desk.orders.clear()
        deliver(at=at + HOUR)
        assert delivery().state == "to_place"
        deliver(at=at + 2 * HOUR)
        assert delivery().state == "placed"
        assert delivery().reference not in ("", first)
        assert len(desk.orders) == 1

    def test_the_breaker_parks_orders_and_fails_none(
        self, isp: SmallIsp, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        DeliveryConnection.objects.update(breaker_threshold=2, breaker_pause_seconds=7200)
        factories.order(factories.subscriber(at=at), isp.elm_1, isp.slow_dsl.code, at=at)
        factories.work(at=at, answer_partners=False)
        desk.misbehave("error")
        assert deliver(at=at) == 2
        connection = DeliveryConnection.objects.get()
        assert (connection.failures, connection.last_error[:14]) == (2, "It answers 500")
        desk.misbehave("")
        assert deliver(at=at + HOUR) == 0, "it is left alone"
        assert set(ServiceOrder.objects.values_list("state", flat=True)) == {"acknowledged"}
        deliver(at=at + 3 * HOUR)
        assert set(Delivery.objects.values_list("state", flat=True)) == {"placed"}
        connection.refresh_from_db()
        assert (connection.failures, connection.open_until) == (0, None)

    def test_a_connection_that_is_switched_off_is_not_called(
        self, order: ProductOrder, connection: DeliveryConnection, desk: Desk, at: datetime
    ) -> None:
        delivery_connections.change_delivery(connection_id=connection.pk, active=False, at=at)
        assert deliver(at=at) == 0
        assert (desk.orders, delivery().state) == ([], "to_place")

    def test_it_is_not_called_by_too_many_at_once(
        self, isp: SmallIsp, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        DeliveryConnection.objects.update(at_once=1)
        factories.order(factories.subscriber(at=at), isp.elm_1, isp.slow_dsl.code, at=at)
        factories.work(at=at, answer_partners=False)
        held = Delivery.objects.order_by("pk").first()
        assert held is not None
        Delivery.objects.filter(pk=held.pk).update(leased_until=at + HOUR)
        assert deliver(at=at) == 0
        Delivery.objects.filter(pk=held.pk).update(leased_until=None)
        assert deliver(at=at) == 2


class TestWorkers:
    def test_one_that_was_killed_while_placing_is_replaced(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        """Its call arrived; nobody wrote down the answer."""
        row = delivery()
        lost = delivering._begin(row.pk, row.connection_id, at)
        assert lost is not None
        delivering._visit(delivering.adapter_of(row.connection), lost)
        assert deliver(at=at) == 0, "it is held"
        deliver(at=at + HOUR)
        assert len(desk.orders) == 1
        outcomes = DeliveryAttempt.objects.order_by("number").values_list("outcome", flat=True)
        assert list(outcomes) == ["lost", "told"]

    def test_one_that_comes_back_too_late_changes_nothing(
        self, order: ProductOrder, at: datetime
    ) -> None:
        row = delivery()
        slow = delivering._begin(row.pk, row.connection_id, at)
        assert slow is not None
        deliver(at=at + HOUR)
        said = Told(state="completed", reference="so-other")
        delivering._record(slow, said, base.Calls(), at + HOUR)
        assert (asked().state, delivery().state) == ("acknowledged", "placed")
        assert DeliveryAttempt.objects.get(number=1).outcome == "late"


class TestTakingBack:
    def test_an_order_that_was_never_placed_is_forgotten(
        self, order: ProductOrder, desk: Desk, otto: User, at: datetime
    ) -> None:
        orders.cancel_order(order_id=order.pk, actor=otto, reason="No longer wanted.", at=at)
        assert (asked().state, delivery().state) == ("cancelled", "to_cancel")
        deliver(at=at)
        assert (delivery().state, desk.orders) == ("closed", [])
        assert not ServiceOrder.objects.filter(action="delete").exists()

    def test_one_that_is_being_placed_at_this_moment_is_taken_back_too(
        self, order: ProductOrder, desk: Desk, otto: User, at: datetime
    ) -> None:
        desk.misbehave("silent")
        row = delivery()
        running = delivering._begin(row.pk, row.connection_id, at)
        assert running is not None
        told = delivering._visit(delivering.adapter_of(row.connection), running)
        orders.cancel_order(order_id=order.pk, actor=otto, reason="No longer wanted.", at=at)
        assert deliver(at=at) == 0, "nobody looks before the order can have arrived"
        delivering._record(running, told, base.Calls(), at)
        deliver(at=at)
        assert desk.has("cancelled")
        deliver(at=at + HOUR)
        assert delivery().state == "closed"

    def test_one_that_was_delivered_is_ended_by_an_order_of_its_own(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        deliver(at=at)
        until(lambda: desk.has("completed"))
        deliver(at=at + HOUR)
        service = asked().service
        services.cease(service=service, at=at + HOUR)
        services.cease(service=service, at=at + HOUR)
        first, end = ServiceOrder.objects.order_by("requested_at", "pk")
        assert (first.state, end.action, end.state) == ("cancelled", "delete", "acknowledged")
        deliver(at=at + HOUR)
        [made, ended] = desk.orders
        [item] = ended["serviceOrderItem"]
        assert (item["action"], ended["externalId"]) == ("delete", end.public_id)
        assert item["service"]["id"] == made["serviceOrderItem"][0]["service"]["id"]
        until(lambda: [o["state"] for o in desk.orders] == ["completed", "completed"])
        deliver(at=at + 2 * HOUR)
        end.refresh_from_db()
        assert end.state == "completed"

    def test_a_late_delivery_is_refused_written_down_and_ended(
        self, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        desk.misbehave("late", seconds=0.6)
        deliver(at=at)
        late = asked().answer_by
        partner_orders.time_out_due(at=late)
        deliver(at=late)
        assert (delivery().state, delivery().last_error) == (
            "cancelling", "It is too late to cancel this order",
        )  # fmt: skip
        until(lambda: desk.has("completed"))
        first = asked()
        answer = call_back(event("completed", order=first))
        assert answer.status_code == 409
        assert DeliveryNotice.objects.get().outcome == "refused"
        first.refresh_from_db()
        assert first.state == "timed_out"
        assert Delivery.objects.get(service_order=first).state == "closed"
        desk.misbehave("")
        end = ServiceOrder.objects.get(action="delete")
        assert end.cause == f"undo:{first.public_id}"
        deliver(at=end.requested_at)
        assert [o["serviceOrderItem"][0]["action"] for o in desk.orders] == ["add", "delete"]

    def test_one_that_cannot_be_taken_back_is_for_a_person(
        self, order: ProductOrder, desk: Desk, otto: User, at: datetime
    ) -> None:
        assert desk.program.desk is not None
        desk.program.desk.work_seconds = 600
        deliver(at=at)
        desk.misbehave("error")
        orders.cancel_order(order_id=order.pk, actor=otto, reason="No longer wanted.", at=at)
        DeliveryConnection.objects.update(breaker_threshold=100)
        deliver(at=at)
        assert delivery().state == "to_cancel"
        much_later = at + timedelta(days=4)
        deliver(at=much_later)
        assert delivery().state == "parked"
        desk.misbehave("")
        deliveries.try_again(
            service_order_id=asked().pk, actor=otto, reason="They say it works.", at=much_later
        )
        deliver(at=much_later)
        deliver(at=much_later + HOUR)
        assert delivery().state == "closed"
        assert AuditEntry.objects.get(action="delivery.tried_again").detail["was"] == "parked"
        with pytest.raises(IllegalTransition, match="nothing left"):
            deliveries.try_again(service_order_id=asked().pk, actor=otto, at=much_later)


class TestChangingAndEnding:
    def test_a_changed_and_an_ended_line_go_the_same_way(
        self, isp: SmallIsp, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        deliver(at=at)
        until(lambda: desk.has("completed"))
        deliver(at=at + HOUR)
        service = asked().service
        for action, offering in (("modify", isp.dsl), ("delete", None)):
            partner_orders.request_line(
                service=service, action=action, offering=offering, cause=f"test:{action}",
                answer_by=at + 24 * HOUR, at=at + HOUR,
            )  # fmt: skip
            deliver(at=at + HOUR)
        made, changed, ended = desk.orders
        line = made["serviceOrderItem"][0]["service"]["id"]
        [item] = changed["serviceOrderItem"]
        assert (item["action"], item["service"]["id"]) == ("modify", line)
        assert item["service"]["name"] == isp.dsl.code
        [item] = ended["serviceOrderItem"]
        assert (item["action"], item["service"]["id"]) == ("delete", line)
        # The line ends by this order; when the service ends too, nothing more is asked.
        services.cease(service=service, at=at + HOUR)
        assert ServiceOrder.objects.filter(action="delete").count() == 1
        assert ServiceOrder.objects.get(action="delete").state == "acknowledged"

    def test_a_change_that_is_taken_back_is_changed_back(
        self, isp: SmallIsp, order: ProductOrder, desk: Desk, at: datetime
    ) -> None:
        deliver(at=at)
        until(lambda: desk.has("completed"))
        deliver(at=at + HOUR)
        change = partner_orders.request_line(
            service=asked().service, action="modify", offering=isp.dsl, cause="test:modify",
            answer_by=at + 24 * HOUR, at=at + HOUR,
        )  # fmt: skip
        deliver(at=at + HOUR)
        until(lambda: desk.orders[1]["state"] == "completed")
        deliver(at=at + 2 * HOUR)
        partner_orders.withdraw(service_order_id=change.pk, reason="No.", at=at + 2 * HOUR)
        deliver(at=at + 2 * HOUR)
        [item] = desk.orders[2]["serviceOrderItem"]
        assert (item["action"], item["service"]["name"]) == ("modify", isp.slow_dsl.code)


class TestCallback:
    @pytest.fixture(autouse=True)
    def _placed(self, order: ProductOrder, desk: Desk, at: datetime) -> None:
        desk.misbehave("silent")
        deliver(at=at)

    def test_it_takes_the_order_on(self, order: ProductOrder, at: datetime) -> None:
        assert call_back(event("inProgress")).status_code == 201
        assert asked().progress == "in_progress"
        assert call_back(event("completed")).status_code == 201
        assert (asked().state, delivery().state) == ("completed", "closed")
        factories.deliver_events(at=asked().answered_at + HOUR)
        assert line_step(order).state == "completed"

    def test_the_same_event_three_times_has_one_effect(self, order: ProductOrder) -> None:
        told = event("completed")
        answers = {call_back(told).status_code for _ in range(3)}
        assert answers == {201}
        assert DeliveryNotice.objects.count() == 1
        assert Event.objects.filter(kind="service_order.completed").count() == 1
        assert call_back(event("completed")).status_code == 201, "a new event that says the same"
        assert Event.objects.filter(kind="service_order.completed").count() == 1

    def test_one_that_is_older_than_what_is_known_is_ignored(self, at: datetime) -> None:
        call_back(event("inProgress", eventTime=(at + HOUR).isoformat()))
        answer = call_back(event("held", eventTime=at.isoformat()))
        assert (answer.status_code, answer.json()["outcome"]) == (201, "ignored")
        assert asked().progress == "in_progress"
        assert call_back(event("acknowledged")).json()["outcome"] == "ignored"
        call_back(event("completed", eventTime=at.isoformat()))
        assert asked().state == "completed", "the end is the end, whatever its clock says"
        assert call_back(event("failed")).json()["outcome"] == "ignored"
        assert asked().state == "completed"

    def test_strangers_and_unknown_orders(self, isp: SmallIsp, at: datetime) -> None:
        assert call_back(event("completed"), token="x" * 30).status_code == 401
        assert call_back(event("completed"), token="").status_code == 401
        assert Client().post(LISTENER, "{}", content_type="application/json").status_code == 401
        unknown = event("completed")
        unknown["event"]["serviceOrder"]["externalId"] = "sor_" + "0" * 32
        assert call_back(unknown).status_code == 404
        nameless = event("completed", reference="so-unknown")
        assert call_back(nameless).status_code == 404
        assert call_back(event("completed"), path=LISTENER + "s").status_code == 404
        assert Client().get(LISTENER).status_code == 405
        assert asked().state == "acknowledged"
        assert not DeliveryNotice.objects.exists()

    def test_another_provider_s_order_is_not_there(
        self, isp: SmallIsp, desk: Desk, at: datetime
    ) -> None:
        other = make_partner("cable", "Cable", Partner.Kind.NETWORK_PROVIDER, at)
        connect(other, desk, at=at, callback_token="another-network-calls-with-this")
        assert call_back(
            event("completed"), token="another-network-calls-with-this"
        ).status_code == (404)
        assert asked().state == "acknowledged"

    def test_one_that_we_have_stopped_to_deal_with_is_a_stranger(self, isp: SmallIsp) -> None:
        isp.copper.active = False
        isp.copper.save()
        assert call_back(event("completed")).status_code == 401

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (b"{", "no JSON"),
            (b"[]", "no event"),
            ({"eventId": "1"}, "serviceOrder is missing"),
            ({"eventId": "1", "event": {"serviceOrder": {"id": "x"}}}, "missing"),
            ({"eventId": "1", "event": {"serviceOrder": {"state": "completed"}}}, "id is missing"),
            ({"event": {"serviceOrder": {"id": "x", "state": "completed"}}}, "eventId"),
            ({"eventId": "\n", "event": {"serviceOrder": {"id": "x", "state": "held"}}}, "eventId"),
            ({"eventId": "1", "eventTime": "yesterday",
              "event": {"serviceOrder": {"id": "x", "state": "held"}}}, "eventTime"),
            ({"eventId": "1", "event": {"serviceOrder": {"id": "x", "externalId": 5,
              "state": "held"}}}, "externalId"),
            (b'{"eventId": NaN, "event": {"serviceOrder": {"state": "held"}}}', "no JSON"),
            ({"eventId": "1", "eventTime": "0001-01-01T00:00:00+14:00",
              "event": {"serviceOrder": {"id": "x", "state": "held"}}}, "eventTime"),
            ({"eventId": "1", "eventTime": "9999-12-31T23:59:59-14:00",
              "event": {"serviceOrder": {"id": "x", "state": "held"}}}, "eventTime"),
        ],
    )  # fmt: skip
    def test_nonsense_is_named(self, wrong: Any, says: str) -> None:
        answer = call_back(wrong)
        assert answer.status_code == 400
        assert says in answer.json()["reason"]

    def test_a_number_without_end_is_kept_as_it_was_written(self) -> None:
        """PostgreSQL's JSON has no infinity, which is what Python reads of it."""
        told = json.dumps(event("held", order_facts={"weight": 0})).replace(": 0", ": 1e999")
        assert call_back(told.encode()).status_code == 201
        kept = DeliveryNotice.objects.get().body
        assert kept["event"]["serviceOrder"]["weight"] == "1E+999"

    def test_a_body_that_is_too_large(self) -> None:
        assert call_back(b"x" * (listener.MOST_BODY + 1)).status_code == 413

    def test_a_secret_in_what_it_sends_is_not_kept(self) -> None:
        call_back(event("held", order_facts={"accessToken": "hush"}))
        kept = json.dumps(DeliveryNotice.objects.get().body)
        assert "hush" not in kept
        assert "accessToken" in kept

    def test_a_person_tries_again_while_the_task_is_in_fallout(
        self, order: ProductOrder, otto: User, desk: Desk, at: datetime
    ) -> None:
        call_back(event("failed", order_facts={"note": [{"text": "No way in."}]}))
        factories.deliver_events(at=asked().answered_at + HOUR)
        task = line_step(order)
        assert task.cause == "partner_refused"
        later = asked().answered_at + HOUR
        fallout.retry_task(task_id=task.pk, actor=otto, at=later)
        factories.work(at=later, answer_partners=False)
        deliver(at=later)
        assert len({o["externalId"] for o in desk.orders}) == 2


class TestReading:
    ORDER = "sor_1"

    def read(self, **facts: Any) -> Told:
        return tmf641.read({"id": "so-1", "externalId": "sor_1", "state": "held", **facts}, "sor_1")

    @pytest.mark.parametrize(("theirs", "ours"), tmf641.STATES.items())
    def test_every_state(self, theirs: str, ours: str) -> None:
        assert self.read(state=theirs).state == ours

    def test_words_line_and_date(self) -> None:
        told = self.read(
            note=[{"text": "first"}, {"text": "second\nline"}, 5],
            serviceOrderItem=[{"service": {"id": "line-7"}}],
            expectedCompletionDate="2026-06-01T10:00:00Z",
        )
        assert (told.message, told.line) == ("second line", "line-7")
        assert told.expected_at is not None
        assert self.read(errorMessage=[{"reason": "no duct"}]).message == "no duct"

    @pytest.mark.parametrize("date", ["tomorrow", 5, "2026-06-01", "2026-06-01T10:00:00", None])
    def test_a_date_that_makes_no_sense_is_left_out(self, date: Any) -> None:
        assert self.read(expectedCompletionDate=date).expected_at is None

    @pytest.mark.parametrize("wrong", [[], "x", None, {"state": "done"}, {"state": 5}])
    def test_nonsense(self, wrong: Any) -> None:
        with pytest.raises(Unusable):
            tmf641.read(wrong, "sor_1")

    def test_another_order(self) -> None:
        with pytest.raises(WrongOrder):
            self.read(externalId="sor_2")
        with pytest.raises(Unusable, match="id of the order"):
            self.read(id="x" * 201)

    def test_what_is_kept_is_cut_and_masked(self) -> None:
        kept = base.masked({"Authorization": "x", "a": [1] * 99, "t": "y\x00" * 9_000})
        assert kept["Authorization"] == "•••"
        assert len(kept["a"]) == 30
        assert len(kept["t"]) <= base.MOST_KEPT_LETTERS + 1
        assert "\x00" not in kept["t"]
        deep: Any = "end"
        for _ in range(50):
            deep = [deep]
        assert "end" not in json.dumps(base.masked(deep))


class TestConnecting:
    def test_only_an_off_net_network_once(self, isp: SmallIsp, desk: Desk, at: datetime) -> None:
        connect(isp.copper, desk, at=at)
        for partner in (isp.films, isp.fibre):
            with pytest.raises(InvalidInput, match="off-net"):
                connect(partner, desk, at=at)
        with pytest.raises(DeliveryConnected):
            connect(isp.copper, desk, at=at)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("base_url", "ftp://x.example"), ("base_url", ""), ("timeout_seconds", 99),
         ("at_once", 0), ("callback_token", "short"), ("callback_token", "ü" * 20),
         ("look_every_seconds", 0)],
    )  # fmt: skip
    def test_values_are_checked(
        self, isp: SmallIsp, desk: Desk, at: datetime, field: str, value: Any
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            delivery_connections.connect_delivery(
                partner=isp.copper, at=at, **({"base_url": desk.url} | {field: value})
            )
        assert refused.value.field == field

    def test_tokens_are_written_down_nowhere(
        self, connection: DeliveryConnection, otto: User, at: datetime
    ) -> None:
        delivery_connections.change_delivery(
            connection_id=connection.pk, token="new-token-of-ours",
            callback_token="new-token-of-theirs", actor=otto, at=at,
        )  # fmt: skip
        told = json.dumps(list(AuditEntry.objects.values_list("detail", flat=True)))
        assert "new-token" not in told
        assert queries.delivery_connection_calling("new-token-of-theirs") == connection
        assert queries.delivery_connection_calling(CALLBACK_TOKEN) is None
        delivery_connections.change_delivery(connection_id=connection.pk, token="", at=at)
        connection.refresh_from_db()
        assert connection.token == "new-token-of-ours"

    def test_another_host_never_gets_the_token_that_is_there(
        self, connection: DeliveryConnection, at: datetime
    ) -> None:
        def move(token: str) -> DeliveryConnection:
            return delivery_connections.change_delivery(
                connection_id=connection.pk, base_url="https://new.example/", token=token, at=at
            )

        with pytest.raises(InvalidInput) as refused:
            move("")
        assert refused.value.field == "token"
        connection.refresh_from_db()
        assert connection.base_url != "https://new.example/"
        assert move("theirs").token == "theirs"

    def test_two_networks_never_call_with_the_same_token(
        self, connection: DeliveryConnection, desk: Desk, at: datetime
    ) -> None:
        other = make_partner("cable", "Cable", Partner.Kind.NETWORK_PROVIDER, at)
        with pytest.raises(InvalidInput, match="Another provider"):
            connect(other, desk, at=at)


class TestProgressByApi:
    """A partner that is told by webhook says through our API how far it is."""

    def test_it_is_shown_and_ends_with_the_order(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.elm_1, isp.slow_dsl.code, at=at)
        factories.work(at=at, answer_partners=False)
        row = asked()
        said = partner_orders.Progress("held", "We need the landlord.", at + 24 * HOUR)
        for _ in range(2):
            partner_orders.report_progress(
                service_order_id=row.pk, partner=isp.copper, progress=said, at=at
            )
        assert ground.kinds().count("service_order.progressed") == 1
        told = next(s for s in queries.order_progress(order) if s.kind == "order_line")
        assert told.expected_at == at + 24 * HOUR
        with pytest.raises(InvalidInput, match="within a year"):
            partner_orders.report_progress(
                service_order_id=row.pk, partner=isp.copper, at=at,
                progress=partner_orders.Progress(expected_at=at + timedelta(days=400)),
            )  # fmt: skip
        with pytest.raises(NotFound):
            partner_orders.report_progress(
                service_order_id=row.pk, partner=isp.films, progress=said, at=at
            )
        partner_orders.complete(service_order_id=row.pk, partner=isp.copper, at=at)
        with pytest.raises(partner_orders.ServiceOrderClosed):
            partner_orders.report_progress(
                service_order_id=row.pk, partner=isp.copper, progress=said, at=at
            )
        assert Service.objects.count() == 1
