"""Devices, slots and extents: by example where people write them, by properties where we count."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam import selection
from ipam.selection import Extent, UnusableDevice, UnusableNetwork, normalise_device

DUID = "000100012c3d4e5f0242ac110002"
LONGEST_DUID = "00ff" * 65

# --- Devices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelling",
    [
        "02:42:ac:11:00:02",
        "02-42-AC-11-00-02",
        "0242.ac11.0002",
        "0242AC110002",
        "0242ac-110002",
        "  02:42:AC:11:00:02\n",
        "01:02:42:ac:11:00:02",
    ],
)
def test_every_spelling_of_a_mac_address_is_one_device(spelling: str) -> None:
    assert normalise_device(spelling) == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    "spelling", [DUID, DUID.upper(), ":".join(DUID[i : i + 2] for i in range(0, 28, 2))]
)
def test_every_spelling_of_a_duid_is_one_device(spelling: str) -> None:
    assert normalise_device(spelling) == DUID


def test_the_longest_duid_fits_the_column() -> None:
    assert len(normalise_device(LONGEST_DUID)) == selection.DEVICE_MAX_LENGTH


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:DB8::5", "2001:db8::5"),
        ("OLT-7 1/1/3:100  onu 4", "olt-7 1/1/3:100 onu 4"),
        ("+1 555 0142", "+1 555 0142"),
        ("%{User-Name}", "%{user-name}"),
        ("'; DROP TABLE ipam_allocation; --", "'; drop table ipam_allocation; --"),
        ("aa:bb", "aa:bb"),
    ],
)
def test_other_identifiers_are_kept_as_text(text: str, name: str) -> None:
    assert normalise_device(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "00:00:00:00:00:00",
        "FF-FF-FF-FF-FF-FF",
        "02:42:ac:11:00:02\0",
        "a\x1b[31mb",
        "line one\nline two",
        "\uff10\uff12:42:ac:11:00:02",
        "caf\u00e9",
        "x" * 254,
        LONGEST_DUID + "00",
    ],
)
def test_what_names_no_device_is_refused(text: str) -> None:
    with pytest.raises(UnusableDevice):
        normalise_device(text)


@given(st.text(max_size=300))
def test_any_text_is_refused_or_gets_a_name_that_stays(text: str) -> None:
    try:
        name = normalise_device(text)
    except UnusableDevice:
        return
    assert normalise_device(name) == name
    assert 0 < len(name) <= selection.DEVICE_MAX_LENGTH
    assert name.isascii()
    assert name.isprintable()


# --- Slots --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "unit", "slot", "address"),
    [
        ("100.64.0.0/10", 32, 0, "100.64.0.0/32"),
        ("100.64.0.0/10", 32, 65_537, "100.65.0.1/32"),
        ("10.0.0.0/8", 32, 16_777_215, "10.255.255.255/32"),
        ("192.0.2.0/24", 28, 3, "192.0.2.48/28"),
        ("2001:db8::/32", 56, 0, "2001:db8::/56"),
        ("2001:db8::/32", 56, 16_777_215, "2001:db8:ffff:ff00::/56"),
        ("2001:db8::/112", 128, 7, "2001:db8::7/128"),
        ("::/112", 128, 7, "::7/128"),
    ],
)
def test_a_slot_and_its_address_name_each_other(
    network: str, unit: int, slot: int, address: str
) -> None:
    assert selection.address_of(network, unit, slot) == address
    assert selection.slot_of(network, unit, address) == slot


@given(st.sampled_from([4, 6]), st.data())
def test_slots_and_addresses_are_inverse(family: int, data: st.DataObject) -> None:
    bits = selection.BITS[family]
    length = data.draw(st.integers(0, bits))
    unit = data.draw(st.integers(length, min(bits, length + selection.MOST_SLOT_BITS)))
    base = data.draw(st.integers(0, 2**length - 1)) << (bits - length)
    kind = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    network = f"{kind(base)}/{length}"
    slot = data.draw(st.integers(0, selection.slot_count(network, unit) - 1))
    address = selection.address_of(network, unit, slot)
    assert selection.slot_of(network, unit, address) == slot
    assert selection.is_inside(address, network)


def test_an_address_inside_a_delegated_prefix_has_its_slot() -> None:
    assert selection.slot_of("2001:db8::/32", 56, "2001:db8:0:1ff::9") == 1


@pytest.mark.parametrize("address", ["192.0.3.1", "2001:db8::1", "0.0.0.0/0"])
def test_an_address_outside_the_block_has_no_slot(address: str) -> None:
    with pytest.raises(UnusableNetwork, match="not inside"):
        selection.slot_of("192.0.2.0/24", 32, address)


@pytest.mark.parametrize("slot", [-1, 256])
def test_a_block_has_no_slot_beyond_its_end(slot: int) -> None:
    with pytest.raises(UnusableNetwork, match="number"):
        selection.address_of("192.0.2.0/24", 32, slot)


@pytest.mark.parametrize(
    ("network", "unit", "usable"),
    [
        ("192.0.2.0/24", 32, (1, 254)),
        ("192.0.2.0/31", 32, (0, 1)),
        ("192.0.2.0/32", 32, (0, 0)),
        ("192.0.2.0/24", 28, (0, 15)),
        ("2001:db8::/32", 56, (0, 2**24 - 1)),
    ],
)
def test_network_and_broadcast_address_are_left_out(
    network: str, unit: int, usable: tuple[int, int]
) -> None:
    assert selection.usable_slots(network, unit) == usable


@pytest.mark.parametrize(
    "network", ["192.0.2.0/33", "192.0.2.1/24", "2001:db8::/129", "fe80::%eth0/64", "x", ""]
)
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(UnusableNetwork, match=r"is no network|; write 192|an interface"):
        selection.parse_network(network)


@pytest.mark.parametrize("text", ["192.0.2.0/24", "192.0.2.7/32", "fe80::1%eth0", "x", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UnusableNetwork):
        selection.parse_address(text)
    assert selection.parse_address(" 2001:DB8:0::7 ") == "2001:db8::7"


@pytest.mark.parametrize(
    ("network", "unit"), [("192.0.2.0/24", 23), ("192.0.2.0/24", 33), ("2001:db8::/32", 128)]
)
def test_units_must_fit_the_block_and_be_countable(network: str, unit: int) -> None:
    with pytest.raises(UnusableNetwork):
        selection.slot_count(network, unit)


# --- Extents and shards -------------------------------------------------------------------------


@given(st.integers(0, 20), st.integers(0, 40), st.sets(st.integers(0, 70)), st.integers(1, 9))
def test_gaps_are_what_is_not_taken(first: int, more: int, taken: set[int], size: int) -> None:
    left = selection.gaps(first, first + more, taken, size)
    slots = [slot for extent in left for slot in range(extent.first, extent.last + 1)]
    assert slots == [slot for slot in range(first, first + more + 1) if slot not in taken]
    assert all(extent.first // size == extent.last // size for extent in left)
    assert left == selection.join(left, size)


@pytest.mark.parametrize(
    ("slots", "size"), [(1, 1), (8, 8), (16, 8), (256, 8), (1024, 16), (2**24, 2**18)]
)
def test_a_pool_has_at_most_64_shards_of_at_least_8_slots(slots: int, size: int) -> None:
    assert selection.shard_size(slots) == size


def test_shards_cover_the_usable_slots_and_nothing_else() -> None:
    cut = selection.shards(1, 254, 8)
    assert (cut[0], cut[1], cut[-1]) == (Extent(1, 7), Extent(8, 15), Extent(248, 254))
    assert sum(extent.last - extent.first + 1 for extent in cut) == 254


def test_a_run_inside_one_shard_is_one_extent() -> None:
    assert selection.shards(3, 5, 8) == [Extent(3, 5)]


def test_askers_start_in_their_own_shard_every_time_and_spread_evenly() -> None:
    starts = [selection.starting_point(f"svc_{n}", 2**24) for n in range(6400)]
    assert starts[7] == selection.starting_point("svc_7", 2**24)
    per_shard = [starts.count((shard + 1) * 2**18 - 1) for shard in range(64)]
    assert sum(per_shard) == 6400
    assert min(per_shard) > 50


@pytest.mark.parametrize(
    ("slot", "left"),
    [
        (3, [Extent(4, 9)]),
        (9, [Extent(3, 8)]),
        (6, [Extent(3, 5), Extent(7, 9)]),
    ],
)
def test_a_slot_is_cut_from_either_end_or_the_middle(slot: int, left: list[Extent]) -> None:
    assert selection.cut(Extent(3, 9), slot) == left


def test_the_last_slot_leaves_nothing() -> None:
    assert selection.cut(Extent(3, 3), 3) == []


@pytest.mark.parametrize("slot", [2, 10])
def test_a_slot_that_is_not_there_cannot_be_cut(slot: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        selection.cut(Extent(3, 9), slot)


def test_what_touches_is_joined_but_not_over_the_edge_of_a_shard() -> None:
    assert selection.runs([5, 6, 7, 8, 9, 3], 8) == [Extent(3, 3), Extent(5, 7), Extent(8, 9)]


def test_a_slot_cannot_become_free_twice() -> None:
    with pytest.raises(ValueError, match="free twice"):
        selection.join([Extent(3, 9), Extent(9, 9)], 64)


def test_an_extent_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Extent(3, 2)


@given(st.integers(3, 10), st.randoms(use_true_random=False))
def test_taking_and_giving_back_loses_no_slot(bits: int, dice: random.Random) -> None:
    """Random takes and returns: free and held make the whole, and all returned is as at first."""
    slots = 1 << bits
    size = selection.shard_size(slots)
    whole = selection.shards(0, slots - 1, size)
    free, held = list(whole), set[int]()
    for _ in range(60):
        if free and dice.random() < 0.6:
            extent = dice.choice(free)
            slot = dice.randint(extent.first, extent.last)
            free.remove(extent)
            free += selection.cut(extent, slot)
            held.add(slot)
        elif held:
            back = dice.sample(sorted(held), dice.randint(1, len(held)))
            held -= set(back)
            free = selection.join([*free, *selection.runs(back, size)], size)
        listed = [slot for extent in free for slot in range(extent.first, extent.last + 1)]
        assert len(listed) == len(set(listed))
        assert set(listed) | held == set(range(slots))
        assert not set(listed) & held
    assert selection.join([*free, *selection.runs(held, size)], size) == whole
