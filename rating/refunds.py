"""Refunds: a charge is given back in part or in whole, by us or by the partner whose product it is.

Of a bundle of several partners' products all of it can be given back at once, in part or in whole.
A refund takes the same part of every share and of the tax. What is given back in all is never more
than was charged, which the database itself sees to.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.money import format_money, from_micros, to_micros
from ispops.parties import audit, webhooks
from ispops.parties.models import Partner, User
from rating import charges, parts
from rating.amounts import WHOLE, percent_words, portion, spread
from rating.models import Charge


class NothingToRefund(Refusal):
    code = "nothing_to_refund"
    title = "Nothing of the charge is left to give back"


class RefundTooLarge(Refusal):
    code = "refund_too_large"
    title = "More would be given back than was charged"


class RefundKeyReused(Refusal):
    code = "refund_key_reused"
    title = "The key was used for another refund"


@transaction.atomic
def refund_charge(
    *,
    charge_id: UUID,
    because: str,
    idempotency_key: str,
    at: datetime,
    amount: Decimal | None = None,
    percent: Decimal | None = None,
    actor: User | None = None,
    partner: Partner | None = None,
) -> Charge:
    """Give a part of a charge back: `amount` with tax, `percent` of it, or by neither the rest.

    `partner` is the caller, where that is not our staff: it gives back of its own products alone.
    The same key again returns the first refund. Publishes `charge.refunded`.

    Raises:
        NotFound: there is no such charge, or it is not of the partner's own product.
        InvalidInput: there is no reason or key, or the amount or percentage makes no sense.
        NothingToRefund: all of it went back before, or it gives something back itself.
        RefundTooLarge: less than that is left.
        RefundKeyReused: the key belongs to another refund of this charge.
    """
    because = _text(because, "reason", most=300)
    key = _text(idempotency_key, "idempotency_key", most=200)
    asked = _asked(amount, percent)
    charge = _hold(charge_id, partner)
    first = Charge.objects.filter(cause=_cause(charge, key)).first()
    if first is not None:
        return _same(first, asked)
    if charge.corrects_id or charge.reverses_id:
        raise NothingToRefund("Nothing of this charge is left to give back.", field="amount")
    left = charges.left_of(charge)
    most = min(sum(left), charges.left_of_use(charge))
    wanted = _wanted([charge], most, amount, percent, tells_rest=partner is None)
    words = {
        "rule": "refund",
        "arithmetic": _arithmetic([charge], wanted, percent),
        "because": because,
        "asked": asked,
    }
    refund = charges.correct(
        charge=charge,
        parts=[-part for part in spread(wanted, left)],
        cause=_cause(charge, key),
        explanation=words,
        at=at,
    )
    note(charge=charge, refund=refund, because=because, actor=actor, partner=partner, at=at)
    return refund


@transaction.atomic
def refund_purchase(
    *,
    purchase_id: UUID,
    because: str,
    idempotency_key: str,
    at: datetime,
    actor: User,
    amount: Decimal | None = None,
    percent: Decimal | None = None,
) -> list[Charge]:
    """Give a part of all that was charged when something was bought back, as `refund_charge` does.

    Of a bundle, each partner's part of it bears the same part. The same key again returns the
    first refunds.

    Raises:
        what `refund_charge` does.
    """
    because = _text(because, "reason", most=300)
    key = _text(idempotency_key, "idempotency_key", most=200)
    whole = parts.hold_whole(purchase_id)
    asked = f"{_asked(amount, percent)} of {whole.public_id}"
    charged = [db.lock(Charge, key) for key in parts.charges_of(whole).values_list("pk", flat=True)]
    known = Charge.objects.filter(cause__in=[_cause(charge, key) for charge in charged])
    firsts = list(known.order_by("pk"))
    if firsts:
        return [_same(first, asked) for first in firsts]
    lefts = [charges.left_of(charge) for charge in charged]
    most = sum(sum(left) for left in lefts)
    wanted = _wanted(charged, most, amount, percent, tells_rest=True)
    words = {
        "rule": "refund",
        "arithmetic": _arithmetic(charged, wanted, percent),
        "because": because,
        "asked": asked,
    }
    made = []
    borne = spread(wanted, [sum(left) for left in lefts])
    for charge, left, part in zip(charged, lefts, borne, strict=True):
        if part:
            refund = charges.correct(
                charge=charge,
                parts=[-share for share in spread(part, left)],
                cause=_cause(charge, key),
                explanation=words,
                at=at,
            )
            note(charge=charge, refund=refund, because=because, actor=actor, partner=None, at=at)
            made.append(refund)
    return made


def _cause(charge: Charge, key: str) -> str:
    return f"refund:{charge.public_id}:{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def _same(first: Charge, asked: str) -> Charge:
    if first.explanation.get("asked") != asked:
        raise RefundKeyReused("Use a new key for a new refund.", field="idempotency_key")
    return first


@transaction.atomic
def refund_unused(
    *, charge: Charge, because: str, actor: User | None, partner: Partner | None, at: datetime
) -> Charge | None:
    """Give back the part of a recurring charge's span that is still to come; None for none."""
    held = db.lock(Charge, charge.pk)
    if held.period_end is None or held.period_end <= at:
        return None
    left = charges.left_of(held)
    whole = held.period_end - held.period_start
    unused = held.period_end - max(at, held.period_start)
    total = to_micros(held.amount_net + held.amount_tax)
    wanted = min(portion(total, _micros(unused), _micros(whole)), sum(left))
    if wanted <= 0:
        return None
    refund = charges.correct(
        charge=held,
        parts=[-part for part in spread(wanted, left)],
        cause=f"unused:{held.public_id}",
        explanation={
            "rule": "refund",
            "arithmetic": f"{_days(unused)} of {_days(whole)} days were still to come, of "
            f"{format_money(from_micros(total), held.currency)} with tax",
            "because": because,
        },
        at=at,
    )
    note(charge=held, refund=refund, because=because, actor=actor, partner=partner, at=at)
    return refund


def note(
    *,
    charge: Charge,
    refund: Charge,
    because: str,
    actor: User | None,
    partner: Partner | None,
    at: datetime,
) -> None:
    """Tell whom it concerns that something was given back, and keep who did it."""
    back = -(refund.amount_net + refund.amount_tax)
    events.publish(
        "charge.refunded",
        subject=refund.public_id,
        at=at,
        charge=charge.public_id,
        amount=str(back),
        because=because,
    )
    audit.record(
        actor=actor,
        actor_name="" if actor else str(partner or "Worker"),
        action="charge.refunded",
        subject=charge.public_id,
        subscriber=charge.subscriber,
        reason=because,
        at=at,
        amount=str(back),
        currency=charge.currency,
        refund=refund.public_id,
    )
    if charge.bsp is not None and charge.bsp != partner:
        webhooks.queue_webhook(
            partner=charge.bsp,
            kind="settlement_share.corrected",
            subject=charge.public_id,
            data={
                "correction": refund.public_id,
                "share": str(refund.bsp_share),
                "currency": charge.currency,
                "reason": because,
            },
            at=at,
        )


def _hold(charge_id: UUID, partner: Partner | None) -> Charge:
    rows = Charge.objects.filter(pk=charge_id)
    if partner is not None:
        rows = rows.filter(bsp=partner, offering__provider=partner)
    found = rows.first()
    if found is None:
        raise NotFound("There is no such charge.")
    return db.lock(Charge, found.pk)


def _asked(amount: Decimal | None, percent: Decimal | None) -> str:
    if amount is not None and percent is not None:
        raise InvalidInput("Give an amount or a percentage, and not both.", field="amount")
    if amount is not None:
        if not amount.is_finite() or not 0 < amount < Decimal(10) ** 12:
            raise InvalidInput("Give an amount above zero.", field="amount")
        if amount != round(amount, 6):
            raise InvalidInput("Give an amount with six decimals at most.", field="amount")
        return f"{amount.normalize():f}"
    if percent is not None:
        if not percent.is_finite() or not 0 < percent <= 100 or percent != round(percent, 3):
            raise InvalidInput(
                "Give a percentage above 0 and up to 100, with three decimals at most.",
                field="percent",
            )
        return f"{percent.normalize():f} %"
    return "the rest"


def _wanted(
    charged: Sequence[Charge],
    left: int,
    amount: Decimal | None,
    percent: Decimal | None,
    *,
    tells_rest: bool,
) -> int:
    """Return how much goes back. What is left with tax and all shares is not for a partner."""
    if left <= 0:
        raise NothingToRefund("Nothing of this charge is left to give back.", field="amount")
    if amount is not None:
        wanted = to_micros(amount)
    elif percent is not None:
        total = to_micros(charges.total_of(charged))
        wanted = portion(total, int(percent * 1000), WHOLE)
    else:
        wanted = left
    if wanted > left:
        rest = format_money(from_micros(left), charged[0].currency)
        raise RefundTooLarge(
            f"Of this charge {rest} with tax are left to give back."
            if tells_rest
            else "Less than that of this charge is left to give back.",
            field="amount" if amount is not None else "percent",
        )
    if wanted == 0:
        raise InvalidInput("That comes to nothing.", field="percent")
    return wanted


def _arithmetic(charged: Sequence[Charge], wanted: int, percent: Decimal | None) -> str:
    currency = charged[0].currency
    total = format_money(charges.total_of(charged), currency)
    back = format_money(from_micros(wanted), currency)
    if len(charged) > 1:
        return f"{back} of {total} with tax for all of it, the same part of every share"
    if percent is None:
        return f"{back} of {total} with tax, the same part of every share"
    return f"{percent_words(int(percent * 1000))} of {total} with tax = {back}"


def _text(value: str, field: str, *, most: int) -> str:
    text = value.replace("\x00", "").strip()
    if not 0 < len(text) <= most:
        raise InvalidInput(f"Give 1 to {most} characters.", field=field)
    return text


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.1f}"
