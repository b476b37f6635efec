"""The tree of blocks by hand: seen, tried out, changed, refused with the field and the reason."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from ipam.models import Allocation, Block, Pool
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.console.conftest import NOW, World


@pytest.fixture
def operations(world: World, as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


@pytest.fixture
def top(world: World) -> Block:
    return Block.objects.create(network="10.0.0.0/16", tier=0, name="Test range", created_at=NOW)


def post(client: Client, block: Block | None, confirmed: bool = True, **given: object) -> object:
    address = (
        reverse("admin:console_change_block", args=[block.pk])
        if block
        else reverse("admin:console_add_allocation")
    )
    return client.post(address, {**given, **({"confirmed": "1"} if confirmed else {})}, follow=True)


def test_the_tree_says_how_full_it_is_in_words(operations: Client, world: World) -> None:
    page = operations.get(reverse("admin:console_addresses")).content.decode()
    pool = Pool.objects.filter(server=world.server, purpose="dynamic").get()
    assert pool.block.network in page
    assert "1 of " in page
    assert "its pools are 1 % held" in page


def test_a_preview_changes_nothing_and_says_what_would_be_made(
    operations: Client, top: Block
) -> None:
    before = Block.objects.count()
    page = post(operations, top, False, what="carve", length="/24", tier="1", name="North")
    assert "10.0.0.0/24 “North”: region" in page.content.decode()  # type: ignore[attr-defined]
    assert Block.objects.count() == before
    post(operations, top, what="carve", length="/24", tier="1", name="North")
    made = Block.objects.get(network="10.0.0.0/24")
    assert (made.parent, made.name) == (top, "North")
    assert AuditEntry.objects.get(action="block.carved").actor is not None


def test_a_block_goes_from_the_registry_to_a_pool_and_back(
    operations: Client, world: World
) -> None:
    post(operations, None, network="10.0.0.0/16", name="From the registry")
    top = Block.objects.get(network="10.0.0.0/16")
    post(operations, top, what="add", network="10.0.8.0/22", tier="2")
    whole = Block.objects.get(network="10.0.8.0/22")
    post(operations, whole, what="split", length="23")
    first, second = Block.objects.filter(parent=top).order_by("network")
    post(operations, first, what="merge", other=second.pk)
    joined = Block.objects.get(network="10.0.8.0/22")
    post(
        operations, joined, what="pool", name="hand-made", server=world.server.name,
        purpose="dynamic",
    )  # fmt: skip
    pool = Pool.objects.get(name="hand-made")
    page = operations.get(reverse("admin:console_pool", args=[pool.name])).content.decode()
    assert "0 of 1,022" in page
    refused = post(operations, joined, what="remove")
    assert "is handed out by the pool hand-made" in refused.content.decode()  # type: ignore[attr-defined]
    post(operations, top, what="add", network="10.0.0.0/24", tier="1")
    post(operations, Block.objects.get(network="10.0.0.0/24"), what="remove")
    assert not Block.objects.filter(network="10.0.0.0/24").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"what": "add", "network": "10.0.0.1/24", "tier": "1"}, "; write 10.0.0.0/24"),
        ({"what": "add", "network": "10.0.0.0/33", "tier": "1"}, "is no network"),
        ({"what": "add", "network": "10.1.0.0/24", "tier": "1"}, "is not inside 10.0.0.0/16"),
        ({"what": "add", "network": "10.0.0.0/24", "tier": "x"}, "whole number"),
        ({"what": "add", "network": "10.0.64.0/24", "tier": "2"}, "overlaps 10.0.64.0/18"),
        ({"what": "carve", "length": "many", "tier": "1"}, "Write a length"),
        ({"what": "carve", "length": "/8", "tier": "1"}, "can be cut"),
        ({"what": "split", "length": "/17"}, "1 blocks are cut"),
        ({"what": "merge", "other": "0"}, "Choose the neighbour"),
        (
            {"what": "pool", "name": "x", "server": "nobody", "purpose": "dynamic"},
            "Choose the serv",
        ),
    ],
)
def test_what_cannot_be_is_said_on_the_page(
    operations: Client, top: Block, given: dict[str, str], words: str
) -> None:
    Block.objects.create(network="10.0.64.0/18", tier=1, parent=top, created_at=NOW)
    before = Block.objects.count(), AuditEntry.objects.count()
    page = post(operations, top, **given)
    assert page.status_code == 422  # type: ignore[attr-defined]
    assert words in page.content.decode()  # type: ignore[attr-defined]
    assert (Block.objects.count(), AuditEntry.objects.count()) == before


def test_an_allocation_that_overlaps_is_refused_at_its_field(
    operations: Client, top: Block
) -> None:
    page = post(operations, None, network="10.0.0.0/8")
    assert page.status_code == 422  # type: ignore[attr-defined]
    assert 'aria-invalid="true"' in page.content.decode()  # type: ignore[attr-defined]


def test_nobody_changes_in_a_way_that_there_is_not(operations: Client, top: Block) -> None:
    assert post(operations, top, what="burn").status_code == 404  # type: ignore[attr-defined]
    missing = reverse("admin:console_block", args=[2**70])
    assert operations.get(missing).status_code == 404


def test_the_holders_of_a_pool_are_found_by_address_device_or_name(
    operations: Client, world: World
) -> None:
    held = Allocation.objects.filter(pool__server=world.server, family=4).first()
    assert held is not None
    address = reverse("admin:console_pool", args=[held.pool.name])
    for sought in (held.address.removesuffix("/32"), held.device[-5:], "lovelace"):
        assert held.device in operations.get(address, {"q": sought}).content.decode()
    for sought in ("203.0.113.77", "nobody\0", "ff:ff"):
        page = operations.get(address, {"q": sought}).content.decode()
        assert held.device not in page
        assert "Nobody who fits" in page


def test_the_files_hold_every_block_and_pool(operations: Client, top: Block) -> None:
    said = b"".join(operations.get(reverse("admin:console_addresses_file")).streaming_content)  # type: ignore[attr-defined]
    rows = list(csv.DictReader(said.decode().splitlines()))
    assert {row["network"] for row in rows} == set(Block.objects.values_list("network", flat=True))
    said = b"".join(operations.get(reverse("admin:console_pools_file")).streaming_content)  # type: ignore[attr-defined]
    pools = list(csv.DictReader(said.decode().splitlines()))
    assert {row["pool"] for row in pools} == set(Pool.objects.values_list("name", flat=True))


def test_the_lists_lead_to_the_pages(operations: Client, top: Block, world: World) -> None:
    pool = Pool.objects.first()
    assert pool is not None
    for name, key, page in (
        ("console_block_from_list", top.pk, reverse("admin:console_block", args=[top.pk])),
        ("console_pool_from_list", pool.pk, reverse("admin:console_pool", args=[pool.name])),
    ):
        assert operations.get(reverse(f"admin:{name}", args=[key])).url == page  # type: ignore[attr-defined]


def test_a_page_reads_a_few_times_only(
    operations: Client, top: Block, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    with django_assert_max_num_queries(40):  # type: ignore[attr-defined]
        operations.get(reverse("admin:console_block", args=[top.pk]))
