"""`manage.py address_server`: a new secret for an address server, or switching it off and on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ipam import address_servers
from ispops.errors import Refusal


class Command(BaseCommand):
    help = "Change an address server: its secret, or whether it is served."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="its name, as it was registered")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--new-secret", action="store_true", help="print a new secret; the old one is void"
        )
        what.add_argument("--off", action="store_true", help="serve it no more")
        what.add_argument("--on", action="store_true", help="serve it again")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            if options["new_secret"]:
                secret = address_servers.renew_secret(name=name)
                self.stdout.write(f"The new secret of {name}: {secret}")
                return
            server = address_servers.switch(name=name, active=options["on"])
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"{name} is served{'' if server.active else ' no more'}.")
