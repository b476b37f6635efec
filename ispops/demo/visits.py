"""When the demo ISP's technicians make visits: in the cities of some size of its own network."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count

from ispops.demo.coverage import FIBER_STATES, SMALLEST_CITY
from provisioning import visits
from provisioning.models import InstallSlot
from qualification.models import Premises

HOURS = ((time(8), time(12)), (time(13), time(17)))
PLANNED_WEEKS = 4
# A demonstration that is started again later goes on with its calendar.
PLANNED_AGAIN = timedelta(days=14)


def load(*, at: datetime) -> None:
    """Plan the visits of the next weeks, unless they are."""
    if InstallSlot.objects.filter(starts_at__gt=at + PLANNED_AGAIN).exists():
        return
    tomorrow = at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date() + timedelta(days=1)
    places = Premises.objects.filter(region__in=FIBER_STATES)
    cities = places.values_list("region", "city").annotate(places=Count("pk"))
    for region, city, _ in cities.filter(places__gte=SMALLEST_CITY).order_by("region", "city"):
        visits.add_slots(
            city=city,
            region=region,
            first_day=tomorrow,
            hours=HOURS,
            capacity=3,
            weeks=PLANNED_WEEKS,
            actor=None,
            at=at,
        )
