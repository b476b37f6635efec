"""What changes about an address server after it was registered: its secret, and whether it may ask.

Who runs the machines does this with `manage.py address_server`, where the secret is needed.
"""

import secrets

from django.db import transaction

from ipam.models import AddressServer
from ispops.errors import NotFound


@transaction.atomic
def renew_secret(*, name: str) -> str:
    """Give a server a new secret, and return it: it is kept nowhere, and the old one is void.

    Raises:
        NotFound: there is no such server.
    """
    secret = secrets.token_urlsafe(32)
    server = _locked(name)
    server.secret_digest = AddressServer.digest_of(secret)
    server.save(update_fields=["secret_digest"])
    return secret


@transaction.atomic
def switch(*, name: str, active: bool) -> AddressServer:
    """Let a server ask and be asked, or not. What it gave out stays until its leases end.

    Raises:
        NotFound: there is no such server.
    """
    server = _locked(name)
    server.active = active
    server.save(update_fields=["active"])
    return server


def _locked(name: str) -> AddressServer:
    server = AddressServer.objects.select_for_update().filter(name=name).first()
    if server is None:
        raise NotFound(f"There is no address server {name}.", field="name")
    return server
