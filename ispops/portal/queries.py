"""Reads of the portal across the other apps' tables, each already cut to what its asker may see."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from ipam.models import OverallocationRequest
from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.catalog.models import ProductOffering
from ispops.parties.models import Subscriber
from ispops.portal.access import own
from provisioning.models import ProductOrder, Service
from provisioning.queries import lines_of
from provisioning.transitions import CLOSED_ORDER
from qualification.models import AccessPort, ServiceQualification
from rating.carriage import offers_on
from rating.models import Charge, CustomerBill, Purchase


def qualification(public_id: str) -> ServiceQualification:
    """Return an answer given earlier to whoever holds its unguessable id.

    Raises:
        Http404: there is no such answer.
    """
    return own(ServiceQualification.objects.select_related("premises"), public_id)


def port_kept_until(qualification: ServiceQualification, at: datetime) -> datetime | None:
    """Return until when a port is held for an answer; None when none is."""
    held = AccessPort.objects.held(at).filter(held_for=qualification.public_id)
    return held.values_list("held_until", flat=True).first()


def answered_requests(subscriber: Subscriber) -> QuerySet[OverallocationRequest]:
    """Return the requests for more addresses that have been answered, latest first."""
    answered = OverallocationRequest.objects.filter(holder__subscriber=subscriber)
    return answered.exclude(state=OverallocationRequest.State.PENDING).order_by("-decided_at")


def active_lines(subscriber: Subscriber) -> list[Service]:
    """Return the lines that are in use, with what each carries; only they can carry more."""
    lines = lines_of(subscriber).filter(state=Service.State.ACTIVE)
    return list(lines.select_related("subscriber"))


@dataclass(frozen=True, slots=True)
class Good:
    """A partner's product in the shop of one line: its price, and whether it can be had."""

    sold: SoldOffering
    # Why the line cannot carry it; empty when it can.
    reason: str
    # What the line has of it already, when it is a subscription.
    held: Service | None

    @property
    def offering(self) -> ProductOffering:
        return self.sold.offering

    @property
    def can_be_bought(self) -> bool:
        return not self.reason and self.held is None


def goods(line: Service, currency: str, at: datetime) -> list[Good]:
    """Return every partner product on sale with what it means for a line, those to be had first."""
    on_sale = [
        sold
        for sold in catalogue_at(at, currency)
        if sold.offering.kind == ProductOffering.Kind.BSP
        and sold.has_price
        and sold.offering.provider is not None
        and sold.offering.provider.active
    ]
    verdicts = offers_on(line, [sold.offering for sold in on_sale])
    held = {
        service.offering_id: service
        for service in line.carried.all()
        if service.state != Service.State.CEASED and service.offering.is_subscription
    }
    found = [
        Good(sold, verdicts[sold.offering.pk].reason, held.get(sold.offering.pk))
        for sold in on_sale
    ]
    return sorted(found, key=lambda good: (bool(good.reason), good.held is not None))


def purchases_of(subscriber: Subscriber) -> QuerySet[Purchase]:
    """Return what a subscriber bought, latest first."""
    bought = Purchase.objects.filter(subscriber=subscriber)
    return bought.select_related("offering__provider", "line__offering", "service_order").order_by(
        "-placed_at", "-pk"
    )


def charges_of_purchase(purchase: Purchase) -> list[Charge]:
    """Return what a purchase has cost so far and what was given back, in that order."""
    posted = Charge.objects.filter(
        subscriber=purchase.subscriber_id, service__isnull=False, service=purchase.service_id
    )
    return list(posted.select_related("offering").order_by("charged_at", "pk"))


def orders_of(subscriber: Subscriber) -> QuerySet[ProductOrder]:
    """Return the orders of an account, latest first, with what was ordered."""
    orders = ProductOrder.objects.filter(subscriber=subscriber).order_by("-placed_at", "-pk")
    return orders.prefetch_related("items__offering", "items__bundle")


def has_open_order(subscriber: Subscriber) -> bool:
    """Say whether a line is on its way."""
    orders = ProductOrder.objects.filter(subscriber=subscriber)
    return orders.exclude(state__in=CLOSED_ORDER).exists()


def bills_of(subscriber: Subscriber) -> QuerySet[CustomerBill]:
    """Return the bills that were issued, latest first."""
    bills = CustomerBill.objects.filter(subscriber=subscriber).prefetch_related("lines")
    return bills.order_by("-period_start")


def charges_of_bill(bill: CustomerBill) -> QuerySet[Charge]:
    """Return the charges that a bill is made of, in the order of its lines."""
    charges = Charge.objects.filter(bill_line__bill=bill).select_related("offering")
    return charges.defer("explanation").order_by("bill_line__position", "pk")
