"""Gaps, best fit, parts and neighbours: arithmetic that must hold for every layout."""

import ipaddress
import random

import pytest

from ipam import carving
from ipam.selection import UnusableNetwork


def test_gaps_are_the_fewest_networks_by_address() -> None:
    assert carving.gaps("10.0.0.0/24", []) == ["10.0.0.0/24"]
    assert carving.gaps("10.0.0.0/24", ["10.0.0.64/26", "10.0.0.0/28"]) == [
        "10.0.0.16/28",
        "10.0.0.32/27",
        "10.0.0.128/25",
    ]
    assert carving.gaps("10.0.0.0/24", ["10.0.0.128/25", "10.0.0.0/25"]) == []
    assert carving.gaps("2001:db8::/32", ["2001:db8::/33"]) == ["2001:db8:8000::/33"]
    assert carving.gaps("::/126", ["::1/128"]) == ["::/128", "::2/127"]


def test_the_smallest_gap_that_fits_is_cut() -> None:
    taken = ["10.0.0.0/26", "10.0.0.128/26"]
    assert carving.best_fit("10.0.0.0/16", taken, 26) == "10.0.0.64/26"
    assert carving.best_fit("10.0.0.0/16", taken, 27) == "10.0.0.64/27"
    assert carving.best_fit("10.0.0.0/16", taken, 24) == "10.0.1.0/24"
    assert carving.best_fit("10.0.0.0/16", taken, 17) == "10.0.128.0/17"
    assert carving.best_fit("10.0.0.0/16", taken, 16) is None
    assert carving.best_fit("10.0.0.0/16", [], 16) == "10.0.0.0/16"


@pytest.mark.parametrize("length", [15, 33])
def test_a_length_that_the_block_does_not_have_is_refused(length: int) -> None:
    with pytest.raises(UnusableNetwork):
        carving.best_fit("10.0.0.0/16", [], length)


def test_cutting_at_random_until_nothing_fits_overlaps_nothing_and_loses_nothing() -> None:
    dice = random.Random(6)
    taken: list[str] = []
    for _ in range(300):
        if network := carving.best_fit("10.0.0.0/20", taken, dice.choice([24, 26, 28, 30])):
            taken.append(network)
        elif taken:
            taken.remove(dice.choice(taken))
        whole = [*map(ipaddress.ip_network, [*taken, *carving.gaps("10.0.0.0/20", taken)])]
        assert [*ipaddress.collapse_addresses(whole)] == [ipaddress.ip_network("10.0.0.0/20")]
        assert sum(part.num_addresses for part in whole) == 4096


def test_parts_and_joined_are_each_others_inverse() -> None:
    parts = carving.parts("10.0.0.0/24", 26)
    assert parts == ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26", "10.0.0.192/26"]
    assert carving.joined(parts[::-1]) == "10.0.0.0/24"
    assert carving.joined(carving.parts("2001:db8::/32", 33)) == "2001:db8::/32"


@pytest.mark.parametrize("length", [24, 23, 33, -1])
def test_a_network_is_not_split_into_what_it_does_not_have(length: int) -> None:
    with pytest.raises(UnusableNetwork):
        carving.parts("10.0.0.0/24", length)


def test_a_split_makes_no_thousands() -> None:
    assert len(carving.parts("10.0.0.0/16", 24)) == 256
    with pytest.raises(UnusableNetwork, match="more than 256"):
        carving.parts("10.0.0.0/16", 25)


@pytest.mark.parametrize(
    "networks",
    [
        ["10.0.0.0/24"],
        ["10.0.0.0/24", "10.0.2.0/24"],
        ["10.0.1.0/24", "10.0.2.0/24"],
        ["10.0.0.0/24", "10.0.1.0/25"],
        ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"],
        ["10.0.0.0/24", "2001:db8::/32"],
    ],
)
def test_what_is_no_whole_network_is_not_joined(networks: list[str]) -> None:
    with pytest.raises(UnusableNetwork):
        carving.joined(networks)


def test_parts_of_different_length_make_one_network() -> None:
    assert carving.joined(["10.0.0.0/25", "10.0.0.128/26", "10.0.0.192/26"]) == "10.0.0.0/24"


def test_coverage_says_how_much_of_each_part_is_taken() -> None:
    assert carving.coverage("10.0.0.0/24", ["10.0.0.0/25", "10.0.0.192/27"], 4) == [1, 1, 0, 0.5]
    assert carving.coverage("10.0.0.0/24", ["10.0.0.64/28"], 2) == [0.125, 0]
    assert carving.coverage("10.0.0.0/31", ["10.0.0.1/32"], 256) == [0, 1]
    assert carving.coverage("2001:db8::/32", ["2001:db8::/32"], 8) == [1] * 8
