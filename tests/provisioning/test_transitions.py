"""The state tables, and that the database has the same ones."""

import re

import pytest
from django.db import connection

from ispops.errors import IllegalTransition
from provisioning.models import (
    Appointment,
    Delivery,
    OrderTask,
    ProductOrder,
    Registration,
    Service,
    ServiceOrder,
)
from provisioning.transitions import (
    CLOSED_ORDER,
    DELIVERY,
    FINISHED_TASK,
    ORDER,
    REGISTRATION,
    SERVICE,
    SERVICE_ORDER,
    TASK,
    VISIT,
    StateTable,
    goes_back,
)

TABLES = [
    (ORDER, ProductOrder),
    (TASK, OrderTask),
    (SERVICE, Service),
    (SERVICE_ORDER, ServiceOrder),
    (REGISTRATION, Registration),
    (DELIVERY, Delivery),
    (VISIT, Appointment),
]
by_noun = pytest.mark.parametrize(
    ("table", "model"), TABLES, ids=[table.noun for table, _ in TABLES]
)


@by_noun
def test_every_state_of_the_model_is_in_the_table(table: StateTable, model: type) -> None:
    known = set(model.State.values)
    assert set(table.moves) == known
    assert {new for _, new in table.pairs()} <= known


@by_noun
def test_every_state_can_be_reached_from_the_first(table: StateTable, model: type) -> None:
    reached = {next(iter(table.moves))}
    while more := {new for old, new in table.pairs() if old in reached} - reached:
        reached |= more
    assert reached == set(table.moves)


@by_noun
def test_staying_is_no_move(table: StateTable, model: type) -> None:
    assert not any(table.allows(state, state) for state in table.moves)


@by_noun
def test_what_the_table_does_not_allow_is_refused(table: StateTable, model: type) -> None:
    allowed = set(table.pairs())
    for old in table.moves:
        for new in table.moves:
            if (old, new) in allowed:
                table.require(old, new)
            else:
                with pytest.raises(IllegalTransition, match=f"This {table.noun} is "):
                    table.require(old, new)


def test_nothing_follows_a_closed_order() -> None:
    assert {"completed", "partial", "failed", "cancelled"} == CLOSED_ORDER


def test_the_refusal_names_both_states() -> None:
    with pytest.raises(IllegalTransition) as refused:
        ORDER.require("completed", "in_progress")
    assert refused.value.detail == "This order is completed, so it cannot become in progress."


def test_a_step_that_is_finished_is_not_begun_again() -> None:
    assert not any(TASK.allows(state, "ready") for state in FINISHED_TASK)


@pytest.mark.django_db
@by_noun
def test_the_database_has_the_same_table(table: StateTable, model: type) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger "
            "WHERE tgrelid = %s::regclass AND tgname = 'follow_state_table'",
            [model._meta.db_table],
        )
        (definition,) = cursor.fetchone()
    in_database = set(re.findall(r"'(\w+)>(\w+)'", definition))
    assert in_database == set(table.pairs())


@pytest.mark.parametrize(
    ("known", "told", "is_back"),
    [
        ("", "acknowledged", False),
        ("acknowledged", "acknowledged", False),
        ("acknowledged", "held", False),
        ("in_progress", "held", False),
        ("held", "in_progress", False),
        ("held", "acknowledged", True),
        ("in_progress", "completed", False),
        ("completed", "completed", False),
        ("completed", "in_progress", True),
        ("completed", "failed", True),
        ("failed", "completed", True),
        ("cancelled", "acknowledged", True),
    ],
)
def test_a_provider_that_goes_back(known: str, told: str, is_back: bool) -> None:
    assert goes_back(known, told) is is_back
