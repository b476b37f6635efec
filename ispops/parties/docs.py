"""The API's contract for people and programs: the committed OpenAPI document, and a page of it.

The document is generated from the code (`make openapi`), kept in the repository, so that a change
of the contract is seen in review, and served as it was reviewed.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from ispops.errors import Refusal
from ispops.parties.problems import FRAMEWORK_TITLES
from ispops.parties.scopes import API_SCOPES

DOCUMENT = Path(settings.BASE_DIR) / "ispops" / "openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    return HttpResponse(DOCUMENT.read_bytes(), content_type="application/yaml")


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    context = {
        "info": document()["info"],
        "description": marked(document()["info"]["description"]),
        "areas": list(areas(document())),
        "schemas": [
            {
                "name": name,
                "rows": list(_rows(schema)),
                "words": marked(schema.get("description", "")),
                "values": schema.get("enum", []),
            }
            for name, schema in document()["components"]["schemas"].items()
        ],
        "scopes": API_SCOPES,
        "problems": problems(),
    }
    return render(request, "api/reference.html", context)


@require_safe
def problem(request: HttpRequest, code: str) -> HttpResponse:
    """Explain one kind of problem: where the `type` of a problem leads."""
    found = [known for known in problems() if known["code"] == code]
    if not found:
        raise Http404
    return render(request, "api/problem.html", {"problem": found[0]})


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Return the parsed document; it changes only with the code."""
    parsed: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())
    return parsed


def areas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Group the operations by the first word of their path, as the page shows them."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                tag = item[method].get("tags", ["other"])[0]
                grouped.setdefault(tag, []).append(_operation(path, method, item[method]))
    for tag, operations in grouped.items():
        yield {"tag": tag, "title": tag.replace("_", " "), "operations": operations}


def problems() -> list[dict[str, Any]]:
    """List every kind of problem that the code can answer with, by its code."""
    known: dict[str, dict[str, Any]] = {
        code: {"code": code, "title": title, "status": None, "words": ""}
        for code, title in FRAMEWORK_TITLES.items()
    }
    for refusal in _all_refusals(Refusal):
        known[refusal.code] = {
            "code": refusal.code,
            "title": refusal.title,
            "status": refusal.status,
            "words": (refusal.__doc__ or "") if "__doc__" in vars(refusal) else "",
        }
    return [known[code] for code in sorted(known)]


def _all_refusals(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from _all_refusals(child)


def _operation(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation.get("summary", ""),
        "description": marked(operation.get("description", "")),
        "parameters": [
            {
                **parameter,
                "type": type_words(parameter["schema"]),
                "words": marked(parameter.get("description", "")),
            }
            for parameter in operation.get("parameters", [])
        ],
        "scopes": [
            s
            for requirement in operation.get("security", [])
            for s in requirement.get("oauth2", [])
        ],
        "is_open": {} in operation.get("security", []),
        "body": type_words(next(iter(body.values()))["schema"]) if body else None,
        "responses": [
            {
                "code": code,
                "words": marked(response.get("description", "")),
                "type": _content_words(response),
            }
            for code, response in operation["responses"].items()
        ],
    }


def _content_words(response: dict[str, Any]) -> dict[str, str] | None:
    content = response.get("content", {})
    return type_words(next(iter(content.values()))["schema"]) if content else None


def _rows(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": type_words(part),
            "required": name in required,
            "read_only": part.get("readOnly", False),
            "words": marked(part.get("description", "")),
            "values": part.get("enum", []),
        }


def marked(text: str) -> SafeString:
    """Show what stands between backticks as code; all else is escaped."""
    return format_html_join(
        "",
        "{}",
        (
            [format_html('<code class="code">{}</code>', part) if number % 2 else part]
            for number, part in enumerate(text.split("`"))
        ),
    )


def type_words(schema: dict[str, Any]) -> dict[str, str]:
    """Say in words what a value is, and which schema of the page explains it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"words": name, "link": name}
    for together in ("allOf", "oneOf", "anyOf"):
        if together in schema:
            parts = [type_words(part) for part in schema[together]]
            return {
                "words": " or ".join(part["words"] for part in parts),
                "link": parts[0]["link"],
            }
    if schema.get("type") == "array":
        inner = type_words(schema["items"])
        return {"words": f"list of {inner['words']}", "link": inner["link"]}
    words = schema.get("format") or schema.get("type") or "any value"
    return {"words": f"{words} or null" if schema.get("nullable") else words, "link": ""}
