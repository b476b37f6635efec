"""List the months of usage, close one, or take a closed one out of the tables."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ispops.errors import InvalidInput, Refusal
from rating import partitions


class Command(BaseCommand):
    help = "List the months of usage; close one, or detach a closed one so that it can be archived."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--close", metavar="YYYY-MM", type=_month, help="Make it read-only.")
        which.add_argument(
            "--detach", metavar="YYYY-MM", type=_month, help="Leave it beside the tables."
        )

    def handle(self, *, close: datetime | None, detach: datetime | None, **_: Any) -> None:
        try:
            if close:
                partitions.close_month(month=close, at=timezone.now())
            if detach:
                names = partitions.detach_month(month=detach, at=timezone.now())
                self.stdout.write(f"Detached, to be dumped and dropped: {', '.join(names)}")
        except (InvalidInput, Refusal) as refusal:
            raise CommandError(refusal.detail) from refusal
        for month in partitions.open_months():
            self.stdout.write(f"{month:%Y-%m}  open")


def _month(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
