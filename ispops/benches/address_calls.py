"""How many new addresses a second two web workers give out over HTTP, and how soon.

Each call is FreeRADIUS's for a line that holds nothing yet: the address server proves who it is,
the subscriber is told by password, and the device gets its addresses.
"""

import contextlib
import http.client
import itertools
import json
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from ispops.bench import Case, Size, bench
from ispops.benches import access_lines, null_answer

SERVER, SECRET = "north", "a-secret-of-the-address-server"
CLIENTS = 8
_devices = itertools.count(1)


@bench
def ipam_http(size: Size) -> Iterator[Case]:
    """New devices, eight at a time, each client on one connection; beside a null answer."""
    logins = access_lines.make(size.of(full=2_000, quick=400))
    access_lines.address_server(SERVER, SECRET)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ispops-http-")))
        ours, null = (
            _Caller(access_lines.web_server(module, folder / module, running), logins)
            for module in ("ispops.wsgi", "ispops.benches.null_answer")
        )
        yield Case(
            name="calls",
            unit="per s",
            before_ours=_let_go,
            ours=ours.run,
            reference=null.run,
        )
        yield Case(
            name="99 of 100 within",
            unit="us",
            before_ours=_let_go,
            ours=ours.p99_microseconds,
            reference=null.p99_microseconds,
        )


def _let_go() -> None:
    """Take every address back, past the verbs: giving out is what is measured."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ipam_allocationhistory SET held_to = now(), ended_because = 'end' "
                       "WHERE held_to IS NULL")  # fmt: skip
        cursor.execute("DELETE FROM ipam_allocation")


class _Caller:
    def __init__(self, url: str, logins: list[str]) -> None:
        self.place = urlsplit(url).netloc
        self.logins = logins
        self.seconds: list[float] = []

    def run(self) -> int:
        """Ask once for each line; returns how many were let in, which must be all of them."""
        self.seconds = []
        waiting = iter(self.logins)
        clients = [threading.Thread(target=self._ask, args=(waiting,)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        if len(self.seconds) != len(self.logins):
            raise RuntimeError(f"{len(self.logins) - len(self.seconds)} calls failed")
        return len(self.seconds)

    def p99_microseconds(self) -> int:
        self.run()
        return int(sorted(self.seconds)[int(len(self.seconds) * 0.99)] * 1e6)

    def _ask(self, waiting: Iterator[str]) -> None:
        headers = {
            "Authorization": "Basic " + b64encode(f"{SERVER}:{SECRET}".encode()).decode(),
            "Content-Type": "application/json",
        }
        line = http.client.HTTPConnection(self.place, timeout=60)
        with contextlib.closing(line):
            for login in waiting:
                device = next(_devices).to_bytes(5, "big").hex("-")
                body = json.dumps(
                    {
                        "User-Name": login,
                        "User-Password": null_answer.PASSWORD,
                        "Calling-Station-Id": f"02-{device}",
                        "NAS-IP-Address": "192.0.2.1",
                    }
                )
                started = time.perf_counter()
                line.request("POST", "/aaa/authorize", body, headers)
                answer = line.getresponse()
                found = answer.read()
                if answer.status != 200 or b"Framed-IP-Address" not in found:
                    raise RuntimeError(f"{answer.status}: {found[:200]!r}")
                self.seconds.append(time.perf_counter() - started)
