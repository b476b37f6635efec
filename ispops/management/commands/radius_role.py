"""`manage.py radius_role`: the role of PostgreSQL by which FreeRADIUS writes the inbox."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from ispops.errors import Refusal
from provisioning import radius_setup

USUAL = "ispops_radius"


class Command(BaseCommand):
    help = (
        "Make the database role of FreeRADIUS, which may only insert accounting messages, or give "
        "it a new password. Prints the password."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--name", default=USUAL, help=f"the role's name ({USUAL})")
        parser.add_argument(
            "--sql", action="store_true", help="print what an administrator runs, and do nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, password = options["name"], secrets.token_urlsafe(24)
        if options["sql"]:
            made = radius_setup.role_statements(name=name, password=password, exists=False)
            self.stdout.write(";\n".join(made) + ";")
            return
        try:
            radius_setup.make_role(name=name, password=password)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except ProgrammingError as error:
            raise CommandError(
                f"The role cannot be made here ({str(error).strip()}). Let an administrator run "
                "what `manage.py radius_role --sql` prints."
            ) from error
        self.stdout.write(f"user={name}\nPGPASSWORD={password}")
