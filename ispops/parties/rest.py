"""What every REST call shares: who calls, what they may, problems, paging and repeated writes."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from allauth.idp.oidc.contrib.rest_framework.authentication import TokenAuthentication
from allauth.idp.oidc.models import Token
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.utils import timezone
from rest_framework import exceptions, permissions
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.models import IdempotentAnswer
from ispops.parties.models import Partner, User

PROBLEM_BASE = "/problems/"


class ApiTokenAuthentication(TokenAuthentication):
    """OAuth 2.0 bearer tokens. A client-credentials token acts for the owner of its client."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        found = super().authenticate(request)
        if found is None:
            if request.headers.get("Authorization", "").lower().startswith("bearer "):
                raise exceptions.AuthenticationFailed("The access token is not valid or expired.")
            return None
        user, token = found
        user = user or token.client.owner
        if user is None or not user.is_active:
            raise exceptions.AuthenticationFailed("The client of this token has no active owner.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        """Make a missing token a 401 with the challenge of RFC 6750, and not a 403."""
        return 'Bearer realm="api"'


class HasScope(permissions.BasePermission):
    """The token has `area:read` for reading and `area:write` for all else; see `scope_area`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        token = request.auth
        if not isinstance(token, Token) or token.type != Token.Type.ACCESS_TOKEN:
            return False
        mode = "read" if request.method in permissions.SAFE_METHODS else "write"
        return f"{view.scope_area}:{mode}" in token.get_scopes()


def calling_partner(request: Request) -> Partner:
    """Return the partner that calls.

    Raises:
        PermissionDenied: the caller is not a partner, or its partner is no longer active.
    """
    partner = getattr(request.user, "partner", None)
    if partner is None or not partner.active:
        raise exceptions.PermissionDenied("This call is for partners.")
    return partner


class NewestFirstCursor(CursorPagination):
    """Pages of `limit` rows, newest first; `next` is the address of the next page or null."""

    ordering: ClassVar[str] = "-pk"
    page_size_query_param = "limit"
    max_page_size = 500

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {"type": "string", "format": "uri", "nullable": True},
            },
        }


class ProblemRenderer(JSONRenderer):
    """RFC 9457 problem details."""

    media_type = "application/problem+json"


def problem_details(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Turn what a call raised into an RFC 9457 problem; None for our own faults (a plain 500)."""
    if isinstance(exception, Refusal):
        problem = _refusal(exception)
    elif isinstance(exception, Http404):
        problem = _refusal(NotFound("There is no such object."))
    elif isinstance(exception, PermissionDenied):
        problem = _plain("forbidden", "Not allowed", 403, str(exception))
    elif isinstance(exception, exceptions.ValidationError):
        problem = _invalid(exception)
    elif isinstance(exception, exceptions.APIException):
        problem = _plain(
            str(exception.default_code), "The request was refused", exception.status_code,
            str(exception.detail),
        )  # fmt: skip
    else:
        return None
    headers = {}
    if challenge := getattr(exception, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(exception, "wait", None):
        headers["Retry-After"] = str(int(wait))
    response = Response(problem, status=problem["status"], headers=headers)
    response.content_type = ProblemRenderer.media_type
    return response


def _plain(code: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {"type": PROBLEM_BASE + code, "title": title, "status": status, "detail": detail}


def _refusal(refusal: Refusal) -> dict[str, Any]:
    problem = _plain(refusal.code, refusal.title, refusal.status, refusal.detail)
    if refusal.field:
        problem["errors"] = [{"field": refusal.field, "detail": refusal.detail}]
    return problem | {key: value for key, value in refusal.facts.items() if key not in problem}


def _invalid(error: exceptions.ValidationError) -> dict[str, Any]:
    problem = _plain(InvalidInput.code, InvalidInput.title, 422, "See the errors of the fields.")
    problem["errors"] = list(_field_errors(error.detail))
    return problem


def _field_errors(detail: Any, field: str = "") -> Any:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _field_errors(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from _field_errors(inner, f"{field}[{index}]" if nested else field)
    else:
        yield {"field": field, "detail": str(detail)}


class IdempotencyKeyMissing(Refusal):
    code = "idempotency_key_missing"
    title = "The Idempotency-Key header is missing"
    status = 400


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used with another request"


def idempotent(method: Callable[..., Response]) -> Callable[..., Response]:
    """Make a POST safe to repeat: the same key and body gives the first answer again.

    The answer is stored in the transaction of the change itself. A repeat that comes while the
    first is still running waits for it. A refusal changes nothing, so it is not stored.

    Raises:
        IdempotencyKeyMissing: there is no key, or it is longer than 200 characters.
        IdempotencyKeyReused: the key came before with another path or body.
    """

    @wraps(method)
    def once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key", "")
        if not 0 < len(key) <= 200:
            raise IdempotencyKeyMissing(
                "Send an Idempotency-Key of 1 to 200 characters, new for each new request."
            )
        body = json.dumps(request.data, sort_keys=True)
        fingerprint = hashlib.sha256(f"{request.method} {request.path} {body}".encode())
        with transaction.atomic():
            answer, is_first = IdempotentAnswer.objects.get_or_create(
                caller=str(request.user.pk),
                key=key,
                defaults={"fingerprint": fingerprint.hexdigest(), "created_at": timezone.now()},
            )
            if not is_first:
                if answer.fingerprint != fingerprint.hexdigest():
                    raise IdempotencyKeyReused("Use a new key for a new request.")
                return Response(answer.body, status=answer.status)
            response = method(view, request, *args, **kwargs)
            answer.status, answer.body = response.status_code, response.data
            answer.save(update_fields=["status", "body"])
            return response

    return once
