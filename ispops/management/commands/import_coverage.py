"""`manage.py import_coverage FILE --provider CODE`: say what a list comes to, or apply it.

The work is done here and not by a worker, so it needs none; what was only looked at waits in the
console, like a list that was sent there.
"""

import getpass
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ispops.errors import Refusal
from ispops.parties.models import Partner
from qualification import import_work, imports
from qualification.models import CoverageImport

_PAUSE_SECONDS = 0.5
Format, State = CoverageImport.Format, CoverageImport.State


class Command(BaseCommand):
    help = "Check a list of coverage or places, say what it comes to, and apply it if told to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="CSV, plain, gzip or zip")
        parser.add_argument("--provider", default="", help="the network's code; none for places")
        parser.add_argument("--format", choices=Format.values, default=Format.LOCATIONS)
        parser.add_argument("--complete", action="store_true", help="end what it does not name")
        parser.add_argument(
            "--cells", action="store_true", help="unknown locations stand for their H3 cell"
        )
        parser.add_argument("--apply", action="store_true", help="apply it after the check")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row = self._check(options)
            if options["apply"]:
                row = self._apply(row)
        except Refusal as refusal:
            raise CommandError(f"{refusal.field or 'list'}: {refusal.detail}") from refusal

    def _check(self, options: dict[str, Any]) -> CoverageImport:
        provider = Partner.objects.filter(code=options["provider"]).first()
        if options["provider"] and provider is None:
            raise CommandError(f"There is no partner {options['provider']}.")
        try:
            with options["file"].open("rb") as upload:
                row = imports.submit_list(
                    upload=upload, file_name=options["file"].name, list_format=options["format"],
                    provider=provider, is_complete=options["complete"], use_cells=options["cells"],
                    actor=None, actor_name=_who(), at=timezone.now(),
                )  # fmt: skip
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        row = _work(row, State.PREVIEWED)
        for name in ("added", "changed", "removed", "unchanged", "rejected"):
            self.stdout.write(f"{name:<10} {getattr(row, name):>12,}")
        for reason in row.summary["reasons"]:
            self.stdout.write(f"  {reason['count']:,} x {reason['field']}: {reason['reason']}")
        if row.rejects:
            self.stdout.write(f"The rejected rows are in {row.rejects.path}")
        if not options["apply"]:
            self.stdout.write(f"Nothing is applied. {row.public_id} waits in the console.")
        return row

    def _apply(self, row: CoverageImport) -> CoverageImport:
        row = imports.apply_list(import_id=row.pk, actor=None, actor_name=_who(), at=timezone.now())
        row = _work(row, State.APPLIED)
        self.stdout.write(f"Applied as {row.public_id}.")
        return row


def _work(row: CoverageImport, wanted: str) -> CoverageImport:
    """Do the next step, or wait for the worker that was quicker; returns the row.

    Raises:
        CommandError: it came out otherwise; says how.
    """
    while row.state in imports.WORKING:
        if not import_work.work_on(import_id=row.pk, at=timezone.now()):
            time.sleep(_PAUSE_SECONDS)
        row.refresh_from_db()
    if row.state != wanted:
        raise CommandError(row.error or f"The list is “{row.get_state_display()}”.")
    return row


def _who() -> str:
    return f"{getpass.getuser()}, on the command line"
