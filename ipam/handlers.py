"""What is written when a device asks for more than the plan; registered when Django starts.

A CSR sees requests in the console's queue, and `ipam.csr_letters` tells of them.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from ipam import notice_kinds
from ipam.models import ExtraAddress, OverallocationRequest, StaticAddress
from ispops import events
from ispops.catalog.models import AddressEntitlement
from ispops.notices import notify


def _devices_url() -> str:
    return settings.BASE_URL.rstrip("/") + reverse("portal:devices")


@events.on("address.requested", name="ipam.write_address_asked")
def write_address_asked(event: Any) -> None:
    """The subscriber hears that a device waits, unless the request was answered meanwhile."""
    key = OverallocationRequest.key_of(event.subject)
    rows = OverallocationRequest.objects.select_related("holder__subscriber")
    asked = rows.filter(pk=key, state=OverallocationRequest.State.PENDING).first() if key else None
    if asked is None:
        return
    is_ours = asked.policy == AddressEntitlement.Policy.ASK_CSR
    notify.send(
        kind=notice_kinds.ADDRESS_ASKED.code,
        subscriber=asked.holder.subscriber,
        cause=asked.public_id,
        at=event.occurred_at,
        device=asked.device,
        devices_url=_devices_url(),
        who_decides=(
            "Our customer service decides, and you need not do anything. How it stands:"
            if is_ours
            else "Say yes or no on this page:"
        ),
    )


@events.on("address.extra_granted", name="ipam.write_extra_address_granted")
def write_extra_address_granted(event: Any) -> None:
    """The subscriber hears from when on an extra address is charged."""
    _write(notice_kinds.EXTRA_ADDRESS_GRANTED.code, event)


@events.on("address.extra_ended", name="ipam.write_extra_address_ended")
def write_extra_address_ended(event: Any) -> None:
    """The subscriber hears that an extra address is charged no longer."""
    _write(notice_kinds.EXTRA_ADDRESS_ENDED.code, event)


@events.on("address.static_moves", name="ipam.write_static_address_moves")
def write_static_address_moves(event: Any) -> None:
    """The subscriber hears when its static address changes."""
    day = timezone.localtime(datetime.fromisoformat(event.payload["moves_at"]))
    _write_of_static(
        notice_kinds.STATIC_ADDRESS_MOVES.code, event, moves_on=f"{day:%A}, {day.day} {day:%B %Y}"
    )


@events.on("address.static_moved", name="ipam.write_static_address_moved")
def write_static_address_moved(event: Any) -> None:
    """The subscriber hears which static address it has from now on."""
    was = event.payload["was"].removesuffix("/32")
    _write_of_static(notice_kinds.STATIC_ADDRESS_MOVED.code, event, was=was)


def _write_of_static(kind: str, event: Any, **said: str) -> None:
    key = StaticAddress.key_of(event.subject)
    rows = StaticAddress.objects.select_related("holder__subscriber")
    static = rows.filter(pk=key, released_at__isnull=True).first() if key else None
    if static is not None:
        notify.send(
            kind=kind, subscriber=static.holder.subscriber, cause=f"event:{event.pk}",
            at=event.occurred_at, address=str(static), devices_url=_devices_url(), **said,
        )  # fmt: skip


def _write(kind: str, event: Any) -> None:
    key = ExtraAddress.key_of(event.subject)
    rows = ExtraAddress.objects.select_related("holder__subscriber", "addon")
    extra = rows.filter(pk=key).first() if key else None
    if extra is not None:
        notify.send(
            kind=kind,
            subscriber=extra.holder.subscriber,
            cause=extra.public_id,
            at=event.occurred_at,
            device=extra.device,
            addon=extra.addon.name,
            devices_url=_devices_url(),
        )
