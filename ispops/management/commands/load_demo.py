"""`manage.py load_demo`: the demonstration's ISP, by the verbs of a real one."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from ispops.demo import (
    catalogue,
    coverage,
    lives,
    network,
    people,
    places,
    providers,
    rounds,
    visits,
    waiting,
)

# The ISP has been in business for a while, so that whatever happens has a price.
OPENED = datetime(2025, 1, 1, tzinfo=ZoneInfo(settings.BILLING_TIME_ZONE))


class Command(BaseCommand):
    """Loads what is missing, and says nothing; what was changed since stays as it is."""

    help = "Load the demonstration ISP: people, places, coverage, catalogue, addresses, demand."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            self._load()
        # A mail server is asked outside any transaction.
        rounds.send_letters(timezone.now())

    def _load(self) -> None:
        people.load(at=timezone.now())
        for part in (places, coverage, catalogue):
            part.load(at=OPENED)
        network.load(at=timezone.now())
        # Before there is a calendar of visits to come: theirs have been.
        lives.live(at=timezone.now())
        providers.load(at=timezone.now())
        waiting.load(at=timezone.now())
        visits.load(at=timezone.now())
