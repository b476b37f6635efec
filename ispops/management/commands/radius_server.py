"""`manage.py radius_server`: an address server, by whose name and secret FreeRADIUS calls us."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ipam import allocation
from ipam.models import AddressServer
from ispops.errors import Refusal


class Command(BaseCommand):
    help = "Register a RADIUS server that asks for addresses, and print its secret, once."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="its name: letters, digits, dashes")

    def handle(self, *args: Any, **options: Any) -> None:
        secret = secrets.token_urlsafe(32)
        try:
            server = allocation.create_server(
                name=options["name"], kind=AddressServer.Kind.RADIUS, secret=secret
            )
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"RADIUS_SERVER_NAME={server.name}\nRADIUS_SERVER_SECRET={secret}")
