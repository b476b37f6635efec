"""`manage.py radius_clients`: the access servers as FreeRADIUS's file of clients."""

from typing import Any

from django.core.management.base import BaseCommand

from provisioning import radius_setup


class Command(BaseCommand):
    help = (
        "Print the access servers that have a RADIUS secret as a clients.conf of FreeRADIUS. It "
        "holds secrets; FreeRADIUS reads it when it starts."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(radius_setup.clients_file(), ending="")
