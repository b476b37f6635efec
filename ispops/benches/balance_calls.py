"""How many holds and uses a second, and how soon a balance, partners get over HTTP."""

import contextlib
import http.client
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import requests
from django.utils import timezone

from ispops.bench import Case, Size, bench
from ispops.benches import access_lines, spenders
from ispops.db import uuid7
from ispops.parties import partners
from ispops.parties.models import Partner

CLIENTS = 8
_Work = Callable[[http.client.HTTPConnection], None]
# What the proxy in front of the web server says: without it the answer is to come by HTTPS.
_BY_HTTPS = {"X-Forwarded-Proto": "https"}
_SCOPES = ["purchases:read", "purchases:write"]


@bench
def rating_balance_http(size: Size) -> Iterator[Case]:
    """A partner's program with one connection or eight, each call after the answer to the last;
    beside a null answer by the same web server."""
    plain, _ = spenders.make(size.of(full=2_000, quick=200))
    count = size.of(full=800, quick=160)
    # A program is held to less than two workers can do.
    os.environ["CLIENT_WRITES_A_MINUTE"] = str(10**9)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ispops-http-")))
        url, bare_url = (
            access_lines.web_server(module, folder / module, running)
            for module in ("ispops.wsgi", "ispops.benches.null_answer")
        )
        token = _token(url)
        ours, null = (_Program(each, token, plain) for each in (url, bare_url))
        for clients in (1, CLIENTS):
            words = "1 client" if clients == 1 else f"{clients} clients"
            yield Case(
                name=f"hold and use, {words}",
                unit="per s",
                ours=lambda n=clients: ours.hold_and_use(count, n),  # type: ignore[misc]
                reference=lambda n=clients: null.ask_twice(count, n),  # type: ignore[misc]
            )
        yield Case(
            name="balance, 99 of 100 within",
            unit="us",
            ours=lambda: ours.p99_of_balance(count),
            reference=lambda: null.p99_of_balance(count),
        )


def _token(url: str) -> str:
    """Return a token, as a partner's program gets one."""
    program, secret = partners.create_api_client(
        partner=Partner.objects.get(code=spenders.SELLER), name="Films", scopes=_SCOPES,
        at=timezone.now(),
    )  # fmt: skip
    here = requests.Session()
    here.trust_env = False  # a proxy does not know this machine's loopback address
    answer = here.post(
        f"{url}/identity/o/api/token",
        data={"grant_type": "client_credentials"},
        auth=(program.id, secret),
        headers=_BY_HTTPS,
        timeout=60,
    )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


class _Program:
    """A partner's program that calls one web server."""

    def __init__(self, url: str, token: str, among: list[spenders.Spender]) -> None:
        self._place, self._token, self._among = urlsplit(url).netloc, token, among
        self._next = itertools.count()

    def hold_and_use(self, count: int, clients: int) -> int:
        return self._at_once(self._hold_and_use, count, clients)

    def ask_twice(self, count: int, clients: int) -> int:
        return self._at_once(self._ask_twice, count, clients)

    def p99_of_balance(self, count: int) -> int:
        taken = []
        with self._line() as line:
            for _ in range(count):
                started = time.perf_counter()
                self._call(line, "GET", f"/api/v1/partner_balances/{self._reference()}")
                taken.append(time.perf_counter() - started)
        return round(sorted(taken)[count * 99 // 100] * 1_000_000)

    def _at_once(self, work: _Work, count: int, clients: int) -> int:
        done: list[int] = []

        def some() -> None:
            with self._line() as line:
                for _ in range(count // clients):
                    work(line)
            done.append(count // clients)

        threads = [threading.Thread(target=some) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(done) < clients:
            raise RuntimeError(f"{clients - len(done)} clients failed")
        return sum(done)

    def _hold_and_use(self, line: http.client.HTTPConnection) -> None:
        until = timezone.now() + timedelta(minutes=5)
        held = self._call(
            line, "POST", "/api/v1/reservations",
            {"subscriber_ref": self._reference(), "offering": "film", "net": "0.10",
             "held_until": until.isoformat()},
        )  # fmt: skip
        self._call(line, "POST", f"/api/v1/reservations/{held['id']}/uses", {})

    def _ask_twice(self, line: http.client.HTTPConnection) -> None:
        for _ in range(2):
            self._call(line, "POST", "/api/v1/reservations", {})

    def _reference(self) -> str:
        return self._among[next(self._next) % len(self._among)].reference

    @contextlib.contextmanager
    def _line(self) -> Iterator[http.client.HTTPConnection]:
        with contextlib.closing(http.client.HTTPConnection(self._place, timeout=60)) as line:
            yield line

    def _call(
        self, line: http.client.HTTPConnection, method: str, path: str, body: object = None
    ) -> dict[str, object]:
        headers = _BY_HTTPS | {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid7().hex,
        }
        line.request(method, path, None if body is None else json.dumps(body), headers)
        answer = line.getresponse()
        found = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status}: {found[:200]!r}")
        return dict(json.loads(found))
