"""Disputes: a subscriber holds a charge to be wrong, or a partner its share, and we answer.

Upholding one gives the subscriber a part back, or moves money from our share to the partner's.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.money import format_money, from_micros, to_micros
from ispops.parties import audit, webhooks
from ispops.parties.models import Partner, User
from rating import charges, refunds
from rating.models import Charge, Dispute

State = Dispute.State


class NothingToDispute(Refusal):
    code = "nothing_to_dispute"
    title = "There is nothing to dispute"


@transaction.atomic
def open_dispute(
    *,
    charge: Charge,
    words: str,
    at: datetime,
    actor: User | None = None,
    partner: Partner | None = None,
) -> Dispute:
    """Open a dispute of a charge: by its subscriber, or of its own share by `partner`.

    One that is open already is returned as it is. Publishes `dispute.opened`.

    Raises:
        InvalidInput: it does not say what is wrong.
        NothingToDispute: the charge gives something back itself, or nothing of it is left.
    """
    told = words.replace("\x00", "").strip()
    if not 0 < len(told) <= 1000:
        raise InvalidInput("Say what is wrong, in 1 to 1,000 characters.", field="words")
    held = db.lock(Charge, charge.pk)
    opened = Dispute.objects.filter(charge=held, partner=partner, state=State.OPEN).first()
    if opened is not None:
        return opened
    is_back = held.reverses_id is not None or held.corrects_id is not None
    if is_back or (partner is None and sum(charges.left_of(held)) <= 0):
        raise NothingToDispute("Nothing of this charge is left to dispute.")
    dispute = Dispute.objects.create(
        charge=held,
        subscriber_id=held.subscriber_id,
        partner=partner,
        words=told,
        opened_at=at,
        opened_by=actor,
    )
    events.publish("dispute.opened", subject=dispute.public_id, at=at, charge=held.public_id)
    _keep(dispute, "dispute.opened", actor, told[:300], at)
    return dispute


@transaction.atomic
def uphold(
    *,
    dispute_id: UUID,
    reason: str,
    actor: User,
    at: datetime,
    amount: Decimal | None = None,
    percent: Decimal | None = None,
) -> Dispute:
    """Answer that it is right, and correct it. Publishes `dispute.upheld`.

    Of a subscriber's, `amount` with tax or `percent` of the charge is given back, by default all
    that is left. Of a partner's, `amount` of our share becomes theirs.

    Raises:
        IllegalTransition: it has been answered.
        InvalidInput: there is no reason, or the amount makes no sense.
        and what `refunds.refund_charge` raises.
    """
    dispute = _hold_open(dispute_id)
    if dispute.partner is None:
        correction = refunds.refund_charge(
            charge_id=dispute.charge_id,
            amount=amount,
            percent=percent,
            because=reason,
            idempotency_key=dispute.public_id,
            actor=actor,
            at=at,
        )
    else:
        correction = _move_share(dispute, dispute.partner, amount, reason, at)
    return _answer(dispute, State.UPHELD, reason, actor, at, correction)


@transaction.atomic
def reject(*, dispute_id: UUID, reason: str, actor: User, at: datetime) -> Dispute:
    """Answer that the charge is right, and why. Publishes `dispute.rejected`.

    Raises:
        IllegalTransition: it has been answered.
        InvalidInput: there is no reason.
    """
    return _answer(_hold_open(dispute_id), State.REJECTED, reason, actor, at)


def _hold_open(dispute_id: UUID) -> Dispute:
    dispute = db.lock(Dispute, dispute_id)
    if dispute.state != State.OPEN:
        raise IllegalTransition(f"This was answered: {dispute.get_state_display().lower()}.")
    return dispute


def _move_share(
    dispute: Dispute, partner: Partner, amount: Decimal | None, reason: str, at: datetime
) -> Charge:
    if amount is None or not amount.is_finite() or amount <= 0 or amount != round(amount, 6):
        raise InvalidInput(
            "Give the amount that the partner gets more, with six decimals at most.",
            field="amount",
        )
    charge = db.lock(Charge, dispute.charge_id)
    ours = charges.left_of(charge)[-1]
    if amount > from_micros(max(ours, 0)):
        rest = format_money(from_micros(max(ours, 0)), charge.currency)
        raise InvalidInput(f"Our own part of this charge is {rest}.", field="amount")
    more = to_micros(amount)
    as_bsp = charge.bsp_id == partner.pk
    parts = [0, more if as_bsp else 0, 0 if as_bsp else more, -more]
    return charges.correct(
        charge=charge,
        parts=parts,
        cause=f"share:{dispute.public_id}",
        explanation={
            "rule": "share",
            "arithmetic": f"{format_money(from_micros(more), charge.currency)} more for {partner}",
            "because": reason,
        },
        at=at,
    )


def _answer(
    dispute: Dispute,
    state: str,
    reason: str,
    actor: User,
    at: datetime,
    correction: Charge | None = None,
) -> Dispute:
    said = reason.replace("\x00", "").strip()[:300]
    if not said:
        raise InvalidInput("Say why; whoever asked reads it.", field="reason")
    dispute.state, dispute.answer, dispute.correction = state, said, correction
    dispute.answered_at, dispute.answered_by = at, actor
    dispute.save(update_fields=["state", "answer", "answered_at", "answered_by", "correction"])
    events.publish(f"dispute.{state}", subject=dispute.public_id, at=at, reason=said)
    _keep(dispute, f"dispute.{state}", actor, said, at)
    if dispute.partner is not None:
        webhooks.queue_webhook(
            partner=dispute.partner,
            kind=f"dispute.{state}",
            subject=dispute.public_id,
            data={
                "state": state,
                "answer": said,
                "share": dispute.charge.public_id,
                "correction": correction.public_id if correction else None,
            },
            at=at,
        )
    return dispute


def _keep(dispute: Dispute, action: str, actor: User | None, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor,
        actor_name="" if actor else str(dispute.partner or dispute.subscriber),
        action=action,
        subject=dispute.public_id,
        subscriber=dispute.subscriber,
        reason=reason,
        at=at,
        charge=dispute.charge.public_id,
    )
