"""`manage.py read_accounting_again`: what could not be read, after its cause was mended."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from provisioning import inbox


class Command(BaseCommand):
    help = (
        "Put back all accounting messages that could not be read, for example when their address "
        "server was not known. What still cannot be read stays, with the reason of today."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--reason", required=True, help="what was mended, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        read, left = inbox.read_all_again(
            by=f"command of {getpass.getuser()}"[:80], reason=options["reason"], at=timezone.now()
        )
        self.stdout.write(f"{read} messages are read now; {left} still cannot be read.")
