"""Letters to those who left a registration, and the end of what nobody came back to."""

import logging
from datetime import datetime

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse

from ispops.periods import day_in_words
from provisioning.models import Registration

log = logging.getLogger(__name__)
State = Registration.State


def remind_next(*, at: datetime) -> bool:
    """Write to the next person who left; False when there is nobody.

    It is noted as done first and sent then, so that nobody is ever written to twice; a letter
    that is lost with its worker is one that nobody waits for.
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
        try:
            _letter(row, row.user.email).send()
        except OSError:
            log.exception("the way back to %s could not be mailed", row.public_id)
    return True


def _letter(row: Registration, to: str) -> EmailMessage:
    address = " ".join(str(row.qualification.address).split())
    context = {
        "plan": str(row.offering),
        "address": address,
        "url": settings.BASE_URL.rstrip("/")
        + reverse("portal:continue_registration", args=[row.public_id]),
        "until": day_in_words(row.expires_at, zone=settings.BILLING_TIME_ZONE),
        "isp": settings.ISP_NAME,
        "phone": settings.SUPPORT_PHONE,
    }
    return EmailMessage(
        subject=f"Continue your order for {address}"[:200],
        body=render_to_string("provisioning/mail/registration_left.txt", context),
        to=[to],
    )


@transaction.atomic
def forget_expired(*, at: datetime) -> int:
    """Give up what nobody came back to, and forget who it was; returns how many there were."""
    over = Registration.objects.filter(state=State.DRAFT, expires_at__lte=at)
    nobodys, _ = over.filter(Q(user__isnull=True) & Q(clerk__isnull=True)).delete()
    return nobodys + over.update(
        state=State.ABANDONED, changed_at=at, name="", email="", phone="", remind_at=None
    )
