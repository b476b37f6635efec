"""A full pool of a real Kea gets a further block while it runs, beside Kea's own look for it."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
from django.db import connection

from ipam.servers import kea_backend
from ipam.servers.base import Range
from ipam.servers.kea import Kea, Place, pool_of, subnet_of
from ispops import embedded, processes, supervisor
from ispops.bench import Case, Size, bench
from ispops.network import kea

NAMESPACE = "isp-bench"
DEVICES = 6
# Every device of the runs is known to Kea: two octets of its hardware address count them.
_KNOW_ALL = """
INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id)
SELECT decode('02000000' || lpad(to_hex(number), 4, '0'), 'hex'), 0, 1
FROM generate_series(0, 4095) number
"""


@bench
def ipam_kea(size: Size) -> Iterator[Case]:
    """From the last address of a pool to a device that has one of the further block."""
    with contextlib.ExitStack() as running:
        try:
            url, folder = _start(running)
        except embedded.CannotStart as cannot:
            supervisor._say(f"Kea is not measured. {cannot}")
            return
        pools = _Pools(url, folder)
        yield Case(
            name=f"a full pool of {DEVICES} gets a further block that is used",
            unit="ms",
            ours=lambda: pools.grow(pools.told.add_range),
            reference=lambda: pools.grow(pools.write_only),
            before_ours=pools.fill,
            before_reference=pools.fill,
        )


def _start(running: contextlib.ExitStack) -> tuple[str, Path]:
    """Start a Kea whose hosts and pools are in a database of their own."""
    kea.require()
    name = f"kea_{os.getpid()}"
    _on_server(f'CREATE DATABASE "{name}"')
    running.callback(_on_server, f'DROP DATABASE "{name}" WITH (FORCE)')
    parts = connection.get_connection_params() | {"dbname": name}
    url = str(psycopg2.extensions.make_dsn(**_plain(parts)))
    kea.make_tables(url)
    with contextlib.closing(psycopg2.connect(url)) as there, there, there.cursor() as cursor:
        cursor.execute(_KNOW_ALL)
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ispops-kea-")))
    interface = running.enter_context(kea.cable(NAMESPACE))
    server = kea.Kea(folder, namespace=NAMESPACE, interface=interface, database_url=url)
    running.callback(server.stop)
    server.start()
    return url, folder


def _plain(parts: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parts.items() if isinstance(value, str | int) and value}


def _on_server(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


class _Pools:
    """Pools of six addresses, one after the other, that devices fill."""

    def __init__(self, url: str, folder: Path) -> None:
        self.told = Kea(
            Place(4, str(folder / "kea4.socket"), url, "all", 1, kea.SUBNET[4], "bench")
        )
        self._pools, self._devices = 0, 0
        self._add(self.told.add_range)

    def fill(self) -> None:
        """Let devices come until all are refused."""
        while self._come(DEVICES):
            pass

    def grow(self, tell: Callable[[Range], object]) -> int:
        """Add a pool, and see that a device gets an address of it."""
        further = self._add(tell)
        self._come(1)
        if not processes.wait_until(lambda: self._is_used(further), seconds=3):
            raise RuntimeError("the further block is not used")
        return 1

    def _is_used(self, given: Range) -> bool:
        return self.told.utilisation([given])[0].assigned > 0

    def write_only(self, wanted: Range) -> None:
        """Write the rows and say nothing: Kea looks for changes every second."""
        pool = pool_of(wanted)
        assert isinstance(pool, kea_backend.Pool)
        kea_backend.add(self.told.place.config_url, subnet_of(self.told.place, wanted), pool)

    def _add(self, tell: Callable[[Range], object]) -> Range:
        self._pools += 1
        wanted = Range(self._pools, f"100.127.9.{8 * self._pools}/29", 32, "leased")
        tell(wanted)
        self.told.confirm(wanted)
        return wanted

    def _come(self, devices: int) -> int:
        first = f"02:00:00:00:{self._devices >> 8:02x}:{self._devices & 255:02x}"
        self._devices += devices
        return kea.exchanges(4, NAMESPACE, devices=devices, a_second=200, first_mac=first)
