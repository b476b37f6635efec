"""How the API describes itself: scopes, problems and repeated writes, for every call alike."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework.permissions import SAFE_METHODS

from ispops.parties import limits
from ispops.parties.problems import MEDIA_TYPE
from ispops.parties.rest import needed_scope
from ispops.parties.scopes import API_SCOPES

PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457 problem details. Further members are facts of the one problem.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Stable for each kind of problem; an address with an explanation.",
            "example": "/problems/invalid_input",
        },
        "title": {"type": "string", "description": "The same for all problems of the type."},
        "status": {"type": "integer", "example": 422},
        "detail": {"type": "string", "description": "What happened here, and what to do."},
        "errors": {
            "type": "array",
            "description": "The values that were refused.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {
                    "field": {"type": "string", "example": "events[0].quantity"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": (
        "New for each new request. The same key with the same body gives the first answer again, "
        "with the header `Idempotent-Replay: true`; with another body it is refused with 409."
    ),
}


class ApiSchema(AutoSchema):
    """Adds to each operation what all of them share."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if self._is_idempotent():
            operation["parameters"] = [IDEMPOTENCY_KEY, *operation.get("parameters", [])]
        responses = operation["responses"]
        for code, response in responses.items():
            response["description"] = response["description"] or HTTPStatus(int(code)).phrase
        for code, words in self._problems():
            responses.setdefault(code, self._problem(words))
        order = ("operationId", "summary", "description", "tags", "security", "parameters")
        first = {name: operation.pop(name) for name in order if name in operation}
        return first | operation

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Say of calls that are open to strangers that they need no token."""
        needed: list[dict[str, list[str]]] = super().get_auth()
        return [*needed, {}] if self._limit() else needed

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Name objects as callers know them: `ProductOrderOut` is a ProductOrder to them."""
        name: str = super().get_serializer_name(serializer, direction)
        if name.endswith("Out"):
            return name.removesuffix("Out")
        return f"{name.removesuffix('In')}Request" if name.endswith("In") else name

    def _is_idempotent(self) -> bool:
        name = getattr(self.view, "action", None) or self.method.lower()
        return bool(getattr(getattr(self.view, name, None), "is_idempotent", False))

    def _limit(self) -> limits.Limit | None:
        return limits.limit_for_strangers(self.view, self.method)

    def _problems(self) -> list[tuple[str, str]]:
        problems = [
            ("401", "No access token, or one that is not valid or has expired."),
            ("403", "The token lacks the scope, or the call is not for this caller."),
        ]
        if "{" in self.path:
            problems.append(("404", "There is no such object, or it is another's."))
        if self.method not in SAFE_METHODS:
            problems += [
                ("409", "Not possible in this state, or the Idempotency-Key was used before."),
                ("422", "A value cannot be used; `errors` names the fields."),
            ]
        words = "Too many calls."
        if limit := self._limit():
            words = f"Without a token: more than {limit.amount} calls in {limit.seconds} seconds."
        if limit or self.method not in SAFE_METHODS:
            problems.append(("429", f"{words} Wait as long as `Retry-After` says."))
        return problems

    def _problem(self, words: str) -> dict[str, Any]:
        component = ResolvedComponent(
            name="Problem", type=ResolvedComponent.SCHEMA, object="Problem", schema=PROBLEM_SCHEMA
        )
        self.registry.register_on_missing(component)
        return {"description": words, "content": {MEDIA_TYPE: {"schema": component.ref}}}


class ApiTokenScheme(OpenApiAuthenticationExtension):
    """OAuth 2.0 client credentials, and for each operation the one scope that it needs."""

    target_class = "ispops.parties.rest.ApiTokenAuthentication"
    name = "oauth2"

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        return {"oauth2": [needed_scope(auto_schema.view, auto_schema.method)]}

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "oauth2",
            "flows": {
                "clientCredentials": {
                    "tokenUrl": "/identity/o/api/token",
                    "scopes": dict(API_SCOPES),
                }
            },
        }


class AddressServerScheme(OpenApiAuthenticationExtension):
    """The name and the secret of an address server."""

    target_class = "ipam.server_login.ServerAuthentication"
    name = "address_server"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "basic"}
