"""`manage.py load_demo`: the demonstration's ISP, by the verbs of a real one."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from ispops.demo import catalogue, coverage, network, people, places
from qualification.models import CoverageArea


class Command(BaseCommand):
    """Loads once: what a visitor of the demonstration did since stays as it is."""

    help = "Load the demonstration ISP: people, places, coverage, catalogue and addresses."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        people.load(at=at)
        if not CoverageArea.objects.exists():
            places.load(at=at)
            coverage.load(at=at)
        catalogue.load(at=at)
        network.load(at=at)
