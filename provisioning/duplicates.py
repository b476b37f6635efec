"""Who and what is there already: the same person, and a line at the same premises.

What is found is told to staff with its reason. A stranger is told no more than is needed to go
on: that there may be something, and what to do; never whose it is, nor since when.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from ispops.parties.models import Subscriber
from ispops.parties.people import namesakes, with_email, with_phone
from provisioning.models import ProductOrder, Service
from provisioning.transitions import CLOSED_ORDER
from qualification.models import Premises


@dataclass(frozen=True, slots=True)
class SamePerson:
    """An account that may belong to the person who registers, and why it seems so."""

    subscriber: Subscriber
    reasons: tuple[str, ...]
    # Only what the asker must know of both may be told to one who is not staff.
    is_sure: bool


def same_person(
    *, name: str, email: str, phone: str, premises: Premises | None
) -> list[SamePerson]:
    """Return accounts that are likely to be of this person, those with most reasons first.

    A telephone number alone, which anybody can type, is a reason for staff and never told to the
    asker: together with the name it is, as is the name at the same address.
    """
    found: dict[Subscriber, list[str]] = {}
    for subscriber, reason in _likely(name, email, phone, premises):
        found.setdefault(subscriber, []).append(reason)
    people = [
        SamePerson(subscriber, tuple(reasons), "e-mail" in reasons or len(reasons) > 1)
        for subscriber, reasons in found.items()
    ]
    return sorted(people, key=lambda person: -len(person.reasons))


def _likely(
    name: str, email: str, phone: str, premises: Premises | None
) -> Iterator[tuple[Subscriber, str]]:
    for subscriber in with_email(email):
        yield subscriber, "e-mail"
    by_phone = list(with_phone(phone))
    for subscriber in by_phone:
        yield subscriber, "phone"
    here = set(_accounts_at(premises)) if premises else set()
    for subscriber in namesakes(name):
        if subscriber in by_phone or subscriber.pk in here:
            yield subscriber, "name"
        if subscriber.pk in here:
            yield subscriber, "address"


def _accounts_at(premises: Premises) -> QuerySet[Service, object]:
    return Service.objects.filter(premises=premises).values_list("subscriber_id", flat=True)


@dataclass(frozen=True, slots=True)
class AtPremises:
    """What there is at an address: lines in use, and orders for lines that are on their way."""

    own_lines: tuple[Service, ...] = ()
    own_orders: tuple[ProductOrder, ...] = ()
    others: tuple[Subscriber, ...] = ()

    @property
    def is_own(self) -> bool:
        return bool(self.own_lines or self.own_orders)

    def __bool__(self) -> bool:
        return self.is_own or bool(self.others)


def at_premises(premises: Premises | None, subscriber: Subscriber | None) -> AtPremises:
    """Return the lines at an address that are in use or being set up, the asker's own apart."""
    if premises is None:
        return AtPremises()
    lines = Service.objects.filter(premises=premises, line__isnull=True)
    standing = lines.exclude(state=Service.State.CEASED).select_related("subscriber", "offering")
    own = [line for line in standing if subscriber and line.subscriber_id == subscriber.pk]
    being_set_up = [line.pk for line in own if line.state == Service.State.RESERVED]
    orders = (
        ProductOrder.objects.filter(items__service__in=being_set_up)
        .exclude(state__in=CLOSED_ORDER)
        .distinct()
    )
    return AtPremises(
        own_lines=tuple(line for line in own if line.pk not in being_set_up),
        own_orders=tuple(orders) if being_set_up else (),
        others=tuple({line.subscriber for line in standing if line not in own}),
    )
