"""What people do with many stopped steps at once; late steps; steps that nobody has."""

from datetime import datetime, timedelta

import pytest

from ispops.errors import InvalidInput, TransientFault
from ispops.models import Event
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from provisioning import execution, fallout, jeopardy, steps, worklist
from provisioning.models import OrderTask, ProductOrder, TaskAttempt
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

HOUSES = ("1 OAK ST", "3 OAK ST", "5 OAK ST APT 1")
ALL = OrderTask.objects.all


@pytest.fixture
def stopped(
    isp: SmallIsp, ada: Subscriber, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> list[ProductOrder]:
    """Orders of which two steps each have stopped, by an outage that is over."""

    def away(task: OrderTask, at: datetime) -> steps.Outcome:
        raise TransientFault("away")

    orders = [factories.order(ada, isp.oak_1, "fibre-500", at=at) for _ in HOUSES]
    with monkeypatch.context() as outage:
        outage.setattr(execution, "MOST_ATTEMPTS", 1)
        for kind in ("create_credentials", "open_address_holder"):
            outage.setitem(steps.INSIDE, kind, away)
        execution.run_due(at=at, limit=100)
    assert ALL().filter(state="fallout", cause="gave_up").count() == 2 * len(HOUSES)
    return orders


class TestRetryingMany:
    def test_all_go_on_one_after_the_other(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        retried = fallout.retry_tasks(
            tasks=ALL().filter(cause="gave_up"), actor=otto, reason="The node is back", at=at
        )
        assert (retried.count, retried.left) == (6, 0)
        due = sorted(ALL().filter(state="ready").values_list("next_attempt_at", flat=True))
        assert due[0] == at
        assert retried.last_at == due[-1] == at + timedelta(seconds=5 / fallout.BEGUN_A_SECOND)
        assert set(ProductOrder.objects.values_list("state", flat=True)) == {"in_progress"}
        factories.work(at=retried.last_at)
        assert set(ProductOrder.objects.values_list("state", flat=True)) == {"completed"}

    def test_it_is_one_entry_in_the_audit_trail(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        fallout.retry_tasks(tasks=ALL(), actor=otto, reason="Mended", at=at)
        entry = AuditEntry.objects.get(action="order_tasks.retried")
        assert (entry.actor, entry.reason, entry.subject) == (otto, "Mended", "fallout")
        assert entry.detail["count"] == 6
        assert entry.detail["orders"] == sorted(order.public_id for order in stopped)

    def test_one_action_takes_a_bounded_number_the_oldest_first(
        self, stopped: list[ProductOrder], otto: User, monkeypatch: pytest.MonkeyPatch,
        at: datetime,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(fallout, "MOST_AT_ONCE", 4)
        retried = fallout.retry_tasks(tasks=ALL(), actor=otto, reason="Mended", at=at)
        assert (retried.count, retried.left) == (4, 2)
        stopped[2].refresh_from_db()
        assert stopped[2].state == "held"

    def test_what_is_settled_or_without_reason_is_refused(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        before = ground.rows()
        for tasks, reason, field in (
            (ALL(), "  ", "reason"), (ALL().filter(state="pending"), "Mended", "tasks"),
        ):  # fmt: skip
            with pytest.raises(InvalidInput) as refused:
                fallout.retry_tasks(tasks=tasks, actor=otto, reason=reason, at=at)
            assert refused.value.field == field
        assert ground.rows() == before


class TestAssigning:
    def test_steps_are_taken_on_and_given_back(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        mine = ALL().filter(order=stopped[0])
        assert fallout.assign_tasks(tasks=mine, to=otto, actor=otto, at=at) == 2
        assert mine.filter(assigned_to=otto, state="fallout").count() == 2
        entry = AuditEntry.objects.get(action="order_tasks.assigned")
        assert (entry.subject, entry.detail["to"]) == (stopped[0].public_id, str(otto))
        assert fallout.assign_tasks(tasks=mine, to=None, actor=otto, at=at) == 2
        assert not mine.filter(assigned_to__isnull=False).exists()

    def test_only_to_somebody_who_may_work_on_them(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        before = ground.rows()
        finance = factories.staff(roles.FINANCE, at=at)
        for nobody in (finance, factories.login(at=at)):
            with pytest.raises(fallout.NobodyForFallout):
                fallout.assign_tasks(tasks=ALL(), to=nobody, actor=otto, at=at)
        assert ground.rows()["OrderTask"] == before["OrderTask"]

    def test_a_step_that_goes_on_is_nobody_s_any_more(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        fallout.assign_tasks(tasks=ALL(), to=otto, actor=otto, at=at)
        fallout.retry_task(task_id=ground.step(stopped[0], "create_credentials").pk,
                           actor=otto, at=at)  # fmt: skip
        fallout.retry_tasks(tasks=ALL().filter(order=stopped[1]), actor=otto, reason="x", at=at)
        going = ALL().filter(state="ready")
        assert going.count() == 3
        assert not going.filter(assigned_to__isnull=False).exists()


class TestJeopardy:
    def test_a_late_step_is_marked_and_told_of_once(
        self, stopped: list[ProductOrder], at: datetime
    ) -> None:
        ALL().update(due_at=None)
        task = ground.step(stopped[0], "go_live")
        ALL().filter(pk=task.pk).update(due_at=at + timedelta(hours=1))
        ALL().filter(order=stopped[1], kind="reserve_port").update(due_at=at)
        assert jeopardy.mark_late(at=at + timedelta(minutes=59)) == 0
        assert jeopardy.mark_late(at=at + timedelta(hours=1)) == 1
        assert jeopardy.mark_late(at=at + timedelta(hours=2)) == 0
        task.refresh_from_db()
        assert task.in_jeopardy_at == at + timedelta(hours=1)
        told = Event.objects.get(kind="order.task_in_jeopardy")
        assert (told.subject, told.payload["task"]) == (stopped[0].public_id, "go_live")


class TestTheFilters:
    def shown(self, user: User, at: datetime, **asked: str) -> set[int]:
        filters = worklist.Filters.read(asked)
        return {task.pk for task in worklist.fallout(filters, user_id=user.pk, at=at)}

    def test_each_keeps_what_it_says(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        every = {task.pk for task in ALL().filter(state="fallout")}
        mine = {task.pk for task in ALL().filter(state="fallout", order=stopped[0])}
        fallout.assign_tasks(tasks=ALL().filter(pk__in=mine), to=otto, actor=otto, at=at)
        late = ground.step(stopped[1], "create_credentials")
        ALL().filter(pk=late.pk).update(in_jeopardy_at=at)
        assert self.shown(otto, at) == every
        assert self.shown(otto, at, cause="gave_up") == every
        assert self.shown(otto, at, cause="nonsense") == set()
        assert self.shown(otto, at, assigned="me") == mine
        assert self.shown(otto, at, assigned="nobody") == every - mine
        assert self.shown(otto, at, assigned="others") == set()
        assert self.shown(otto, at, jeopardy="1") == {late.pk}
        assert self.shown(otto, at, partner="fast-fibre") == every
        assert self.shown(otto, at, partner="films") == set()
        assert self.shown(otto, at, age="hour") == set()
        assert self.shown(otto, at + timedelta(hours=2), age="hour") == every
        assert self.shown(otto, at, age="nonsense") == every


class TestWhatNobodyHas:
    def test_work_that_goes_on_is_not_stuck(
        self, stopped: list[ProductOrder], at: datetime
    ) -> None:
        late = at + timedelta(days=1)
        assert worklist.stuck(late) == []

    @pytest.mark.parametrize(
        ("kind", "change"),
        [("create_credentials", {"state": "ready", "cause": "", "next_attempt_at": "at"}),
         ("go_live", {})],
    )  # fmt: skip
    def test_a_step_without_an_owner_is_found(
        self, stopped: list[ProductOrder], at: datetime, kind: str, change: dict[str, object]
    ) -> None:
        """As if the sweep did not run, or as if nobody had woken the step after the last one."""
        task = ground.step(stopped[0], kind)
        values = {name: at if value == "at" else value for name, value in change.items()}
        if values:
            ALL().filter(pk=task.pk).update(**values)
        else:
            task.depends_on.clear()
        assert worklist.stuck(at + timedelta(hours=1)) == [task]

    def test_whoever_takes_it_up_brings_it_on(
        self, stopped: list[ProductOrder], otto: User, at: datetime
    ) -> None:
        due, forgotten = ground.step(stopped[0], "create_credentials"), stopped[1]
        ALL().filter(pk=due.pk).update(state="ready", cause="", next_attempt_at=at)
        step = ground.step(forgotten, "go_live")
        step.depends_on.clear()
        late = at + timedelta(hours=1)
        assert {task.order_id for task in worklist.stuck(late)} == {stopped[0].pk, forgotten.pk}
        assert fallout.take_up_stuck(actor=otto, at=late) == 2
        due.refresh_from_db()
        step.refresh_from_db()
        assert (due.next_attempt_at, due.assigned_to) == (late, otto)
        assert (step.state, step.assigned_to) == ("ready", otto)
        assert worklist.stuck(late) == []
        taken = AuditEntry.objects.filter(action="order_task.taken_up", actor=otto)
        assert taken.count() == 2

    def test_an_answer_that_nobody_heard_of_is_taken(
        self, isp: SmallIsp, ada: Subscriber, otto: User, at: datetime
    ) -> None:
        """As if the event of the answer had been lost."""
        order = factories.order(ada, isp.oak_1, isp.dsl.code, at=at)
        factories.work(at=at, answer_partners=False)
        factories.confirm_partner_orders(at=at)
        late = at + timedelta(hours=1)
        assert [task.kind for task in worklist.stuck(late)] == ["order_line"]
        fallout.take_up_stuck(actor=otto, at=late)
        assert ground.step(order, "order_line").state == "completed"

    def test_an_attempt_that_was_never_ended_is_found(
        self, stopped: list[ProductOrder], at: datetime
    ) -> None:
        task = ground.step(stopped[0], "reserve_port")
        TaskAttempt.objects.create(task=task, number=9, started_at=at)
        assert worklist.stuck(at) == [task]
