import pytest

from provisioning.in_force import Profile, Speed, profile

PLAN = Speed(500_000, 100_000)


@pytest.mark.parametrize(
    ("state", "treatments", "enabled", "treatment"),
    [
        ("reserved", [], False, ""),
        ("active", [], True, ""),
        ("suspended", [], True, "block"),
        ("suspended", ["walled_garden"], True, "walled_garden"),
        ("suspended", ["block"], True, "block"),
        ("suspended", ["walled_garden", "block"], True, "block"),
        ("suspended", ["walled_garden", "walled_garden"], True, "walled_garden"),
        ("ceased", [], False, ""),
        # What is left open of an earlier suspension does not stop a line that is active.
        ("active", ["block"], True, ""),
    ],
)
def test_the_strictest_suspension_wins(
    state: str, treatments: list[str], enabled: bool, treatment: str
) -> None:
    assert profile(state=state, treatments=treatments, plan=PLAN) == Profile(
        enabled=enabled, treatment=treatment, speed=PLAN
    )


@pytest.mark.parametrize("instead", [Speed(1_000_000, 1_000_000), Speed(1_000, 500)])
def test_another_speed_replaces_the_plans(instead: Speed) -> None:
    assert profile(state="active", treatments=[], plan=PLAN, instead=instead).speed == instead


@pytest.mark.parametrize(
    ("state", "treatments", "lets_in", "is_walled"),
    [
        ("active", [], True, False),
        ("suspended", ["walled_garden"], True, True),
        ("suspended", [], False, False),
        ("ceased", [], False, False),
    ],
)
def test_who_is_let_in(state: str, treatments: list[str], lets_in: bool, is_walled: bool) -> None:
    served = profile(state=state, treatments=treatments, plan=PLAN)
    assert (served.lets_in, served.is_walled) == (lets_in, is_walled)
