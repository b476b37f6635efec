"""What partners are asked and what they answer: repeats, strangers, late answers, names."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as product
from django.urls import reverse

from ispops.errors import InvalidInput, NotFound
from ispops.models import Event
from ispops.parties import partners
from ispops.parties.models import Partner, Subscriber, WebhookDelivery
from provisioning import partner_orders, services
from provisioning.models import PartnerSubscriber, Service, ServiceOrder
from provisioning.partner_orders import PartnerNotActive, ServiceOrderClosed
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

LATER = timedelta(minutes=5)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    for partner in (isp.films, isp.copper):
        Partner.objects.filter(pk=partner.pk).update(
            webhook_url=f"https://{partner.code}.example/hooks"
        )
    return factories.live_line(isp, ada, at=at)


@pytest.fixture
def films(isp: SmallIsp, line: Service, at: datetime) -> Service:
    return services.create_carried_service(line=line, offering=isp.streaming, at=at)


@pytest.fixture
def asked(isp: SmallIsp, line: Service, films: Service, at: datetime) -> ServiceOrder:
    return partner_orders.request_entitlement(
        line=line, service=films, offering=isp.streaming, cause="pur_1", at=at
    )


def webhooks() -> list[dict[str, Any]]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("body", flat=True))


class TestAsking:
    def test_for_an_entitlement(
        self, isp: SmallIsp, asked: ServiceOrder, films: Service, at: datetime
    ) -> None:
        assert (asked.kind, asked.partner, asked.service, asked.offering) == (
            "entitlement", isp.films, films, isp.streaming
        )  # fmt: skip
        assert (asked.state, asked.cause, asked.requested_at) == ("acknowledged", "pur_1", at)
        assert asked.answer_by == at + product.ENTITLEMENT_CONFIRMED_WITHIN
        assert asked.answered_at is None

    def test_the_partner_is_told_what_it_may_know(
        self, ada: Subscriber, asked: ServiceOrder, films: Service
    ) -> None:
        (body,) = webhooks()
        assert body["type"] == "service_order.created"
        assert body["data"] == {
            "id": asked.public_id,
            "sequence": 1,
            "kind": "entitlement",
            "action": "add",
            "state": "acknowledged",
            "subscriber_ref": asked.subscriber_ref,
            "service_ref": films.public_id,
            "offering": "films-streaming",
            "answer_by": asked.answer_by.isoformat(),
            "href": product.BASE_URL + reverse("service-order", args=[asked.public_id]),
        }
        for secret in (ada.name, ada.email, ada.public_id, ada.id.hex, ada.phone):
            assert secret not in str(body)

    def test_a_network_learns_where(
        self, isp: SmallIsp, ada: Subscriber, line: Service, at: datetime
    ) -> None:
        order = factories.order(ada, isp.elm_1, "dsl-6", at=at)
        service = order.items.get().service
        assert service is not None
        asked = partner_orders.request_line(
            service=service, cause="task:1:1", answer_by=at + LATER, at=at
        )
        (body,) = webhooks()
        assert body["data"]["kind"] == "line"
        assert body["data"]["premises"]["address"] == str(isp.elm_1)
        assert (asked.kind, asked.partner, asked.answer_by) == ("line", isp.copper, at + LATER)
        assert ada.name not in str(body)

    def test_once_for_a_cause(
        self, isp: SmallIsp, line: Service, films: Service, asked: ServiceOrder, at: datetime
    ) -> None:
        before = ground.rows()
        again = partner_orders.request_entitlement(
            line=line, service=films, offering=isp.streaming, cause="pur_1", at=at + LATER
        )
        assert again == asked
        assert ground.rows() == before

    def test_a_partner_without_an_address_polls(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        factories.live_line(isp, ada, "films-streaming", at=at)
        assert ServiceOrder.objects.filter(state="completed").count() == 1
        assert not WebhookDelivery.objects.exists()

    def test_a_partner_that_has_left_is_not_asked(
        self, isp: SmallIsp, line: Service, films: Service, at: datetime
    ) -> None:
        Partner.objects.filter(pk=isp.films.pk).update(active=False)
        with pytest.raises(PartnerNotActive):
            partner_orders.request_entitlement(
                line=line, service=films, offering=isp.streaming, cause="pur_1", at=at
            )
        assert not ServiceOrder.objects.exists()

    def test_the_service_has_to_be_of_the_line_and_the_offering(
        self, isp: SmallIsp, line: Service, films: Service, at: datetime
    ) -> None:
        for wrong in ({"line": films}, {"offering": isp.fast}):
            right = {"line": line, "service": films, "offering": isp.streaming}
            with pytest.raises(ValueError, match="not this offering on this line"):
                partner_orders.request_entitlement(**right | wrong, cause="pur_1", at=at)


class TestNames:
    def test_a_partner_always_knows_a_subscriber_by_one_name(
        self, isp: SmallIsp, ada: Subscriber
    ) -> None:
        first = partner_orders.reference_of(partner=isp.films, subscriber=ada)
        assert partner_orders.reference_of(partner=isp.films, subscriber=ada) == first

    def test_partners_cannot_compare(self, isp: SmallIsp, ada: Subscriber) -> None:
        names = {
            partner_orders.reference_of(partner=partner, subscriber=ada)
            for partner in (isp.films, isp.copper, isp.fibre)
        }
        assert len(names) == 3
        assert PartnerSubscriber.objects.count() == 3
        assert not any(ada.id.hex in name for name in names)


class TestAnswering:
    def test_confirming(self, isp: SmallIsp, asked: ServiceOrder, at: datetime) -> None:
        done = partner_orders.complete(
            service_order_id=asked.pk, partner=isp.films, reference=" F-17 ", at=at + LATER
        )
        assert (done.state, done.partner_reference, done.answered_at) == (
            "completed", "F-17", at + LATER
        )  # fmt: skip
        event = Event.objects.get(kind="service_order.completed")
        assert (event.subject, event.occurred_at) == (asked.public_id, at + LATER)
        assert event.payload == {
            "cause": "pur_1",
            "service": Service(pk=asked.service_id).public_id,
            "asked_for": "entitlement",
            "reason": "",
        }

    def test_refusing(self, isp: SmallIsp, asked: ServiceOrder, at: datetime) -> None:
        done = partner_orders.fail(
            service_order_id=asked.pk, partner=isp.films, reason="No licence", at=at
        )
        assert (done.state, done.reason, done.answered_at) == ("failed", "No licence", at)
        assert Event.objects.get(kind="service_order.failed").payload["reason"] == "No licence"

    def test_an_answer_twice_is_one_answer(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        mine = {"service_order_id": asked.pk, "partner": isp.films}
        partner_orders.complete(**mine, reference="F-17", at=at)
        before = ground.rows()
        again = partner_orders.complete(**mine, reference="F-18", at=at + LATER)
        assert again.partner_reference == "F-17"
        assert ground.rows() == before

    def test_a_refusal_twice_is_one_refusal(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        mine = {"service_order_id": asked.pk, "partner": isp.films}
        partner_orders.fail(**mine, reason="No licence", at=at)
        before = ground.rows()
        assert partner_orders.fail(**mine, reason="Other", at=at).reason == "No licence"
        assert ground.rows() == before

    def test_the_first_answer_counts(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        mine = {"service_order_id": asked.pk, "partner": isp.films}
        partner_orders.complete(**mine, at=at)
        before = ground.rows()
        with pytest.raises(ServiceOrderClosed, match="confirmed"):
            partner_orders.fail(**mine, reason="No licence", at=at)
        assert ground.rows() == before

    def test_another_partner_s_order_is_not_there(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        before = ground.rows()
        with pytest.raises(NotFound):
            partner_orders.complete(service_order_id=asked.pk, partner=isp.copper, at=at)
        with pytest.raises(NotFound):
            partner_orders.fail(
                service_order_id=asked.pk, partner=isp.copper, reason="Mine!", at=at
            )
        assert ground.rows() == before

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 301, "\x00"])
    def test_a_refusal_says_why(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime, reason: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            partner_orders.fail(service_order_id=asked.pk, partner=isp.films, reason=reason, at=at)
        assert refused.value.field == "reason"

    def test_a_reference_has_its_length(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            partner_orders.complete(
                service_order_id=asked.pk, partner=isp.films, reference="x" * 101, at=at
            )
        assert refused.value.field == "reference"


class TestTime:
    def test_no_answer_in_time(self, isp: SmallIsp, asked: ServiceOrder, at: datetime) -> None:
        last = asked.answer_by - timedelta(microseconds=1)
        assert partner_orders.time_out_due(at=last) == 0
        assert partner_orders.time_out_due(at=asked.answer_by) == 1
        assert partner_orders.time_out_due(at=asked.answer_by) == 0
        asked.refresh_from_db()
        assert (asked.state, asked.answered_at) == ("timed_out", asked.answer_by)
        assert Event.objects.filter(kind="service_order.timed_out").count() == 1
        assert [body["type"] for body in webhooks()] == [
            "service_order.created", "service_order.timed_out"
        ]  # fmt: skip

    def test_an_answer_after_that_is_refused(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        partner_orders.time_out_due(at=asked.answer_by)
        before = ground.rows()
        with pytest.raises(ServiceOrderClosed, match="no answer in time"):
            partner_orders.complete(
                service_order_id=asked.pk, partner=isp.films, at=asked.answer_by
            )
        assert ground.rows() == before

    def test_what_was_answered_does_not_time_out(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime
    ) -> None:
        partner_orders.complete(service_order_id=asked.pk, partner=isp.films, at=at)
        assert partner_orders.time_out_due(at=asked.answer_by) == 0


class TestTakingBack:
    def test_before_an_answer(self, asked: ServiceOrder, at: datetime) -> None:
        taken = partner_orders.withdraw(service_order_id=asked.pk, reason="Moved", at=at)
        assert (taken.state, taken.reason, taken.answered_at) == ("cancelled", "Moved", at)
        last = webhooks()[-1]
        assert (last["type"], last["data"]["state"]) == ("service_order.cancelled", "cancelled")
        assert last["data"]["sequence"] == 2

    @pytest.mark.parametrize("state", ["failed", "timed_out", "cancelled"])
    def test_there_is_nothing_to_take_back(
        self, isp: SmallIsp, asked: ServiceOrder, at: datetime, state: str
    ) -> None:
        if state == "failed":
            partner_orders.fail(
                service_order_id=asked.pk, partner=isp.films, reason="No licence", at=at
            )
        elif state == "timed_out":
            partner_orders.time_out_due(at=asked.answer_by)
        else:
            partner_orders.withdraw(service_order_id=asked.pk, reason="Moved", at=at)
        before = ground.rows()
        assert partner_orders.withdraw(
            service_order_id=asked.pk, reason="Moved", at=at
        ).state == state  # fmt: skip
        assert ground.rows() == before


def test_partners_are_told_by_their_own_address(isp: SmallIsp, at: datetime) -> None:
    """The tests above write the address past the verb; a real one goes this way."""
    moved = partners.set_webhook_url(
        partner_id=isp.films.pk, webhook_url="https://films.example/hooks", at=at
    )
    assert moved.webhook_url == "https://films.example/hooks"
