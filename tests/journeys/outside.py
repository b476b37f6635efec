"""Those who meet the product from outside, each by its own protocol: a RADIUS server, a partner."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from playwright.sync_api import Page

from ispops.demo import network, people

GIB = 2**30


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """FreeRADIUS with `rlm_rest`, as far as the product can see it."""

    url: str

    def authorize(self, username: str, password: str, device: str) -> requests.Response:
        """Ask whether a device of a line may come in."""
        return self._post(
            "authorize",
            {"User-Name": username, "User-Password": password, "Calling-Station-Id": device},
        )

    def account(self, **attributes: Any) -> requests.Response:
        """Tell of a session; names are written with underscores for the hyphens."""
        return self._post(
            "accounting", {name.replace("_", "-"): value for name, value in attributes.items()}
        )

    def _post(self, call: str, attributes: dict[str, Any]) -> requests.Response:
        body = {
            name: {"type": "integer" if isinstance(value, int) else "string", "value": [value]}
            for name, value in attributes.items()
        }
        login = (network.SERVER, network.SERVER_SECRET)
        return requests.post(f"{self.url}/aaa/{call}", json=body, auth=login, timeout=10)


def reply_of(answer: requests.Response) -> dict[str, Any]:
    """The attributes that an authorisation was answered with, by list and name."""
    return {name: told["value"][0] for name, told in answer.json().items()}


def session(username: str, device: str, address: str) -> dict[str, Any]:
    """The attributes that all accounting messages of one session share."""
    number = secrets.token_hex(8)
    return {
        "User_Name": username,
        "Acct_Session_Id": number,
        "Acct_Unique_Session_Id": number * 2,
        "NAS_IP_Address": "127.0.0.10",
        "Calling_Station_Id": device,
        "Framed_IP_Address": address,
        "Event_Timestamp": int(datetime.now(UTC).timestamp()),
    }


def counters(seconds: int, *, up: int, down: int) -> dict[str, int]:
    """The counters of a session as RFC 2869 splits them: what does not fit 32 bits is wrapped."""
    return {
        "Acct_Session_Time": seconds,
        "Acct_Input_Octets": up % 2**32,
        "Acct_Input_Gigawords": up // 2**32,
        "Acct_Output_Octets": down % 2**32,
        "Acct_Output_Gigawords": down // 2**32,
    }


class PartnerProgram:
    """A partner's own program, which knows the API's documents and a client's credentials."""

    def __init__(self, url: str, code: str) -> None:
        secret = next(each.api_secret for each in people.PARTNERS if each.code == code)
        answer = requests.post(
            f"{url}/identity/o/api/token",
            data={"grant_type": "client_credentials"},
            auth=(code, secret),
            timeout=10,
        )
        answer.raise_for_status()
        self.url = f"{url}/api/v1"
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def get(self, path: str) -> requests.Response:
        return self.http.get(f"{self.url}/{path}", timeout=10)

    def items(self, path: str) -> list[dict[str, Any]]:
        answer = self.get(path)
        answer.raise_for_status()
        return list(answer.json()["items"])

    def post(self, path: str, body: Any, key: str = "") -> requests.Response:
        headers = {"Idempotency-Key": key or secrets.token_hex(8)}
        return self.http.post(f"{self.url}/{path}", json=body, headers=headers, timeout=10)


def code_from(mailbox: Page, email: str) -> str:
    """The code in the newest letter to somebody, on the page that shows the mail of a demo."""
    for _ in range(60):
        for letter in mailbox.get_by_role("article").filter(has_text=email).all_inner_texts():
            if found := re.search(r"^\s*([A-Z0-9]{3,4}-?[A-Z0-9]{3,4})\s*$", letter, re.MULTILINE):
                return found[1]
        mailbox.wait_for_timeout(500)
        mailbox.reload()
    raise AssertionError(f"no code came to {email}")
