"""Verbs for how subscribers pay: the only writers of `PaymentMethod`."""

from datetime import datetime

from django.db import transaction

from ispops import db
from ispops.parties import audit
from ispops.parties.gateways import registry
from ispops.parties.gateways.base import Named
from ispops.parties.models import PaymentMethod, Subscriber, User

State = PaymentMethod.State


@transaction.atomic
def choose_payment(
    *, subscriber: Subscriber, kind: str, actor: User | None, at: datetime
) -> PaymentMethod:
    """Let a subscriber pay in another way, which ends the way before.

    What a gateway has to ask about on a page of its own stays pending until it confirms, and the
    way before stays in use so long. Choosing what is chosen changes nothing.

    Raises:
        InvalidInput: nobody here takes this kind of payment.
    """
    gateway = registry.serving(kind)
    payer = db.lock(Subscriber, subscriber.pk)
    waits = gateway.has_page
    rows = PaymentMethod.objects.filter(subscriber=payer)
    wanted = State.PENDING if waits else State.ACTIVE
    same = rows.filter(kind=kind, gateway=gateway.name, state=wanted).first()
    if same is not None:
        return same
    named = Named(reference="", label="A card, not given yet")
    if not waits:
        named = gateway.name_at_once(kind)
    # What was begun and never confirmed is given up with any other choice.
    replaced = {State.PENDING} if waits else {State.PENDING, State.ACTIVE}
    rows.filter(state__in=replaced).update(state=State.ENDED, ended_at=at)
    method = PaymentMethod.objects.create(
        subscriber=payer,
        kind=kind,
        gateway=gateway.name,
        reference=named.reference,
        label=named.label,
        state=wanted,
        created_at=at,
    )
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="payment_method.chosen",
        subject=method.public_id,
        subscriber=payer,
        at=at,
        kind=kind,
        label=named.label,
    )
    return method


def in_use(subscriber: Subscriber) -> PaymentMethod | None:
    """Return how a subscriber pays: what is in use, else what waits for the gateway."""
    rows = PaymentMethod.objects.filter(subscriber=subscriber).exclude(state=State.ENDED)
    return rows.order_by("state", "-pk").first()
