"""Letters to those who left a registration, and the end of what nobody came back to."""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse

from ispops.notices import plain_letters
from ispops.periods import day_in_words
from provisioning.models import Registration

State = Registration.State


def remind_next(*, at: datetime) -> bool:
    """Write to the next person who left; False when there is nobody.

    The letter is written in the transaction that notes it, so nobody is written to twice.
    """
    with transaction.atomic():
        left = Registration.objects.filter(state=State.DRAFT, remind_at__lte=at)
        row = (
            left.select_for_update(of=("self",), skip_locked=True)
            .select_related("user", "offering", "qualification__premises")
            .order_by("remind_at")
            .first()
        )
        if row is None:
            return False
        row.remind_at = None
        row.save(update_fields=["remind_at"])
        if row.user is not None and row.user.is_active and row.expires_at > at:
            _write(row, row.user.email, at)
    return True


def _write(row: Registration, to: str, at: datetime) -> None:
    address = " ".join(str(row.qualification.address).split())
    way_back = reverse("portal:continue_registration", args=[row.public_id])
    url = settings.BASE_URL.rstrip("/") + way_back
    told = {
        "plan": str(row.offering),
        "address": address,
        "url": url,
        "until": day_in_words(row.expires_at, zone=settings.BILLING_TIME_ZONE),
        "isp": settings.ISP_NAME,
        "phone": settings.SUPPORT_PHONE,
    }
    plain_letters.write(
        kind="registration_left",
        address=to,
        subject=f"Continue your order for {address}",
        text=render_to_string("provisioning/mail/registration_left.txt", told),
        links=[url],
        at=at,
    )


@transaction.atomic
def forget_expired(*, at: datetime) -> int:
    """Give up what nobody came back to, and forget who it was; returns how many there were."""
    over = Registration.objects.filter(state=State.DRAFT, expires_at__lte=at)
    nobodys, _ = over.filter(Q(user__isnull=True) & Q(clerk__isnull=True)).delete()
    return nobodys + over.update(
        state=State.ABANDONED, changed_at=at, name="", email="", phone="", remind_at=None
    )
