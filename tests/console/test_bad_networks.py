"""Networks that cannot be (issue 6, *Bad input*): a clear answer each, on every face that takes
one, and nothing half written. Over the API no network is named, only a length: tests/ipam/test_api.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ipam import block_imports, blocks, importing
from ipam.models import Block, Pool
from ispops.errors import Refusal
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests.console.conftest import NOW, World
from tests.ipam.ground import NOON
from tests.ipam.test_importing import done

FOUR, SIX, TAKEN = "10.0.0.0/16", "3fff:7::/48", "10.0.64.0/18"
# What is wrong, the network, the block that it is to be cut from, and what is said.
CASES = {
    "too long": ("10.0.0.0/33", FOUR, "is no network"),
    "host bits": ("10.0.0.1/24", FOUR, "; write 10.0.0.0/24"),
    "outside": ("10.1.0.0/24", FOUR, "is not inside 10.0.0.0/16"),
    "overlapping": ("10.0.64.0/24", FOUR, "overlaps 10.0.64.0/18"),
    "IPv4 in IPv6": ("10.0.0.0/24", SIX, "is not inside 3fff:7::/48"),
}
# NetBox names no parent: what lies in nothing is an allocation there, and nothing else is outside.
BY_NETBOX = {
    "too long": ("10.0.0.0/33", "is no network"),
    "host bits": ("10.0.0.1/24", "; write 10.0.0.0/24"),
    "outside": ("10.1.0.0/24", "Say which block this one is cut from"),
    "overlapping": ("10.0.0.0/15", "overlaps 10.0.0.0/16"),
}


@pytest.fixture
def ground(world: World) -> dict[str, Block]:
    made = {
        network: blocks.create_block(network=network, tier=0, at=NOW) for network in (FOUR, SIX)
    }
    blocks.create_block(network=TAKEN, tier=1, parent=made[FOUR], at=NOW)
    return made


@pytest.fixture
def operations(ground: Any, as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


def rows() -> list[int]:
    return [model.objects.count() for model in (Block, Pool)]


@pytest.mark.parametrize("case", CASES)
def test_a_bad_network_is_refused_on_the_page_and_in_the_file(
    operations: Client, ground: dict[str, Block], case: str
) -> None:
    network, parent, words = CASES[case]
    before, trail = rows(), AuditEntry.objects.count()
    with pytest.raises(Refusal, match=words) as refused:
        blocks.create_block(network=network, tier=1, parent=ground[parent], at=NOW)
    assert refused.value.field == "network"
    page = operations.post(
        reverse("admin:console_change_block", args=[ground[parent].pk]),
        {"what": "add", "network": network, "tier": "1", "confirmed": "1"},
    )
    assert (page.status_code, words in page.content.decode()) == (422, True)
    assert AuditEntry.objects.count() == trail

    told = taken(f"network,parent,tier\n{network},{parent},region\n")
    assert (told.outcome, told.field) == ("refused", "network")
    assert words in told.words
    assert rows() == before


@pytest.mark.parametrize("case", BY_NETBOX)
def test_a_bad_network_of_netbox_is_refused(ground: dict[str, Block], case: str) -> None:
    network, words = BY_NETBOX[case]
    before = rows()
    entry = {"prefix": network, "status": {"value": "active"}, "vrf": None}
    if case == "overlapping":
        entry = {"prefix": network, "rir": {"slug": "arin"}}
    told = taken(json.dumps({"results": [entry]}))
    assert (told.outcome, told.field in ("network", "parent")) == ("refused", True)
    assert words in told.words
    assert rows() == before


@pytest.mark.parametrize(
    ("network", "tier", "pool", "field", "words"),
    [
        (SIX.replace("/48", "/52"), "pool", "dynamic", "purpose", "single IPv4 addresses"),
        ("10.0.0.0/24", "pool", "prefix", "purpose", "Only IPv6 prefixes are delegated"),
    ],
    ids=["IPv6 in a pool of IPv4", "IPv4 in a pool of IPv6"],
)
def test_a_pool_of_the_other_family_is_refused(
    operations: Client, ground: dict[str, Block], network: str, tier: str, pool: str, field: str,
    words: str,
) -> None:  # fmt: skip
    from ipam.models import AddressServer

    server = AddressServer.objects.order_by("pk")[0]
    told = taken(f"network,tier,pool,server,purpose\n{network},{tier},p,{server.name},{pool}\n")
    assert (told.outcome, told.field) == ("refused", field)
    assert words in told.words
    parent = ground[FOUR if network.startswith("10.") else SIX]
    block = blocks.create_block(network=network, tier=2, parent=parent, at=NOW)
    before = rows()
    page = operations.post(
        reverse("admin:console_change_block", args=[block.pk]),
        {"what": "pool", "name": "p", "server": server.name, "purpose": pool, "confirmed": "1"},
    )
    assert (page.status_code, words in page.content.decode()) == (422, True)
    assert rows() == before


def taken(text: str) -> importing.Result:
    """Take a file of one row; returns what became of it."""
    from tests import factories

    actor = factories.staff(roles.OPERATIONS, at=NOW)
    trial = done(
        block_imports.submit(
            upload=io.BytesIO(text.encode()), file_name="plan", actor=actor, at=NOON
        )
    )
    _, (line, network, outcome, words, field) = block_imports.results_of(trial)
    return importing.Result(int(line), network, outcome, words, field)
