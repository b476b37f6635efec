"""Many connections cut from one block at the same moment: nobody gets what another has."""

from __future__ import annotations

import pytest
from django.db import connection

from ipam import blocks, tree
from ipam.models import Block
from ispops.errors import Refusal
from tests.concurrency.test_allocation import ASKERS, at_once
from tests.ipam.ground import NOON, Tier

pytestmark = pytest.mark.django_db(transaction=True)


def a_top() -> Block:
    return blocks.create_block(network="10.0.0.0/24", tier=Tier.ALLOCATION, at=NOON)


def carved(parent: Block) -> str:
    """Cut a /29, or say that it was refused."""
    try:
        return tree.carve_block(parent=parent, length=29, tier=Tier.REGION, at=NOON).network
    except Refusal as refusal:
        return refusal.code


def test_carvers_take_turns_until_nothing_is_left() -> None:
    top = a_top()
    answers = at_once(lambda _: carved(top), times=40)
    networks = [answer for answer in answers if answer != "no_room_in_block"]
    assert len(networks) == len(set(networks)) == 32
    assert set(networks) == set(Block.objects.exclude(pk=top.pk).values_list("network", flat=True))


def test_without_the_lock_carvers_collide_and_the_database_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: the lock is what spares carvers the refusal."""
    monkeypatch.setattr(tree, "_lock", lambda pk: Block.objects.get(pk=pk))
    top = a_top()
    answers = at_once(lambda _: carved(top), times=ASKERS * 3)
    assert "overlapping_block" in answers
    networks = [answer for answer in answers if "/" in answer]
    assert len(networks) == len(set(networks))


def test_without_lock_and_keys_one_range_is_cut_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the key itself; it is put back, and the rows are gone first."""
    monkeypatch.setattr(tree, "_lock", lambda pk: Block.objects.get(pk=pk))
    top = a_top()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conname = 'blocks_of_a_parent_never_overlap'"
        )
        (definition,) = cursor.fetchone()
        cursor.execute("ALTER TABLE ipam_block DROP CONSTRAINT blocks_of_a_parent_never_overlap")
    try:
        answers = at_once(lambda _: carved(top), times=ASKERS * 3)
    finally:
        Block.objects.exclude(pk=top.pk).delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE ipam_block ADD CONSTRAINT blocks_of_a_parent_never_overlap "
                + definition
            )
    assert len(set(answers)) < len(answers)
