"""The two Kea servers that `make network` starts beside FreeRADIUS, where that may be done."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from ispops.network import kea

DATABASE = "ispops_kea_local"
NAMESPACE = "isp-north"


def start(folder: Path, running: contextlib.ExitStack) -> list[kea.Kea]:
    """Start Kea for IPv4 and IPv6, as long as `running` lasts, and connect the demonstration's.

    Raises `CannotStart` with the reason where Kea is not there or may not run.
    """
    from django.utils import timezone

    from ispops.demo import dhcp

    kea.require()
    url = _database()
    interface = running.enter_context(kea.cable(NAMESPACE))
    servers = []
    for family in (4, 6):
        subnets = [{"id": 1, "subnet": kea.SUBNET[6], "interface": interface}]
        server = kea.Kea(
            folder / f"ipv{family}",
            namespace=NAMESPACE,
            interface=interface,
            database_url=url,
            family=family,
            subnets=subnets if family == 6 else (),
        )
        running.callback(server.stop)
        server.start()
        servers.append(server)
    dhcp.connect(servers, database_url=url, at=timezone.now())
    return servers


def _database() -> str:
    """Make a database of Kea's own beside the application's, if there is none; its address."""
    application = os.environ["DATABASE_URL"]
    url = urlunsplit(urlsplit(application)._replace(path=f"/{DATABASE}"))
    with contextlib.closing(psycopg2.connect(application)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, contextlib.suppress(psycopg2.errors.DuplicateDatabase):
            cursor.execute(f'CREATE DATABASE "{DATABASE}"')
    kea.make_tables(url)
    return url
