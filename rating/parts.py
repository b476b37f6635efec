"""What a purchase is made of: itself, or the parts of a bundle of several partners' products.

A bundle is one purchase at one price. Each of its parts is a purchase too, with a service, a charge
and a request to its own partner, who sees that part and nothing else. They are placed together,
taken back together and cancelled together: whoever changes one holds the whole of it first.

Why it ended, in somebody's words, is kept with the whole and with that somebody's own part. The
other parts say a sentence of ours: what one partner says is not for the others.

A part can be active, and used, before the last partner has confirmed, also across the end of a
period. When the bundle does not come to be, nothing of that is owed: what was charged for a part is
taken back with it, whatever it was for, and its time and its use are not charged from then on.
"""

from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet

from ispops import events
from ispops.catalog.models import BundleComponent, ProductOffering
from provisioning import services
from provisioning.models import Service
from rating.models import Charge, Purchase

NOT_DELIVERED = "Another part of the bundle was not delivered."
CANCELLED = "The bundle of which this is a part was cancelled."


def products_of(offering: ProductOffering) -> list[ProductOffering]:
    """Return the partners' products that are sold with an offering: it, or those in the bundle."""
    if offering.kind != ProductOffering.Kind.PACKAGE:
        return [offering]
    rows = BundleComponent.objects.filter(bundle=offering).order_by("pk")
    return [row.component for row in rows.select_related("component__provider")]


def members(purchase: Purchase) -> list[Purchase]:
    """Return the parts of a purchase that is a bundle; of any other, the purchase itself."""
    return list(purchase.parts.all()) or [purchase]


def make_members(whole: Purchase) -> list[Purchase]:
    """Return the members of a new purchase, not saved: itself, or a part for each product."""
    if whole.offering.kind != ProductOffering.Kind.PACKAGE:
        return [whole]
    return [
        Purchase(
            subscriber=whole.subscriber,
            line=whole.line,
            offering=product,
            part_of=whole,
            channel=whole.channel,
            placed_by=whole.placed_by,
            idempotency_key=f"{whole.public_id}:{product.code}",
            placed_at=whole.placed_at,
        )
        for product in products_of(whole.offering)
    ]


def hold_by_order(service_order_id: UUID) -> Purchase | None:
    """Hold the purchase of a partner's order with all that it is a part of; None for no purchase's.

    Returned is the member that the partner was asked for.
    """
    rows = Purchase.objects.filter(service_order=service_order_id)
    found = rows.values_list("pk", "part_of").first()
    if found is None:
        return None
    whole = hold_whole(found[1] or found[0])
    return next(one for one in [whole, *members(whole)] if one.pk == found[0])


def hold_whole(purchase_id: UUID) -> Purchase:
    """Hold a purchase that is part of no other, and then its parts, in the order of their keys."""
    rows = Purchase.objects.select_for_update(of=("self",), no_key=True)
    rows = rows.select_related("service", "service_order", "offering__provider", "subscriber")
    return rows.prefetch_related(Prefetch("parts", rows.order_by("pk"))).get(pk=purchase_id)


def charges_of(purchase: Purchase) -> QuerySet[Charge]:
    """Return what was charged when something was bought, in the order of its charges."""
    posted = Charge.objects.filter(was_charged_for(purchase), subscriber=purchase.subscriber_id)
    return posted.order_by("pk")


def was_charged_for(purchase: Purchase) -> Q:
    """Return what the causes of charges begin with that were made when a purchase was placed."""
    prefixes = (f"purchase:{one.public_id}:" for one in members(purchase))
    return reduce(or_, (Q(cause__startswith=prefix) for prefix in prefixes))


def all_charges_of(member: Purchase) -> QuerySet[Charge]:
    """Return all that was charged for a member's service, also by bills and for its use."""
    posted = Charge.objects.filter(service__purchase=member.pk, subscriber=member.subscriber_id)
    return posted.filter(reverses__isnull=True, corrects__isnull=True).order_by("pk")


def settle(purchase: Purchase, state: str, reason: str, at: datetime) -> None:
    """Write what became of a held purchase, and publish it: `purchase.completed` or `.reversed`."""
    purchase.state, purchase.reason = state, reason[:300]
    purchase.settled_at = purchase.settled_at or at
    purchase.save(update_fields=["state", "reason", "settled_at"])
    events.publish(
        f"purchase.{state}",
        subject=purchase.public_id,
        at=at,
        subscriber=purchase.subscriber.public_id,
        offering=purchase.offering.code,
        reason=purchase.reason,
    )


def deliver(purchase: Purchase, at: datetime) -> None:
    """Switch on what a partner has granted; a product for one time is delivered, and over."""
    service = purchase.service
    if service is not None and service.state == Service.State.RESERVED:
        services.activate(service=service, at=at)
        if not purchase.offering.is_subscription:
            services.cease(service=service, at=at)
