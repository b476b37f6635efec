"""The demo partners' server: signatures, confirmations, retries, use, faults; without Django."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from ispops.demo import bsp_partner, bsp_server
from ispops.demo.bsp_partner import Isp, Partner

SECRET = "whsec_bm90IGEgcmVhbCBzZWNyZXQgYXQgYWxs"
REPOSITORY = Path(__file__).resolve().parents[2]


class FakeIsp:
    """The ISP's API as far as a partner sees it; answers as it is told and notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any, str | None]] = []
        self.statuses: list[int] = []
        self.orders: list[dict[str, Any]] = []
        self.tokens = 0
        isp = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/identity/o/api/token":
                    isp.tokens += 1
                    self.answer(200, {"access_token": f"token-{isp.tokens}"})
                elif self.headers["Authorization"] != f"Bearer token-{isp.tokens}":
                    self.answer(401, {"detail": "expired"})
                else:
                    key = self.headers.get("Idempotency-Key")
                    isp.calls.append((self.command, self.path, json.loads(body or b"null"), key))
                    status = isp.statuses.pop(0) if isp.statuses else 200
                    self.answer(status, {"state": "completed", "detail": f"answered {status}"})

            def do_GET(self) -> None:
                isp.calls.append(("GET", self.path, None, None))
                half = len(isp.orders) // 2
                first = "page=2" not in self.path
                items = isp.orders[:half] if first else isp.orders[half:]
                following = f"{isp.url}/api/v1/service_orders?page=2" if first and half else None
                self.answer(200, {"items": items, "next": following})

            def answer(self, status: int, body: Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def posts(self, ending: str) -> list[tuple[str, str, Any, str | None]]:
        return [call for call in self.calls if call[0] == "POST" and call[1].endswith(ending)]


@pytest.fixture
def isp() -> Iterator[FakeIsp]:
    fake = FakeIsp()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def partner(isp: FakeIsp) -> Partner:
    return Partner(
        code="cinebox",
        name="Cinebox",
        kind="bsp",
        webhook_secret=SECRET,
        isp=Isp(isp.url, "cinebox", "s"),
    )


@pytest.fixture
def url(partner: Partner) -> Iterator[str]:
    server = bsp_server.make_server({"cinebox": partner}, 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def order(number: int = 1, **facts: Any) -> dict[str, Any]:
    return {
        "id": f"sor_{number}", "kind": "entitlement", "state": "acknowledged",
        "subscriber_ref": "psb_1", "offering": "cinebox-stream", **facts,
    }  # fmt: skip


def send(
    url: str, data: dict[str, Any], *, kind: str = "created", secret: str = SECRET,
    message_id: str = "msg_1", at: datetime | None = None,
) -> requests.Response:  # fmt: skip
    at = at or datetime.now(UTC)
    body = json.dumps({"type": f"service_order.{kind}", "timestamp": "t", "data": data})
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    return requests.post(f"{url}/webhooks/cinebox", data=body, headers=headers, timeout=5)


def until(answer: Callable[[], Any], *, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}/demo/state", timeout=5).json()["cinebox"]
    return found


def test_a_signed_order_is_confirmed_with_a_token(url: str, isp: FakeIsp) -> None:
    assert send(url, order()).status_code == 202
    until(lambda: state(url)["orders"][0]["state"] == "completed")
    assert isp.posts("/completion") == [
        ("POST", "/api/v1/service_orders/sor_1/completion",
         {"reference": "cinebox-sor_1"}, "sor_1-completion")
    ]  # fmt: skip
    assert isp.tokens == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg=="},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_forged_or_old_message_is_refused(url: str, isp: FakeIsp, wrong: dict[str, Any]) -> None:
    assert send(url, order(), **wrong).status_code == 401
    unsigned = requests.post(f"{url}/webhooks/cinebox", json={"type": "x"}, timeout=5)
    assert unsigned.status_code == 401
    assert state(url)["orders"] == []
    assert not isp.calls


def test_a_message_that_comes_twice_is_acted_on_once(url: str, isp: FakeIsp) -> None:
    for _ in range(3):
        assert send(url, order()).status_code == 202
    until(lambda: isp.posts("/completion"))
    time.sleep(0.1)
    assert len(isp.posts("/completion")) == 1
    assert [message["is_new"] for message in state(url)["messages"]] == [True, False, False]


def test_the_isp_is_asked_again_until_it_answers(url: str, isp: FakeIsp) -> None:
    isp.statuses = [503, 500]
    send(url, order())
    until(lambda: state(url)["orders"][0]["state"] == "completed")
    assert len(isp.posts("/completion")) == 3
    assert len({call[3] for call in isp.posts("/completion")}) == 1


def test_an_old_token_is_renewed(url: str, isp: FakeIsp, partner: Partner) -> None:
    partner.isp.token = "of yesterday"
    send(url, order())
    until(lambda: state(url)["orders"][0]["state"] == "completed")
    assert isp.tokens == 1


def test_a_closed_order_is_not_asked_again(url: str, isp: FakeIsp) -> None:
    isp.statuses = [409]
    send(url, order())
    until(lambda: state(url)["orders"][0]["state"] == "closed")
    time.sleep(0.1)
    assert len(isp.posts("/completion")) == 1


def test_a_withdrawn_order_is_not_delivered(
    url: str, isp: FakeIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bsp_partner, "LINE_SECONDS", 0.2)
    send(url, order(kind="line"))
    send(url, order(kind="line", state="cancelled"), kind="cancelled", message_id="msg_2")
    time.sleep(0.4)
    assert state(url)["orders"][0]["state"] == "cancelled"
    assert not isp.posts("/completion")


def fault(url: str, name: str, **fields: Any) -> requests.Response:
    given = {"partner": "cinebox", "fault": name, **fields}
    return requests.post(f"{url}/demo/faults", json=given, timeout=5)


def test_faults_are_switched_on_and_off(url: str, isp: FakeIsp) -> None:
    assert fault(url, "error").json() == {"fault": "error", "partners": ["cinebox"]}
    assert send(url, order()).status_code == 500
    fault(url, "slow", seconds=0.2)
    started = time.monotonic()
    assert send(url, order(2), message_id="msg_2").status_code == 202
    assert time.monotonic() - started > 0.2
    fault(url, "silent")
    send(url, order(3), message_id="msg_3")
    until(lambda: isp.posts("sor_2/completion"))
    time.sleep(0.2)
    assert not isp.posts("sor_3/completion")
    fault(url, "refuse")
    until(lambda: isp.posts("sor_3/refusal"))
    assert isp.posts("sor_3/refusal")[0][2]["reason"]
    assert requests.post(
        f"{url}/demo/faults", json={"partner": "*", "fault": ""}, timeout=5
    ).json()["fault"] == ""  # fmt: skip
    assert fault(url, "explode").status_code == 422
    nobody = requests.post(f"{url}/demo/faults", json={"partner": "nobody"}, timeout=5)
    assert nobody.status_code == 404


def test_use_is_reported_for_the_latest_entitlement(url: str, isp: FakeIsp) -> None:
    nothing = requests.post(f"{url}/demo/usage", json={}, timeout=5)
    assert nothing.status_code == 409
    send(url, order())
    until(lambda: state(url)["orders"][0]["state"] == "completed")
    done = requests.post(f"{url}/demo/usage", json={"quantity": 30}, timeout=5)
    assert done.status_code == 200
    [(_, path, body, key)] = isp.posts("/usage")
    [event] = body["events"]
    assert path == "/api/v1/usage"
    assert key
    assert (event["subscriber_ref"], event["offering"]) == ("psb_1", "cinebox-stream")
    assert (event["quantity"], event["unit"]) == (30, "minute")
    assert datetime.fromisoformat(event["started_at"]) < datetime.now(UTC)


def test_use_can_be_said_in_full(url: str, isp: FakeIsp) -> None:
    said = {
        "partner": "cinebox", "subscriber_ref": "psb_9", "offering": "films", "event_id": "e1",
        "quantity": "5", "unit": "hour", "started_at": "2026-03-01T12:00:00+00:00",
    }  # fmt: skip
    requests.post(f"{url}/demo/usage", data=said, timeout=5)
    [(_, _, body, _)] = isp.posts("/usage")
    expected = {**said, "quantity": 5}
    del expected["partner"]
    assert body == {"events": [expected]}


def test_the_page_shows_what_was_received_and_has_the_button(url: str, isp: FakeIsp) -> None:
    send(url, order())
    send(url, order(2, offering="<b>film</b>"), message_id="msg_2")
    until(lambda: {found["state"] for found in state(url)["orders"]} == {"completed"})
    page = requests.get(url, timeout=5).text
    assert page.count("report 90 minutes of watching") == 1
    assert "&lt;b&gt;film&lt;/b&gt;" in page
    assert "<b>film" not in page
    pressed = requests.post(
        f"{url}/demo/usage", data={"partner": "cinebox", "subscriber_ref": "psb_1"},
        headers={"Accept": "text/html", "Origin": url}, timeout=5, allow_redirects=False,
    )  # fmt: skip
    assert (pressed.status_code, pressed.headers["Location"]) == (303, "/")
    assert isp.posts("/usage")[0][2]["events"][0]["quantity"] == 90


def test_another_site_cannot_press_the_buttons(url: str, isp: FakeIsp) -> None:
    for path in ("usage", "faults"):
        refused = requests.post(
            f"{url}/demo/{path}", json={"fault": "error"},
            headers={"Origin": "https://evil.example"}, timeout=5,
        )  # fmt: skip
        assert refused.status_code == 404
    assert state(url)["fault"] == ""


def test_unknown_addresses_are_404(url: str) -> None:
    assert requests.get(f"{url}/nowhere", timeout=5).status_code == 404
    assert requests.post(f"{url}/webhooks/nobody", timeout=5).status_code == 404
    assert requests.get(f"{url}/healthz", timeout=5).text == "ok\n"


def test_after_a_start_open_orders_are_looked_up_and_done(partner: Partner, isp: FakeIsp) -> None:
    isp.orders = [order(1), order(2, state="completed"), order(3), order(4, state="cancelled")]
    partner.catch_up()
    until(lambda: len(isp.posts("/completion")) == 2)
    assert {call[1].split("/")[4] for call in isp.posts("/completion")} == {"sor_1", "sor_3"}
    until(lambda: {found["id"] for found in partner.granted()} == {"sor_1", "sor_2", "sor_3"})


def test_the_server_imports_nothing_of_django() -> None:
    script = (
        "import sys, ispops.demo.bsp_server\n"
        "wrong = {m.split('.')[0] for m in sys.modules} & {'django', 'celery', 'allauth'}\n"
        "sys.exit(f'imported {wrong}' if wrong else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == 0


def start(folder: Path, port: int, *sockets: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ispops.demo.bsp_server", *map(str, sockets)],
        cwd=REPOSITORY,
        pass_fds=sockets,
        env={"ISPOPS_DATA_DIR": str(folder), "DEMO_PARTNER_PORT": str(port), "PATH": "/usr/bin",
             "ISPOPS_BASE_URL": "http://127.0.0.1:9"},
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    known = {"name": "Cinebox", "kind": "bsp", "client_id": "cinebox", "client_secret": "s",
             "webhook_secret": SECRET}  # fmt: skip
    (tmp_path / "demo_partners.json").write_text(json.dumps({"cinebox": known}))
    return tmp_path


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=1).ok
    except requests.RequestException:
        return False


def test_it_serves_on_a_socket_that_its_parent_keeps(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for _ in range(2):
            process = start(folder, 1, listener.fileno())
            try:
                until(lambda: answers(port), seconds=20)
            finally:
                process.terminate()
                process.communicate(timeout=10)


def test_it_runs_as_a_process_of_its_own(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = start(folder, port)
    try:
        until(lambda: answers(port), seconds=20)
        second = start(folder, port)
        _, said = second.communicate(timeout=20)
        assert second.returncode == 1
        assert said.decode().strip().startswith(f"Error: port {port} cannot be used")
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_without_credentials_it_says_what_to_do(tmp_path: Path) -> None:
    process = start(tmp_path, 0)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "load_demo" in said.decode()
