"""Ordering from an answer that was overridden: there may be no port, and the work says so."""

from datetime import timedelta

import pytest

from ispops.parties import roles
from ispops.parties.models import Subscriber, User
from provisioning import fallout, orders
from provisioning.models import OrderTask, ProductOrder, Service
from qualification import overriding, ports
from qualification.models import AccessPort, Premises, ServiceQualification
from qualification.overriding import Promise
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp, place

AT = LAUNCH + timedelta(days=1)
WHY = "Surveyed on site: a duct is free"

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture
def ada() -> Subscriber:
    return factories.subscriber(at=AT)


def promised(premises: Premises, *promises: Promise) -> ServiceQualification:
    lead: User = factories.staff(roles.CSR_LEAD, at=AT)
    answer = factories.qualified(premises, at=AT)
    return overriding.override_answer(
        qualification=answer, promises=promises, actor=lead, reason=WHY, at=AT
    )


def place_order(
    ada: Subscriber, answer: ServiceQualification, *codes: str, key: str = "k"
) -> ProductOrder:
    return orders.place_order(
        subscriber=ada, qualification=answer, offering_codes=list(codes), channel="csr",
        placed_by=None, idempotency_key=key, at=AT,
    )  # fmt: skip


def port_step(order: ProductOrder) -> OrderTask:
    return order.tasks.get(kind="reserve_port")


def test_line_without_coverage_is_delivered_and_its_step_says_why_it_has_no_port(
    isp: SmallIsp, ada: Subscriber
) -> None:
    answer = promised(isp.stowe, Promise("fibre-500", 20), Promise("films-streaming"))
    order = place_order(ada, answer, "fibre-500", "films-streaming")
    assert order.expected_at == AT + timedelta(days=20)
    factories.work(at=AT)
    order.refresh_from_db()
    assert order.state == ProductOrder.State.COMPLETED
    said = port_step(order).tries.get().detail
    assert said.startswith("No port was taken, because Fast Fibre is on no list for this place.")
    assert WHY in said
    line = Service.objects.get(offering=isp.fast)
    assert line.state == Service.State.ACTIVE
    assert not AccessPort.objects.exclude(service_ref=None).exists()


def test_aggregated_plan_that_was_promised_is_ordered(isp: SmallIsp, ada: Subscriber) -> None:
    order = place_order(ada, promised(isp.stowe, Promise("fibre-and-films", 9)), "fibre-and-films")
    factories.work(at=AT)
    order.refresh_from_db()
    assert order.state == ProductOrder.State.COMPLETED


def test_full_node_waits_for_a_person_and_then_takes_the_port(
    isp: SmallIsp, ada: Subscriber
) -> None:
    for number in range(4):
        ports.reserve_port(
            premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=f"svc_{number}",
            at=AT,
        )  # fmt: skip
    answer = promised(isp.oak_1, Promise("fibre-500", 20))
    order = place_order(ada, answer, "fibre-500")
    factories.work(at=AT)
    step = port_step(order)
    assert (step.state, step.cause) == (OrderTask.State.FALLOUT, "no_free_port")
    ports.release_port(service_ref="svc_2", at=AT)
    lead = factories.staff(roles.OPERATIONS, at=AT)
    fallout.retry_task(task_id=step.pk, actor=lead, at=AT)
    factories.work(at=AT)
    order.refresh_from_db()
    assert order.state == ProductOrder.State.COMPLETED
    line = Service.objects.get(offering=isp.fast)
    assert AccessPort.objects.get(service_ref=line.public_id).number == 3


def test_free_port_is_taken_for_a_promise_too(isp: SmallIsp, ada: Subscriber) -> None:
    answer = promised(place("1 ELM ST"), Promise("dsl-25", 5, 6_000, 700))
    order = place_order(ada, answer, "dsl-25")
    factories.work(at=AT)
    assert port_step(order).tries.get().detail == "This network counts no ports here."


def test_what_nobody_promised_still_needs_its_port(isp: SmallIsp, ada: Subscriber) -> None:
    answer = factories.qualified(isp.oak_1, at=AT)
    for number in range(4):
        ports.reserve_port(
            premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=f"svc_{number}",
            at=AT,
        )  # fmt: skip
    with pytest.raises(ports.NoFreePort):
        place_order(ada, answer, "fibre-500")
    assert not ProductOrder.objects.exists()


def test_order_takes_the_port_that_is_held_for_its_answer(isp: SmallIsp, ada: Subscriber) -> None:
    answer = factories.qualified(isp.oak_1, at=AT)
    elsewhere = factories.qualified(place("3 OAK ST"), at=AT)
    held = ports.hold_port(
        qualification=answer, provider=isp.fibre, technology=50,
        until=AT + timedelta(minutes=30), at=AT,
    )  # fmt: skip
    for number in range(3):
        ports.reserve_port(
            premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=f"svc_{number}",
            at=AT,
        )  # fmt: skip
    with pytest.raises(ports.NoFreePort):
        place_order(ada, elsewhere, "fibre-500")
    order = place_order(ada, answer, "fibre-500", key="k2")
    line = order.items.get().service
    assert AccessPort.objects.get(service_ref=line.public_id) == held


def test_product_that_was_promised_by_hand_is_carried(isp: SmallIsp, ada: Subscriber) -> None:
    """The films need 25 Mbit/s; staff say that they work on the slow line here."""
    answer = promised(place("1 ELM ST"), Promise("films-streaming"))
    assert place_order(ada, answer, "dsl-6", "films-streaming").items.count() == 2
