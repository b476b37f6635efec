"""What is known of use that was reported: its content, its errors, and what products count."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db.models import Count, Q, QuerySet

from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.parties.models import Partner
from rating.models import Usage, UsageConflict, UsageKey
from rating.usage_ids import event_digest


class _Use(Protocol):
    @property
    def subscriber_ref(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def quantity(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def attributes(self) -> dict[str, Any]: ...


def content(use: _Use, offering: str) -> dict[str, Any]:
    """Return what was said of a use, in the words of a report."""
    return {
        "subscriber_ref": use.subscriber_ref,
        "offering": offering,
        "started_at": use.started_at.isoformat(),
        "ended_at": use.ended_at.isoformat() if use.ended_at else None,
        "quantity": use.quantity,
        "unit": use.unit,
        "attributes": use.attributes,
    }


def contents(source: str, event_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return what a source said first of its events, by their ids."""
    known = of_events(source, event_ids)
    return {use.event_id: content(use, use.product_ref) for use in known}


def of_events(source: str, event_ids: Collection[str]) -> QuerySet[Usage]:
    """Return the uses that a source reported by these ids."""
    digests = [event_digest(source, event_id) for event_id in event_ids]
    keys = UsageKey.objects.filter(digest__in=digests).values_list("usage_id", flat=True)
    return Usage.objects.filter(pk__in=list(keys))


def priced_units(partner: Partner, codes: Collection[str]) -> dict[str, set[str]]:
    """Return the units that a partner's products are or were priced by, by their codes.

    A product without a price by use counts any unit, so it is left out. Aggregated plans may price
    their parts by another unit.
    """
    priced = OfferingPrice.objects.filter(charge=OfferingPrice.Charge.USAGE)
    products = ProductOffering.objects.filter(
        provider=partner, kind=ProductOffering.Kind.BSP, code__in=codes
    )
    by_code: defaultdict[str, set[str]] = defaultdict(set)
    for code, unit in priced.filter(offering__in=products).values_list("offering__code", "unit"):
        by_code[code].add(unit)
    if by_code:
        shared = priced.filter(offering__components__component__code__in=by_code)
        for code, unit in shared.values_list("offering__components__component__code", "unit"):
            if code in by_code:
                by_code[code].add(unit)
    return dict(by_code)


def in_error() -> QuerySet[Usage]:
    """Return the use that cannot be rated."""
    return Usage.objects.filter(~Q(error_code=""))


@dataclass(frozen=True, slots=True)
class ErrorFilters:
    """Which errors are meant: of a source, with a code, and older than so many days."""

    source: str = ""
    code: str = ""
    days: int | None = None

    def errors(self, at: datetime) -> QuerySet[Usage]:
        rows = in_error()
        if self.source:
            rows = rows.filter(source=self.source)
        if self.code:
            rows = rows.filter(error_code=self.code)
        if self.days is not None:
            rows = rows.filter(received_at__lt=at - timedelta(days=self.days))
        return rows


def count_errors(name: str) -> list[tuple[str, int]]:
    """Return how many errors there are by `source` or `error_code`, the most first."""
    counted = in_error().order_by().values_list(name).annotate(count=Count("pk"))
    return list(counted.order_by("-count", name))


def conflicts() -> QuerySet[UsageConflict]:
    """Return events that contradict what is known, the latest first."""
    return UsageConflict.objects.order_by("-last_at", "-pk")
