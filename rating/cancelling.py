"""A purchase that is no longer wanted: before the partner confirmed, or a subscription later."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops import events
from ispops.errors import NotFound, Refusal
from ispops.parties import audit, webhooks
from ispops.parties.models import Partner, User
from provisioning import partner_orders, services
from provisioning.models import Service
from rating import charges, lanes, parts, refunds
from rating.models import Purchase

State = Purchase.State


class DeliveredAlready(Refusal):
    code = "purchase_delivered"
    title = "What was bought has been delivered"


@transaction.atomic
def cancel_purchase(
    *,
    purchase_id: UUID,
    reason: str,
    at: datetime,
    actor: User | None = None,
    partner: Partner | None = None,
) -> Purchase:
    """Cancel what waits for its partner, or end a subscription. Publishes `purchase.cancelled`.

    A bundle, or what is a part of one, is cancelled as a whole. What waits is taken back in full.
    Of a subscription, the time that is charged and still to come is given back. The partner is
    told to end it; where it cancels itself, `partner` is the caller, of its own products. A
    purchase that was cancelled or taken back stays as it is.

    Raises:
        NotFound: there is no such purchase, or it is not of the partner's products.
        DeliveredAlready: it was for one time and has been delivered, or has ended.
    """
    purchase = _hold(purchase_id, partner)
    if purchase.state in {State.CANCELLED, State.REVERSED}:
        return purchase
    members = parts.members(purchase)
    if purchase.state == State.COMPLETED and all(_is_over(one) for one in members):
        raise DeliveredAlready(
            "It has been delivered or has ended, so there is nothing to cancel. "
            "What it cost can be given back."
        )
    because = reason.replace("\x00", "").strip()[:300] or "Cancelled."
    # What one partner says is not for the partners of the other parts.
    reasons = [
        (one, because if partner in (None, one.offering.provider) else parts.CANCELLED)
        for one in members
    ]
    if purchase.state == State.PENDING:
        # Nothing of its use is charged while this looks for what was, nor after it.
        lanes.hold_lane(purchase.subscriber_id)
    for one, words in reasons:
        if purchase.state == State.PENDING:
            for charge in parts.all_charges_of(one):
                charges.take_back_rest(charge=charge, because=words, at=at)
        else:
            for charge in parts.charges_of(one):
                refunds.refund_unused(
                    charge=charge, because=words, actor=actor, partner=partner, at=at
                )
    for one, words in reasons:
        _end(one, words, actor, partner, at)
        if one.service is not None:
            # With it the partner is asked to end what it was asked for.
            services.cease(service=one.service, at=at)
        if one.service_order is not None:
            partner_orders.withdraw(service_order_id=one.service_order.pk, reason=words, at=at)
    if purchase.state != State.CANCELLED:
        _end(purchase, because, actor, partner, at)
    return purchase


def _is_over(purchase: Purchase) -> bool:
    return purchase.service is None or purchase.service.state == Service.State.CEASED


def _hold(purchase_id: UUID, partner: Partner | None) -> Purchase:
    """Hold a purchase, as a whole; of the partner's own products is also what is a part of it."""
    rows = Purchase.objects.filter(pk=purchase_id)
    if partner is not None:
        rows = rows.filter(offering__provider=partner)
    found = rows.values_list("pk", "part_of").first()
    if found is None:
        raise NotFound("There is no such purchase.")
    return parts.hold_whole(found[1] or found[0])


def _end(
    purchase: Purchase, because: str, actor: User | None, partner: Partner | None, at: datetime
) -> None:
    purchase.state, purchase.reason, purchase.cancelled_at = State.CANCELLED, because, at
    purchase.settled_at = purchase.settled_at or at
    purchase.save(update_fields=["state", "reason", "cancelled_at", "settled_at"])
    facts = {"offering": purchase.offering.code}
    events.publish(
        "purchase.cancelled",
        subject=purchase.public_id,
        at=at,
        subscriber=purchase.subscriber.public_id,
        reason=because,
        **facts,
    )
    audit.record(
        actor=actor,
        actor_name="" if actor else str(partner or "Worker"),
        action="purchase.cancelled",
        subject=purchase.public_id,
        subscriber=purchase.subscriber,
        reason=because,
        at=at,
        **facts,
    )
    seller = purchase.offering.provider
    if seller is not None and seller != partner:
        webhooks.queue_webhook(
            partner=seller,
            kind="purchase.cancelled",
            subject=purchase.public_id,
            data={"state": purchase.state, "reason": because, **facts},
            at=at,
        )
