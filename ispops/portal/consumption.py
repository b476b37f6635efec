"""How much of a line and of what it carries was used, for the subscriber's eyes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import BigIntegerField, Count, Max, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, TruncDate

from ispops.catalog.models import OfferingPrice
from ispops.catalog.queries import price_in_force, usage_words
from ispops.parties.models import Subscriber
from ispops.periods import Period
from ispops.portal.charts import Chart, Day, daily_bars
from provisioning.models import Service
from rating.accrual import period_at
from rating.models import Usage

# From this share of what is included on, the bar warns.
WARN_PERCENT = 80


@dataclass(frozen=True, slots=True)
class LineUsage:
    """The use of one line in one billing period, in bytes."""

    period: Period
    days: list[Day]
    allowance: int
    terms: str

    @property
    def used(self) -> int:
        return sum(day.total for day in self.days)

    @property
    def over(self) -> int:
        return max(self.used - self.allowance, 0)

    @property
    def percent(self) -> int:
        """How much of what is included is used, never more than all of it."""
        return min(100 * self.used // self.allowance, 100) if self.allowance else 0

    @property
    def tone(self) -> str:
        if self.over:
            return "bad"
        return "warn" if self.percent >= WARN_PERCENT else ""

    @property
    def chart(self) -> Chart:
        return daily_bars(self.days)

    @property
    def first_day(self) -> date:
        return self.days[0].day

    @property
    def last_day(self) -> date:
        return self.days[-1].day


def usage_of(line: Service, subscriber: Subscriber, at: datetime) -> LineUsage:
    """Return the use of a line from the start of the running period to today, day by day.

    All that was counted is in it, whether it has been charged for yet or not. Two queries.
    """
    period = period_at(subscriber, at)
    price = price_in_force(
        line.offering, OfferingPrice.Charge.USAGE, at, subscriber.currency, "byte"
    )
    return LineUsage(
        period=period,
        days=_by_day(line, period, at),
        allowance=price.allowance if price else 0,
        terms=usage_words(price) if price else "",
    )


def _by_day(line: Service, period: Period, at: datetime) -> list[Day]:
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    rows = (
        _used(line, period)
        .annotate(day=TruncDate("started_at", tzinfo=zone))
        .values("day")
        .annotate(total=Sum("quantity"), up=Sum(_bytes("upload_bytes")))
        .order_by("day")
    )
    found = {row["day"]: Day(row["day"], row["total"] - row["up"], row["up"]) for row in rows}
    return [found.get(day, Day(day, 0, 0)) for day in _days(period, at, zone)]


def _bytes(name: str) -> Coalesce:
    sent = Cast(KeyTextTransform(name, "attributes"), BigIntegerField())
    return Coalesce(sent, 0, output_field=BigIntegerField())


def _days(period: Period, at: datetime, zone: ZoneInfo) -> Iterator[date]:
    day, last = period.start.astimezone(zone).date(), at.astimezone(zone).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ProductUsage:
    """What was used of one product that a line carries."""

    service: Service
    unit: str
    quantity: int
    events: int
    last_at: datetime


def product_usage(line: Service, subscriber: Subscriber, at: datetime) -> list[ProductUsage]:
    """Return what the partners reported for a line in the running period. One query."""
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


def _used(line: Service, period: Period) -> QuerySet[Usage]:
    return Usage.objects.filter(
        subscriber=line.subscriber_id,
        service=line,
        unit="byte",
        started_at__gte=period.start,
        started_at__lt=period.end,
    )
