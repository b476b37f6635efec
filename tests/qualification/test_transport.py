"""One call to a provider: bounded in time and size, and never led elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pytest_django import Settings

from ispops.errors import PermanentFault, TransientFault
from qualification.providers import transport
from qualification.providers.base import QuestionLost, Unusable

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that answers everything in one way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        server.server_close()


def saying(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def call(url: str, *, method: str = "GET", seconds: float = 5) -> object:
    return transport.call(method, url, token="t", seconds=seconds)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_json_is_read_with_exact_numbers(status: int) -> None:
    with answering(saying(b'{"a": 0.1}', status)) as url:
        assert str(call(url)) == "{'a': Decimal('0.1')}"


@pytest.mark.parametrize(
    ("status", "method", "fault"),
    [
        (404, "GET", QuestionLost), (410, "GET", QuestionLost), (404, "POST", PermanentFault),
        (400, "POST", PermanentFault), (401, "POST", PermanentFault), (403, "GET", PermanentFault),
        (302, "GET", PermanentFault), (422, "POST", PermanentFault), (408, "POST", TransientFault),
        (429, "POST", TransientFault), (500, "POST", TransientFault), (503, "GET", TransientFault),
    ],
)  # fmt: skip
def test_every_status_has_its_fault(status: int, method: str, fault: type[Exception]) -> None:
    elsewhere = {"Location": "http://127.0.0.1:1/elsewhere"}
    with (
        answering(saying(b"{}", status, **elsewhere)) as url,
        pytest.raises(fault, match=str(status)) as raised,
    ):
        call(url, method=method)
    assert type(raised.value) is fault


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{", b'{"a": NaN}', b'{"a": Infinity}', b"\xff\xfe", b"[" * 100_000,
     b'{"a": ' + b"9" * 5_000 + b"}", b'{"a": 1e' + b"9" * 30 + b"}"],
)  # fmt: skip
def test_what_is_no_json_is_unusable(body: bytes) -> None:
    with answering(saying(body)) as url, pytest.raises(Unusable, match="no JSON"):
        call(url)


def test_an_answer_that_never_ends_is_cut_off() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65_536)

    with answering(endless) as url, pytest.raises(Unusable, match="larger than 1,000,000 bytes"):
        call(url)


def test_an_answer_that_drips_is_cut_off_at_the_time_limit() -> None:
    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" " * 20_000)
            time.sleep(0.1)

    with answering(dripping) as url:
        started = time.monotonic()
        with pytest.raises(TransientFault, match="too long"):
            call(url, seconds=0.5)
        assert time.monotonic() - started < 3


def test_silence_and_a_closed_door_are_told_apart() -> None:
    with (
        answering(lambda _: time.sleep(2)) as url,
        pytest.raises(TransientFault, match=r"did not answer within 0\.2 s"),
    ):
        call(url, seconds=0.2)
    with pytest.raises(TransientFault, match="cannot be reached"):
        call("http://127.0.0.1:9/api")
    with (
        answering(lambda handler: handler.connection.close()) as url,
        pytest.raises(TransientFault, match="cannot be reached"),
    ):
        call(url)


def test_a_provider_never_leads_us_into_our_own_network(settings: Settings) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    for url in ("http://provider.example/api", "https://10.0.0.7/api", "https://localhost/api"):
        with pytest.raises(PermanentFault):
            call(url)


@pytest.mark.parametrize("host", ["a..example", f"{'a' * 70}.example"])
def test_name_that_no_host_can_have_cannot_be_reached(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    # What the real one does first; that of the tests would refuse the name before.
    monkeypatch.setattr("socket.getaddrinfo", lambda name, *_, **__: name.encode("idna"))
    with pytest.raises(TransientFault, match="cannot be reached"):
        call(f"https://{host}/api")
