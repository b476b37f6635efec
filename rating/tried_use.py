"""What was used of a service that a price is tried on, in sums, and what its steps come to."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import add
from typing import NamedTuple

from provisioning.models import ServicePeriod
from rating.differences import NOTHING, Parts
from rating.meters import More
from rating.past_use import Shared
from rating.pricing import Priced
from rating.tariff import Parties


class Difference(NamedTuple):
    """What is to be charged to put a service's use of a period right, or to be given back."""

    subscriber_id: str
    service_id: str
    shared: Shared
    quantity: int
    paid: Parts
    would: Parts
    more: Parts


class Result(NamedTuple):
    """What a service used in a billing period, what was paid for it, and what it would cost."""

    subscriber_id: str
    service_id: str
    period_start: datetime
    quantity: int
    paid: Parts
    would: Parts


# What a step comes to, who shares in it, and when the part of the period begins that it is in.
Step = tuple[Shared, Parts, datetime]


class Place(NamedTuple):
    """Where use counts: in which period, between which changes of the terms, of which product."""

    period_start: datetime
    segment: int
    offering_id: int


@dataclass(slots=True)
class Sum:
    """Use of a period between two changes of the terms: what it adds, and what was paid for it."""

    more: More
    quantity: int
    paid: Parts


@dataclass(slots=True)
class TriedService:
    """A meter of the simulation: whose it is, what counts on it, and when it was active."""

    subscriber_id: str
    anchor_day: int
    sums: dict[Place, Sum]
    active: list[ServicePeriod]


def shared_by(key: Place, parties: Parties) -> Shared:
    """Return what a step at a place is added up by."""
    return Shared(key.period_start, key.offering_id, parties.bsp_id, parties.network_provider_id)


def summed_up(many: Iterable[tuple[Shared, Parts]]) -> dict[Shared, Parts]:
    """Add amounts up by who shares in them."""
    summed: dict[Shared, Parts] = {}
    for shared, parts in many:
        summed[shared] = summed.get(shared, NOTHING).plus(parts)
    return summed


def quantity_of(service: TriedService, shared: Shared) -> int:
    """Return how many units of a product a service used in a period."""
    of = (shared.period_start, shared.offering_id)
    return sum(
        summed.quantity
        for key, summed in service.sums.items()
        if (key.period_start, key.offering_id) == of
    )


def plus(one: More, other: More) -> More:
    """Add what two uses add to a counter."""
    return More(tuple(map(add, one.units, other.units)), one.events + other.events)


def parts_of(priced: Priced) -> Parts:
    """Return the amounts of a step."""
    return Parts(priced.net, priced.isp, priced.bsp, priced.network_provider, priced.tax)
