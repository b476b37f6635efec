"""Whom are you talking to? One search box for everything a caller may say about themselves."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q

from ipam.models import AllocationHistory, ExtraAddress, OverallocationRequest
from ispops.console.zone import in_full
from ispops.db import PublicIdModel
from ispops.parties.models import Subscriber
from provisioning.models import AaaCredential, ProductOrder, Service, ServiceOrder
from qualification.models import Premises, ServiceQualification
from rating.models import Charge, CustomerBill, Purchase

MOST = 20


@dataclass(frozen=True, slots=True)
class Hit:
    """A subscriber who fits, and by what: shown beside the name."""

    subscriber: Subscriber
    because: str
    # From when to when, where the answer is about the past: an address somebody had.
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """An object that has a page of its own and was named by its id."""

    address: str
    public_id: str


def find(text: str) -> list[Hit] | Page:
    """Return whom a text may mean, best first, each subscriber once for each way it fits.

    A public id of any kind, an IP address or prefix (whoever has or had it, newest first), a
    login name of a line, else a part of a name, e-mail address, phone number or street address.
    At most `MOST` of each. An empty text finds nobody.
    """
    # PostgreSQL has no text with a NUL in it, so nobody is called that.
    text = text.replace("\0", "").strip()
    if not text:
        return []
    if (named := _by_public_id(text)) is not None:
        return named
    if network := _network(text):
        return _by_address(network)
    return _by_words(text)


def _by_public_id(text: str) -> "list[Hit] | Page | None":
    for model, address in _WITH_PAGES:
        key = model.key_of(text)
        if key is not None and model._default_manager.filter(pk=key).exists():
            return Page(address, text)
    for model, path in _OWNED:
        if (key := model.key_of(text)) is not None:
            rows = _rows(model, path).filter(pk=key)
            return [Hit(_owner(row, path), f"{model._meta.verbose_name} {text}") for row in rows]
    return None


_WITH_PAGES: tuple[tuple[type[PublicIdModel], str], ...] = (
    (ProductOrder, "admin:console_order"),
    (ServiceQualification, "admin:console_qualification"),
)
# What belongs to a subscriber, and how the subscriber is reached from it.
_OWNED: tuple[tuple[type[PublicIdModel], str], ...] = (
    (Subscriber, ""),
    (Service, "subscriber"),
    (Purchase, "subscriber"),
    (Charge, "subscriber"),
    (CustomerBill, "subscriber"),
    (ServiceOrder, "service__subscriber"),
    (OverallocationRequest, "holder__subscriber"),
    (ExtraAddress, "holder__subscriber"),
)


def _rows(model: type[Model], path: str) -> Any:
    rows = model._default_manager.all()
    return rows.select_related(path) if path else rows


def _owner(row: Any, path: str) -> Subscriber:
    for step in filter(None, path.split("__")):
        row = getattr(row, step)
    return row


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return "" if "%" in text else str(network)


def _by_address(network: str) -> list[Hit]:
    """Who has and who had it; an address inside a delegated prefix finds the prefix."""
    stays = (
        AllocationHistory.objects.filter(address__covers=network)
        .select_related("subscriber")
        .order_by("-held_from")[:MOST]
    )
    return [
        Hit(
            stay.subscriber,
            f"Address {stay.address}, device {stay.device}",
            f"from {in_full(stay.held_from)}, "
            + (f"to {in_full(stay.held_to)}" if stay.held_to else "has it now"),
        )
        for stay in stays
    ]


def _by_words(text: str) -> list[Hit]:
    finders: tuple[Callable[[str], list[Hit]], ...] = (
        _by_username,
        _by_name,
        _by_phone,
        _by_place,
    )
    return [hit for finder in finders for hit in finder(text)]


def _by_username(text: str) -> list[Hit]:
    rows = AaaCredential.objects.filter(username__iexact=text).select_related("service__subscriber")
    return [Hit(row.service.subscriber, f"Login name {row.username}") for row in rows[:MOST]]


def _by_name(text: str) -> list[Hit]:
    fits = Q(name__icontains=text) | Q(email__icontains=text) | Q(users__email__icontains=text)
    rows = Subscriber.objects.filter(fits).distinct().order_by("-created_at")[:MOST]
    return [Hit(row, row.email) for row in rows]


def _by_phone(text: str) -> list[Hit]:
    digits = "".join(character for character in text if character.isdigit())
    if len(digits) < 5 or any(character.isalpha() for character in text):
        return []
    rows = Subscriber.objects.exclude(phone="").extra(
        where=["regexp_replace(phone, '[^0-9]', '', 'g') LIKE %s"], params=[f"%{digits}%"]
    )[:MOST]
    return [Hit(row, f"Phone {row.phone}") for row in rows]


def _by_place(text: str) -> list[Hit]:
    places = Premises.objects.filter(
        Q(street__icontains=text) | Q(postal_code=text) | Q(city__iexact=text)
    )
    services = (
        Service.objects.filter(premises__in=places, line__isnull=True)
        .select_related("subscriber", "premises")
        .order_by("-created_at")[:MOST]
    )
    return [Hit(service.subscriber, f"Lives at {service.premises}") for service in services]
