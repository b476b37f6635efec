"""The calls of FreeRADIUS's `rlm_rest`: the shortest code path in the product.

`rlm_rest` gives each status a meaning of its own. 401 is a reject of the *subscriber*, with the
words in its body; so an address server that names itself wrongly gets 403 (`userlock` there), and
what it should not have sent 400 (`invalid`): faults of a configuration, on which FreeRADIUS is set
up not to answer, as on `fail`. So it is with 429, after too many wrong secrets. 5xx and silence are
`fail`: this application is ill, and the access server asks again.

Authorisation is answered before Django's request, middleware and addresses are made, because they
cost more than the answer; `ispops.wsgi` calls it.
"""

import base64
import hmac
import json
import logging
from collections.abc import Callable, Iterable
from functools import wraps
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.handlers.wsgi import WSGIRequest
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ipam import queries as ipam_queries
from ipam.models import AddressServer
from ispops.parties import limits
from provisioning import accounting, admission, radius

log = logging.getLogger(__name__)
AUTHORIZE = "/aaa/authorize"
# A RADIUS packet is 4 KiB at most, and JSON spells an octet in six characters at worst.
MOST_BODY = 64 * 1024
PLAIN, JSON = "text/plain; charset=utf-8", "application/json"


class Answer(NamedTuple):
    """What is sent back, whatever carries it."""

    status: int
    kind: str = PLAIN
    body: bytes = b""
    # Seconds to wait before it is worth asking again.
    wait: int = 0

    def headers(self) -> dict[str, str]:
        sent = {"Content-Type": self.kind, "Content-Length": str(len(self.body))}
        return sent | {"Retry-After": str(self.wait)} if self.wait else sent


STRANGER = Answer(403, PLAIN, b"The address server's name or secret is wrong.")
TOO_LARGE = Answer(413, PLAIN, f"The body is larger than {MOST_BODY} bytes.".encode())
ILL = Answer(500, PLAIN, b"The application is ill; its log says why.")

Call = Callable[[str, bytes], Answer]


def _over_http(call: Call) -> Callable[[HttpRequest], HttpResponse]:
    """Serve a call that gets the Authorization header and the body as a view of Django."""

    @csrf_exempt
    @require_POST
    @wraps(call)
    def view(request: HttpRequest) -> HttpResponse:
        authorization = request.headers.get("Authorization", "")
        if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BODY:
            known = ipam_queries.authenticate_server(*_basic(authorization))
            answer = TOO_LARGE if known else STRANGER
        else:
            answer = call(authorization, request.body)
        if answer is STRANGER:
            answer = _stranger(request, authorization)
        return HttpResponse(answer.body, status=answer.status, headers=answer.headers())

    return view


def _stranger(request: HttpRequest, authorization: str) -> Answer:
    """Turn somebody away who is no address server: to wait, after too many wrong secrets."""
    wait = limits.wait_after_wrong_secret(request, _basic(authorization)[0])
    if not wait:
        return STRANGER
    words = f"Too many wrong names and secrets came from here. Wait {wait} seconds."
    return Answer(429, PLAIN, words.encode(), wait=wait)


def authorize_wsgi(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Serve `authorize` to a WSGI server, without Django's request.

    A connection to the database that was lost meanwhile is made again, once.
    """
    answer = TOO_LARGE
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if environ["REQUEST_METHOD"] != "POST":
        answer = Answer(405)
    elif length <= MOST_BODY:
        asked = environ.get("HTTP_AUTHORIZATION", ""), environ["wsgi.input"].read(length)
        try:
            answer = _authorize(*asked)
        except Error:
            connection.close()
            answer = _last_try(*asked)
        except Exception:  # whatever is wrong, FreeRADIUS must hear that it is we
            log.exception("an authorisation failed")
            answer = ILL
        if answer is STRANGER:
            answer = _stranger(WSGIRequest(environ), asked[0])
    status = HTTPStatus(answer.status)
    start(f"{status.value} {status.phrase}", list(answer.headers().items()))
    return [answer.body]


def _last_try(authorization: str, body: bytes) -> Answer:
    try:
        return _authorize(authorization, body)
    except Exception:
        connection.close()
        log.exception("an authorisation failed")
        return ILL


def _authorize(authorization: str, body: bytes) -> Answer:
    """Answer an Access-Request: 200 with what the session gets, or 401 with a Reply-Message."""
    name, secret = _basic(authorization)
    try:
        sent = radius.Attributes.parse(body)
        username = sent.text("User-Name")
        if not username:
            raise radius.Malformed("User-Name is missing.")
        nas_ip = sent.address("NAS-IP-Address", "NAS-IPv6-Address")
    except radius.Malformed as malformed:
        return _malformed(ipam_queries.authenticate_server(name, secret), malformed)
    device, at = sent.text("Calling-Station-Id"), timezone.now()
    found = admission.find(
        server=name, secret=secret, username=username, nas_ip=nas_ip, device=device, at=at
    )
    if found is None:
        return STRANGER
    decided = admission.admit(
        found=found, username=username, proven=_proof(sent), device=device, at=at
    )
    if not decided.admitted:
        words = decided.words.encode()[: radius.MOST_TEXT].decode(errors="ignore")
        return Answer(401, JSON, _written({"reply:Reply-Message": words}))
    lists = (("control", decided.control or {}), ("reply", decided.reply or {}))
    named = {f"{where}:{name}": value for where, of in lists for name, value in of.items()}
    return Answer(200, JSON, _written(named))


def _written(attributes: dict[str, str | int | list[str]]) -> bytes:
    return json.dumps(radius.reply(attributes)).encode()


def _malformed(server: AddressServer | None, malformed: radius.Malformed) -> Answer:
    """Say what is wrong to whoever is known; a stranger learns nothing."""
    return STRANGER if server is None else Answer(400, PLAIN, str(malformed).encode())


def _proof(sent: radius.Attributes) -> Callable[[str], bool] | None:
    """Return what tells whether the equipment knows a secret; None when FreeRADIUS alone can."""
    if "User-Password" in sent.values:
        given = sent.text("User-Password").encode()
        return lambda secret: hmac.compare_digest(given, secret.encode())
    if "CHAP-Challenge" in sent.values:
        return lambda secret: radius.chap_fits(sent, secret)
    return None


def _basic(authorization: str) -> tuple[str, str]:
    """Return name and secret of RFC 7617, empty when there are none or they cannot be read."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError:  # no base64, or no text in it
        return "", ""
    return name, secret


def _account(authorization: str, body: bytes) -> Answer:
    """Take an Accounting-Request: 204 once it is stored, and not before."""
    server = ipam_queries.authenticate_server(*_basic(authorization))
    if server is None:
        return STRANGER
    try:
        sent = radius.Attributes.parse(body)
        accounting.record_accounting(
            server=server, attributes=sent.values, received_at=timezone.now()
        )
    except radius.Malformed as malformed:
        return _malformed(server, malformed)
    return Answer(204)


authorize = _over_http(_authorize)
account = _over_http(_account)
