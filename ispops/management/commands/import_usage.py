"""`manage.py import_usage FILE`: take in a file of usage, of the network or of a partner.

The work is done here and not by a worker, so it needs none; the console shows the file all the
same, and a command that was stopped is gone on with by a worker.
"""

import getpass
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ispops import filework
from ispops.errors import Refusal
from ispops.parties.models import Partner
from rating import usage_files
from rating.models import UsageFile

_PAUSE_SECONDS = 0.5
_COUNTED = ("accepted", "duplicates", "conflicts", "in_error", "rejected")
Format, State = UsageFile.Format, UsageFile.State


class Command(BaseCommand):
    help = "Take in records of the network (IPDR or CSV), or a partner's events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="plain, gzip or zip")
        parser.add_argument("--format", choices=Format.values, default=Format.IPDR)
        parser.add_argument("--partner", default="", help="whose events; none for the network's")

    def handle(self, *args: Any, **options: Any) -> None:
        partner = Partner.objects.filter(code=options["partner"]).first()
        if options["partner"] and partner is None:
            raise CommandError(f"There is no partner {options['partner']}.")
        try:
            with options["file"].open("rb") as upload:
                file = usage_files.submit_file(
                    upload=upload, file_name=options["file"].name, file_format=options["format"],
                    partner=partner, actor=None,
                    actor_name=f"{getpass.getuser()}, on the command line", at=timezone.now(),
                )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        except Refusal as refusal:
            raise CommandError(f"{refusal.field or 'file'}: {refusal.detail}") from refusal
        self._read(file)

    def _read(self, file: UsageFile) -> None:
        if file.same_as:
            self.stdout.write(f"The same file came before, as {file.same_as.public_id}.")
        while file.state in filework.OPEN:
            if not usage_files.read_next(file_id=file.pk, at=timezone.now()):
                time.sleep(_PAUSE_SECONDS)
            file.refresh_from_db()
        for name in _COUNTED:
            self.stdout.write(f"{name.replace('_', ' '):<12} {getattr(file, name):>12,}")
        if file.not_taken:
            self.stdout.write(f"The rows to look at are in {file.rejects.path}")
        if file.state != State.COMPLETED:
            raise CommandError(file.error or f"The file is “{file.get_state_display()}”.")
