"""The API's contract: served as committed, readable on a page, complete, and asking for no CDN."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from django.test import Client
from django.urls import get_resolver

from ispops.parties import docs
from ispops.parties.scopes import API_SCOPES

pytestmark = pytest.mark.django_db
OPERATIONS = [
    (path, method, operation)
    for path, item in docs.document()["paths"].items()
    for method, operation in item.items()
]


def test_the_document_is_served_as_it_was_reviewed(client: Client) -> None:
    answer = client.get("/api/v1/openapi.yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.content == docs.DOCUMENT.read_bytes()
    assert yaml.safe_load(answer.content)["openapi"].startswith("3.")


def test_the_page_has_every_call_object_and_problem(client: Client) -> None:
    page = client.get("/api/v1/docs").content.decode()
    for path, method, operation in OPERATIONS:
        assert f"{method.upper()} {path}" in page
        assert f'id="{operation["operationId"]}"' in page
    for name in docs.document()["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    for known in docs.problems():
        assert f"/problems/{known['code']}" in page


def test_every_link_on_the_page_leads_somewhere_on_it(client: Client) -> None:
    page = client.get("/api/v1/docs").content.decode()
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {name for name in re.findall(r'href="#([^"]+)"', page) if name} <= anchors


def test_the_page_takes_everything_from_us(client: Client) -> None:
    answer = client.get("/api/v1/docs")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assets = re.findall(r'(?:src|href)="([^"#]+)"', answer.content.decode())
    assert not [asset for asset in assets if re.match(r"(https?:)?//", asset)]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_call_names_its_scope_and_its_problems(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    requirement, *none = operation["security"]
    assert none in ([], [{}])
    is_limited = bool(none) or method != "get"
    assert is_limited == ("429" in operation["responses"]), "an open call has a limit, and a write"
    # An address server says its secret, and may do what is there for address servers.
    if requirement != {"address_server": []}:
        [scope] = requirement["oauth2"]
        assert scope in API_SCOPES
        assert scope.endswith(":read" if method == "get" else ":write")
    for code in ("401", "403"):
        content = operation["responses"][code]["content"]
        assert content["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    assert operation["summary"]


@pytest.mark.parametrize(
    ("path", "method", "operation"), [found for found in OPERATIONS if found[1] == "post"]
)
def test_every_write_can_be_repeated(path: str, method: str, operation: dict[str, Any]) -> None:
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert parameters["Idempotency-Key"]["in"] == "header"


def test_every_kind_of_problem_is_explained(client: Client) -> None:
    for known in docs.problems():
        page = client.get(f"/problems/{known['code']}")
        assert page.status_code == 200
        assert known["title"] in page.content.decode()
    assert client.get("/problems/never_heard_of").status_code == 404


def test_no_two_refusals_share_a_code_and_differ_in_meaning() -> None:
    from ispops.errors import Refusal

    seen: dict[str, tuple[str, int]] = {}
    for kind in docs._all_refusals(Refusal):
        meaning = (kind.title, kind.status)
        assert seen.setdefault(kind.code, meaning) == meaning, kind


@pytest.mark.parametrize(
    ("schema", "words", "link"),
    [
        ({"type": "string"}, "string", ""),
        ({"type": "string", "format": "date-time", "nullable": True}, "date-time or null", ""),
        ({"$ref": "#/components/schemas/Offer"}, "Offer", "Offer"),
        ({"type": "array", "items": {"$ref": "#/x/Offer"}}, "list of Offer", "Offer"),
        ({"oneOf": [{"$ref": "#/x/A"}, {"$ref": "#/x/B"}]}, "A or B", "A"),
        ({"allOf": [{"$ref": "#/x/A"}]}, "A", "A"),
        ({}, "any value", ""),
    ],
)
def test_types_are_said_in_words(schema: dict[str, Any], words: str, link: str) -> None:
    assert docs.type_words(schema) == {"words": words, "link": link}


def test_all_rooms_have_their_addresses() -> None:
    names = set(get_resolver().reverse_dict)
    assert {"openapi", "api_reference", "aaa-authorize", "product-orders"} <= names


def test_code_is_marked_and_all_else_escaped() -> None:
    assert docs.marked("see `a<b` & <i>") == 'see <code class="code">a&lt;b</code> &amp; &lt;i&gt;'
    assert docs.marked("") == ""
