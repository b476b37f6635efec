"""Reads of the portal across the other apps' tables, each already cut to what its asker may see."""

from datetime import datetime

from django.db.models import Q, QuerySet

from ipam.models import OverallocationRequest
from ispops.parties.models import Subscriber
from ispops.portal.access import own
from provisioning.models import ProductOrder, Service
from provisioning.queries import lines_of
from provisioning.transitions import CLOSED_ORDER
from qualification.models import AccessPort, ServiceQualification
from rating import claim_queries, parts
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


def used_lines(subscriber: Subscriber) -> list[Service]:
    """Return the lines that are in use or paused, with what each carries, those in use first."""
    live = lines_of(subscriber).exclude(state=Service.State.RESERVED)
    lines = live.select_related("subscriber")
    return sorted(lines, key=lambda line: line.state != Service.State.ACTIVE)


def purchases_of(subscriber: Subscriber) -> QuerySet[Purchase]:
    """Return what a subscriber bought, latest first."""
    bought = Purchase.objects.filter(subscriber=subscriber, part_of__isnull=True)
    with_names = bought.select_related(
        "offering__provider", "line__offering", "service_order", "service"
    )
    return with_names.prefetch_related(claim_queries.PARTS).order_by("-placed_at", "-pk")


def charges_of_purchase(purchase: Purchase) -> list[Charge]:
    """Return what a purchase has cost so far and what was given back, in that order."""
    # What is ours has no service of its own: more data is for the line.
    services = [one.service_id for one in parts.members(purchase) if one.service_id]
    of_it = Q(service__in=services) | parts.was_charged_for(purchase)
    posted = Charge.objects.filter(of_it, subscriber=purchase.subscriber_id)
    return list(posted.select_related("offering").order_by("charged_at", "pk"))


def purchase_of_charge(subscriber: Subscriber, cause_id: str) -> Purchase | None:
    """Return what a subscriber bought that a charge is for: of a part, the bundle that it is in."""
    key = Purchase.key_of(cause_id)
    if key is None:
        return None
    rows = Purchase.objects.filter(pk=key, subscriber=subscriber).select_related("part_of")
    found = rows.first()
    return found and (found.part_of or found)


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
