"""How an address server logs in to the API: with its name and its secret, as RFC 7617 says."""

import base64
from dataclasses import dataclass
from typing import Any, cast

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from ipam import queries
from ipam.models import AddressServer
from ispops.parties import limits


@dataclass(frozen=True, slots=True)
class ServerCaller:
    """The address server that calls; what the calls know of a user."""

    server: AddressServer
    is_authenticated = True
    is_active = True

    @property
    def pk(self) -> str:
        return f"address_server:{self.server.pk}"


class ServerAuthentication(BaseAuthentication):
    """The name and the secret of an address server, as RFC 7617 carries them."""

    def authenticate(self, request: Request) -> tuple[ServerCaller, AddressServer]:
        scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
        name = secret = ""
        if scheme.lower() == "basic":
            try:
                name, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
            except ValueError:  # no base64, or no text in it
                name = secret = ""
        server = queries.authenticate_server(name, secret)
        if server is None:
            if wait := limits.wait_after_wrong_secret(request, name):
                raise exceptions.Throttled(wait, "Too many wrong names and secrets came from here.")
            raise exceptions.AuthenticationFailed("The address server's name or secret is wrong.")
        return ServerCaller(server), server

    def authenticate_header(self, request: Request) -> str:
        return 'Basic realm="address servers"'


class IsAddressServer(BasePermission):
    """Who has come this far has said its secret."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, AddressServer)


class OfServers(APIView):
    """A call that address servers alone may make."""

    authentication_classes = [ServerAuthentication]
    permission_classes = [IsAddressServer]
    scope_area = "ipam"

    def server(self, request: Request) -> AddressServer:
        return cast(AddressServer, request.auth)
