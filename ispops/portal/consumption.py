"""How much of a line and of what it carries was used, for the subscriber's eyes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, Max, Sum, Value, When
from django.db.models.functions import TruncDate

from ispops.catalog import fair_use
from ispops.catalog.models import FairUseRule, OfferingPrice, ProductOffering
from ispops.catalog.queries import usage_words
from ispops.money import from_micros
from ispops.parties.models import Subscriber
from ispops.periods import Period
from ispops.portal.charts import Chart, Day, daily_bars
from provisioning.models import Service, Slowdown
from rating import billing, topping_up
from rating.accrual import period_at
from rating.models import Usage
from rating.queries import DayUsage, usage_by_day
from rating.standings import Standing, standings
from rating.thresholds import fair_limit
from rating.usage_forecast import Forecast, forecast

DAY = timedelta(days=1)
MOST_PERIODS = 12
Costs = dict[tuple[int, str], Decimal]
_IS_WRONG = Case(When(error_code="", then=Value(0)), default=Value(1))


@dataclass(frozen=True, slots=True)
class FairUse:
    """From how much use on a line is slow, and whether it is now."""

    rule: FairUseRule
    limit: int
    slowdown: Slowdown | None


@dataclass(frozen=True, slots=True)
class LineUsage:
    """The use of one line in a billing period, every day of it until today.

    `standing` is None where its use has no price, and so no limit.
    """

    period: Period
    days: list[Day]
    standing: Standing | None
    fair: FairUse | None
    # More data that can be bought for the plan, the smallest pack first.
    packs: list[OfferingPrice]
    forecast: Forecast | None

    @property
    def percent(self) -> int:
        """How full the bar is: what is included is all of it, however much is used beyond."""
        return min((self.standing.percent if self.standing else 0) or 0, 100)

    @property
    def tone(self) -> str:
        """How the bar looks: it warns before what is included is used up, and after."""
        reached = self.standing.threshold if self.standing else None
        return {80: "warn", 100: "bad"}.get(reached or 0, "")

    @property
    def terms(self) -> str:
        return usage_words(self.standing.price) if self.standing else ""

    @property
    def counted(self) -> int:
        return sum(day.total for day in self.days)

    @property
    def beside_percent(self) -> int:
        """How much of all use was in hours that do not count, rounded down."""
        every = sum(self.standing.use.units) if self.standing else 0
        return self.standing.beside * 100 // every if self.standing and every else 0

    @property
    def forecast_cost(self) -> Decimal:
        return from_micros(self.forecast.net) if self.forecast else Decimal(0)

    @property
    def days_gone(self) -> int:
        return self.forecast.gone // DAY if self.forecast else 0

    @property
    def chart(self) -> Chart:
        return daily_bars(self.days, slots=round((self.period.end - self.period.start) / DAY))


def usage_of(line: Service, subscriber: Subscriber, at: datetime) -> LineUsage:
    """Return the use of a line from the start of the period of `at` to that day.

    The days hold all that was counted; the standing what has been rated so far, which is the
    same but for the last seconds.
    """
    return _usage_of(line, subscriber, _of_line(line, standings([line], at)), at)


def _of_line(line: Service, found: Sequence[Standing]) -> Standing | None:
    """Return the standing of the line's own traffic."""
    own = (s for s in found if s.service.pk == line.pk and s.unit == fair_use.UNIT)
    return next(own, None)


def _usage_of(
    line: Service, subscriber: Subscriber, standing: Standing | None, at: datetime
) -> LineUsage:
    period = standing.period if standing else period_at(subscriber, at)
    counted = usage_by_day(subscriber, line, period)
    return LineUsage(
        period=period,
        days=_until(at, counted, period),
        standing=standing,
        fair=_fair_use(line, standing, at),
        packs=topping_up.packs_for(line, at),
        forecast=None if standing is None else _forecast(standing, at),
    )


def _forecast(standing: Standing, at: datetime) -> Forecast | None:
    return forecast(
        rule=standing.rule,
        use=standing.use,
        included=standing.included,
        period=standing.period,
        at=at,
    )


def _fair_use(line: Service, standing: Standing | None, at: datetime) -> FairUse | None:
    rules = fair_use.fair_use_at(at, [key for key in (line.offering_id, line.bundle_id) if key])
    rule = fair_use.rule_of(line.offering_id, line.bundle_id, rules)
    if rule is None or standing is None:
        return None
    limit = fair_limit(rule.threshold_bytes, standing.kept_packs, standing.bought)
    slow = line.slowdowns.filter(ended_at__isnull=True, holds_until=standing.period.end)
    return FairUse(rule, limit, slow.first())


def _until(at: datetime, counted: Sequence[DayUsage], period: Period) -> list[Day]:
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
    """What was used of one product that a line carries, or of its aggregated plan.

    `quantity` is what its partner reported; `cost` what its use has come to on the bill so far,
    before tax, with all the lines of the account that have the product. It is None for what was
    reported wrongly and is not charged before somebody has looked into it.
    """

    product: ProductOffering
    unit: str
    quantity: int
    last_at: datetime | None
    standing: Standing | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Page:
    """All that the page about the use of one line says of one billing period.

    `cost` is what the line's own traffic has come to so far, before tax.
    """

    line: LineUsage
    products: list[ProductUsage]
    cost: Decimal


def page_of(line: Service, subscriber: Subscriber, at: datetime) -> Page:
    """Return the use of a line and of what it carries in the period of `at`, until then."""
    found = standings([line, *_carried(line)], at)
    used = _usage_of(line, subscriber, _of_line(line, found), at)
    costs = _costs(subscriber, used.period, at) if found else {}
    own = used.standing
    return Page(
        line=used,
        products=_products(line, used.period, [s for s in found if s is not own], costs),
        cost=costs.get((own.price.offering_id, own.unit), Decimal(0)) if own else Decimal(0),
    )


def _carried(line: Service) -> list[Service]:
    """Return what a line carries or has carried, each with its account."""
    carried = list(line.carried.all())
    for service in carried:
        service.subscriber = line.subscriber
    return carried


def _costs(subscriber: Subscriber, period: Period, at: datetime) -> Costs:
    """Return what a period's use has come to on its bill, by what is on the bill and its unit.

    Use of an earlier period that came after its own bill is on this one, and is not counted here.
    """
    bill = billing.bill_of(subscriber=subscriber, period=period, at=at)
    costs: Costs = {}
    for row in bill:
        if row.unit:
            key = row.offering.pk, row.unit
            costs[key] = costs.get(key, Decimal(0)) + row.amount_net
    return costs


def _products(
    line: Service, period: Period, found: Sequence[Standing], costs: Costs
) -> list[ProductUsage]:
    """Return each product that was used, or of which something is included. One query."""
    reported, wrong = _reported(line, period)
    priced: dict[tuple[ProductOffering, str], Standing] = {}
    for standing in found:
        service = standing.service
        sold = service.bundle if standing.is_shared and service.bundle else service.offering
        if service.state != Service.State.CEASED or (sold, standing.unit) in reported:
            priced[sold, standing.unit] = standing
    rows = []
    for product, unit in dict.fromkeys([*priced, *reported]):
        known = priced.get((product, unit))
        total, last_at = reported.get((product, unit), (known.used if known else 0, None))
        cost = costs.get((product.pk, unit), Decimal(0))
        rows.append(ProductUsage(product, unit, total, last_at, known, cost))
    return rows + wrong


def _reported(
    line: Service, period: Period
) -> tuple[dict[tuple[ProductOffering, str], tuple[int, datetime]], list[ProductUsage]]:
    """Return how much was reported of what a line carries, and when last; apart what is wrong."""
    services = {service.pk: service for service in line.carried.all()}
    used = (
        Usage.objects.filter(
            subscriber=line.subscriber_id,
            service__in=services,
            started_at__gte=period.start,
            started_at__lt=period.end,
        )
        .annotate(is_wrong=_IS_WRONG)
        .values_list("service", "unit", "is_wrong")
        .annotate(total=Sum("quantity"), last_at=Max("started_at"))
    )
    reported, wrong = {}, []
    for key, unit, is_wrong, total, last_at in used.order_by("service", "unit"):
        product = services[key].offering
        if is_wrong:
            wrong.append(ProductUsage(product, unit, total, last_at, None, None))
        else:
            reported[product, unit] = (total, last_at)
    return reported, wrong


def periods_of(line: Service, at: datetime) -> list[Period]:
    """Return the billing periods that a line has been through, the running one first."""
    periods = [period_at(line.subscriber, at)]
    while len(periods) < MOST_PERIODS and periods[-1].start > line.created_at:
        periods.append(period_at(line.subscriber, periods[-1].start - timedelta(seconds=1)))
    return periods


def rows_of(line: Service, period: Period) -> Iterator[tuple[str, str, str, int, int, int, str]]:
    """Give the use of a line and of what it carries day by day, as a file has it.

    What was reported wrongly has rows of its own, which say that it does not count.
    """
    for day in usage_by_day(line.subscriber, line, period):
        if day.total_bytes:
            numbers = day.download_bytes, day.upload_bytes, day.total_bytes
            yield day.day.isoformat(), str(line.offering), fair_use.UNIT, *numbers, "yes"
    services = {service.pk: service for service in line.carried.all()}
    reported = Usage.objects.filter(
        subscriber=line.subscriber_id,
        service__in=services,
        started_at__gte=period.start,
        started_at__lt=period.end,
    ).annotate(
        day=TruncDate("started_at", tzinfo=ZoneInfo(settings.BILLING_TIME_ZONE)),
        is_wrong=_IS_WRONG,
    )
    by_day = reported.values_list("day", "service", "unit", "is_wrong").annotate(
        total=Sum("quantity")
    )
    for at_day, service, unit, wrong, total in by_day.order_by(
        "day", "service", "unit", "is_wrong"
    ):
        counted = "no, being looked into" if wrong else "yes"
        yield at_day.isoformat(), str(services[service].offering), unit, 0, 0, total, counted
