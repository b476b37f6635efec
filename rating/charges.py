"""Charges: how a price becomes one, and how one is taken back. Nothing else writes them singly.

A reversal is a charge of its own, of kind adjustment, with every amount of the first below zero
instead of above: money that goes back to the subscriber is negative.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from ispops import events
from ispops.errors import Refusal
from ispops.money import from_micros
from ispops.parties.models import Subscriber
from rating.models import Charge
from rating.pricing import Priced
from rating.tariff import Parties


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


@transaction.atomic
def reverse(*, charge: Charge, because: str, at: datetime) -> Charge:
    """Take a whole charge back by a new one. Publishes `charge.reversed`.

    Raises:
        AlreadyReversed: it was taken back before, or is itself a reversal.
    """
    if charge.reverses_id is not None or Charge.objects.filter(reverses=charge).exists():
        raise AlreadyReversed("A charge is reversed once; a reversal is not reversed.")
    reversal = Charge.objects.create(
        subscriber_id=charge.subscriber_id,
        service_id=charge.service_id,
        offering_id=charge.offering_id,
        bundle_id=charge.bundle_id,
        price_id=charge.price_id,
        extra_address_id=charge.extra_address_id,
        kind=Charge.Kind.ADJUSTMENT,
        cause=f"reversal:{charge.public_id}",
        reverses=charge,
        period_start=at,
        quantity=charge.quantity,
        unit=charge.unit,
        currency=charge.currency,
        amount_net=-charge.amount_net,
        isp_share=-charge.isp_share,
        bsp_share=-charge.bsp_share,
        network_provider_share=-charge.network_provider_share,
        amount_tax=-charge.amount_tax,
        bsp_id=charge.bsp_id,
        network_provider_id=charge.network_provider_id,
        explanation={
            "rule": "reversal",
            "arithmetic": f"the opposite of {charge.public_id}",
            "because": because,
        },
        charged_at=at,
    )
    events.publish("charge.reversed", subject=charge.public_id, at=at, because=because)
    return reversal
