"""`manage.py radius_clients`: the access servers, as files for FreeRADIUS."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ispops.network import freeradius
from provisioning import radius_setup


class Command(BaseCommand):
    help = (
        "Write a file for each access server that has a RADIUS secret into a folder, and remove "
        "those of others. The files hold secrets. FreeRADIUS reads them within a minute."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("folder", type=Path, help="the folder of RADIUS_CLIENTS, of its own")

    def handle(self, *args: Any, **options: Any) -> None:
        clients = radius_setup.clients()
        try:
            changed = freeradius.write_clients(options["folder"], clients)
        except OSError as error:
            raise CommandError(f"The folder cannot be written: {error}.") from error
        self.stdout.write(f"{len(clients)} access servers; changed: {', '.join(changed) or 'none'}")
