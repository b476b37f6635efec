"""The decomposition of orders: examples, and properties of every graph."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning import plan, steps
from provisioning.plan import Item, expand_bundles, plan_order

ON_NET = Item(is_access=True)
OFF_NET = Item(is_access=True, is_off_net=True)
PRODUCT = Item(is_access=False)


@st.composite
def orders(draw: st.DrawFn) -> list[Item]:
    """Any order: one line, on-net or off-net, among any number of partner products."""
    before = draw(st.integers(0, 6))
    after = draw(st.integers(0, 6))
    line = draw(st.sampled_from([ON_NET, OFF_NET]))
    return [PRODUCT] * before + [line] + [PRODUCT] * after


def everything_before(planned: list[plan.Step], position: int) -> set[int]:
    """All that a step waits for, directly or not."""
    waiting, found = [position], set()
    while waiting:
        for earlier in planned[waiting.pop()].depends_on:
            if earlier not in found:
                found.add(earlier)
                waiting.append(earlier)
    return found


def test_an_on_net_line_alone() -> None:
    assert [(step.kind, step.depends_on) for step in plan_order([ON_NET])] == [
        ("reserve_port", ()),
        ("open_address_holder", ()),
        ("create_credentials", ()),
        ("go_live", (0, 1, 2)),
        ("welcome", (3,)),
    ]


def test_an_off_net_line_with_two_products() -> None:
    planned = plan_order([OFF_NET, PRODUCT, PRODUCT])
    assert [(step.kind, step.item, step.depends_on) for step in planned] == [
        ("reserve_port", 0, ()),
        ("open_address_holder", 0, ()),
        ("create_credentials", 0, ()),
        ("order_line", 0, (0,)),
        ("grant_entitlement", 1, (3,)),
        ("grant_entitlement", 2, (3,)),
        ("go_live", 0, (1, 2, 4, 5)),
        ("welcome", 0, (6,)),
    ]


def test_on_net_products_wait_for_the_port_only() -> None:
    planned = plan_order([ON_NET, PRODUCT])
    assert [step.depends_on for step in planned if step.kind == plan.GRANT_ENTITLEMENT] == [(0,)]


@given(orders())
def test_steps_stand_after_what_they_wait_for(items: list[Item]) -> None:
    """So every dependency exists, and there is no cycle."""
    for position, step in enumerate(plan_order(items)):
        assert all(0 <= earlier < position for earlier in step.depends_on)
        assert len(set(step.depends_on)) == len(step.depends_on)


@given(orders())
def test_going_live_is_after_everything_but_the_welcome(items: list[Item]) -> None:
    planned = plan_order(items)
    live = [position for position, step in enumerate(planned) if step.kind == plan.GO_LIVE]
    assert len(live) == 1
    assert everything_before(planned, live[0]) == set(range(live[0]))
    assert planned[live[0] + 1 :] == [plan.Step(plan.WELCOME, planned[live[0]].item, (live[0],))]


@given(orders())
def test_each_item_gets_its_work_once(items: list[Item]) -> None:
    planned = plan_order(items)
    work = [(step.kind, step.item) for step in planned]
    assert len(set(work)) == len(work)
    for index, item in enumerate(items):
        asked = {kind for kind, of in work if of == index}
        assert ("grant_entitlement" in asked) == (not item.is_access)
        assert ("order_line" in asked) == item.is_off_net


@given(orders())
def test_every_kind_can_be_done(items: list[Item]) -> None:
    assert {step.kind for step in plan_order(items)} <= steps.INSIDE.keys() | steps.OUTSIDE.keys()


@pytest.mark.parametrize("items", [[], [PRODUCT], [ON_NET, ON_NET], [ON_NET, OFF_NET]])
def test_an_order_is_for_one_line(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="exactly one access line"):
        plan_order(items)


def test_an_aggregated_plan_becomes_its_parts_in_its_place() -> None:
    expanded = expand_bundles(["tv", "all-in-one"], {"all-in-one": ["fiber", "films"]})
    assert expanded == [("tv", None), ("fiber", "all-in-one"), ("films", "all-in-one")]


def test_going_live_cannot_be_skipped() -> None:
    assert not plan.MAY_BE_SKIPPED & {"go_live", "create_credentials", "open_address_holder"}
    assert steps.INSIDE.keys() | steps.OUTSIDE.keys() >= plan.MAY_BE_SKIPPED
