"""Verbs for the ISP's own program, the command `isp`: it is known to every installation."""

from typing import Any

from allauth.idp.oidc.models import Client
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

CLIENT_SOFTWARE = "isp-client"
SCOPES = (
    "qualification:read",
    "qualification:write",
    "registration:read",
    "registration:write",
    "orders:read",
    "orders:write",
    "purchases:read",
    "purchases:write",
)


def make_client_software(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Let the command `isp` ask people for their consent (RFC 8628), on a new database, too.

    It is public, so it has no secret that anybody could read out of the program. A receiver of
    `post_migrate`; what an operator has changed in it stays, but for the scopes it needs.
    """
    there = Client._meta.db_table in connections[using].introspection.table_names()
    if not there or using != DEFAULT_DB_ALIAS:
        return
    client, _is_new = Client.objects.get_or_create(
        pk=CLIENT_SOFTWARE,
        defaults={
            "name": "The program isp",
            "type": Client.Type.PUBLIC,
            "grant_types": f"{Client.GrantType.DEVICE_CODE}\n{Client.GrantType.REFRESH_TOKEN}",
            "response_types": "",
            "created_at": timezone.now(),
        },
    )
    if set(client.get_scopes()) != set(SCOPES):
        client.set_scopes(list(SCOPES))
        client.set_default_scopes(list(SCOPES))
        client.save()
