"""The decomposition of orders: examples, and properties of every graph."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning import plan, steps
from provisioning.plan import Item, expand_bundles, plan_order

ON_NET = Item(is_access=True)
VISITED = Item(is_access=True, is_visited=True)
OFF_NET = Item(is_access=True, is_off_net=True)
PRODUCT = Item(is_access=False)


@st.composite
def orders(draw: st.DrawFn) -> list[Item]:
    """Any order: one line, on-net or off-net, among any number of partner products."""
    before = draw(st.integers(0, 6))
    after = draw(st.integers(0, 6))
    line = draw(st.sampled_from([ON_NET, VISITED, OFF_NET]))
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


def test_a_line_that_a_technician_comes_for() -> None:
    """He is booked when the line is sure to come, and it goes live when he was there."""
    checked = Item(is_access=True, is_visited=True, checks=("identity_check",))
    planned = plan_order([checked])
    assert [(step.kind, step.depends_on) for step in planned][3:] == [
        ("identity_check", ()),
        ("book_visit", (0, 3)),
        ("install_visit", (4,)),
        ("go_live", (1, 2, 5)),
        ("welcome", (6,)),
    ]


@pytest.mark.parametrize(
    ("is_on_net", "install_days", "needed"),
    [(True, 5, True), (True, 0, False), (True, None, False), (False, 5, False)],
)
def test_a_technician_comes_where_there_is_work_on_our_own_network(
    is_on_net: bool, install_days: int | None, needed: bool
) -> None:
    assert plan.needs_visit(is_on_net=is_on_net, install_days=install_days) is needed


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


# --- Later orders ---------------------------------------------------------------------------------

LINE_INTENTS = {"suspend": "suspend_service", "resume": "resume_service", "cease": "cease_service"}
MAKES_IT_SO = {*LINE_INTENTS.values(), "change_service", "go_live"}


@st.composite
def later_orders(draw: st.DrawFn) -> tuple[str, list[Item], bool]:
    """Any later order that a verb can make: its intent, its items, which line ends first."""
    intent = draw(st.sampled_from([*LINE_INTENTS, "change", "move", "provider_change"]))
    off_net = draw(st.booleans())
    if intent in LINE_INTENTS:
        action = "delete" if intent == "cease" else "no_change"
        return intent, [Item(is_access=True, is_off_net=off_net, action=action)], False
    products = draw(
        st.lists(
            st.builds(
                Item,
                is_access=st.just(False),
                action=st.sampled_from(["add", "modify", "delete", "no_change"]),
                is_granted=st.booleans(),
            ),
            max_size=6,
        )
    )
    if intent == "change":
        action = draw(st.sampled_from(["modify", "no_change"]))
        return intent, [Item(is_access=True, is_off_net=off_net, action=action), *products], False
    old = Item(is_access=True, is_off_net=draw(st.booleans()), action="delete")
    return intent, [Item(is_access=True, is_off_net=off_net), *products, old], draw(st.booleans())


def planned_for(order: tuple[str, list[Item], bool]) -> list[plan.Step]:
    intent, items, old_line_ends_first = order
    return plan_order(items, intent, old_line_ends_first=old_line_ends_first)


@given(later_orders())
def test_a_later_order_has_no_cycle_and_each_step_can_be_done(
    order: tuple[str, list[Item], bool],
) -> None:
    planned = planned_for(order)
    for position, step in enumerate(planned):
        assert all(0 <= earlier < position for earlier in step.depends_on)
        assert step.kind in steps.INSIDE.keys() | steps.OUTSIDE.keys()
    assert len({(step.kind, step.item) for step in planned}) == len(planned)


@given(later_orders())
def test_what_can_be_taken_back_comes_before_what_cannot(
    order: tuple[str, list[Item], bool],
) -> None:
    """So an order can be cancelled until it takes effect, and then nothing of it is open."""
    planned = planned_for(order)
    takes_effect = [n for n, step in enumerate(planned) if step.kind in MAKES_IT_SO]
    assert {planned[n].kind for n in takes_effect} <= plan.NO_RETURN
    first = takes_effect[0]
    if not order[2]:
        assert everything_before(planned, first) == set(range(first))
    can_be_undone = {
        *("reserve_port", "book_visit", "install_visit", "order_line", "modify_line"),
        "grant_entitlement",
    }
    assert not {step.kind for step in planned[first + 1 :]} & can_be_undone


def test_a_dhcp_server_is_told_when_all_else_is_done_and_again_when_it_changes() -> None:
    line = Item(is_access=True, is_off_net=True, is_by_dhcp=True)
    new = plan.plan_order([line, Item(is_access=False)])
    at = [step.kind for step in new].index("reserve_in_dhcp")
    assert everything_before(new, at) == set(range(at))
    assert (new[at + 1].kind, new[at + 1].depends_on) == ("go_live", (at,))
    for intent, action, kind in (
        ("suspend", plan.Action.NO_CHANGE, "reserve_in_dhcp"),
        ("resume", plan.Action.NO_CHANGE, "reserve_in_dhcp"),
        ("cease", plan.Action.DELETE, "release_in_dhcp"),
    ):
        later = plan.plan_order([Item(True, action=action, is_by_dhcp=True)], intent)
        assert [(step.kind, step.depends_on) for step in later[1:]] == [
            (kind, (0,)), ("apply_to_session", (0,)),
        ]  # fmt: skip


def test_a_move_away_from_dhcp_releases_the_old_line_alone() -> None:
    old = Item(True, action=plan.Action.DELETE, is_by_dhcp=True)
    planned = plan.plan_order([Item(is_access=True), old], "move")
    told = [step for step in planned if step.kind in {"reserve_in_dhcp", "release_in_dhcp"}]
    (cease,) = [n for n, step in enumerate(planned) if step.kind == "cease_service"]
    assert told == [plan.Step("release_in_dhcp", 1, (cease,), of_old_line=True)]


@given(later_orders())
def test_the_session_follows_the_change(
    order: tuple[str, list[Item], bool],
) -> None:
    planned = planned_for(order)
    for step in planned:
        if step.kind == "apply_to_session":
            (cause,) = step.depends_on
            assert planned[cause].kind in MAKES_IT_SO
            assert planned[cause].item == step.item


@given(later_orders())
def test_only_what_comes_new_and_is_a_partner_s_is_asked_for(
    order: tuple[str, list[Item], bool],
) -> None:
    _, items, _ = order
    asked = {step.item for step in planned_for(order) if step.kind == "grant_entitlement"}
    new = {n for n, item in enumerate(items) if not item.is_access and item.action == "add"}
    assert asked == {n for n in new if items[n].is_granted}


@pytest.mark.parametrize("ends_first", [False, True])
def test_whoever_moves_has_one_line_after_the_other_or_both_for_a_time(ends_first: bool) -> None:
    planned = plan_order(
        [ON_NET, Item(is_access=True, action="delete")], "move", old_line_ends_first=ends_first
    )
    (end,) = [step for step in planned if step.kind == "cease_service"]
    live = next(number for number, step in enumerate(planned) if step.kind == "go_live")
    assert end.depends_on == (() if ends_first else (live,))
    assert (end.item, end.of_old_line) == (1, True)


@pytest.mark.parametrize(
    ("items", "intent"),
    [
        ([ON_NET], "change"),
        ([ON_NET], "cease"),
        ([ON_NET], "move"),
        ([], "resume"),
        ([ON_NET], "x"),
    ],
)
def test_items_that_make_no_such_order(items: list[Item], intent: str) -> None:
    with pytest.raises(ValueError, match=r"exactly one access line|no intent"):
        plan_order(items, intent)


product_lists = st.dictionaries(st.integers(0, 9), st.sampled_from([None, 100, 101])).map(
    lambda found: [plan.Held(product, bundle) for product, bundle in found.items()]
)


@given(product_lists, product_lists)
def test_differences_make_of_the_one_the_other(
    now: list[plan.Held[int]], then: list[plan.Held[int]]
) -> None:
    found = plan.differences(now, then)
    assert set(found.added) | set(found.kept) == set(then)
    ends = {held.product for held in found.removed}
    stays = {held.product for held in found.kept}
    assert ends | stays == {held.product for held in now}
    assert not ends & {held.product for held in then}
    unchanged = {held for held in found.kept if held.product not in found.regrouped}
    assert unchanged == set(now) & set(then)


@given(product_lists)
def test_nothing_differs_from_itself(now: list[plan.Held[int]]) -> None:
    found = plan.differences(now, now)
    assert (found.added, found.removed, found.regrouped) == ((), (), frozenset())


def test_what_we_do_is_soon_due_and_what_others_do_by_the_date() -> None:
    start = datetime(2026, 5, 4, tzinfo=UTC)
    promised = start + timedelta(days=10)

    def due(kind: str) -> datetime:
        return plan.due_at(kind, starts_at=start, expected_at=promised)

    assert due("create_credentials") == start + plan.OWN_WORK_TAKES
    assert due("order_line") == due("go_live") == promised
    assert due("welcome") == promised + plan.OWN_WORK_TAKES
