"""The calls of FreeRADIUS's `rlm_rest`: the shortest code path in the product.

`rlm_rest` gives each status a meaning of its own. 401 is a reject of the *subscriber*, with the
words in its body; so an address server that names itself wrongly gets 403 (`userlock` there), and
what it should not have sent 400 (`invalid`): faults of a configuration, on which FreeRADIUS is to
be set up not to answer, as on `fail`. 5xx and silence are `fail`: this application is ill, and the
access server asks again.
"""

import base64
import binascii
import hmac
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ipam import queries as ipam_queries
from ipam.models import AddressServer
from provisioning import accounting, admission, radius

# A RADIUS packet is 4 KiB at most, and JSON spells an octet in six characters at worst.
MOST_BODY = 64 * 1024

Call = Callable[[AddressServer, radius.Attributes], HttpResponse]


def _for_address_servers(call: Call) -> Callable[[HttpRequest], HttpResponse]:
    """Let only address servers in, by HTTP Basic with name and secret, and read what they send."""

    @csrf_exempt
    @require_POST
    @wraps(call)
    def view(request: HttpRequest) -> HttpResponse:
        name, secret = _basic(request)
        server = ipam_queries.authenticate_server(name, secret)
        if server is None:
            return _plain("The address server's name or secret is wrong.", 403)
        if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BODY:
            return _plain(f"The body is larger than {MOST_BODY} bytes.", 413)
        try:
            return call(server, radius.Attributes.parse(request.body))
        except radius.Malformed as malformed:
            return _plain(str(malformed), 400)

    return view


def _basic(request: HttpRequest) -> tuple[str, str]:
    """Return name and secret of RFC 7617, empty when there are none or they cannot be read."""
    scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _plain(words: str, status: int) -> HttpResponse:
    return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8")


@_for_address_servers
def authorize(server: AddressServer, sent: radius.Attributes) -> HttpResponse:
    """Answer an Access-Request: 200 with what the session gets, or 401 with a Reply-Message."""
    username = sent.text("User-Name")
    if not username:
        raise radius.Malformed("User-Name is missing.")
    decided = admission.admit(
        server=server,
        username=username,
        proven=_proof(sent),
        device=sent.text("Calling-Station-Id"),
        nas_ip=sent.address("NAS-IP-Address", "NAS-IPv6-Address"),
        at=timezone.now(),
    )
    if not decided.admitted:
        words = decided.words.encode()[: radius.MOST_TEXT].decode(errors="ignore")
        return JsonResponse(radius.reply({"reply:Reply-Message": words}), status=401)
    lists = (("control", decided.control or {}), ("reply", decided.reply or {}))
    return JsonResponse(
        radius.reply(
            {f"{where}:{name}": value for where, of in lists for name, value in of.items()}
        )
    )


def _proof(sent: radius.Attributes) -> Callable[[str], bool] | None:
    """Return what tells whether the equipment knows a secret; None when FreeRADIUS alone can."""
    if "User-Password" in sent.values:
        given = sent.text("User-Password").encode()
        return lambda secret: hmac.compare_digest(given, secret.encode())
    if "CHAP-Challenge" in sent.values:
        return lambda secret: radius.chap_fits(sent, secret)
    return None


@_for_address_servers
def account(server: AddressServer, sent: radius.Attributes) -> HttpResponse:
    """Take an Accounting-Request: 204 once it is stored, and not before."""
    accounting.record_accounting(server=server, attributes=sent.values, received_at=timezone.now())
    return HttpResponse(status=204)
