"""What must never be false, attacked past the verbs: by raw SQL."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from ispops.parties.models import Subscriber
from provisioning import execution, registrations
from provisioning.accounting import record_accounting
from provisioning.models import (
    OrderTask,
    ProductOrder,
    Service,
    ServiceOrder,
    WaitingAccounting,
)
from provisioning.transitions import ORDER, SERVICE, SERVICE_ORDER, TASK
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

Attack = Callable[..., None]


@pytest.fixture
def refused(db: None) -> Attack:
    """Run a statement that the database must refuse, naming the guard."""

    def attack(guard: str, statement: str, *parameters: Any) -> None:
        with (
            pytest.raises(IntegrityError, match=guard),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters)

    return attack


def accepted(statement: str, *parameters: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    return factories.live_line(isp, ada, "films-streaming", at=at)


class TestRegistrations:
    @pytest.fixture
    def row(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> str:
        answer = factories.qualified(isp.oak_1, at=at)
        offer = answer.offers.get(offering=isp.fast)
        user = ada.users.get()
        return str(registrations.begin(offer=offer, channel="portal", user=user, at=at).pk)

    def test_one_is_open_for_a_login(self, refused: Attack, row: str) -> None:
        refused(
            "one_open_registration_a_login",
            "INSERT INTO provisioning_registration (id, state, channel, user_id, "
            "qualification_id, offering_id, name, email, phone, payment_kind, premises_answer, "
            "is_another_person, terms_how, idempotency_key, created_at, changed_at, expires_at) "
            "SELECT gen_random_uuid(), state, channel, user_id, qualification_id, offering_id, "
            "name, email, phone, payment_kind, premises_answer, is_another_person, terms_how, "
            "'k', created_at, changed_at, expires_at FROM provisioning_registration WHERE id = %s",
            row,
        )

    def test_what_is_given_up_stays_so_and_names_nobody(self, refused: Attack, row: str) -> None:
        table = "UPDATE provisioning_registration SET state = %s"
        refused("placed_registration_has_its_order", f"{table} WHERE id = %s", "placed", row)
        refused(
            "abandoned_registration_names_nobody",
            f"{table}, name = 'Ada' WHERE id = %s",
            "abandoned",
            row,
        )
        assert accepted(f"{table} WHERE id = %s", "abandoned", row) == 1
        refused("may not go from abandoned", f"{table} WHERE id = %s", "draft", row)


class TestPeriods:
    INSERT = (
        "INSERT INTO provisioning_serviceperiod (service_id, offering_id, state, started_at, "
        "ended_at) VALUES (%s, %s, %s, %s, %s)"
    )

    def test_two_of_one_service_never_overlap(
        self, isp: SmallIsp, line: Service, refused: Attack, at: datetime
    ) -> None:
        hour = timedelta(hours=1)
        for start, end in ((at, None), (at + hour, at + 2 * hour), (at - hour, at + hour)):
            refused("one_period_at_a_time", self.INSERT, line.pk, isp.fast.pk, "active", start, end)

    def test_one_may_begin_when_the_other_ends(
        self, isp: SmallIsp, line: Service, refused: Attack, at: datetime
    ) -> None:
        before = at - timedelta(hours=1)
        assert accepted(self.INSERT, line.pk, isp.fast.pk, "suspended", before, at)

    def test_another_service_is_another_matter(
        self, isp: SmallIsp, ada: Subscriber, line: Service, at: datetime
    ) -> None:
        other = factories.order(ada, isp.oak_1, "fibre-500", at=at).items.get().service
        assert other is not None
        assert accepted(self.INSERT, other.pk, isp.fast.pk, "active", at, None)

    def test_a_period_has_a_length_and_a_state_that_is_charged(
        self, isp: SmallIsp, line: Service, refused: Attack, at: datetime
    ) -> None:
        before = at - timedelta(hours=1)
        values = line.pk, isp.fast.pk
        guard = "service_period_ends_after_it_starts"
        refused(guard, self.INSERT, *values, "active", before, before)
        refused("service_period_state", self.INSERT, *values, "ceased", before, at)


class TestStates:
    def test_no_object_leaves_its_table(self, line: Service, refused: Attack, at: datetime) -> None:
        """Every pair of states of every table that is not allowed is refused."""
        rows = (
            ("provisioning_productorder", ProductOrder.objects.get().pk, ORDER),
            ("provisioning_ordertask", OrderTask.objects.first().pk, TASK),
            ("provisioning_service", line.pk, SERVICE),
            ("provisioning_serviceorder", ServiceOrder.objects.get().pk, SERVICE_ORDER),
        )
        for table, key, moves in rows:
            update = f"UPDATE {table} SET state = %s WHERE id = %s"
            current = accepted_state(table, key)
            for new in moves.moves:
                if new == current:
                    assert accepted(update, new, key) == 1
                elif not moves.allows(current, new):
                    refused(f"{table} may not go from {current} to {new}", update, new, key)

    def test_what_is_allowed_is_let_through(self, line: Service) -> None:
        update = "UPDATE provisioning_service SET state = %s WHERE id = %s"
        for state in ("suspended", "active", "ceased"):
            assert accepted(update, state, line.pk) == 1


def accepted_state(table: str, key: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT state FROM {table} WHERE id = %s", [key])
        return str(cursor.fetchone()[0])


class TestTasks:
    @pytest.fixture
    def order(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> ProductOrder:
        return factories.order(ada, isp.oak_1, "fibre-and-films", at=at)

    def test_a_step_is_due_exactly_when_it_is_ready(
        self, order: ProductOrder, refused: Attack, at: datetime
    ) -> None:
        update = "UPDATE provisioning_ordertask SET next_attempt_at = %s WHERE id = %s"
        refused("task_is_due_when_ready", update, None, ground.step(order, "reserve_port").pk)
        refused("task_is_due_when_ready", update, at, ground.step(order, "go_live").pk)

    def test_a_step_does_not_wait_for_nobody(self, order: ProductOrder, refused: Attack) -> None:
        refused(
            "task_awaits_a_service_order",
            "UPDATE provisioning_ordertask SET state = 'awaiting', next_attempt_at = NULL "
            "WHERE id = %s",
            ground.step(order, "reserve_port").pk,
        )

    def test_a_step_in_fallout_says_why(self, order: ProductOrder, refused: Attack) -> None:
        update = (
            "UPDATE provisioning_ordertask SET state = %s, cause = %s, next_attempt_at = NULL "
            "WHERE id = %s"
        )
        task = ground.step(order, "reserve_port")
        refused("task_in_fallout_has_a_cause", update, "fallout", "", task.pk)
        refused("task_in_fallout_has_a_cause", update, "completed", "broken", task.pk)

    def test_a_step_is_run_by_one_worker(
        self, order: ProductOrder, refused: Attack, at: datetime
    ) -> None:
        task = ground.step(order, "reserve_port")
        insert = (
            "INSERT INTO provisioning_taskattempt (task_id, number, started_at, outcome, detail) "
            "VALUES (%s, %s, %s, %s, '')"
        )
        assert accepted(insert, task.pk, 1, at, "")
        refused("task_run_by_one_worker", insert, task.pk, 2, at, "")
        assert accepted(insert, task.pk, 2, at, "lost")

    def test_two_steps_do_not_wait_for_one_answer(
        self, isp: SmallIsp, ada: Subscriber, order: ProductOrder, refused: Attack, at: datetime
    ) -> None:
        other = factories.order(ada, isp.oak_1, "fibre-and-films", at=at)
        execution.run_due(at=at, limit=20)
        mine, yours = (ground.step(placed, "grant_entitlement") for placed in (order, other))
        refused(
            "provisioning_ordertask_service_order_id",
            "UPDATE provisioning_ordertask SET service_order_id = %s WHERE id = %s",
            mine.service_order_id,
            yours.pk,
        )


class TestOrders:
    def test_a_key_is_used_once(
        self, isp: SmallIsp, ada: Subscriber, refused: Attack, at: datetime
    ) -> None:
        first = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        second = factories.order(ada, isp.oak_1, "fibre-500", at=at)
        refused(
            "order_placed_once",
            "UPDATE provisioning_productorder SET idempotency_key = %s WHERE id = %s",
            first.idempotency_key,
            second.pk,
        )

    def test_a_completed_order_says_when(self, line: Service, refused: Attack) -> None:
        refused(
            "completed_order_says_when",
            "UPDATE provisioning_productorder SET completed_at = NULL",
        )

    def test_a_partner_is_asked_once_for_a_cause(
        self, isp: SmallIsp, line: Service, refused: Attack
    ) -> None:
        columns = ", ".join(
            field.column for field in ServiceOrder._meta.fields if field.column != "id"
        )
        refused(
            "provisioning_serviceorder_cause",
            f"INSERT INTO provisioning_serviceorder (id, {columns}) "
            f"SELECT gen_random_uuid(), {columns} FROM provisioning_serviceorder",
        )

    def test_a_closed_service_order_says_when(self, line: Service, refused: Attack) -> None:
        refused(
            "closed_service_order_says_when",
            "UPDATE provisioning_serviceorder SET answered_at = NULL",
        )


class TestTheInbox:
    @pytest.fixture
    def record(self, isp: SmallIsp, at: datetime) -> int:
        server = factories.address_server(at=at)
        values = {"Acct-Status-Type": "Start", "Acct-Session-Id": "s1"}
        return record_accounting(server=server, attributes=values, received_at=at).pk

    @pytest.mark.parametrize("column", ["input_octets", "session_seconds", "delay_seconds"])
    def test_what_was_received_is_not_changed(
        self, record: int, refused: Attack, column: str
    ) -> None:
        refused("append-only", f"UPDATE provisioning_accountingrecord SET {column} = 7")

    def test_nothing_is_removed(self, record: int, refused: Attack) -> None:
        refused("append-only", "DELETE FROM provisioning_accountingrecord")

    def test_what_is_stored_waits_for_each_reader_as_ranges(self, record: int) -> None:
        """Others take ids in between at the same time, and may not have committed yet."""
        copy = (
            "INSERT INTO provisioning_accountingrecord (id, server_id, status_type, session_id, "
            "unique_session_id, session_class, username, calling_station_id, session_seconds, "
            "input_octets, output_octets, terminate_cause, delay_seconds, event_at, received_at) "
            "SELECT record.id + more, server_id, status_type, session_id, unique_session_id, '', "
            "'', '', 0, 0, 0, '', 0, event_at, received_at "
            "FROM provisioning_accountingrecord record, unnest(ARRAY[101, 102, 104]) more"
        )
        assert accepted(copy) == 3
        ranges = [(0, 0), (101, 102), (104, 104)]
        for reader in WaitingAccounting.Reader:
            rows = WaitingAccounting.objects.filter(reader=reader).order_by("first")
            found = [(row.first - record, row.last - record) for row in rows]
            assert found == ranges
