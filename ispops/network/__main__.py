"""`make network`: FreeRADIUS in front of the application that is running on this machine, and Kea
beside it where the machine has it and the user may make a network namespace."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import psycopg2.extensions
import requests

from ispops import embedded
from ispops.embedded import CannotStart
from ispops.network import freeradius, kea, kea_pair

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# Not the role of an operator's own FreeRADIUS, whose password must not change under it.
LOOKS_EVERY_SECONDS = 2.0
ROLE = "ispops_radius_local"


def main() -> int:
    """Run until a signal comes. The exit status is 0 then, and 1 when it cannot start or dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with contextlib.ExitStack() as running:
            _run(running)
    except CannotStart as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except SystemExit:
        print("\nFreeRADIUS is stopped. What it could not deliver is kept.", flush=True)
        return 0


def _leave(*_: object) -> NoReturn:
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(0)


def _run(running: contextlib.ExitStack) -> NoReturn:
    freeradius.require()
    data_dir = Path(os.environ.get("ISPOPS_DATA_DIR") or REPOSITORY / ".data").absolute()
    url = _url(data_dir)
    _require_application(url)
    _set_up_django(data_dir)
    server = _server(data_dir / "freeradius", url)
    running.callback(server.stop)
    server.start()
    _tell(server)
    _start_kea(data_dir / "kea", running)
    while server.poll() is None:
        time.sleep(LOOKS_EVERY_SECONDS)
        _keep_clients(server)
    raise CannotStart(f"FreeRADIUS has ended: see {server.log}.")


def _start_kea(folder: Path, running: contextlib.ExitStack) -> None:
    """Start the demonstration's Kea, or say why not; FreeRADIUS goes on without it."""
    from django.conf import settings

    if not settings.DEMO:
        print("Kea is started by its own units here: see DHCP in the README.", flush=True)
        return
    try:
        servers = kea_pair.start(folder, running)
    except CannotStart as cannot:
        print(f"Kea is not started. {cannot}", flush=True)
        return
    logs = " and ".join(str(server.log) for server in servers)
    print(
        f"Kea serves {kea.SUBNET[4]} and delegates prefixes in the namespace "
        f"{kea_pair.NAMESPACE}, as the address server dhcp-north. Its logs are {logs}.",
        flush=True,
    )


def _url(data_dir: Path) -> str:
    """Where the application answers: as it is said here, else as it was last started."""
    if os.environ.get("ISPOPS_BASE_URL"):
        return os.environ["ISPOPS_BASE_URL"]
    if os.environ.get("PORT"):
        return f"http://127.0.0.1:{os.environ['PORT']}"
    return embedded.last_settings(data_dir).get("ISPOPS_BASE_URL") or "http://127.0.0.1:8000"


def _keep_clients(server: freeradius.FreeRadius) -> None:
    """Let FreeRADIUS know the access servers of now; as before, while the database is away."""
    from django.db import Error, connection

    from provisioning import radius_setup

    try:
        changed = freeradius.write_clients(server.clients_folder, radius_setup.clients())
    except Error:
        connection.close()
        return
    if changed:
        print(f"Access servers that changed: {', '.join(changed)}.", flush=True)


def _require_application(url: str) -> None:
    here = requests.Session()
    here.trust_env = False  # a proxy does not know this machine's loopback address
    with contextlib.suppress(requests.RequestException):
        if here.get(f"{url}/healthz", timeout=5).status_code == 200:
            return
    raise CannotStart(
        f"ISP Ops does not answer at {url}: start it in another terminal (make run), or say where "
        "it is (PORT=..., or ISPOPS_BASE_URL=...)."
    )


def _set_up_django(data_dir: Path) -> None:
    """Work as the running application does, which has left its address and what it is."""
    for name, value in embedded.last_settings(data_dir).items():
        os.environ.setdefault(name, value)
    if not os.environ.get("DATABASE_URL"):
        raise CannotStart(f"Nothing in {data_dir} says where the database is: set DATABASE_URL.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ispops.settings")
    os.environ.setdefault("ISPOPS_DATA_DIR", str(data_dir))
    import django

    django.setup()


def _server(folder: Path, url: str) -> freeradius.FreeRadius:
    from provisioning import radius_setup

    password = secrets.token_urlsafe(24)
    radius_setup.make_role(name=ROLE, password=password)
    return freeradius.FreeRadius(
        folder,
        app_url=url,
        server=_address_server(),
        database=psycopg2.extensions.make_dsn(os.environ["DATABASE_URL"], user=ROLE, password=""),
        password=password,
        clients=radius_setup.clients(),
        auth_port=int(os.environ.get("RADIUS_AUTH_PORT") or 1812),
        acct_port=int(os.environ.get("RADIUS_ACCT_PORT") or 1813),
    )


def _address_server() -> tuple[str, str]:
    """Name and secret of the address server that FreeRADIUS is; a demonstration's are known."""
    from django.conf import settings

    from ispops.demo import network

    given = os.environ.get("RADIUS_SERVER_NAME"), os.environ.get("RADIUS_SERVER_SECRET")
    if given[0] and given[1]:
        return given[0], given[1]
    if settings.DEMO:
        return network.SERVER, network.SERVER_SECRET
    raise CannotStart("Set RADIUS_SERVER_NAME and RADIUS_SERVER_SECRET: an address server's.")


def _tell(server: freeradius.FreeRadius) -> None:
    from django.conf import settings

    from ispops.demo import network
    from provisioning.models import AaaCredential

    print(
        f"FreeRADIUS answers at 127.0.0.1:{server.auth_port}, and takes accounting at "
        f"{server.acct_port}. Its log is {server.log}. Ctrl-C stops it.",
        flush=True,
    )
    if not settings.DEMO:
        return
    login = AaaCredential.objects.filter(enabled=True).order_by("-pk").first()
    name, password = (login.username, login.secret) if login else ("LINE-NAME", "PASSWORD")
    if login is None:
        print(
            "There is no live line yet. Order one in the portal: its name and password are on the "
            "subscriber's page Devices."
        )
    asked = f'User-Name = "{name}", User-Password = "{password}"'
    station = 'Calling-Station-Id = "02-00-00-00-00-01"'
    print(
        f"\n  echo '{asked}, {station}' |\n"
        f"    radclient -x 127.0.0.1:{server.auth_port} auth {network.ACCESS_SECRET}\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
