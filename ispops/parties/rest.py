"""What every REST call shares: who calls, what they may, paging and repeated writes."""

import hashlib
import json
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from allauth.idp.oidc.internal.resources import is_resources_subset
from allauth.idp.oidc.models import Token
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, ValidationError
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import connection, transaction
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from rest_framework import exceptions, permissions
from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.models import IdempotentAnswer
from ispops.parties import limits
from ispops.parties.models import Partner, User
from ispops.parties.problems import problem_details
from ispops.uploads import too_big_words

__all__ = [
    "ApiTokenAuthentication",
    "CsvAnswer",
    "CsvParser",
    "HasScope",
    "NewestFirstCursor",
    "active_caller",
    "calling_login",
    "calling_partner",
    "idempotent",
    "problem_details",
    "wants_csv",
]


class ApiTokenAuthentication(BaseAuthentication):
    """OAuth 2.0 bearer tokens. A client-credentials token acts for the owner of its client.

    The token is looked up here and not by oauthlib, which reads the body before it knows who
    calls, takes tokens from the query, where logs keep them, and accepts ID tokens, which are
    about a person and open nothing.
    """

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = (
            Token.objects.valid()
            .by_value(value.strip())
            .filter(type=Token.Type.ACCESS_TOKEN, client__isnull=False)
            .select_related("user__partner", "client__owner__partner")
            .first()
        )
        if token is None:
            raise exceptions.AuthenticationFailed("The access token is not valid or has expired.")
        user = token.user or token.client.owner
        if user is None or not user.is_active:
            raise exceptions.AuthenticationFailed("The client of this token has no active owner.")
        if not is_resources_subset(
            [request.build_absolute_uri(request.path)], token.get_resources()
        ):
            raise exceptions.PermissionDenied("This token was made for another resource.")
        return user, token

    def authenticate_header(self, request: Request) -> str:
        """Challenge as RFC 6750 says: this makes a missing token a 401 and not a 403."""
        sent = request.headers.get("Authorization", "").lower().startswith("bearer ")
        return 'Bearer realm="api", error="invalid_token"' if sent else 'Bearer realm="api"'


class HasScope(permissions.BasePermission):
    """The token has `area:read` for reading and `area:write` for all else.

    The area is the view's `scope_area`, one of `ispops.parties.scopes.AREAS`. Methods that the
    view's `open_to_strangers` names, with a limit, need no token; but one that is sent must do.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        token = request.auth
        if not isinstance(token, Token):
            return limits.limit_for_strangers(view, request.method) is not None
        needed = needed_scope(view, request.method or "")
        if needed not in token.get_scopes():
            refused = exceptions.PermissionDenied(f"This call needs a token with scope {needed}.")
            refused.auth_header = (  # type: ignore[attr-defined]
                f'Bearer realm="api", error="insufficient_scope", scope="{needed}"'
            )
            raise refused
        return True


def needed_scope(view: Any, method: str) -> str:
    """Return the scope that a call of this method of a view needs."""
    mode = "read" if method.upper() in permissions.SAFE_METHODS else "write"
    return f"{view.scope_area}:{mode}"


def calling_partner(request: Request) -> Partner:
    """Return the partner that calls.

    Raises:
        PermissionDenied: the caller is not a partner, or its partner is no longer active.
    """
    partner = getattr(request.user, "partner", None)
    if partner is None or not partner.active:
        raise exceptions.PermissionDenied("This call is for partners.")
    return partner


def calling_login(request: Request) -> User:
    """Return the login that calls; a partner's program has no account of its own.

    Raises:
        PermissionDenied: it is a partner's.
    """
    user = request.user
    if not isinstance(user, User) or hasattr(user, "partner"):
        raise exceptions.PermissionDenied("This call is for the logins of subscribers.")
    return user


def active_caller(request: Request) -> User:
    """Return who calls.

    Raises:
        PermissionDenied: it is the login of a partner that is no longer active.
    """
    if hasattr(request.user, "partner"):
        calling_partner(request)
    return cast(User, request.user)


class CsvParser(BaseParser):
    """Takes a body of text/csv for the field `file`, as if it had come in a form.

    The other fields of the form come in the query.
    """

    media_type = "text/csv"
    file_name = "body.csv"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Raises `RequestDataTooBig` before anything of it is kept."""
        request = parser_context["request"]
        size = int(request.META.get("CONTENT_LENGTH") or 0)
        if size > settings.UPLOAD_MOST_BYTES:
            raise RequestDataTooBig(too_big_words())
        file = TemporaryUploadedFile(self.file_name, self.media_type, size, None)
        while piece := stream.read(1 << 16):
            file.write(piece)
        file.seek(0)
        return DataAndFiles(request.query_params, MultiValueDict({"file": [file]}))


class CsvAnswer(JSONRenderer):
    """Lets a call answer with text/csv; a problem is still JSON."""

    media_type = "text/csv"
    format = "csv"


def wants_csv(request: Request) -> bool:
    """Say whether a list is wanted as CSV: by `?format=csv`, or by what the caller accepts.

    Raises:
        InvalidInput: another format is asked for.
    """
    asked = request.query_params.get("format", "")
    if asked not in ("", "json", CsvAnswer.format):
        raise InvalidInput("The format is json or csv.", field="format")
    accepted = getattr(request, "accepted_renderer", None)
    return asked == CsvAnswer.format or (
        not asked and getattr(accepted, "format", "") == CsvAnswer.format
    )


class NewestFirstCursor(CursorPagination):
    """Pages of `limit` rows, newest first; `next` is the address of the next page or null.

    Where a page ends is written in cipher: the numbers of rows would tell how much others do.
    """

    ordering = "-pk"
    page_size_query_param = "limit"
    max_page_size = 500

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """Raises `InvalidInput` for a cursor that we did not make."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (
            exceptions.NotFound, InvalidToken, ValidationError, ValueError, OverflowError
        ) as error:  # fmt: skip
            raise InvalidInput(
                "Take the cursor from `next` of the page before, unchanged.", field="cursor"
            ) from error

    def encode_cursor(self, cursor: Any) -> str:
        url = super().encode_cursor(cursor)
        (plain,) = parse_qs(urlsplit(url).query)[self.cursor_query_param]
        return replace_query_param(url, self.cursor_query_param, db.encrypt(plain))

    def decode_cursor(self, request: Request) -> Any:
        """Raises `InvalidToken` for a cursor that we did not make."""
        sent = request.query_params.get(self.cursor_query_param)
        if sent is None:
            return None
        plain = {self.cursor_query_param: db.decrypt(sent)}
        return super().decode_cursor(SimpleNamespace(query_params=plain))  # type: ignore[arg-type]

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


class IdempotencyKeyMissing(Refusal):
    code = "idempotency_key_missing"
    title = "The Idempotency-Key header is missing"
    status = 400


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    title = "The Idempotency-Key was used with another request"


_KEPT_HEADERS = ("Location", "ETag")
# By hand, because every write of the API begins and ends with them.
_BEGIN = """
INSERT INTO ispops_idempotentanswer (caller, key, fingerprint, body, headers, created_at)
VALUES (%s, %s, %s, '', '{}', %s) ON CONFLICT (caller, key) DO NOTHING RETURNING id
"""
_KEEP = "UPDATE ispops_idempotentanswer SET status = %s, body = %s, headers = %s WHERE id = %s"


def idempotent(method: Callable[..., Response]) -> Callable[..., Response]:
    """Make a POST safe to repeat: the same key and body gives the first answer again.

    The answer is stored in the transaction of the change itself. A repeat that comes while the
    first is still running waits for it. A refusal changes nothing, so it is not stored. A
    repeated answer carries `Idempotent-Replay: true`.

    Strangers, who call without a token, may share an address and choose the same key. So the key
    of a stranger is good for one origin and one request: another's is another key.

    Raises:
        IdempotencyKeyMissing: there is no key, or it is longer than 200 characters.
        IdempotencyKeyReused: the key came before with another path or body.
    """

    @wraps(method)
    def once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key", "").strip()
        if not 0 < len(key) <= 200:
            raise IdempotencyKeyMissing(
                "Send an Idempotency-Key of 1 to 200 characters, new for each new request."
            )
        fingerprint = _fingerprint(request)
        caller = _caller(request, fingerprint)
        with transaction.atomic():
            answer_id = _begin(caller, key, fingerprint)
            if answer_id is None:
                first = IdempotentAnswer.objects.get(caller=caller, key=key)
                return _first_answer(first, fingerprint)
            response = method(view, request, *args, **kwargs)
            if response.status_code >= 400:
                transaction.set_rollback(True)
            else:
                _keep(answer_id, response)
            return response

    once.is_idempotent = True  # type: ignore[attr-defined]  # the schema documents the header
    return once


def _caller(request: Request, fingerprint: str) -> str:
    if request.auth is not None:
        return str(request.user.pk)
    return f"stranger:{limits.origin(request)}:{fingerprint[:32]}"


def _fingerprint(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, default=_digest)
    return hashlib.sha256(f"{request.method} {request.path} {body}".encode()).hexdigest()


def _digest(file: UploadedFile) -> str:
    """Return what stands for a file that came with the request: the same for the same content."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _first_answer(answer: IdempotentAnswer, fingerprint: str) -> Response:
    if answer.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "This key came with another request before. Use a new key for a new request."
        )
    headers = {**answer.headers, "Idempotent-Replay": "true"}
    return Response(json.loads(answer.body), status=answer.status, headers=headers)


def _begin(caller: str, key: str, fingerprint: str) -> int | None:
    """Write that a key is being used; None when it was. A use that still runs is waited for."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, [caller, key, fingerprint, timezone.now()])
        row = cursor.fetchone()
    return row[0] if row else None


def _keep(answer_id: int, response: Response) -> None:
    """Store the answer as it goes over the wire, so that the repeat is the same to the byte."""
    body = (JSONRenderer().render(response.data) or b"null").decode()
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [response.status_code, body, json.dumps(headers), answer_id])
