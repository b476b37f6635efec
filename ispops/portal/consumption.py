"""How much of a line and of what it carries was used, for the subscriber's eyes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Max, Sum

from ispops.catalog.queries import usage_words
from ispops.parties.models import Subscriber
from ispops.periods import Period
from ispops.portal.charts import Chart, Day, daily_bars
from provisioning.models import Service
from rating.accrual import period_at
from rating.models import Usage
from rating.queries import Allowance, DayUsage, allowance, usage_by_day

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LineUsage:
    """The use of one line in the running period, every day of it until today."""

    allowance: Allowance
    days: list[Day]
    terms: str

    @property
    def period(self) -> Period:
        return self.allowance.period

    @property
    def percent(self) -> int:
        """How full the bar is: what is included is all of it, however much is used beyond."""
        return min(self.allowance.percent or 0, 100)

    @property
    def tone(self) -> str:
        """How the bar looks: it warns before what is included is used up, and after."""
        return {80: "warn", 100: "bad"}.get(self.allowance.threshold or 0, "")

    @property
    def counted(self) -> int:
        return sum(day.total for day in self.days)

    @property
    def chart(self) -> Chart:
        return daily_bars(self.days, slots=round((self.period.end - self.period.start) / DAY))


def usage_of(line: Service, subscriber: Subscriber, at: datetime) -> LineUsage:
    """Return the use of a line from the start of the running period to today.

    The days hold all that was counted; the allowance what has been rated so far, which is the
    same but for the last seconds.
    """
    used = allowance(line, at)
    counted = usage_by_day(subscriber, line, used.period)
    return LineUsage(
        allowance=used,
        days=_until_today(counted, used.period, at),
        terms=usage_words(used.price) if used.price else "",
    )


def _until_today(counted: Sequence[DayUsage], period: Period, at: datetime) -> list[Day]:
    found = {row.day: Day(row.day, row.download_bytes, row.upload_bytes) for row in counted}
    return [found.get(day, Day(day, 0, 0)) for day in _days(period, at)]


def _days(period: Period, at: datetime) -> Iterator[date]:
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    day, last = period.start.astimezone(zone).date(), at.astimezone(zone).date()
    while day <= last:
        yield day
        day += DAY


@dataclass(frozen=True, slots=True)
class ProductUsage:
    """What was used of one product that a line carries, as its partner reported it."""

    service: Service
    unit: str
    quantity: int
    events: int
    last_at: datetime


def product_usage(line: Service, subscriber: Subscriber, at: datetime) -> list[ProductUsage]:
    """Return what partners reported for a line in the running period. One query."""
    services = {service.pk: service for service in line.carried.all()}
    period = period_at(subscriber, at)
    rows = (
        Usage.objects.filter(
            subscriber=subscriber,
            service__in=services,
            started_at__gte=period.start,
            started_at__lt=period.end,
        )
        .values("service", "unit")
        .annotate(total=Sum("quantity"), events=Count("id"), last_at=Max("started_at"))
        .order_by("service", "unit")
    )
    return [
        ProductUsage(
            services[row["service"]], row["unit"], row["total"], row["events"], row["last_at"]
        )
        for row in rows
    ]
