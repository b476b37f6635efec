"""The fallout queue: filters, many at once, whose a task is, files; and outside systems."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from provisioning.models import OrderTask, OutsideSystem
from tests import factories
from tests.console.conftest import EARLIER, NOW, World

FALLOUT = "admin:console_fallout"


@pytest.fixture
def olga(world: World) -> User:
    return factories.staff(roles.OPERATIONS, at=EARLIER)


@pytest.fixture
def desk(olga: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(olga)


def many(desk: Client, **said: object) -> str:
    page = desk.post(reverse("admin:console_fallout_many"), said, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_filters_are_links_with_counts(world: World, desk: Client) -> None:
    page = desk.get(reverse(FALLOUT)).content.decode()
    assert "The partner said that it cannot deliver" in page
    assert 'href="?cause=partner_refused"' in page
    chosen = desk.get(reverse(FALLOUT), {"cause": "partner_refused"}).content.decode()
    assert "retry asks it anew" in chosen
    assert "Bob Noyce" in chosen
    for nothing in ({"cause": "gave_up"}, {"assigned": "me"}, {"jeopardy": "1"}, {"partner": "x"}):
        shown = desk.get(reverse(FALLOUT), nothing).content.decode()
        assert "Bob Noyce" not in shown
        assert "Show all causes" in shown


def test_chosen_tasks_are_retried_and_it_is_written_down(
    world: World, desk: Client, olga: User
) -> None:
    words = many(desk, do="retry", which="chosen", task=world.stuck_task.pk, reason="They agreed")
    world.stuck_task.refresh_from_db()
    assert world.stuck_task.state == "ready"
    assert "Tasks that are tried again: 1" in words
    entry = AuditEntry.objects.get(action="order_tasks.retried")
    assert (entry.actor, entry.reason) == (olga, "They agreed")


def test_all_that_the_filters_show_are_retried_and_no_others(world: World, desk: Client) -> None:
    missed = many(desk, do="retry", which="all", asked="cause=gave_up", reason="x")
    world.stuck_task.refresh_from_db()
    assert world.stuck_task.state == "fallout"
    assert "None of these needs a person any more." in missed
    many(desk, do="retry", which="all", asked="cause=partner_refused", reason="x")
    world.stuck_task.refresh_from_db()
    assert world.stuck_task.state == "ready"


@pytest.mark.parametrize(
    ("said", "words"),
    [({"do": "retry", "which": "chosen", "reason": "x"}, "Choose tasks first"),
     ({"do": "retry", "which": "chosen", "task": "9" * 30, "reason": "x"}, "Choose tasks first"),
     ({"do": "retry", "which": "all"}, "Say what was mended"),
     ({"do": "burn", "which": "all"}, "Choose what to do."),
     ({"do": "assign", "which": "all", "to": "x"}, "There is no such login."),
     ({"do": "assign", "which": "all", "to": "99999999"}, "There is no such login.")],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_changes_nothing(
    world: World, desk: Client, said: dict[str, str], words: str
) -> None:
    assert words in many(desk, **said)
    world.stuck_task.refresh_from_db()
    assert (world.stuck_task.state, world.stuck_task.assigned_to) == ("fallout", None)


def test_a_task_is_taken_given_to_a_colleague_and_given_back(
    world: World, desk: Client, olga: User
) -> None:
    carl = factories.staff(roles.CSR, at=EARLIER)
    take = reverse("admin:console_take_task",
                   args=[world.stuck.public_id, world.stuck_task.position])  # fmt: skip
    assert b"The task is yours." in desk.post(take, follow=True).content
    assert b"Bob Noyce" in desk.get(reverse(FALLOUT), {"assigned": "me"}).content
    assert b"Give back" in desk.get(reverse(FALLOUT)).content
    many(desk, do="assign", which="chosen", task=world.stuck_task.pk, to=carl.pk)
    world.stuck_task.refresh_from_db()
    assert world.stuck_task.assigned_to == carl
    assert b"Bob Noyce" in desk.get(reverse(FALLOUT), {"assigned": "others"}).content
    many(desk, do="take", which="all", asked="")
    assert b"The task is nobody" in desk.post(take, follow=True).content
    world.stuck_task.refresh_from_db()
    assert world.stuck_task.assigned_to is None


def test_the_queues_are_files_with_the_filters_of_the_page(world: World, desk: Client) -> None:
    def lines(name: str, **query: str) -> list[dict[str, str]]:
        answer = desk.get(reverse(f"admin:{name}"), query)
        assert ".csv" in answer["Content-Disposition"]
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        return list(csv.DictReader(io.StringIO(text)))

    [task] = lines("console_fallout_file")
    assert (task["order"], task["cause"]) == (world.stuck.public_id, "partner_refused")
    assert lines("console_fallout_file", cause="gave_up") == []
    [held] = lines("console_orders_file", state="held")
    assert (held["order"], held["subscriber"]) == (world.stuck.public_id, "Bob Noyce")
    assert len(lines("console_orders_file")) == 2


def test_what_was_said_is_shown_masked(world: World, desk: Client) -> None:
    world.stuck_task.tries.filter(number=1).update(request={"token": "•••", "id": "sor_1"})
    page = desk.get(reverse("admin:console_order", args=[world.stuck.public_id])).content.decode()
    assert "What we said" in page
    assert "•••" in page


def test_a_system_that_fails_is_seen_with_what_waits_and_can_be_tried(
    world: World, desk: Client
) -> None:
    task = world.stuck_task
    OrderTask.objects.filter(pk=task.pk).update(
        state="ready", cause="", system="apply_to_session", next_attempt_at=NOW + timedelta(hours=1)
    )
    system = OutsideSystem.objects.create(
        key="apply_to_session", name="Access network", failures=5, failing_from=EARLIER,
        open_until=NOW + timedelta(minutes=1), last_error="It does not answer.",
    )  # fmt: skip
    for page in (desk.get(reverse(FALLOUT)), desk.get(reverse("admin:console_systems"))):
        assert "Access network" in page.content.decode()
        assert "It does not answer." in page.content.decode()
    assert b"1 task waits for it" in desk.get(reverse(FALLOUT)).content
    desk.post(reverse("admin:console_try_system", args=[system.public_id]))
    system.refresh_from_db()
    task.refresh_from_db()
    assert (system.open_until, task.next_attempt_at) == (NOW, NOW)


def test_limits_are_changed_and_wrong_ones_refused(world: World, desk: Client) -> None:
    system = OutsideSystem.objects.create(key="x", name="X")
    address = reverse("admin:console_limit_system", args=[system.public_id])
    good = {"at_once": "2", "per_minute": "", "breaker_threshold": "3",
            "breaker_pause_seconds": "60"}  # fmt: skip
    assert "are changed" in desk.post(address, good, follow=True).content.decode()
    system.refresh_from_db()
    assert (system.at_once, system.per_minute, system.breaker_pause_seconds) == (2, None, 60)
    for wrong in ({"at_once": "0"}, {"at_once": ""}, {"per_minute": "many"}):
        assert "are changed" not in desk.post(address, good | wrong, follow=True).content.decode()
    system.refresh_from_db()
    assert (system.at_once, system.per_minute) == (2, None)


def test_work_that_nobody_has_is_shown(world: World, desk: Client) -> None:
    assert b"Nobody works on these" not in desk.get(reverse(FALLOUT)).content
    OrderTask.objects.filter(pk=world.stuck_task.pk).update(
        state="ready", cause="", next_attempt_at=EARLIER
    )
    assert b"Nobody works on these" in desk.get(reverse(FALLOUT)).content
    assert b"Tasks that nobody works on" in desk.get(reverse("admin:index")).content
    answer = desk.post(reverse("admin:console_take_up"), follow=True)
    assert b"Tasks that were taken up, and are yours: 1." in answer.content
    assert b"Nobody works on these" not in answer.content


def test_orders_are_filtered_by_what_they_are_and_how_they_came(world: World, desk: Client) -> None:
    def shown(**query: str) -> bool:
        return b"Bob Noyce" in desk.get(reverse("admin:console_orders"), query).content

    assert shown(intent="new")
    assert not shown(intent="cease")
    assert shown(channel="portal")
    assert not shown(channel="csr")
    assert shown(age="day")
    assert not shown(age="week")
    assert not shown(jeopardy="1")
    OrderTask.objects.filter(pk=world.stuck_task.pk).update(in_jeopardy_at=NOW)
    assert shown(jeopardy="1")
