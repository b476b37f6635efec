"""The first page: what waits, as links; what came in; where the network fills up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from ispops.console import dashboard, queues
from ispops.parties import roles
from ispops.parties.models import User
from qualification import qualify, waitlist
from tests import factories
from tests.console.conftest import NOW, World

BUDGET = 14


def home(client: Client) -> str:
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_queue_is_a_number_that_leads_to_its_rows(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    page = home(as_user(boss))

    for queue in queues.QUEUES:
        assert f'href="{queue.href}"'.replace("&", "&amp;") in page


def test_the_numbers_are_what_waits(world: World, boss: User) -> None:
    counted = queues._count(boss, queues.QUEUES)

    assert counted == {
        "checks": 0, "checkers": 0, "visits": 0, "orders": 1, "fallout": 1, "sessions": 0,
        "systems": 0, "stuck": 0,
        "requests": 1, "blocks": 0, "stuck_blocks": 0, "stuck_returns": 0,
        "lists": 0, "networks": 0,
        "late_partners": 0, "not_taken_back": 0, "ordering": 0,
        "accounting": 0, "usage": 0, "disputes": 0, "webhooks": 0, "notices": 0, "events": 0,
    }  # fmt: skip


def test_what_waits_is_a_figure_trouble_first_and_the_rest_is_only_named(
    world: World, boss: User, as_user: Callable[[User], Client]
) -> None:
    answer = as_user(boss).get(reverse("admin:index"))

    waiting, idle = answer.context["waiting"], answer.context["idle"]
    assert [entry["queue"].key for entry in waiting] == ["fallout", "orders", "requests"]
    assert not any(entry["count"] for entry in idle)
    assert "Nothing waits in" in answer.content.decode()


def test_counting_stops_where_nobody_reads_on(
    world: World, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST", 0)

    assert queues._count(boss, queues.QUEUES)["orders"] == 1
    assert queues.shown(1) == "0+"


def test_the_page_and_its_sidebar_keep_to_their_budget(
    world: World, boss: User, as_user: Callable[[User], Client],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:  # fmt: skip
    client = as_user(boss)

    with django_assert_max_num_queries(BUDGET) as first:
        home(client)
    for number in range(5):
        factories.subscriber(at=NOW, email=f"new{number}@example.com")
    with django_assert_max_num_queries(len(first)):
        home(client)


@pytest.mark.parametrize(
    ("role", "sees", "lacks"),
    [
        (roles.CSR, {"Fallout", "Rating errors", "Demand by area"}, {"Parked events"}),
        (roles.OPERATIONS, {"Fallout", "Parked webhooks", "Parked events", "Address pools"}, set()),
        (roles.FINANCE, {"Rating errors"}, {"Demand by area", "Address pools"}),
        (roles.CATALOGUE_MANAGER, {"Demand by area"}, {"New subscribers", "Address pools"}),
    ],
)
def test_each_role_sees_its_own_work(
    role: str, sees: set[str], lacks: set[str], world: World, as_role: Callable[[str], Client]
) -> None:
    page = home(as_role(role))

    assert {words for words in sees if words in page} == sees
    assert not {words for words in lacks if words in page}


def test_newcomers_are_counted_by_day(world: World) -> None:
    factories.subscriber(at=NOW, email="today@example.com")

    found = dashboard.newcomers(NOW)

    assert found["total"] == 3
    assert [bar.value for bar in found["bars"]] == [0, 0, 0, 0, 2, 0, 1]


def test_demand_shows_where_we_turn_people_away(world: World) -> None:
    answer = qualify.qualify_address(
        premises_id=world.isp.stowe.public_id, channel="portal", at=NOW
    )
    waitlist.join_waitlist(
        qualification=answer, channel="csr", email="w@example.com", name="W", at=NOW
    )

    first, second = dashboard.demand(NOW)

    assert (first["city"], first["asked"], first["refused"], first["waiting"]) == ("Stowe", 1, 1, 1)
    assert (second["city"], second["refused"]) == ("Barre", 0)


def test_pools_are_measured(world: World) -> None:
    used = {pool["name"]: pool["percent"] for pool in dashboard.pools()}

    assert set(used) == {"north-dynamic", "north-garden", "north-prefixes"}
    assert used["north-dynamic"] == 1
