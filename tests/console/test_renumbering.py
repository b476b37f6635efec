"""Renumbering by hand: tried out, begun, paused, taken back, and refused at the field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ipam import blocks, renumbering
from ipam.models import Block, Pool, Renumbering
from ispops.parties import roles
from ispops.parties.models import User
from tests.console.conftest import NOW, World


@pytest.fixture
def asked(world: World) -> dict[str, str]:
    top = blocks.create_block(network="10.9.0.0/16", tier=Block.Tier.ALLOCATION, at=NOW)
    block = blocks.create_block(network="10.9.0.0/20", tier=Block.Tier.POOL, parent=top, at=NOW)
    new = blocks.create_pool(
        name="new", server=world.server, block=block, purpose="dynamic", at=NOW
    )
    source = Pool.objects.filter(server=world.server, purpose="dynamic").exclude(pk=new.pk).get()
    return {
        "source": source.name,
        "target": "new",
        "deadline": (NOW + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M"),
        "reason": "The range goes back",
    }


def test_a_plan_is_seen_before_it_begins_and_can_be_taken_back(
    asked: dict[str, str], as_role: Callable[[str], Client]
) -> None:
    client, address = as_role(roles.OPERATIONS), reverse("admin:console_start_renumbering")
    page = client.post(address, asked).content.decode()
    assert "Nothing is changed yet" in page
    assert not Renumbering.objects.exists()
    page = client.post(address, {**asked, "confirmed": "1"}, follow=True).content.decode()
    assert "Under way" in page
    row = Renumbering.objects.get()
    for what, state in (("pause", "paused"), ("resume", "running"), ("roll-back", "rolling_back")):
        change = reverse("admin:console_change_renumbering", args=[row.public_id, what])
        client.post(change)  # without a reason
        row.refresh_from_db()
        assert row.state != state
        page = client.post(change, {"reason": "Because"}, follow=True).content.decode()
        row.refresh_from_db()
        assert row.state == state
        assert row.get_state_display() in page


def test_only_pools_with_one_that_fits_can_be_chosen(
    asked: dict[str, str], as_role: Callable[[str], Client]
) -> None:
    page = as_role(roles.OPERATIONS).get(reverse("admin:console_renumberings")).content.decode()
    named = {asked["source"], asked["target"]}
    assert {pool.name for pools in renumbering.choices() for pool in pools} == named
    assert all(page.count(f"<option>{name}</option>") == 2 for name in named)
    Pool.objects.filter(name="new").update(state=Pool.State.DRAINING)
    page = as_role(roles.OPERATIONS).get(reverse("admin:console_renumberings")).content.decode()
    assert "No two pools fit each other" in page


def test_plans_under_way_come_first(
    asked: dict[str, str], as_role: Callable[[str], Client], world: World
) -> None:
    for state, source, target in (
        ("finished", "new", asked["source"]), ("running", asked["source"], "new")
    ):  # fmt: skip
        Renumbering.objects.create(
            source=Pool.objects.get(name=source), target=Pool.objects.get(name=target),
            state=state, ended_at=NOW if state == "finished" else None, reason="x",
            started_by=User.objects.all()[:1].get(), started_at=NOW,
            deadline_at=NOW + timedelta(days=1), held_at_start=0, target_was_empty=True,
        )  # fmt: skip
    page = as_role(roles.OPERATIONS).get(reverse("admin:console_renumberings")).content.decode()
    assert page.index("Under way") < page.index("Finished")


@pytest.mark.parametrize(
    ("name", "value"),
    [("source", "nothing"), ("target", ""), ("deadline", "soon"), ("deadline", "2026-02-30T00:00")],
)
def test_what_cannot_be_is_said_at_its_field(
    asked: dict[str, str], as_role: Callable[[str], Client], name: str, value: str
) -> None:
    address = reverse("admin:console_start_renumbering")
    page = as_role(roles.OPERATIONS).post(address, {**asked, name: value, "confirmed": "1"})
    assert page.status_code == 422
    assert f'href="#{name}"' in page.content.decode()
    assert not Renumbering.objects.exists()


def test_a_change_that_there_is_not(
    asked: dict[str, str], as_role: Callable[[str], Client]
) -> None:
    address = reverse("admin:console_change_renumbering", args=[f"rnb_{'0' * 32}", "burn"])
    assert as_role(roles.OPERATIONS).post(address).status_code == 404
