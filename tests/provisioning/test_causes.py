"""Every cause that can park a step says what happened and what to do."""

import ast
from pathlib import Path
from typing import TypeVar

import provisioning
from ispops.errors import PermanentFault, Refusal
from provisioning import causes, steering

Error = TypeVar("Error", bound=Exception)
FOLDER = Path(provisioning.__file__).parent


def test_what_execution_gives_is_in_the_catalogue() -> None:
    tree = ast.parse((FOLDER / "execution.py").read_text())
    given = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    } & {"gave_up", "internal_error", "partner_refused", "partner_timed_out",
         "partner_order_withdrawn"}  # fmt: skip
    assert len(given) == 5
    assert given | {PermanentFault.cause} <= set(causes.CATALOGUE)


def test_every_other_cause_is_a_refusal_s_or_steering_s() -> None:
    codes = {kind.code for kind in _kinds(Refusal)}
    # Faults of a kind of their own have a cause of their own.
    codes |= {kind.cause for kind in _kinds(PermanentFault)} - {PermanentFault.cause}
    steered = {steering.TAKES_NO_CHANGES, steering.GAVE_UP}
    others = set(causes.CATALOGUE) - codes - steered
    assert others == {
        "gave_up", "internal_error", "not_possible", "partner_refused", "partner_timed_out",
        "partner_order_withdrawn", "check_refused",
    }  # fmt: skip


def test_an_unknown_cause_is_told_by_its_code() -> None:
    cause = causes.of("moon_is_full")
    assert cause.words == "Moon is full"
    assert cause.to_do


def _kinds(kind: type[Error]) -> set[type[Error]]:
    below = kind.__subclasses__()
    return {kind, *below}.union(*(_kinds(each) for each in below))
