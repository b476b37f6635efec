"""List the months of usage or of charges; close one, take it out of the tables or put it back."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ispops.errors import InvalidInput, Refusal
from rating import charge_months, partitions


class Command(BaseCommand):
    help = (
        "List the months of usage, or with --charges those of charges; close one, detach a closed "
        "one so that it can be archived, or attach it again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--charges", action="store_true", help="Of charges, not of usage.")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--close", metavar="YYYY-MM", type=_month, help="Make it read-only.")
        which.add_argument(
            "--detach", metavar="YYYY-MM", type=_month, help="Leave it beside the tables."
        )
        which.add_argument(
            "--attach", metavar="YYYY-MM", type=_month, help="Put it back into the tables."
        )

    def handle(
        self,
        *,
        charges: bool,
        close: datetime | None,
        detach: datetime | None,
        attach: datetime | None,
        **_: Any,
    ) -> None:
        of = charge_months if charges else partitions
        try:
            if close:
                of.close_month(month=close, at=timezone.now())
            if detach:
                names = of.detach_month(month=detach, at=timezone.now())
                self.stdout.write(f"Detached, to be dumped and dropped: {', '.join(names)}")
            if attach:
                names = of.attach_month(month=attach)
                self.stdout.write(f"Attached: {', '.join(names)}")
        except (InvalidInput, Refusal) as refusal:
            raise CommandError(refusal.detail) from refusal
        for month in of.open_months():
            self.stdout.write(f"{month:%Y-%m}  open")


def _month(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
