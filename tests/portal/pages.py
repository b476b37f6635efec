"""Reading the portal's pages in tests, and what every one of them must keep."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What a page is made of: enough to check its promises."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.html))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]

    def value(self, name: str) -> str:
        (field,) = self.all("input", name=name)
        return field["value"]


def page(response: Any, status: int = 200) -> Page:
    """Read an answer, and see that it keeps what every page of the portal promises."""
    assert response.status_code == status, response.status_code
    found = Page(response.content.decode())
    _allowed_by_the_policy(found)
    _usable(found)
    return found


def _allowed_by_the_policy(found: Page) -> None:
    """The content security policy refuses scripts and styles in line, and anything of others."""
    assert not found.all("style")
    for tag, attrs in found.tags:
        assert "style" not in attrs, (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        if tag == "script" and attrs.get("type") != "application/json":
            assert attrs["src"].startswith("/static/"), attrs
        if tag == "link":
            assert attrs["href"].startswith("/static/"), attrs


def _usable(found: Page) -> None:
    """Every field has a label, every id is one, and the page has one heading and a language."""
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    labelled = {attrs["for"] for attrs in found.all("label") if "for" in attrs}
    for tag in ("input", "select", "textarea"):
        for attrs in found.all(tag):
            if attrs.get("type") != "hidden":
                assert attrs.get("id") in labelled or "aria-label" in attrs, attrs
    described = " ".join(attrs.get("aria-describedby", "") for _, attrs in found.tags).split()
    assert set(described) <= set(ids), set(described) - set(ids)
    for attrs in found.all("a"):
        assert "href" in attrs, attrs
        if attrs["href"].startswith("#"):
            assert attrs["href"][1:] in ids, attrs
    if found.html.lstrip().lower().startswith("<!doctype"):
        assert len(found.all("h1")) == 1
        assert found.all("html")[0]["lang"] == "en"
        assert found.all("main")
