"""The demo ISP's partners, played by one small web server: `python -m ispops.demo.bsp_server`.

A process of its own that knows nothing of the product but its published API, as a partner's
program would: it verifies the signed webhooks, answers at once, and then confirms each service
order with a token of its own. A network answers questions about addresses at
`/<code>/tmf-api/serviceQualificationManagement/v4`, and takes orders at
`/<code>/tmf-api/serviceOrdering/v4`, of which it tells the ISP's listener. Faults can be switched
on at run time, on the page or by `POST /demo/faults`.

It listens on 127.0.0.1, port DEMO_PARTNER_PORT (8099), or on a socket that its parent has opened,
whose number is its one argument. The product is at ISPOPS_BASE_URL; the credentials are in
DEMO_PARTNERS_FILE, by default `demo_partners.json` in ISPOPS_DATA_DIR.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import requests
from standardwebhooks import WebhookVerificationError

from ispops.demo import bsp_network, bsp_orders, bsp_page
from ispops.demo.bsp_network import Network, NoQuestion
from ispops.demo.bsp_orders import NoOrder, OrderDesk
from ispops.demo.bsp_partner import Isp, Partner

log = logging.getLogger("partners")
LARGEST_BODY = 1_000_000


class Handler(BaseHTTPRequestHandler):
    """The addresses of the server; see the module."""

    partners: dict[str, Partner]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._say(200, bsp_page.render(list(self.partners.values())), "text/html")
        elif path == "/demo/state":
            self._say_json(200, {code: _state(p) for code, p in self.partners.items()})
        elif path == "/healthz":
            self._say(200, "ok\n", "text/plain")
        elif partner := self._asked_network(path):
            self._qualification(partner, path, None)
        elif ordered := self._ordered_from(path):
            self._order(ordered, path, None)
        else:
            self._say_json(404, {"detail": "There is nothing here."})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self.close_connection = True
            self._say_json(413, {"detail": "This is too much."})
            return
        body = self.rfile.read(length)
        path = urlsplit(self.path).path
        partner = self.partners.get(path.removeprefix("/webhooks/"))
        if path.startswith("/webhooks/") and partner:
            self._webhook(partner, body)
        elif path in {"/demo/usage", "/demo/faults"} and self._is_from_here():
            self._demo(path, self._fields(body))
        elif asked := self._asked_network(path):
            self._qualification(asked, path, body)
        elif ordered := self._ordered_from(path):
            self._order(ordered, path, body)
        else:
            self._say_json(404, {"detail": "There is nothing here."})

    def _webhook(self, partner: Partner, body: bytes) -> None:
        if partner.fault == "slow":
            time.sleep(partner.slow_seconds)
        if partner.fault == "error":
            self._say_json(500, {"detail": "The fault that was asked for."})
            return
        try:
            partner.receive(body, dict(self.headers))
        except (WebhookVerificationError, ValueError) as error:
            log.warning("%s: refused a webhook: %s", partner.code, error)
            self._say_json(401, {"detail": str(error)})
            return
        self._say_json(202, {})

    def _asked_network(self, path: str) -> Partner | None:
        """Return the partner whose network is asked about an address, if that is what is asked."""
        code, _, rest = path.removeprefix("/").partition("/")
        partner = self.partners.get(code)
        is_question = rest == bsp_network.API or rest.startswith(f"{bsp_network.API}/")
        return partner if partner and partner.network and is_question else None

    def _qualification(self, partner: Partner, path: str, body: bytes | None) -> None:
        """Take a question about an address in, or say how far it is; misbehave as was asked."""
        network = partner.network or Network("")
        if self.headers.get("Authorization") != f"Bearer {network.token}":
            self._say_json(401, {"code": "401", "reason": "This token opens nothing here."})
            return
        if partner.fault == "slow":
            time.sleep(partner.slow_seconds)
        if partner.fault == "error":
            self._say_json(500, {"code": "500", "reason": "The fault that was asked for."})
        elif partner.fault == "garbage":
            self._say(200, bsp_network.GARBAGE, "application/json")
        elif body is None:
            self._say_json(*network.look(path.rpartition("/")[2], partner.fault))
        else:
            try:
                status, answer = network.ask(json.loads(body), partner.fault)
            except (NoQuestion, ValueError) as error:
                status, answer = 400, {"code": "400", "reason": str(error)}
            self._say_json(status, answer)

    def _ordered_from(self, path: str) -> Partner | None:
        """Return the partner from whose network something is ordered, if that is what is asked."""
        code, _, rest = path.removeprefix("/").partition("/")
        partner = self.partners.get(code)
        return partner if partner and partner.desk and rest.startswith(bsp_orders.API) else None

    def _order(self, partner: Partner, path: str, body: bytes | None) -> None:
        """Take an order, show one, or cancel one; misbehave as was asked."""
        desk = partner.desk or OrderDesk("")
        if self.headers.get("Authorization") != f"Bearer {desk.token}":
            self._say_json(401, {"code": "401", "reason": "This token opens nothing here."})
            return
        if partner.fault == "error":
            self._say_json(500, {"code": "500", "reason": "The fault that was asked for."})
            return
        if partner.fault == "garbage":
            self._say(200, bsp_orders.GARBAGE, "application/json")
            return
        rest = path.partition(bsp_orders.API)[2].strip("/")
        query = dict(parse_qsl(urlsplit(self.path).query))
        try:
            told = None if body is None else json.loads(body)
            status, answer = desk.answer(self.command, rest, query, told)
        except (NoOrder, ValueError) as error:
            status, answer = 400, {"code": "400", "reason": str(error)}
        if partner.fault == "slow":
            # It has taken the order in, and takes its time to say so.
            time.sleep(partner.slow_seconds)
        if partner.fault == "drop" and self.command == "POST":
            # It has the order, and the line breaks before anybody hears of it.
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._say_json(status, answer)

    def _demo(self, path: str, fields: dict[str, str]) -> None:
        code = fields.pop("partner", "cinebox")
        chosen = list(self.partners.values()) if code == "*" else [self.partners.get(code)]
        partners = [partner for partner in chosen if partner]
        if not partners:
            self._say_json(404, {"detail": f"There is no partner {code}."})
        elif path == "/demo/faults":
            self._set_fault(partners, fields)
        else:
            self._report(partners[0], fields)

    def _set_fault(self, partners: list[Partner], fields: dict[str, str]) -> None:
        fault = fields.get("fault", "")
        known = partners[0].faults
        if fault and any(fault not in partner.faults for partner in partners):
            self._say_json(422, {"detail": f"Choose one of {', '.join(known)}, or none."})
            return
        for partner in partners:
            partner.fault = fault
            partner.slow_seconds = float(fields.get("seconds") or partner.slow_seconds)
        self._done({"fault": fault, "partners": [partner.code for partner in partners]})

    def _report(self, partner: Partner, fields: dict[str, str]) -> None:
        try:
            response = partner.report_use(fields)
        except (LookupError, ValueError) as error:
            self._say_json(409, {"detail": str(error)})
        except requests.RequestException as error:
            self._say_json(502, {"detail": f"The ISP does not answer: {error}"})
        else:
            with partner.lock:
                partner.messages.append(
                    {"webhook_id": "", "is_new": True, "type": "usage reported",
                     "timestamp": datetime.now(UTC).isoformat(), "data": fields,
                     "answer": response.json()}
                )  # fmt: skip
            self._done(response.json(), response.status_code)

    def _is_from_here(self) -> bool:
        """Pages of other sites may not press our buttons from a visitor's browser."""
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("Host")

    def _fields(self, body: bytes) -> dict[str, str]:
        if "json" in (self.headers.get("Content-Type") or ""):
            parsed = json.loads(body or b"{}")
            return {str(name): str(value) for name, value in parsed.items()}
        return dict(parse_qsl(body.decode()))

    def _done(self, answer: Any, status: int = 200) -> None:
        """Answer a program in JSON, and send a browser back to the page."""
        if "text/html" in (self.headers.get("Accept") or ""):
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._say_json(status, answer)

    def _say_json(self, status: int, answer: Any) -> None:
        self._say(status, json.dumps(answer), "application/json")

    def _say(self, status: int, text: str, content_type: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's name)
        """What matters is logged by the partners themselves."""


def _state(partner: Partner) -> dict[str, Any]:
    with partner.lock:
        return {
            "name": partner.name,
            "kind": partner.kind,
            "fault": partner.fault,
            "questions": list(partner.network.questions.values()) if partner.network else [],
            "orders": list(partner.orders.values()),
            "placed": list(partner.desk.orders.values()) if partner.desk else [],
            "told": list(partner.desk.told) if partner.desk else [],
            "messages": list(partner.messages),
        }


def read_partners(path: Path, base_url: str) -> dict[str, Partner]:
    """Read the credentials that the product wrote for us."""
    return {
        code: Partner(
            code=code,
            name=known["name"],
            kind=known["kind"],
            webhook_secret=known["webhook_secret"],
            network=Network(known["inquiry_token"]) if known.get("inquiry_token") else None,
            desk=_desk(known, base_url),
            isp=Isp(base_url, known["client_id"], known["client_secret"]),
        )
        for code, known in json.loads(path.read_text()).items()
    }


def _desk(known: dict[str, Any], base_url: str) -> OrderDesk | None:
    """Return the order desk of a network that has an API, with the ISP's listener."""
    if not known.get("order_token"):
        return None
    return OrderDesk(
        token=known["order_token"],
        callback_url=f"{base_url}/{bsp_orders.API}/listener/serviceOrderStateChangeEvent",
        callback_token=known.get("callback_token", ""),
    )


def make_server(
    partners: dict[str, Partner], port: int, listener: socket.socket | None = None
) -> ThreadingHTTPServer:
    """Return a server on loopback that is bound but does not serve yet; port 0 is any free one.

    A `listener` is taken as it is, and the port is its own.
    """
    handler = type("BoundHandler", (Handler,), {"partners": partners})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler, bind_and_activate=listener is None)
    if listener is not None:
        server.socket.close()
        server.socket = listener
        server.server_address = listener.getsockname()
    server.daemon_threads = True
    return server


def catch_up_in_background(partners: dict[str, Partner]) -> Iterator[threading.Thread]:
    for partner in partners.values():
        thread = threading.Thread(target=partner.catch_up, daemon=True)
        thread.start()
        yield thread


def main() -> NoReturn:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = Path(os.environ.get("ISPOPS_DATA_DIR") or ".data")
    path = Path(os.environ.get("DEMO_PARTNERS_FILE") or folder / "demo_partners.json")
    listener = socket.socket(fileno=int(sys.argv[1])) if len(sys.argv) > 1 else None
    port = int(os.environ.get("DEMO_PARTNER_PORT") or 8099)
    base_url = os.environ.get("ISPOPS_BASE_URL") or "http://127.0.0.1:8000"
    try:
        partners = read_partners(path, base_url)
        server = make_server(partners, port, listener)
    except FileNotFoundError:
        sys.exit(f"Error: {path} is missing. Run `manage.py load_demo` first.")
    except OSError as error:
        sys.exit(f"Error: port {port} cannot be used ({error.strerror}); set DEMO_PARTNER_PORT.")
    list(catch_up_in_background(partners))
    log.info("Playing %s on http://127.0.0.1:%s/", ", ".join(partners), port)
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
