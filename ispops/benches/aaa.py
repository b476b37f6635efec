"""Authorisation through the real FreeRADIUS, beside the same FreeRADIUS with a null HTTP answer.

Two gunicorn workers answer in both cases. The lines hold their addresses already, as a line that
comes back does.
"""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ispops import embedded, supervisor
from ispops.bench import Case, Size, bench
from ispops.benches import access_lines, null_answer
from ispops.benches.access_requests import Load
from ispops.network import freeradius

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
SERVER, SECRET = "north", "a-secret-of-the-address-server"
NAS_SECRET = "a-secret-of-the-access-server"
AT_ONCE = 8


@bench
def aaa(size: Size) -> Iterator[Case]:
    """Access-Requests by PAP, eight at a time."""
    try:
        freeradius.require()
    except embedded.CannotStart as cannot:
        supervisor._say(str(cannot))
        return
    logins = access_lines.make(size.of(full=3_000, quick=500))
    access_lines.address_server(SERVER, SECRET)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ispops-aaa-")))
        ours = _answered_by("ispops.wsgi", folder / "ours", running)
        null = _answered_by("ispops.benches.null_answer", folder / "null", running)
        for load in (ours, null):
            load.run(logins)
        yield Case(
            name="authorisations",
            unit="per s",
            ours=lambda: ours.run(logins),
            reference=lambda: null.run(logins),
        )
        yield Case(
            name="99 of 100 within",
            unit="us",
            ours=lambda: ours.p99_microseconds(logins),
            reference=lambda: null.p99_microseconds(logins),
        )


def _answered_by(module: str, folder: Path, running: contextlib.ExitStack) -> Load:
    """Start a web server of this module, and a FreeRADIUS in front of it; gives their load."""
    folder.mkdir()
    url = access_lines.web_server(module, folder, running)
    ports = [_free_port() for _ in range(2)]
    server = freeradius.FreeRadius(
        folder / "freeradius",
        app_url=url,
        server=(SERVER, SECRET),
        database="host=127.0.0.1 port=1 dbname=nothing-is-accounted",
        password="",
        clients={
            "127.0.0.1": f'client here {{\n\tipv4addr = 127.0.0.1\n\tsecret = "{NAS_SECRET}"\n}}\n'
        },
        auth_port=ports[0],
        acct_port=ports[1],
    )
    running.callback(server.stop)
    server.start()
    return Load(
        port=server.auth_port,
        secret=NAS_SECRET,
        password=null_answer.PASSWORD,
        at_once=AT_ONCE,
    )


def _free_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port
