"""What past use would have cost at a price that is not published. Reads, and writes nothing.

The price is taken as if it had been in force since the day on which the price began that was in
force then, so that units that are carried over are there, and a price tried on its own past comes
to exactly what was charged. Shares and taxes are those of the time.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Min, Q

from ispops.catalog.models import OfferingPrice, ProductOffering, SettlementTerm
from ispops.periods import Period, billing_period
from provisioning.models import Service, ServicePeriod
from rating import guarantees, past_use, pricing, rules
from rating.amounts import storable
from rating.bands import divide
from rating.differences import NOTHING, Parts, put_right, total
from rating.had_since import had_since
from rating.meters import (
    GrantedPack,
    Meter,
    More,
    Newest,
    first_kept,
    number_of,
    period_starts,
)
from rating.models import CustomerBill
from rating.never_came import SERVICE_NEVER_CAME
from rating.past_use import Scope, Shared, Used
from rating.pricing import UsagePrice, Use
from rating.spans import held
from rating.tariff import Parties, Tariff
from rating.tried_use import (
    Difference,
    Place,
    Result,
    Step,
    Sum,
    TriedService,
    parts_of,
    plus,
    quantity_of,
    shared_by,
    summed_up,
)
from rating.versions import version_at

_LONGEST_MONTH = 31


# A meter, whose it is, what was paid for its use, and what that would have been.
_PricedService = tuple[str, TriedService, dict[Shared, Parts], dict[Shared, Parts]]


def months(first: date, last: date) -> tuple[datetime, datetime]:
    """Return the span in which the billing periods lie that begin in some months."""
    zone = settings.BILLING_TIME_ZONE
    tz = ZoneInfo(zone)
    begin = datetime(first.year, first.month, 1, tzinfo=tz)
    after = datetime(last.year + last.month // 12, last.month % 12 + 1, 1, tzinfo=tz)
    # A period that begins on the last of these days ends within the month after it.
    end = billing_period(after, anchor_day=_LONGEST_MONTH, zone=zone).end
    return begin, end


class Trial:
    """A price that is tried on the billing periods that begin in some months."""

    def __init__(self, price: OfferingPrice, first: date, last: date) -> None:
        self.begin, until = months(first, last)
        self._last = (last.year, last.month)
        offering = price.offering
        self._versions = past_use.versions(offering, price.unit, price.currency)
        then = version_at(self._versions, self.begin, self.begin)
        if then is None and price.rollover_periods:
            # Units are carried over from where the first price began.
            then = next((v for v in self._versions if self.begin <= v.valid_from < until), None)
        self.since = then.valid_from if then else self.begin
        self.price = price
        self.price.valid_from = self.since
        parts = ServicePeriod.objects.filter(bundle=offering).values_list("offering", flat=True)
        self._offerings = {offering.pk, *parts.distinct()}
        categories = [price.tax_category] if price.tax_category else []
        self.tariff = Tariff(self._offerings, categories)
        self.rule = rules.usage_rule(price)
        self._undiscounted = self.rule.undiscounted()
        minimum = SettlementTerm.objects.filter(offering__in=self._offerings, minimum__gt=0)
        self._has_least = bool(self.rule.least) or minimum.exists()
        self._is_chain = bool(price.rollover_periods)
        hangs_together = self._is_chain or past_use.has_packs(offering, price.unit)
        since = self.since if hangs_together else self.begin
        edges = set().union(*(self._edges(key) for key in self._offerings))
        self.scope = Scope(
            offering=offering,
            unit=price.unit,
            currency=price.currency,
            since=since,
            until=until,
            periods={
                anchor: past_use.periods_between(since, until, anchor)
                for anchor in range(1, _LONGEST_MONTH + 1)
            },
            edges=sorted(edges),
        )

    def simulate(self, subscribers: Sequence[UUID]) -> list[Result]:
        """Price what some accounts used; the caller holds a transaction.

        Raises:
            AmountTooLarge: it would cost more than can be stored.
        """
        return self._all_results(self._priced(subscribers))

    def settle(self, subscribers: Sequence[UUID]) -> tuple[list[Result], list[Difference]]:
        """Price what some accounts used, and say what they would have to pay on top, or get back,
        and who shares in that.

        Raises:
            AmountTooLarge: it would cost more than can be stored.
        """
        priced = list(self._priced(subscribers))
        back = past_use.given_back(self.scope, subscribers)
        found = []
        for key, service, paid, would in priced:
            given = summed_up(back.get(key, []))
            for shared in sorted(paid.keys() | would.keys(), key=str):
                was, right = paid.get(shared, NOTHING), would.get(shared, NOTHING)
                more = put_right(was, given.get(shared, NOTHING), right)
                if more != NOTHING and self._is_counted(shared.period_start):
                    quantity = quantity_of(service, shared)
                    found.append(
                        Difference(service.subscriber_id, key, shared, quantity, was, right, more)
                    )
        return self._all_results(priced), found

    def _all_results(self, priced: Iterable[_PricedService]) -> list[Result]:
        found: list[Result] = []
        for key, service, paid, would in priced:
            found += self._results(key, service, paid, would)
        return found

    def _priced(self, subscribers: Sequence[UUID]) -> Iterable[_PricedService]:
        """Give each service with what was paid and what it would have been."""
        services = self._services(subscribers)
        packs = past_use.packs(self.scope, subscribers)
        billed = self._billed(subscribers) if self._has_least else set()
        first_active = self._first_active(services)
        beside = past_use.charged_beside(self.scope, subscribers)
        chains = self._chains(services, first_active)
        for key, service in services.items():
            would = self._price(
                service, packs.get(key, ()), first_active.get(key), chains.get(key), billed
            )
            paid = summed_up(
                [(shared_by(at, self._parties_of(at)), of.paid) for at, of in service.sums.items()]
                + beside.get(key, [])
            )
            yield key, service, paid, would

    def _services(self, subscribers: Sequence[UUID]) -> dict[str, TriedService]:
        """Read what was used, by the meter; and when each was active, where that matters."""
        services: dict[str, TriedService] = {}
        by_event = bool(self.rule.bands or self.rule.event_price)
        for row in past_use.used(self.scope, subscribers, by_event=by_event):
            service = services.get(row.meter)
            if service is None:
                service = services[row.meter] = TriedService(
                    row.subscriber_id, row.anchor_day, {}, []
                )
            key = Place(row.period_start, row.segment, row.offering_id)
            have = service.sums.get(key)
            more = self._more(row)
            if have is None:
                service.sums[key] = Sum(more, row.quantity, row.paid)
            else:
                have.more = plus(have.more, more)
                have.quantity += row.quantity
                have.paid = have.paid.plus(row.paid)
        if self._has_least:
            self._add_active(services, subscribers)
        return services

    def _more(self, row: Used) -> More:
        if self.rule.bands and row.started_at is not None:
            zone = settings.BILLING_TIME_ZONE
            return More(divide(row.quantity, row.started_at, row.ended_at, self.rule.bands, zone))
        if self.rule.event_price is not None:
            return More((row.quantity,), storable(self.rule.event_price.cost(row.quantity)))
        return More((row.uses if self.rule.counts_events else row.quantity,))

    def _add_active(self, services: dict[str, TriedService], subscribers: Sequence[UUID]) -> None:
        """Add the services that were active, also those that used nothing."""
        offering = self.scope.offering
        is_bundle = offering.kind == ProductOffering.Kind.BUNDLE
        spans = ServicePeriod.objects.filter(
            Q(bundle=offering, service__line__isnull=True) if is_bundle else Q(offering=offering),
            service__subscriber__in=subscribers,
            state=Service.State.ACTIVE,
            started_at__lt=self.scope.until,
        ).exclude(ended_at__lte=self.begin)
        spans = spans.exclude(SERVICE_NEVER_CAME)
        for span in spans.select_related("service__subscriber").order_by("started_at"):
            if not is_bundle and self._goes_by_plan(span):
                continue
            key = str(span.service_id)
            if key not in services:
                account = span.service.subscriber
                services[key] = TriedService(str(account.pk), account.billing_anchor_day, {}, [])
            services[key].active.append(span)

    def _goes_by_plan(self, span: ServicePeriod) -> bool:
        if span.bundle_id is None:
            return False
        prices = OfferingPrice.objects.filter(offering=span.bundle_id, charge="usage")
        return prices.filter(unit=self.scope.unit, currency=self.scope.currency).exists()

    def _billed(self, subscribers: Sequence[UUID]) -> set[tuple[str, datetime]]:
        bills = CustomerBill.objects.filter(
            subscriber__in=subscribers, period_start__gte=self.begin
        )
        return {(str(key), start) for key, start in bills.values_list("subscriber", "period_start")}

    def _first_active(self, services: Iterable[str]) -> dict[str, datetime]:
        if not self._is_chain and self.price.discount_periods is None:
            return {}
        spans = ServicePeriod.objects.filter(
            service__in=[UUID(key) for key in services], state=Service.State.ACTIVE
        )
        return {str(pk): at for pk, at in spans.values_list("service").annotate(Min("started_at"))}

    def _chains(
        self, services: dict[str, TriedService], first_active: dict[str, datetime]
    ) -> dict[str, datetime]:
        """Return from which period on units are carried over, where they are."""
        if not self._is_chain:
            return {}
        asked = {}
        for key, service in services.items():
            since = max(self.since, first_active.get(key, self.since))
            start = period_starts(since, since, service.anchor_day)[0]
            asked[key] = (key, self.scope.offering.pk, start)
        had = had_since(asked.values())
        return {
            key: first_kept(
                self._versions,
                self.since,
                first_active.get(key),
                had.get(asked[key]),
                service.anchor_day,
            )
            for key, service in services.items()
        }

    def _price(
        self,
        service: TriedService,
        packs: tuple[GrantedPack, ...],
        first_active: datetime | None,
        chain: datetime | None,
        billed: set[tuple[str, datetime]],
    ) -> dict[Shared, Parts]:
        """Take the steps of all periods of a meter in order; returns what each comes to."""
        rule_at = partial(self._rule_at, first_active, service.anchor_day)
        dues = self._dues(service, billed)
        # What came before the price counted is no use at it.
        keys = sorted(key for key in service.sums if chain is None or key.period_start >= chain)
        starts = sorted({key.period_start for key in keys} | {period.start for period in dues})
        meters = self._meters(service, starts, packs, chain, rule_at)
        would: list[Step] = []
        for key in keys:
            summed = service.sums[key]
            parties = self._parties_of(key)
            meter = meters[key.period_start]
            step = meter.add(key.period_start, summed.more, summed.quantity, parties.terms)
            would.append((shared_by(key, parties), parts_of(step), self._begin_of(key)))
        for period, times in dues.items():
            would += self._close(meters[period.start], period, times, would)
        return summed_up((shared, parts) for shared, parts, _ in would)

    def _close(
        self, meter: Meter, period: Period, times: list[Period], steps: list[Step]
    ) -> list[Step]:
        """Price what was still due when a period ended, by the terms of each part of it."""
        offering, by, zone = self.scope.offering.pk, *self._prorated
        terms = held(times, self._edges(offering), partial(self._parties, offering))
        edges = [period.start, *(spans[0].start for _, spans in terms[1:]), period.end]
        parts = [
            guarantees.Part(
                parties.terms,
                guarantees.length(period, spans, by, zone),
                sum(
                    p.bsp for s, p, at in steps if start <= at < end and s.bsp_id == parties.bsp_id
                ),
                sum(
                    p.network_provider
                    for s, p, at in steps
                    if start <= at < end and s.network_provider_id == parties.network_provider_id
                ),
            )
            for (parties, spans), (start, end) in zip(terms, itertools.pairwise(edges), strict=True)
        ]
        due = guarantees.close_period(
            price=meter.rule(period.start),
            use=meter.use(period.start),
            parts=parts,
            whole=pricing.elapsed(period, period.end, by, zone)[0],
        )
        key = Place(period.start, 0, offering)
        return [
            (shared_by(key, parties), parts_of(ended.due), spans[0].start)
            for (parties, spans), ended in zip(terms, due, strict=True)
            if ended.due is not None
        ]

    def _meters(
        self,
        service: TriedService,
        starts: list[datetime],
        packs: tuple[GrantedPack, ...],
        chain: datetime | None,
        rule_at: "partial[UsagePrice]",
    ) -> dict[datetime, Meter]:
        """Return the meter of each period: one for all of them where they hang together."""
        nothing = Newest(Use((0,) * (len(self.rule.bands) + 1)), 0)
        if not starts:
            return {}
        if not self._is_chain and not packs:
            return {start: Meter({start: nothing}, (), rule_at) for start in starts}
        begins = [starts[0], *(pack.period_start for pack in packs)]
        if chain is not None:
            begins.append(chain)
        together = period_starts(min(begins), starts[-1], service.anchor_day)
        meter = Meter(dict.fromkeys(together, nothing), packs, rule_at)
        return dict.fromkeys(together, meter)

    def _rule_at(
        self, first_active: datetime | None, anchor_day: int, start: datetime
    ) -> UsagePrice:
        """Return the rule of a period: without its discount when that has run out."""
        if self.price.discount_periods is None:
            return self.rule
        number = number_of(start, first_active or start, anchor_day)
        return self.rule if number < self.price.discount_periods else self._undiscounted

    def _dues(
        self, service: TriedService, billed: set[tuple[str, datetime]]
    ) -> dict[Period, list[Period]]:
        """Return for which parts of each period that was billed the least that it costs is due."""
        found = {}
        for period in self.scope.periods[service.anchor_day]:
            is_billed = (service.subscriber_id, period.start) in billed
            if not is_billed or not self._is_counted(period.start):
                continue
            times = [
                time
                for span in service.active
                if (time := period.overlap(span.started_at, span.ended_at)) is not None
            ]
            if times:
                found[period] = times
        return found

    @property
    def _prorated(self) -> tuple[pricing.Proration, str]:
        return rules.proration(self.price), settings.BILLING_TIME_ZONE

    def _begin_of(self, key: Place) -> datetime:
        """Return when the part of a period begins that a sum of use is for."""
        edge = self.scope.edges[key.segment - 1] if key.segment else key.period_start
        return max(edge, key.period_start)

    def _parties_of(self, key: Place) -> Parties:
        return self._parties(key.offering_id, self._begin_of(key))

    def _parties(self, offering_id: int, at: datetime) -> Parties:
        return self.tariff.parties(offering_id, at, self.price.tax_category)

    def _edges(self, offering_id: int) -> set[datetime]:
        return self.tariff.edges_of_terms(offering_id, self.price.tax_category)

    def _is_counted(self, start: datetime) -> bool:
        day = start.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()
        return start >= self.begin and (day.year, day.month) <= self._last

    def _results(
        self,
        key: str,
        service: TriedService,
        paid: dict[Shared, Parts],
        would: dict[Shared, Parts],
    ) -> Iterable[Result]:
        quantities: defaultdict[datetime, int] = defaultdict(int)
        for at, summed in service.sums.items():
            quantities[at.period_start] += summed.quantity
        for start in sorted({shared.period_start for shared in (*paid, *would)}):
            if self._is_counted(start):
                yield Result(
                    service.subscriber_id,
                    key,
                    start,
                    quantities[start],
                    total(parts for shared, parts in paid.items() if shared.period_start == start),
                    total(parts for shared, parts in would.items() if shared.period_start == start),
                )
