"""Verbs for how subscribers pay: the only writers of `PaymentMethod`."""

import logging
from datetime import datetime

from django.db import transaction

from ispops import db
from ispops.errors import (
    IllegalTransition,
    NotFound,
    PermanentFault,
    Refusal,
    TransientFault,
)
from ispops.parties import audit
from ispops.parties.gateways import registry
from ispops.parties.gateways.base import Named
from ispops.parties.models import PaymentMethod, Subscriber, User

log = logging.getLogger(__name__)
State = PaymentMethod.State


class GatewayAway(Refusal):
    code = "gateway_away"
    title = "The payment provider does not answer"
    status = 503


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


def page_of_gateway(*, method: PaymentMethod, return_url: str, at: datetime) -> str:
    """Return the gateway's own page, on which somebody gives what a pending method waits for.

    Outside any transaction: it calls the gateway.

    Raises:
        IllegalTransition: nothing is waited for.
        GatewayAway: the gateway has no page at the moment.
    """
    if method.state != State.PENDING:
        raise IllegalTransition("Nothing has to be given for this way to pay.")
    try:
        return registry.serving(method.kind).page_for(
            method_id=method.public_id,
            email=method.subscriber.email,
            return_url=return_url,
            # One page an hour: Stripe's own ends after a day.
            key=f"{method.public_id}-{int(at.timestamp()) // 3600}",
        )
    except (TransientFault, PermanentFault) as fault:
        log.warning("no page for %s: %s", method.public_id, fault)
        raise GatewayAway(
            "Our payment provider does not answer at the moment. Try again in some minutes."
        ) from fault


@transaction.atomic
def confirm(*, public_id: str, named: Named, at: datetime) -> PaymentMethod:
    """Use from now on what the gateway says was given. Confirming again changes nothing.

    What was given up meanwhile stays so, because another way to pay was chosen.

    Raises:
        NotFound: no subscriber pays like this.
    """
    key = PaymentMethod.key_of(public_id)
    found = PaymentMethod.objects.filter(pk=key).first() if key else None
    if found is None:
        raise NotFound("There is no such payment method.")
    payer = db.lock(Subscriber, found.subscriber_id)
    method = db.lock(PaymentMethod, found.pk)
    if method.state != State.PENDING:
        return method
    rows = PaymentMethod.objects.filter(subscriber=payer, state=State.ACTIVE)
    rows.update(state=State.ENDED, ended_at=at)
    method.state, method.reference, method.label = State.ACTIVE, named.reference, named.label
    method.save(update_fields=["state", "reference", "label"])
    audit.record(
        actor=None,
        actor_name=method.gateway,
        action="payment_method.confirmed",
        subject=method.public_id,
        subscriber=payer,
        at=at,
        label=named.label,
    )
    return method
