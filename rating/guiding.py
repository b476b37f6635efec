"""Guiding: whose use it was, and of what, by the names that the source gave it.

Partners know subscribers by references of their own and products by our codes; access servers know
lines by their user names. What cannot be resolved is kept with a reason, and tried again on demand.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from ispops.catalog.models import ProductOffering
from ispops.parties.models import Partner
from provisioning.models import (
    AaaCredential,
    DhcpReservation,
    PartnerSubscriber,
    Service,
    ServicePeriod,
    SubscriberEquipment,
)

# A partner's clock, and the moment at which we took its confirmation, may be this far apart.
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Guided:
    """The subscriber, service and offering of a use; or the code and words of why not."""

    subscriber_id: UUID | None = None
    service_id: UUID | None = None
    offering_id: int | None = None
    error_code: str = ""
    error: str = ""


class PartnerGuide:
    """Resolves what one partner reports; a few queries for any number of events."""

    def __init__(self, partner: Partner, references: Iterable[str], codes: Iterable[str]) -> None:
        self._subscribers: dict[str, UUID] = dict(
            PartnerSubscriber.objects.filter(
                partner=partner, reference__in=set(references)
            ).values_list("reference", "subscriber")
        )
        self._offerings = {
            offering.code: offering
            for offering in ProductOffering.objects.filter(
                provider=partner, kind=ProductOffering.Kind.BSP, code__in=set(codes)
            )
        }
        self._services: defaultdict[tuple[UUID, int], list[Service]] = defaultdict(list)
        for service in Service.objects.filter(
            subscriber__in=self._subscribers.values(), offering__in=self._offerings.values()
        ).order_by("-created_at", "-pk"):
            self._services[service.subscriber_id, service.offering_id].append(service)
        services = [service.pk for found in self._services.values() for service in found]
        self._spans = _active_spans(services)

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
        for service in self._services[subscriber, offering.pk]:
            if self._was_in_use(service, offering, at):
                return Guided(subscriber, service.pk, offering.pk)
        return Guided(
            subscriber_id=subscriber,
            offering_id=offering.pk,
            error_code="not_subscribed",
            error="The subscriber did not have this product at that time.",
        )

    def _was_in_use(self, service: Service, offering: ProductOffering, at: datetime) -> bool:
        """Say whether a service could be used at a moment: what is bought once, from then on."""
        spans = self._spans[service.pk]
        if not offering.is_subscription:
            return bool(spans) and service.created_at - TOLERANCE <= at
        return any(
            start - TOLERANCE <= at and (end is None or at <= end + TOLERANCE)
            for start, end, _ in spans
        )


class NetworkGuide:
    """Resolves what the network reports; a few queries for any number of sessions.

    It names a line by its user name, or by the hardware address of what stands there.
    """

    def __init__(self, usernames: Iterable[str]) -> None:
        names = set(usernames)
        self._services = {
            credential.username: credential.service
            for credential in AaaCredential.objects.filter(username__in=names).select_related(
                "service__subscriber"
            )
        }
        devices = {name for name in names - self._services.keys() if name.count(":") == 5}
        self._services |= _lines_of_devices(devices) if devices else {}
        self._spans = _active_spans([service.pk for service in self._services.values()])

    def service(self, username: str) -> Service | None:
        """Return the line that logs in with this name."""
        return self._services.get(username)

    def guide(self, username: str, at: datetime) -> Guided:
        """Say whose use a slice that began at a moment is, and under which plan it falls."""
        service = self._services.get(username)
        if service is None:
            return Guided(error_code="unknown_user", error="No line logs in with this name.")
        offering = service.offering_id
        for start, end, plan in self._spans[service.pk]:
            if start <= at and (end is None or at < end):
                offering = plan
        return Guided(service.subscriber_id, service.pk, offering)


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


def _lines_of_devices(devices: set[str]) -> dict[str, Service]:
    """Return the lines at which hardware stands, by its address as `aa:bb:cc:dd:ee:ff`."""
    found = {
        reservation.device: reservation.service
        for reservation in DhcpReservation.objects.filter(device__in=devices).select_related(
            "service__subscriber"
        )
    }
    spelt = {spelling: device for device in devices for spelling in _spellings(device)}
    for equipment in SubscriberEquipment.objects.filter(serial__in=spelt).select_related(
        "service__subscriber"
    ):
        found[spelt[equipment.serial]] = equipment.service
    return found


def _spellings(device: str) -> set[str]:
    lower = {device, device.replace(":", ""), device.replace(":", "-")}
    return lower | {spelling.upper() for spelling in lower}


def _active_spans(
    services: Iterable[UUID],
) -> defaultdict[UUID, list[tuple[datetime, datetime | None, int]]]:
    spans: defaultdict[UUID, list[tuple[datetime, datetime | None, int]]] = defaultdict(list)
    rows = ServicePeriod.objects.filter(service__in=list(services), state=Service.State.ACTIVE)
    for service, start, end, offering in rows.order_by("started_at").values_list(
        "service", "started_at", "ended_at", "offering"
    ):
        spans[service].append((start, end, offering))
    return spans
