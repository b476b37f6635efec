"""Somebody who uses the pages over HTTP without scripts: reads them and sends their forms."""

from __future__ import annotations

import requests

from tests.portal.pages import Page
from tests.stack import Stack


class Visitor:
    """A browser without scripts, signed in."""

    def __init__(self, stack: Stack, email: str, password: str) -> None:
        self.url = stack.url
        self.http = requests.Session()
        self.send("/accounts/login/", login=email, password=password)

    def read(self, path: str) -> Page:
        answer = self.http.get(self.url + path, timeout=30)
        assert answer.status_code == 200, (path, answer.status_code)
        return Page(answer.text)

    def send(self, path: str, **fields: str) -> str:
        """Send a form from its page, with what the page hid in it; returns where it leads."""
        shown = self.http.get(self.url + path, timeout=30)
        hidden = {}
        if shown.status_code == 200:
            page = Page(shown.text)
            hidden = {
                each["name"]: each.get("value", "") for each in page.all("input", type="hidden")
            }
        token = {"csrfmiddlewaretoken": self.http.cookies.get("csrftoken", "")}
        answer = self.http.post(
            self.url + path,
            data=hidden | token | fields,
            headers={"Referer": self.url + path},
            timeout=30,
        )
        assert answer.ok, (path, answer.status_code, answer.text[-2000:])
        return answer.url.removeprefix(self.url)
