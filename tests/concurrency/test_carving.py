"""Many connections cut from one block at the same moment: nobody gets what another has."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import IntegrityError, connection

from ipam import blocks, carving, tree
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


# --- Splitting and joining while others cut -----------------------------------------------------


def refusing(verb: Callable[[], Any]) -> str:
    """What came of a verb, or the code of its refusal; another error is ours."""
    try:
        done = verb()
    except Refusal as refusal:
        return refusal.code
    except IntegrityError:
        return "our fault"
    return "done" if done is None or isinstance(done, list) else str(done.network)


def tile(parent: Block) -> None:
    """See that what is cut from a block neither overlaps nor reaches out of it."""
    cut = list(parent.children.values_list("network", flat=True))
    free = carving.gaps(parent.network, cut)
    sizes = [ip_network(each).num_addresses for each in [*cut, *free]]
    assert sum(sizes) == ip_network(parent.network).num_addresses


def test_a_block_is_split_or_cut_from_and_never_both() -> None:
    top = a_top()
    for turn in range(4):
        block = tree.carve_block(parent=top, length=27, tier=Tier.REGION, at=NOON)

        def act(number: int, block: Block = block) -> str:
            if number % 4 == 0:
                return refusing(
                    lambda: tree.split_block(block=block, length=28, actor=None, at=NOON)
                )
            return refusing(
                lambda: tree.carve_block(parent=block, length=29, tier=Tier.POOL, at=NOON)
            )

        heard = Counter(at_once(act))
        split, carved_from = heard["done"], {each for each in heard if "/" in each}
        assert (split == 1) != bool(carved_from), turn
        expected = {"not_found"} if split else {"block_in_use", "no_room_in_block"}
        assert heard.keys() - carved_from - {"done"} <= expected
        tile(top)


def test_neighbours_are_joined_while_others_cut_beside_and_out_of_them() -> None:
    top = a_top()
    for turn in range(3):
        halves = [
            tree.carve_block(parent=top, length=28, tier=Tier.REGION, at=NOON) for _ in range(2)
        ]

        def act(number: int, halves: list[Block] = halves) -> str:
            if number in (0, 5):
                return refusing(lambda: tree.merge_blocks(chosen=halves, actor=None, at=NOON))
            parent = halves[number % 2] if number % 4 == 3 else top
            return refusing(
                lambda: tree.carve_block(parent=parent, length=29, tier=Tier.REGION, at=NOON)
            )

        heard = Counter(at_once(act))
        assert "our fault" not in heard, turn
        joined = [each for each in heard if each.endswith("/27")]
        assert len(joined) <= 1
        tile(top)
        for each in top.children.all():
            tile(each)
            for child in each.children.all():
                tree.remove_block(block=child, actor=None, at=NOON)
            tree.remove_block(block=each, actor=None, at=NOON)


def test_without_the_lock_it_is_only_the_database_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: what was cut meanwhile is seen by nobody, and the words are our own."""
    top = a_top()
    block = tree.carve_block(parent=top, length=27, tier=Tier.REGION, at=NOON)
    monkeypatch.setattr(tree, "_lock", lambda pk: Block.objects.get(pk=pk))
    together = threading.Barrier(2)
    require_unused, best_fit = tree._require_unused, carving.best_fit

    def looked(held: Block) -> None:
        require_unused(held)
        together.wait(timeout=10)

    def found(*asked: Any) -> Any:
        fit = best_fit(*asked)
        together.wait(timeout=10)
        return fit

    monkeypatch.setattr(tree, "_require_unused", looked)
    monkeypatch.setattr(carving, "best_fit", found)

    def act(number: int) -> str:
        if number == 0:
            return refusing(lambda: tree.split_block(block=block, length=28, actor=None, at=NOON))
        if number == 1:
            return refusing(
                lambda: tree.carve_block(parent=block, length=29, tier=Tier.POOL, at=NOON)
            )
        return ""

    assert "our fault" in at_once(act)
