"""Running the steps of orders: the way through, partners, faults, lost workers, fallout."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.conf import settings as product
from django.core import mail

from ipam.models import AddressHolder
from ispops.errors import IllegalTransition, InvalidInput, NotFound, PermanentFault, TransientFault
from ispops.models import Event
from ispops.notices import notify
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Partner, Subscriber, User
from provisioning import execution, fallout, partner_orders, statements, steps
from provisioning.models import (
    AaaCredential,
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
    TaskAttempt,
)
from qualification import ports
from qualification.models import AccessPort
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

LEASE: timedelta = product.TASK_LEASE


@pytest.fixture
def fibre(isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
    """An order for an on-net line."""
    return factories.order(ada, isp.oak_1, "fibre-500", at=at)


@pytest.fixture
def bundle(isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
    """An order for an on-net line with a partner's product."""
    return factories.order(ada, isp.oak_1, "fibre-and-films", at=at)


@pytest.fixture
def waiting(bundle: ProductOrder, at: datetime) -> ServiceOrder:
    """What the partner was asked, in an order that waits for the answer."""
    execution.run_due(at=at, limit=10)
    return ServiceOrder.objects.get()


@pytest.fixture
def no_mail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let every letter fail while it is written, with this fault."""

    def fail(fault: Exception) -> None:
        def send(**_: Any) -> None:
            raise fault

        monkeypatch.setattr(notify, "send", send)

    return fail


class TestTheWayThrough:
    def test_an_on_net_line(self, isp: SmallIsp, fibre: ProductOrder, at: datetime) -> None:
        assert execution.run_due(at=at, limit=100) == 5
        fibre.refresh_from_db()
        assert (fibre.state, fibre.completed_at) == ("completed", at)
        assert set(ground.states(fibre).values()) == {"completed"}
        line = Service.objects.get()
        assert line.state == "active"
        assert AccessPort.objects.get(service_ref=line.public_id).taken_at == at
        assert AddressHolder.objects.get(service_ref=line.public_id).plan == isp.fast
        assert line.credential.enabled
        assert len(line.credential.secret) >= 24
        period = line.periods.get()
        assert (period.state, period.started_at, period.ended_at) == ("active", at, None)
        assert ground.kinds()[-4:] == [
            "order.placed", "order.in_progress", "service.activated", "order.completed"
        ]  # fmt: skip

    def test_each_step_has_one_attempt_with_its_words(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        execution.run_due(at=at, limit=100)
        for task in fibre.tasks.all():
            attempt = task.tries.get()
            assert (attempt.number, attempt.outcome, attempt.started_at) == (1, "done", at)
            assert attempt.ended_at is not None
            assert attempt.detail
            assert (task.finished_at, task.attempts, task.leased_until) == (at, 1, None)

    def test_the_welcome(self, fibre: ProductOrder, at: datetime) -> None:
        execution.run_due(at=at, limit=100)
        assert mail.outbox == []
        notice = Notice.objects.get(kind="welcome")
        assert (notice.cause, notice.subscriber) == (fibre.public_id, fibre.subscriber)
        factories.send_notices(at=at)
        (message,) = mail.outbox
        assert message.to == ["ada@example.com"]
        assert message.extra_headers["Message-ID"] == f"<{notice.public_id}@harbor.example>"
        assert "1 OAK ST" in message.body.upper()
        assert "Fibre 500" in message.body
        assert AaaCredential.objects.get().secret not in message.body

    def test_partner_products_become_active_with_the_line(
        self, isp: SmallIsp, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        bundle.refresh_from_db()
        assert bundle.state == "in_progress"
        assert (waiting.kind, waiting.partner) == ("entitlement", isp.films)
        assert ground.states(bundle)["go_live"] == "pending"
        assert set(Service.objects.values_list("state", flat=True)) == {"reserved"}
        factories.confirm_partner_orders(at=at)
        factories.work(at=at)
        bundle.refresh_from_db()
        assert bundle.state == "completed"
        assert set(Service.objects.values_list("state", flat=True)) == {"active"}
        granting = ground.step(bundle, "grant_entitlement")
        assert granting.service_order == waiting
        assert ground.outcomes(granting) == ["awaiting", "done"]
        assert ground.last_try(granting).detail == "Films confirmed as OK-1."

    def test_another_network_s_line_is_ordered_from_it(
        self, isp: SmallIsp, ada: Subscriber, at: datetime
    ) -> None:
        order = factories.order(ada, isp.elm_1, "dsl-6", at=at)
        execution.run_due(at=at, limit=10)
        asked = ServiceOrder.objects.get()
        assert (asked.kind, asked.partner) == ("line", isp.copper)
        assert asked.answer_by == order.expected_at + product.LINE_ANSWERED_AFTER_DUE
        factories.work(at=at)
        order.refresh_from_db()
        assert order.state == "completed"

    def test_a_sweep_stops_at_its_limit(self, fibre: ProductOrder, at: datetime) -> None:
        assert execution.run_due(at=at, limit=2) == 2
        assert fibre.tasks.filter(state="completed").count() == 2

    def test_a_step_that_is_not_due_is_not_run(self, fibre: ProductOrder, at: datetime) -> None:
        going_live = ground.step(fibre, "go_live")
        assert not execution.run_task(task_id=going_live.pk, at=at)
        assert not execution.run_task(task_id=0, at=at)
        assert not execution.run_due(at=at - timedelta(microseconds=1), limit=10)
        assert not TaskAttempt.objects.exists()

    def test_a_step_is_run_once(self, fibre: ProductOrder, at: datetime) -> None:
        task = ground.step(fibre, "create_credentials")
        assert execution.run_task(task_id=task.pk, at=at)
        before = ground.rows()
        assert not execution.run_task(task_id=task.pk, at=at)
        assert ground.rows() == before


class TestPartners:
    def refuse(self, asked: ServiceOrder, at: datetime) -> None:
        partner_orders.fail(
            service_order_id=asked.pk, partner=asked.partner, reason="No such film", at=at
        )
        factories.deliver_events(at=at)

    def test_a_refusal_needs_a_person(
        self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        self.refuse(waiting, at)
        bundle.refresh_from_db()
        task = ground.step(bundle, "grant_entitlement")
        assert (bundle.state, task.state, task.cause) == ("held", "fallout", "partner_refused")
        assert ground.last_try(task).detail == "Films: No such film"
        assert ground.kinds()[-2:] == ["order.task_fallout", "order.held"]
        assert Event.objects.get(kind="order.task_fallout").payload == {
            "task": "grant_entitlement", "cause": "partner_refused"
        }  # fmt: skip

    def test_asking_again_is_a_new_service_order(
        self, bundle: ProductOrder, waiting: ServiceOrder, otto: User, at: datetime
    ) -> None:
        self.refuse(waiting, at)
        task = ground.step(bundle, "grant_entitlement")
        fallout.retry_task(task_id=task.pk, actor=otto, at=at)
        bundle.refresh_from_db()
        assert bundle.state == "in_progress"
        execution.run_due(at=at, limit=10)
        again = ServiceOrder.objects.exclude(pk=waiting.pk).get()
        assert (waiting.cause, again.cause) == (f"task:{task.pk}:1", f"task:{task.pk}:2")
        task.refresh_from_db()
        assert (task.state, task.service_order) == ("awaiting", again)
        factories.work(at=at)
        bundle.refresh_from_db()
        assert bundle.state == "completed"

    def test_an_old_answer_says_nothing_of_the_new_order(
        self, bundle: ProductOrder, waiting: ServiceOrder, otto: User, at: datetime
    ) -> None:
        self.refuse(waiting, at)
        task = ground.step(bundle, "grant_entitlement")
        fallout.retry_task(task_id=task.pk, actor=otto, at=at)
        execution.run_due(at=at, limit=10)
        assert execution.take_answer(service_order_id=waiting.pk, at=at) is None
        assert ground.step(bundle, "grant_entitlement").state == "awaiting"

    def test_no_answer_in_time(
        self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        assert partner_orders.time_out_due(at=waiting.answer_by) == 1
        factories.deliver_events(at=waiting.answer_by)
        task = ground.step(bundle, "grant_entitlement")
        assert (task.state, task.cause) == ("fallout", "partner_timed_out")

    def test_an_order_that_was_withdrawn_needs_a_person(
        self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        partner_orders.withdraw(service_order_id=waiting.pk, reason="By mistake", at=at)
        factories.deliver_events(at=at)
        task = ground.step(bundle, "grant_entitlement")
        assert (task.state, task.cause) == ("fallout", "partner_order_withdrawn")

    def test_the_same_answer_twice(
        self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        factories.confirm_partner_orders(at=at)
        assert execution.take_answer(service_order_id=waiting.pk, at=at) is not None
        before = ground.rows()
        assert execution.take_answer(service_order_id=waiting.pk, at=at) is None
        assert ground.rows() == before

    def test_no_answer_yet_changes_nothing(
        self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime
    ) -> None:
        before = ground.rows()
        execution.take_answer(service_order_id=waiting.pk, at=at)
        assert ground.rows() == before

    def test_a_partner_that_has_left(self, isp: SmallIsp, bundle: ProductOrder,
                                     at: datetime) -> None:  # fmt: skip
        Partner.objects.filter(pk=isp.films.pk).update(active=False)
        execution.run_due(at=at, limit=10)
        task = ground.step(bundle, "grant_entitlement")
        assert (task.state, task.cause) == ("fallout", "partner_not_active")
        assert not ServiceOrder.objects.exists()


class TestFaults:
    def test_a_fault_that_passes_is_tried_again_with_growing_pauses(
        self, fibre: ProductOrder, monkeypatch: pytest.MonkeyPatch, at: datetime
    ) -> None:
        def away(task: OrderTask, at: datetime) -> steps.Outcome:
            raise ConnectionRefusedError("away")

        monkeypatch.setitem(steps.INSIDE, "create_credentials", away)
        execution.run_due(at=at, limit=10)
        task, now, pauses = ground.step(fibre, "create_credentials"), at, []
        while task.state == "ready":
            assert task.next_attempt_at is not None
            pauses.append(task.next_attempt_at - now)
            now = task.next_attempt_at
            assert not execution.run_due(at=now - timedelta(seconds=0.001), limit=10)
            assert execution.run_due(at=now, limit=10) == 1
            task.refresh_from_db()
        assert len(pauses) == execution.MOST_ATTEMPTS - 1
        for number, pause in enumerate(pauses):
            longest = min(execution.FIRST_PAUSE * 2**number, execution.LONGEST_PAUSE)
            # The pause begins when the attempt ends, a moment after it began.
            assert longest / 2 <= pause <= longest + timedelta(seconds=5)
        assert (task.state, task.cause) == ("fallout", "gave_up")
        assert ground.outcomes(task) == ["retry"] * 7 + ["fallout"]
        assert "ConnectionRefusedError: away" in ground.last_try(task).detail

    def test_it_works_the_second_time(
        self,
        fibre: ProductOrder,
        no_mail: Callable[[Exception], None],
        monkeypatch: pytest.MonkeyPatch,
        at: datetime,
    ) -> None:
        no_mail(TransientFault("busy"))
        execution.run_due(at=at, limit=10)
        fibre.refresh_from_db()
        assert fibre.state == "in_progress"
        monkeypatch.undo()
        execution.run_due(at=at + timedelta(seconds=10), limit=10)
        fibre.refresh_from_db()
        assert fibre.state == "completed"
        assert ground.outcomes(ground.step(fibre, "welcome")) == ["retry", "done"]

    @pytest.mark.parametrize(
        ("fault", "cause"),
        [(PermanentFault("mailbox gone"), "not_possible"), (InvalidInput("no"), "invalid_input"),
         (ZeroDivisionError("our own"), "internal_error")],
    )  # fmt: skip
    def test_anything_else_needs_a_person_at_once(
        self,
        fibre: ProductOrder,
        no_mail: Callable[[Exception], None],
        at: datetime,
        fault: Exception,
        cause: str,
    ) -> None:
        no_mail(fault)
        execution.run_due(at=at, limit=10)
        task = ground.step(fibre, "welcome")
        assert (task.state, task.cause, task.next_attempt_at) == ("fallout", cause, None)
        assert ground.outcomes(task) == ["fallout"]
        fibre.refresh_from_db()
        assert fibre.state == "held"

    def test_a_refusal_of_another_department(
        self, isp: SmallIsp, fibre: ProductOrder, at: datetime
    ) -> None:
        line = Service.objects.get()
        ports.release_port(service_ref=line.public_id, at=at)
        AccessPort.objects.filter(node=isp.fibre_node).delete()
        execution.run_due(at=at, limit=10)
        task = ground.step(fibre, "reserve_port")
        assert (task.state, task.cause) == ("fallout", "no_free_port")
        assert ground.states(fibre)["create_credentials"] == "completed"
        assert ground.states(fibre)["go_live"] == "pending"

    def test_what_a_step_wrote_before_it_failed_is_gone(
        self, fibre: ProductOrder, monkeypatch: pytest.MonkeyPatch, at: datetime
    ) -> None:
        def half(task: OrderTask, at: datetime) -> steps.Outcome:
            steps.create_credentials(task, at)
            raise TransientFault("the network is away")

        monkeypatch.setitem(steps.INSIDE, "create_credentials", half)
        execution.run_due(at=at, limit=10)
        assert not AaaCredential.objects.exists()
        assert ground.outcomes(ground.step(fibre, "create_credentials")) == ["retry"]

    def test_the_history_keeps_a_long_story_short(
        self, fibre: ProductOrder, no_mail: Callable[[Exception], None], at: datetime
    ) -> None:
        no_mail(PermanentFault("x" * 10_000))
        execution.run_due(at=at, limit=10)
        assert len(ground.last_try(ground.step(fibre, "welcome")).detail) == 2000


class TestLostWorkers:
    """A worker is lost between two of these calls, wherever it was."""

    def begin(self, task: OrderTask, at: datetime) -> TaskAttempt:
        """Take a step as a worker does, and go no further."""
        taken = execution._take(partial(statements.due_task, task.pk), at=at, limit=1)
        assert taken
        return taken[0]

    def test_the_step_is_held_while_the_lease_runs(self, fibre: ProductOrder, at: datetime) -> None:
        task = ground.step(fibre, "create_credentials")
        self.begin(task, at)
        assert not execution.run_task(task_id=task.pk, at=at + LEASE - timedelta(microseconds=1))

    def test_after_the_lease_another_worker_does_it(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        task = ground.step(fibre, "create_credentials")
        self.begin(task, at)
        assert execution.run_task(task_id=task.pk, at=at + LEASE)
        assert ground.outcomes(task) == ["lost", "done"]
        assert AaaCredential.objects.count() == 1

    def test_a_worker_that_comes_back_too_late_changes_nothing(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        task = ground.step(fibre, "create_credentials")
        late = self.begin(task, at)
        execution.run_task(task_id=task.pk, at=at + LEASE)
        before = ground.rows()
        with pytest.raises(execution._NotMine):
            execution._perform([late], at=at)
        execution._record_fault(late, TransientFault("late"), at=at)
        assert ground.rows() == before

    def test_a_slow_worker_that_nobody_replaced_may_still_finish(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        task = ground.step(fibre, "create_credentials")
        execution._perform([self.begin(task, at)], at=at + 2 * LEASE)
        assert ground.outcomes(task) == ["done"]

    def test_a_worker_finds_that_its_order_was_cancelled(
        self, fibre: ProductOrder, ada: Subscriber, at: datetime
    ) -> None:
        from provisioning import orders

        task = ground.step(fibre, "create_credentials")
        late = self.begin(task, at)
        orders.cancel_order(
            order_id=fibre.pk, actor=ada.users.get(), reason="Changed my mind", at=at
        )
        assert ground.outcomes(task) == ["cancelled"]
        with pytest.raises(execution._NotMine):
            execution._perform([late], at=at)
        assert not AaaCredential.objects.exists()

    def test_the_welcome_is_one_letter_when_its_step_is_done_twice(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        """The worker died, or came back late, after it had written."""
        execution.run_due(at=at, limit=4)
        task = ground.step(fibre, "welcome")
        late = self.begin(task, at)
        steps.welcome(late.task, at)
        execution.run_due(at=at + LEASE, limit=1)
        factories.send_notices(at=at + LEASE)
        assert len(mail.outbox) == 1
        fibre.refresh_from_db()
        assert fibre.state == "completed"

    def test_a_step_that_kills_every_worker_ends_in_the_fallout_queue(
        self, fibre: ProductOrder, at: datetime
    ) -> None:
        task = ground.step(fibre, "create_credentials")
        for number in range(execution.MOST_ATTEMPTS):
            self.begin(task, at + number * LEASE)
        execution.run_task(task_id=task.pk, at=at + execution.MOST_ATTEMPTS * LEASE)
        task.refresh_from_db()
        assert (task.state, task.cause) == ("fallout", "not_possible")
        assert ground.outcomes(task) == ["lost"] * 8 + ["fallout"]
        assert not AaaCredential.objects.exists()


class TestTheFalloutQueue:
    @pytest.fixture
    def fallen(self, bundle: ProductOrder, waiting: ServiceOrder, at: datetime) -> OrderTask:
        partner_orders.fail(
            service_order_id=waiting.pk, partner=waiting.partner, reason="No such film", at=at
        )
        factories.deliver_events(at=at)
        return ground.step(bundle, "grant_entitlement")

    def test_retrying_is_written_down(self, fallen: OrderTask, otto: User, at: datetime) -> None:
        task = fallout.retry_task(task_id=fallen.pk, actor=otto, at=at)
        assert (task.state, task.cause, task.attempts) == ("ready", "", 0)
        assert task.next_attempt_at == at
        entry = AuditEntry.objects.get(action="order_task.retried")
        assert (entry.actor, entry.subject) == (otto, fallen.order.public_id)
        assert entry.detail == {"task": "grant_entitlement", "cause": "partner_refused"}
        assert entry.subscriber == fallen.order.subscriber

    def test_retrying_twice_is_retrying_once(
        self, fallen: OrderTask, otto: User, at: datetime
    ) -> None:
        fallout.retry_task(task_id=fallen.pk, actor=otto, at=at)
        before = ground.rows()
        fallout.retry_task(task_id=fallen.pk, actor=otto, at=at)
        assert ground.rows() == before

    def test_skipping_leaves_the_product_out(
        self, isp: SmallIsp, fallen: OrderTask, otto: User, at: datetime
    ) -> None:
        task = fallout.skip_task(task_id=fallen.pk, actor=otto, reason="Sold out", at=at)
        assert (task.state, task.finished_at) == ("skipped", at)
        assert ground.last_try(task).detail == f"{otto}: Sold out"
        entry = AuditEntry.objects.get(action="order_task.skipped")
        assert (entry.actor, entry.reason) == (otto, "Sold out")
        factories.work(at=at)
        order = ProductOrder.objects.get()
        assert (order.state, order.completed_at) == ("partial", at)
        films = Service.objects.get(offering=isp.streaming)
        assert films.state == "ceased"
        assert not films.periods.exists()
        assert Service.objects.get(offering=isp.fast).state == "active"

    def test_skipping_twice_is_skipping_once(
        self, fallen: OrderTask, otto: User, at: datetime
    ) -> None:
        fallout.skip_task(task_id=fallen.pk, actor=otto, reason="Sold out", at=at)
        before = ground.rows()
        fallout.skip_task(task_id=fallen.pk, actor=otto, reason="Again", at=at)
        assert ground.rows() == before

    def test_skipping_the_last_step_completes_the_order(
        self, fibre: ProductOrder, no_mail: Callable[[Exception], None], otto: User, at: datetime
    ) -> None:
        no_mail(PermanentFault("no such mailbox"))
        execution.run_due(at=at, limit=10)
        welcome = ground.step(fibre, "welcome")
        fallout.skip_task(task_id=welcome.pk, actor=otto, reason="Told by phone", at=at)
        fibre.refresh_from_db()
        assert (fibre.state, fibre.completed_at) == ("completed", at)

    def test_a_reason_is_needed(self, fallen: OrderTask, otto: User, at: datetime) -> None:
        with pytest.raises(InvalidInput) as refused:
            fallout.skip_task(task_id=fallen.pk, actor=otto, reason=" ", at=at)
        assert refused.value.field == "reason"

    def test_what_going_live_needs_is_not_skipped(
        self, fibre: ProductOrder, otto: User, monkeypatch: pytest.MonkeyPatch, at: datetime
    ) -> None:
        def refuse(task: OrderTask, at: datetime) -> steps.Outcome:
            raise PermanentFault("no")

        monkeypatch.setitem(steps.INSIDE, "create_credentials", refuse)
        execution.run_due(at=at, limit=10)
        task = ground.step(fibre, "create_credentials")
        before = ground.rows()
        with pytest.raises(fallout.TaskCannotBeSkipped):
            fallout.skip_task(task_id=task.pk, actor=otto, reason="Please", at=at)
        assert ground.rows() == before

    def test_only_what_has_fallen_out(self, fibre: ProductOrder, otto: User, at: datetime) -> None:
        pending, ready = ground.step(fibre, "welcome"), ground.step(fibre, "reserve_port")
        before = ground.rows()
        with pytest.raises(IllegalTransition):
            fallout.retry_task(task_id=pending.pk, actor=otto, at=at)
        for task in (pending, ready):
            with pytest.raises(IllegalTransition):
                fallout.skip_task(task_id=task.pk, actor=otto, reason="Please", at=at)
        with pytest.raises(NotFound):
            fallout.retry_task(task_id=0, actor=otto, at=at)
        assert ground.rows() == before
