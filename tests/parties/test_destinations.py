"""A call goes to the address that was looked at, whatever the name leads to a moment later."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from ispops.parties import destinations

NAME = "hooks.films.example"
# They stand for the partner's addresses, one of them out of order, and for one inside our network.
PARTNER, AWAY, OURS = "127.0.0.1", "127.0.0.3", "127.0.0.2"


@pytest.fixture(autouse=True)
def only_the_partner_is_public(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = False
    real = destinations.may_be_reached
    monkeypatch.setattr(
        destinations, "may_be_reached", lambda address: address in {PARTNER, AWAY} or real(address)
    )


class Names:
    """A resolver that gives each answer once, and the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.asked = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != NAME:
            return self._real(host, port, *args, **kwargs)
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@contextlib.contextmanager
def listening(
    address: str, port: int, pem: Path, heard: list[str]
) -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{address} {self.headers['Host']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer((address, port), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A certificate for one name, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name.value}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate(tmp_path, x509.DNSName(NAME))


def call(port: int, pem: Path) -> int:
    url = f"https://{NAME}:{port}/hooks"
    with destinations.session_to(url, field="webhook_url") as session:
        session.verify = str(pem)
        return session.get(url, timeout=5).status_code


def test_a_name_that_changes_its_mind_leads_nowhere_else(names: Names, pem: Path) -> None:
    heard: list[str] = []
    names.answers = [[PARTNER], [OURS]]
    with listening(PARTNER, 0, pem, heard) as server:
        port = server.server_address[1]
        with listening(OURS, port, pem, heard):
            assert call(port, pem) == 204
            assert heard == [f"{PARTNER} {NAME}:{port}"]
            assert names.asked == 1
            # Without the look at where it leads, the same call goes inside.
            requests.get(f"https://{NAME}:{port}/", verify=str(pem), timeout=5)
            assert heard[1:] == [f"{OURS} {NAME}:{port}"]


def test_the_next_address_is_tried_when_one_is_away(names: Names, pem: Path) -> None:
    heard: list[str] = []
    names.answers = [[AWAY, PARTNER]]
    with listening(PARTNER, 0, pem, heard) as server:
        assert call(server.server_address[1], pem) == 204
    with pytest.raises(requests.ConnectionError):
        call(server.server_address[1], pem)


def test_the_certificate_must_be_the_name_s_and_not_the_address_s(
    names: Names, tmp_path: Path
) -> None:
    other = certificate(tmp_path, x509.IPAddress(ipaddress.ip_address(PARTNER)))
    heard: list[str] = []
    names.answers = [[PARTNER]]
    with (
        listening(PARTNER, 0, other, heard) as server,
        pytest.raises(requests.exceptions.SSLError, match=NAME),
    ):
        call(server.server_address[1], other)
    assert not heard
