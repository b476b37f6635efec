"""Guiding: whose use it was, and of what, by the names that the source gave it.

Partners know subscribers by references of their own and products by our codes; access servers know
lines by their user names. What cannot be resolved is kept with a reason, and tried again on demand.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.db import connection

from ispops.catalog.models import ProductOffering
from ispops.parties.models import Partner
from provisioning.models import (
    AaaCredential,
    DhcpReservation,
    SubscriberEquipment,
)

# A partner's clock, and the moment at which we took its confirmation, may be this far apart.
TOLERANCE = timedelta(minutes=5)
# All that a partner's events can name, in one query: the newest service of a product first.
_KNOWN_TO_PARTNER = """
SELECT who.reference, who.subscriber_id, service.id, service.offering_id, service.created_at,
       span.started_at, span.ended_at
  FROM provisioning_partnersubscriber who
  LEFT JOIN provisioning_service service
         ON service.subscriber_id = who.subscriber_id AND service.offering_id = ANY(%(offerings)s)
  LEFT JOIN provisioning_serviceperiod span
         ON span.service_id = service.id AND span.state = 'active'
 WHERE who.partner_id = %(partner)s AND who.reference = ANY(%(references)s)
 ORDER BY service.created_at DESC, service.id DESC, span.started_at
"""
_SPANS = """
SELECT service_id, started_at, ended_at, offering_id FROM provisioning_serviceperiod
 WHERE service_id = ANY(%s::uuid[]) AND state = 'active' ORDER BY started_at
"""


@dataclass(frozen=True, slots=True)
class Guided:
    """The subscriber, service and offering of a use; or the code and words of why not."""

    subscriber_id: UUID | None = None
    service_id: UUID | None = None
    offering_id: int | None = None
    error_code: str = ""
    error: str = ""


class _Line(NamedTuple):
    """A service of a partner's product, and when it could be used."""

    guided: Guided
    created_at: datetime
    spans: list[tuple[datetime, datetime | None]]


class PartnerGuide:
    """Resolves what one partner reports; a few queries for any number of events."""

    def __init__(self, partner: Partner, references: Iterable[str], codes: Iterable[str]) -> None:
        self._offerings = {
            offering.code: offering
            for offering in ProductOffering.objects.filter(
                provider=partner, kind=ProductOffering.Kind.BSP, code__in=set(codes)
            )
        }
        self._subscribers: dict[str, UUID] = {}
        self._lines: defaultdict[tuple[str, int], dict[UUID, _Line]] = defaultdict(dict)
        with connection.cursor() as cursor:
            cursor.execute(
                _KNOWN_TO_PARTNER,
                {
                    "partner": partner.pk,
                    "references": list(set(references)),
                    "offerings": [offering.pk for offering in self._offerings.values()],
                },
            )
            for row in cursor.fetchall():
                self._add(*row)

    def _add(
        self,
        reference: str,
        subscriber: UUID,
        service: UUID | None,
        offering: int,
        created_at: datetime,
        started_at: datetime | None,
        ended_at: datetime | None,
    ) -> None:
        self._subscribers[reference] = subscriber
        if service is None:
            return
        lines = self._lines[reference, offering]
        if (line := lines.get(service)) is None:
            line = lines[service] = _Line(Guided(subscriber, service, offering), created_at, [])
        if started_at is not None:
            line.spans.append((started_at, ended_at))

    def guide(self, subscriber_ref: str, code: str, at: datetime) -> Guided:
        """Say whose use of what an event at a moment is."""
        subscriber = self._subscribers.get(subscriber_ref)
        if subscriber is None:
            return Guided(
                error_code="unknown_subscriber",
                error="You know no subscriber of ours by this reference.",
            )
        offering = self._offerings.get(code)
        if offering is None:
            return Guided(
                subscriber_id=subscriber,
                error_code="unknown_offering",
                error="You have no product with this code.",
            )
        for line in self._lines[subscriber_ref, offering.pk].values():
            if _was_in_use(line, offering, at):
                return line.guided
        return Guided(
            subscriber_id=subscriber,
            offering_id=offering.pk,
            error_code="not_subscribed",
            error="The subscriber did not have this product at that time.",
        )


def _was_in_use(line: _Line, offering: ProductOffering, at: datetime) -> bool:
    """Say whether a service could be used at a moment: what is bought once, from then on."""
    if not offering.is_subscription:
        return bool(line.spans) and line.created_at - TOLERANCE <= at
    return any(
        start - TOLERANCE <= at and (end is None or at <= end + TOLERANCE)
        for start, end in line.spans
    )


class Line(NamedTuple):
    """A line of an account, the day on which its billing periods begin, and when it was made."""

    service_id: UUID
    subscriber_id: UUID
    offering_id: int
    anchor_day: int
    began: datetime


# The values of a `Line`, from what belongs to a service.
_OF_LINE = (
    "service", "service__subscriber", "service__offering",
    "service__subscriber__billing_anchor_day", "service__created_at",
)  # fmt: skip


class NetworkGuide:
    """Resolves what the network reports; a few queries for any number of sessions.

    It names a line by its user name, or by the hardware address of what stands there.
    """

    def __init__(self, usernames: Iterable[str]) -> None:
        names = set(usernames)
        self._lines = {
            username: Line(*line)
            for username, *line in AaaCredential.objects.filter(username__in=names).values_list(
                "username", *_OF_LINE
            )
        }
        devices = {name for name in names - self._lines.keys() if name.count(":") == 5}
        self._lines |= _lines_of_devices(devices) if devices else {}
        self._spans = _active_spans([line.service_id for line in self._lines.values()])

    def line(self, username: str) -> Line | None:
        """Return the line that logs in with this name."""
        return self._lines.get(username)

    def guide(self, username: str, at: datetime) -> Guided:
        """Say whose use a slice that began at a moment is, and under which plan it falls."""
        line = self._lines.get(username)
        if line is None:
            return Guided(error_code="unknown_user", error="No line logs in with this name.")
        offering = line.offering_id
        for start, end, plan in self._spans[line.service_id]:
            if start <= at and (end is None or at < end):
                offering = plan
        return Guided(line.subscriber_id, line.service_id, offering)


class _Waiting(Protocol):
    """Stored use of which it may not be known yet whose it is."""

    source: str
    subscriber_ref: str
    product_ref: str
    started_at: datetime


W = TypeVar("W", bound=_Waiting)


def guide_again(waiting: Sequence[W], network: str) -> Iterator[tuple[W, Guided]]:
    """Guide stored use as if it came today; use of a source that is gone is left out.

    `network` is the name of our own metering among the sources.
    """
    by_name = NetworkGuide({use.subscriber_ref for use in waiting if use.source == network})
    codes = {use.source for use in waiting} - {network}
    guides = {
        partner.code: PartnerGuide(
            partner,
            {use.subscriber_ref for use in waiting if use.source == partner.code},
            {use.product_ref for use in waiting if use.source == partner.code},
        )
        for partner in Partner.objects.filter(code__in=codes)
    }
    for use in waiting:
        if use.source == network:
            yield use, by_name.guide(use.subscriber_ref, use.started_at)
        elif use.source in guides:
            guide = guides[use.source]
            yield use, guide.guide(use.subscriber_ref, use.product_ref, use.started_at)


def _lines_of_devices(devices: set[str]) -> dict[str, Line]:
    """Return the lines at which hardware stands, by its address as `aa:bb:cc:dd:ee:ff`."""
    found = {
        device: Line(*line)
        for device, *line in DhcpReservation.objects.filter(device__in=devices).values_list(
            "device", *_OF_LINE
        )
    }
    spelt = {spelling: device for device in devices for spelling in _spellings(device)}
    for serial, *line in SubscriberEquipment.objects.filter(serial__in=spelt).values_list(
        "serial", *_OF_LINE
    ):
        found[spelt[serial]] = Line(*line)
    return found


def _spellings(device: str) -> set[str]:
    lower = {device, device.replace(":", ""), device.replace(":", "-")}
    return lower | {spelling.upper() for spelling in lower}


def _active_spans(
    services: Iterable[UUID],
) -> defaultdict[UUID, list[tuple[datetime, datetime | None, int]]]:
    spans: defaultdict[UUID, list[tuple[datetime, datetime | None, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_SPANS, [f"{{{','.join(map(str, services))}}}"])
        for service, start, end, offering in cursor.fetchall():
            spans[service].append((start, end, offering))
    return spans
