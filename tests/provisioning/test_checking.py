"""Orders wait for a person to look into who the subscriber is, and whether they pay."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from ispops.errors import IllegalTransition, InvalidInput
from ispops.notices.models import Notice
from ispops.parties import check_asking, checks, roles
from ispops.parties.models import AuditEntry, Subscriber, SubscriberCheck
from provisioning import amending, fallout, orders, queries
from provisioning.models import OrderTask, ProductOrder, Service, ServiceOrder
from qualification.models import Premises
from tests import checker, factories
from tests.provisioning import later
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def by_hand(settings: Settings) -> None:
    settings.CHECKS = {"identity": "manual", "credit": "none"}
    settings.CHECKED = set()


@pytest.fixture
def order(isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
    placed = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
    factories.work(at=at)
    placed.refresh_from_db()
    return placed


def step(order: ProductOrder, kind: str = "identity_check") -> OrderTask:
    return order.tasks.get(kind=kind)


def decide(at: datetime, *, passed: bool, reason: str = "Saw the passport") -> SubscriberCheck:
    row = checks.decide_check(
        check_id=SubscriberCheck.objects.latest("asked_at").pk, passed=passed,
        actor=factories.staff(roles.CSR, at=at), reason=reason, at=at,
    )  # fmt: skip
    factories.work(at=at)
    return row


def test_nothing_is_ordered_outside_before_somebody_has_looked(
    order: ProductOrder, at: datetime
) -> None:
    assert order.state == "in_progress"
    assert step(order).state == "awaiting"
    assert step(order, "order_line").state == "pending"
    assert not ServiceOrder.objects.exists()
    told = {each.kind: each for each in queries.order_progress(order)}["identity_check"]
    assert told.words == "Make sure that it is you"
    assert told.status == "One of us looks at it, within a working day"

    decide(at, passed=True)
    order.refresh_from_db()
    assert order.state == "completed"
    assert step(order).tries.latest("number").detail == "Passed: Saw the passport"
    assert AuditEntry.objects.get(action="check.passed").reason == "Saw the passport"


def test_a_refusal_needs_a_person_who_tries_again_or_cancels(
    order: ProductOrder, at: datetime
) -> None:
    decide(at, passed=False, reason="The name is another")
    order.refresh_from_db()
    assert (order.state, step(order).cause) == ("held", "check_refused")
    notice = Notice.objects.get(kind="check_refused")
    assert "We could not confirm who you are." in notice.body
    assert "Your order is kept" in notice.body
    # Why, staff wrote for us.
    assert "The name is another" not in notice.body
    told = {each.kind: each for each in queries.order_progress(order)}["identity_check"]
    assert told.status == "We could not confirm this. Your order is kept: please call us"
    staff = factories.staff(roles.OPERATIONS, at=at)
    fallout.retry_task(task_id=step(order).pk, actor=staff, at=at)
    factories.work(at=at)
    assert step(order).state == "awaiting"
    assert SubscriberCheck.objects.filter(state="pending").count() == 1
    decide(at, passed=False)
    orders.cancel_order(order_id=order.pk, actor=staff, reason="Not them", at=at)
    assert Service.objects.get().state == "ceased"


def test_a_checker_is_asked_by_a_worker_and_the_order_goes_on(
    isp: SmallIsp, ada: Subscriber, settings: Settings, at: datetime
) -> None:
    with checker.answering() as far:
        settings.CHECKS = {"identity": "http", "credit": "none"}
        settings.CHECKERS = {"identity": {"url": far.url, "secret": "x", "timeout_seconds": 5}}
        order = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
        factories.work(at=at)
        assert (step(order).state, far.asked) == ("awaiting", [])
        told = {each.kind: each for each in queries.order_progress(order)}["identity_check"]
        assert told.status == "We ask for it, which takes a few minutes"
        assert check_asking.ask_next(kind="identity", at=at)
        factories.work(at=at + timedelta(minutes=1))
    order.refresh_from_db()
    assert order.state == "completed"


def test_a_verdict_that_comes_after_the_order_was_cancelled_changes_nothing(
    order: ProductOrder, at: datetime
) -> None:
    staff = factories.staff(roles.OPERATIONS, at=at)
    orders.cancel_order(order_id=order.pk, actor=staff, reason="Changed their mind", at=at)
    decide(at, passed=True)
    order.refresh_from_db()
    assert (order.state, step(order).state) == ("cancelled", "cancelled")


def test_whoever_has_passed_is_not_asked_again(
    order: ProductOrder, isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    decide(at, passed=True)
    second = factories.order(ada, isp.elm_1, isp.slow_dsl.code, at=at)
    assert not second.tasks.filter(kind="identity_check").exists()


def test_two_orders_wait_for_one_check(
    order: ProductOrder, isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    second = factories.order(ada, isp.elm_1, isp.slow_dsl.code, at=at)
    factories.work(at=at)
    assert step(second).awaited_check == step(order).awaited_check
    decide(at, passed=True)
    assert {step(order).state, step(second).state} == {"completed"}


@pytest.mark.parametrize(
    ("checked", "kinds"),
    [
        (set(), ("identity",)),
        ({"business"}, ()),
        ({"consumer"}, ("identity",)),
        ({"dsl-25"}, ("identity",)),
    ],
)
def test_the_settings_say_for_whom(
    ada: Subscriber, settings: Settings, checked: set[str], kinds: tuple[str, ...]
) -> None:
    settings.CHECKED = checked
    assert checks.needed(subscriber=ada, plan_code="dsl-25") == kinds
    settings.CHECKS = {"identity": "none", "credit": "none"}
    assert checks.needed(subscriber=ada, plan_code="dsl-25") == ()


def test_both_kinds_are_two_steps(
    isp: SmallIsp, ada: Subscriber, settings: Settings, at: datetime
) -> None:
    settings.CHECKS = {"identity": "manual", "credit": "manual"}
    placed = factories.order(ada, isp.oak_1, isp.fast.code, isp.streaming.code, at=at)
    before = step(placed, "grant_entitlement").depends_on.values_list("kind", flat=True)
    assert set(before) == {"reserve_port", "identity_check", "credit_check"}


class TestLaterOrders:
    """A plan that is checked cannot be had unchecked by way of another one."""

    @pytest.fixture
    def unchecked(
        self, isp: SmallIsp, ada: Subscriber, settings: Settings, at: datetime
    ) -> Service:
        later.faster(isp)
        settings.CHECKED = {"fibre-1000", "dsl-25"}
        return factories.live_line(isp, ada, at=at)

    def test_a_change_to_such_a_plan_waits_for_the_check(
        self, unchecked: Service, at: datetime
    ) -> None:
        placed = later.change(unchecked, at, plan_code="fibre-1000", add=["films-streaming"])
        factories.work(at=at)
        assert step(placed).state == "awaiting"
        unchecked.refresh_from_db()
        assert unchecked.offering.code == "fibre-500"
        assert not ServiceOrder.objects.exists()
        decide(at, passed=True)
        placed.refresh_from_db()
        unchecked.refresh_from_db()
        assert (placed.state, unchecked.offering.code) == ("completed", "fibre-1000")

    def test_a_refusal_leaves_the_line_as_it_is(self, unchecked: Service, at: datetime) -> None:
        placed = later.change(unchecked, at, plan_code="fibre-1000")
        factories.work(at=at)
        decide(at, passed=False)
        placed.refresh_from_db()
        unchecked.refresh_from_db()
        assert (placed.state, unchecked.offering.code) == ("held", "fibre-500")

    def test_so_does_a_change_of_network(self, unchecked: Service, at: datetime) -> None:
        placed = later.change_provider(unchecked, "dsl-25", at)
        factories.work(at=at)
        assert step(placed).state == "awaiting"
        assert not ServiceOrder.objects.exists()

    def test_and_an_order_that_becomes_one_for_it(
        self, isp: SmallIsp, ada: Subscriber, settings: Settings, at: datetime
    ) -> None:
        settings.CHECKED = {"dsl-25"}
        placed = factories.order(ada, isp.oak_1, isp.fast.code, at=at)
        assert not placed.tasks.filter(kind="identity_check").exists()
        amending.amend_order(
            order_id=placed.pk, offering_codes=["dsl-25"], actor=ada.users.get(), reason="", at=at
        )
        assert step(placed).state == "ready"

    def test_no_other_change_is_asked_for_it(
        self, isp: SmallIsp, unchecked: Service, settings: Settings, at: datetime
    ) -> None:
        settings.CHECKED = {"fibre-500"}
        added = later.change(unchecked, at, add=["films-streaming"])
        factories.work(at=at)
        moved = later.move(unchecked, Premises.objects.get(street="3 Oak Street"), at)
        checked = OrderTask.objects.filter(order__in=[added, moved], kind="identity_check")
        assert not checked.exists()


def test_a_verdict_is_given_once_with_a_reason(order: ProductOrder, at: datetime) -> None:
    with pytest.raises(InvalidInput) as refused:
        decide(at, passed=True, reason=" ")
    assert refused.value.field == "reason"
    assert decide(at, passed=True).decided_at == at
    with pytest.raises(IllegalTransition):
        decide(at, passed=False)


def test_the_database_keeps_one_standing_check(order: ProductOrder, at: datetime) -> None:
    given: dict[str, Any] = {"subscriber": order.subscriber, "kind": "identity", "asked_at": at}
    with pytest.raises(IntegrityError, match="one_standing_check"), transaction.atomic():
        SubscriberCheck.objects.create(**given)
    with pytest.raises(IntegrityError, match="says_when_and_why"), transaction.atomic():
        SubscriberCheck.objects.create(**given | {"state": "refused"})
    with pytest.raises(IntegrityError, match="awaits_a_service_order"), transaction.atomic():
        OrderTask.objects.filter(pk=step(order).pk).update(awaited_check=None)
