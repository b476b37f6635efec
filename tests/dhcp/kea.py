"""The real Kea (Debian's kea-dhcp4-server and kea-dhcp6-server) with the configuration of
deploy/kea, and perfdhcp, which stands for many devices behind a relay agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ispops.embedded import CannotStart
from ispops.network import kea as network
from tests import databases

# The subnet of the tests: the server's side, the relay's, and the walled garden.
SERVER, RELAY, SUBNET = network.SERVER[4], network.RELAY[4], network.SUBNET[4]
RESERVED, GARDEN = "100.127.9.64/26", "100.127.9.192-100.127.9.250"
STATIC = "100.127.9.128/28"
NAMESPACE = "isp-kea"
POOLS = [
    {"pool": RESERVED, "client-class": "nobody"},
    {"pool": STATIC, "client-class": "nobody"},
    {"pool": GARDEN, "client-class": "garden"},
]


def require() -> None:
    """Leave the test out where Kea cannot be had."""
    try:
        network.require()
    except CannotStart as cannot:
        if os.environ.get("CI") == "true":
            pytest.fail(str(cannot))
        pytest.skip(str(cannot))


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Give the address of a database with Kea's own tables, for as long as the block lasts."""
    require()
    name = databases.scratch_name(kind)
    databases.execute(f'CREATE DATABASE "{name}"')
    network.make_tables(databases.url_of(name))
    try:
        yield databases.url_of(name)
    finally:
        databases.drop_database(name)


@contextmanager
def server(
    folder: Path, database_url: str, *, family: int = 4, pools: bool = False
) -> Iterator[network.Kea]:
    """A Kea in a namespace, with its hosts and pools in this database.

    With `pools`, a pool of reserved addresses and a walled garden are in its file instead.
    """
    subnets = [{"id": 1, "subnet": SUBNET, "pools": POOLS}] if pools else []
    with ExitStack() as running:
        try:
            interface = running.enter_context(network.cable(NAMESPACE))
            if family == 6:
                subnets = [{"id": 1, "subnet": network.SUBNET[6], "interface": interface}]
            child = network.Kea(
                folder,
                namespace=NAMESPACE,
                interface=interface,
                database_url=database_url,
                family=family,
                subnets=subnets,
            )
        except CannotStart as cannot:
            pytest.skip(str(cannot))
        running.callback(child.stop)
        child.start()
        yield child
