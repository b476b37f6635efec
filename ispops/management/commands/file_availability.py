"""`manage.py file_availability`: our coverage in the FCC's form, on the standard output."""

import argparse
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ispops.errors import Refusal
from ispops.parties.models import Partner
from ispops.periods import moment_on
from qualification import filing
from qualification.availability import REASONS


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("write a day as 2026-06-30") from error
    if day > timezone.localdate(timezone=ZoneInfo(settings.BILLING_TIME_ZONE)):
        raise argparse.ArgumentTypeError("coverage is filed as it is or was")
    return day


class Command(BaseCommand):
    help = "Write the FCC availability filing of our own network; says on stderr what is in it."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("network", help="the code of the partner that is our own network")
        parser.add_argument("--on", type=_day, help="as at the end of this day; otherwise as now")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        provider = Partner.objects.filter(code=options["network"]).first()
        if provider is None:
            raise CommandError(f"There is no partner {options['network']}.")
        try:
            made = filing.export_availability(
                provider=provider,
                as_of=moment_on(options["on"], now=now, zone=settings.BILLING_TIME_ZONE),
                actor_name="command line",
                at=now,
            )
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        for text in filing.lines(made):
            self.stdout.write(text, ending="")
        self.stderr.write(f"{made.total:,} locations filed")
        for code, count in made.left_out.items():
            self.stderr.write(f"{count:,} not filed: {REASONS[code]}")
