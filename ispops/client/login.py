"""Signing in without a password in the program: the OAuth 2.0 device grant (RFC 8628).

The token is kept in the user's own folder, readable for nobody else, one for each server.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from ispops.client.api import LoginEnded, ServerAway

CLIENT_ID = "isp-client"
SCOPE = (
    "qualification:read qualification:write registration:read registration:write "
    "orders:read orders:write"
)
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# A token is renewed when it has no longer than this to live, in seconds.
MARGIN = 60.0
Json = dict[str, Any]


class NotApproved(Exception):
    """The person said no in the browser, or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the person has to type where, and how often to ask whether they did."""

    code: str
    user_code: str
    page: str
    # The same page with the code filled in.
    direct_page: str
    seconds: float
    pause: float


def begin(server: str) -> Device:
    """Ask for a code.

    Raises:
        NotApproved: what is kept would go over the network for all to read.
    """
    parts = urlsplit(server)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise NotApproved(f"Signing in needs https, and {server} is not.")
    told = _post(server, "device/code", {"client_id": CLIENT_ID, "scope": SCOPE})
    if "device_code" not in told:
        raise ServerAway(f"{server} lets no programs sign in: {_words(told)}")
    page = str(told["verification_uri"])
    return Device(
        code=str(told["device_code"]),
        user_code=str(told["user_code"]),
        page=page,
        direct_page=str(told.get("verification_uri_complete") or page),
        seconds=float(told.get("expires_in") or 300),
        pause=float(told.get("interval") or 5),
    )


def wait(server: str, device: Device, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the person has said yes in the browser, and keep the token.

    Raises:
        NotApproved: they said no, or nothing until the code ran out.
    """
    pause, until = device.pause, time.monotonic() + device.seconds
    while time.monotonic() < until:
        sleep(pause)
        told = _post(
            server,
            "token",
            {"grant_type": DEVICE_GRANT, "client_id": CLIENT_ID, "device_code": device.code},
        )
        match told.get("error"):
            case None:
                _keep(server, told)
                return
            case "authorization_pending":
                continue
            case "slow_down":
                pause += 5
            case "access_denied":
                raise NotApproved("You said no in the browser, so nobody is signed in.")
            case _:
                break
    raise NotApproved("The code has run out. Run `isp login` again for a new one.")


def token_for(server: str) -> str:
    """Return a token that is still good; empty where nobody is signed in.

    Raises:
        LoginEnded: it could not be renewed; what was kept is deleted.
    """
    kept = _read().get(server)
    if not isinstance(kept, dict) or not kept.get("access_token"):
        return ""
    if float(kept.get("expires_at") or 0) - MARGIN > time.time():
        return str(kept["access_token"])
    told = _post(
        server,
        "token",
        {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "refresh_token": str(kept.get("refresh_token") or ""),
        },
    )
    if "access_token" not in told:
        _forget(server)
        raise LoginEnded("Your login has ended.")
    return _keep(server, {"refresh_token": kept.get("refresh_token")} | told)


def end(server: str) -> bool:
    """Sign out: the token is revoked and deleted. False when nobody was signed in."""
    kept = _read().get(server)
    if not isinstance(kept, dict):
        return False
    for name in ("refresh_token", "access_token"):
        if kept.get(name):
            _post(server, "revoke", {"client_id": CLIENT_ID, "token": str(kept[name])})
    _forget(server)
    return True


def folder() -> Path:
    """Return where this user's programs keep their settings."""
    if named := os.environ.get("ISP_CONFIG_DIR"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "isp"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "isp"


def _file() -> Path:
    return folder() / "tokens.json"


def _read() -> Json:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(kept: Json) -> None:
    """Put the file in place as a whole; nobody else can read it at any moment."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    new = _file().with_suffix(f".{os.getpid()}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(kept, file)
    new.replace(_file())


def _keep(server: str, told: Json) -> str:
    token = str(told["access_token"])
    _write(
        _read()
        | {
            server: {
                "access_token": token,
                "refresh_token": told.get("refresh_token"),
                "expires_at": time.time() + float(told.get("expires_in") or 3600),
            }
        }
    )
    return token


def _forget(server: str) -> None:
    kept = _read()
    kept.pop(server, None)
    _write(kept)


def _post(server: str, call: str, form: dict[str, str]) -> Json:
    """Send a form as OAuth wants it; errors of OAuth come back as what was told."""
    try:
        response = requests.post(f"{server}/identity/o/api/{call}", data=form, timeout=30)
    except requests.RequestException as error:
        raise ServerAway(f"{server} does not answer.") from error
    if response.status_code >= 500 or response.status_code == 404:
        raise ServerAway(f"{server} answered {response.status_code}.")
    try:
        told = response.json() if response.content else {}
    except ValueError:
        told = {}
    return told if isinstance(told, dict) else {}


def _words(told: Json) -> str:
    return str(told.get("error_description") or told.get("error") or "it does not say why")
