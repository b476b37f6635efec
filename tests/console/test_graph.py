"""The drawing of a task graph: columns by what must be over before, no arrow that says nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispops.console import graph


@st.composite
def graphs(draw: st.DrawFn) -> dict[int, list[int]]:
    """Tasks that wait only for tasks with a lower number: what the planner makes."""
    size = draw(st.integers(0, 12))
    return {
        key: draw(st.lists(st.integers(0, key - 1), unique=True, max_size=4)) if key else []
        for key in range(size)
    }


def test_a_task_stands_right_of_all_it_waits_for() -> None:
    columns = graph.layers({1: [], 2: [1], 3: [], 4: [2, 3]})

    assert columns == {1: 0, 2: 1, 3: 0, 4: 2}


def test_an_arrow_that_others_imply_is_left_out() -> None:
    drawing = graph.draw({1: [], 2: [1], 3: [1, 2]})

    assert len(drawing.arrows) == 2


def test_an_empty_order_has_an_empty_drawing() -> None:
    drawing = graph.draw({})

    assert drawing.boxes == ()
    assert drawing.arrows == ()


def test_tasks_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="waits for itself"):
        graph.layers({1: [2], 2: [1]})


@given(graphs())
def test_boxes_never_lie_on_each_other_and_stay_inside(tasks: dict[int, list[int]]) -> None:
    drawing = graph.draw(tasks)

    places = {(box.x, box.y) for box in drawing.boxes}
    assert len(places) == len(tasks)
    assert all(box.x + graph.BOX_WIDTH <= drawing.width for box in drawing.boxes)
    assert all(box.y + graph.BOX_HEIGHT <= drawing.height for box in drawing.boxes)


@given(graphs())
def test_who_waits_stands_further_right(tasks: dict[int, list[int]]) -> None:
    columns = graph.layers(tasks)

    assert all(columns[before] < columns[key] for key in tasks for before in tasks[key])


@given(graphs())
def test_every_task_that_waits_has_an_arrow_to_it(tasks: dict[int, list[int]]) -> None:
    drawing = graph.draw(tasks)

    ends = {int(arrow.split()[-2]) for arrow in drawing.arrows}
    starts = {box.x for box in drawing.boxes if tasks[box.key]}
    assert ends == starts


@given(graphs())
def test_a_long_arrow_runs_between_the_rows_and_through_no_box(tasks: dict[int, list[int]]) -> None:
    drawing = graph.draw(tasks)

    lanes = {int(found) for arrow in drawing.arrows for found in re.findall(r" (\d+) H", arrow)}
    rows = {(box.y, box.y + graph.BOX_HEIGHT) for box in drawing.boxes}
    assert not [lane for lane in lanes for top, bottom in rows if top <= lane <= bottom]
    assert all(lane < drawing.height for lane in lanes)
