"""Charges: how a price becomes one, and how one is taken back. Nothing else writes them singly.

A reversal is a charge of its own, of kind adjustment, with every amount of the first below zero
instead of above: money that goes back to the subscriber is negative. Where a part goes back, that
is a charge of the same kind, with the same part of every share and of the tax.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, Sum

from ispops import db, events
from ispops.errors import Refusal
from ispops.money import from_micros, to_micros
from ispops.parties.models import Subscriber
from ispops.periods import billing_period
from rating import lanes
from rating.models import Charge, SettlementStatement
from rating.pricing import Priced
from rating.tariff import Parties

# What a charge is made of, in the order in which a part of it is taken from each; the ISP's part is
# the last, so that it is the one that takes what rounding leaves.
PARTS = ("amount_tax", "bsp_share", "network_provider_share", "isp_share")
# Charges for use that gather no steps, by what their causes begin with.
_OF_USE = ("minimum:", "rerating:")


class AlreadyReversed(Refusal):
    code = "charge_already_reversed"
    title = "The charge has been reversed already"


def draft(
    *,
    subscriber: Subscriber,
    offering_id: int,
    kind: str,
    cause: str,
    priced: Priced,
    parties: Parties,
    period_start: datetime,
    at: datetime,
    **facts: Any,
) -> Charge:
    """Return a charge that is not saved: what was priced, with its shares and its explanation.

    `facts` are further fields of `Charge`, such as `service`, `bundle`, `price` and `period_end`.
    """
    return Charge(
        subscriber=subscriber,
        offering_id=offering_id,
        kind=kind,
        cause=cause,
        currency=subscriber.currency,
        amount_net=from_micros(priced.net),
        amount_tax=from_micros(priced.tax),
        isp_share=from_micros(priced.isp),
        bsp_share=from_micros(priced.bsp),
        network_provider_share=from_micros(priced.network_provider),
        bsp_id=parties.bsp_id,
        network_provider_id=parties.network_provider_id,
        explanation=priced.explanation,
        period_start=period_start,
        charged_at=at,
        **facts,
    )


def total_of(charged: Iterable[Charge]) -> Decimal:
    """Return what charges come to, with tax."""
    return sum((one.amount_net + one.amount_tax for one in charged), Decimal(0))


@transaction.atomic
def reverse(*, charge: Charge, because: str, at: datetime) -> Charge:
    """Take a whole charge back by a new one. Publishes `charge.reversed`.

    Raises:
        AlreadyReversed: it was taken back before, or is itself a reversal.
    """
    if charge.reverses_id is not None or Charge.objects.filter(reverses=charge).exists():
        raise AlreadyReversed("A charge is reversed once; a reversal is not reversed.")
    reversal = _adjust(
        charge,
        [-to_micros(getattr(charge, part)) for part in PARTS],
        cause=f"reversal:{charge.public_id}",
        explanation={
            "rule": "reversal",
            "arithmetic": f"the opposite of {charge.public_id}",
            "because": because,
        },
        at=at,
        reverses=charge,
        quantity=charge.quantity,
        unit=charge.unit,
    )
    events.publish("charge.reversed", subject=charge.public_id, at=at, because=because)
    return reversal


@transaction.atomic
def take_back_rest(*, charge: Charge, because: str, at: datetime) -> Charge | None:
    """Take back what is left of a charge, of which parts may have gone back; None for nothing."""
    held = db.lock(Charge, charge.pk)
    rest = left_of(held)
    if not any(rest):
        return None
    if rest == [to_micros(getattr(held, part)) for part in PARTS]:
        return reverse(charge=held, because=because, at=at)
    return correct(
        charge=held,
        parts=[-part for part in rest],
        cause=f"reversal:{held.public_id}",
        explanation={
            "rule": "refund",
            "arithmetic": f"what was left of {held.public_id}",
            "because": because,
        },
        at=at,
    )


def left_of(charge: Charge) -> list[int]:
    """Return what is left of each of a charge's `PARTS`, in micro-units, after all corrections."""
    back = Charge.objects.filter(Q(reverses=charge) | Q(corrects=charge)).aggregate(
        **{f"sum_{part}": Sum(part) for part in PARTS}
    )
    return [to_micros(getattr(charge, part) + (back[f"sum_{part}"] or 0)) for part in PARTS]


def left_of_use(charge: Charge) -> int:
    """Return what is left of all charges for the use of a service in a period, with tax.

    That of `charge`, where it is one: its period's use, the least that it costs, what re-rating
    charged or gave back, and all corrections. The subscriber's lane is held, so that nothing of it
    changes until the transaction ends. Of other charges it is what is left of them alone.
    """
    if charge.step_after is None and not charge.cause.startswith(_OF_USE):
        return sum(left_of(charge))
    lanes.hold_lane(charge.subscriber_id)
    period = billing_period(
        charge.period_start,
        anchor_day=charge.subscriber.billing_anchor_day,
        zone=settings.BILLING_TIME_ZONE,
    )
    own = Charge.objects.filter(
        Q(step_after__isnull=False)
        | Q(cause__startswith="minimum:")
        | Q(cause__startswith="rerating:"),
        subscriber=charge.subscriber_id,
        service=charge.service_id,
        offering=charge.offering_id,
        unit=charge.unit,
        period_start__gte=period.start,
        period_start__lt=period.end,
    ).values("pk")
    of_them = Q(pk__in=own) | Q(corrects__in=own) | Q(reverses__in=own)
    rows = Charge.objects.filter(of_them, subscriber=charge.subscriber_id)
    sums = rows.aggregate(net=Sum("amount_net"), tax=Sum("amount_tax"))
    return to_micros((sums["net"] or Decimal(0)) + (sums["tax"] or Decimal(0)))


def correct(
    *, charge: Charge, parts: Sequence[int], cause: str, explanation: dict[str, str], at: datetime
) -> Charge:
    """Write a correction of a charge that is held: a change of each of its `PARTS`.

    The database refuses one that gives back more than is left.
    """
    return _adjust(
        charge, parts, cause=cause, explanation=explanation, at=at, corrects=charge, quantity=1
    )


def _adjust(charge: Charge, parts: Sequence[int], *, at: datetime, **facts: Any) -> Charge:
    tax, bsp, network_provider, isp = (from_micros(part) for part in parts)
    return Charge.objects.create(
        subscriber_id=charge.subscriber_id,
        service_id=charge.service_id,
        offering_id=charge.offering_id,
        bundle_id=charge.bundle_id,
        price_id=charge.price_id,
        extra_address_id=charge.extra_address_id,
        kind=Charge.Kind.ADJUSTMENT,
        period_start=at,
        currency=charge.currency,
        amount_net=isp + bsp + network_provider,
        isp_share=isp,
        bsp_share=bsp,
        network_provider_share=network_provider,
        amount_tax=tax,
        bsp_id=charge.bsp_id,
        network_provider_id=charge.network_provider_id,
        charged_at=_not_stated(charge, at),
        **facts,
    )


def _not_stated(charge: Charge, at: datetime) -> datetime:
    """Return `at`, or the end of the last period of a partner in the charge that has a statement.

    What happened earlier and is written only now would else be on no statement.
    """
    partners = [key for key in (charge.bsp_id, charge.network_provider_id) if key]
    stated = SettlementStatement.objects.filter(partner__in=partners, period_end__gt=at)
    last = stated.aggregate(last=Max("period_end"))["last"] if partners else None
    return last or at
