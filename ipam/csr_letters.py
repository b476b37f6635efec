"""Letters to customer service: devices wait for its decision (figure 11).

One letter tells of all that wait, and the next one follows a good while later at the earliest, so
that a flood of requests is no flood of letters. Each member of staff may switch them off.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from ipam import notice_kinds
from ipam.models import CsrLetters, OverallocationRequest
from ispops.catalog.models import AddressEntitlement
from ispops.notices import notify
from ispops.parties import roles
from ispops.parties.models import User

EVERY = timedelta(minutes=15)
# A transaction that is still open may carry an older time, so the newest seconds wait a sweep.
SETTLED = timedelta(seconds=5)


def tell(*, at: datetime) -> int:
    """Write to the members of customer service who have not heard of what waits for them.

    Safe to run twice and at once. Returns how many letters were written.
    """
    waiting = list(waiting_for_csr().order_by("answer_by"))
    return sum(_tell(user, waiting, at) for user in readers()) if waiting else 0


def set_wanted(*, user: User, wanted: bool) -> CsrLetters:
    """Say whether somebody wants such letters; without having said so they come."""
    row, _ = CsrLetters.objects.update_or_create(user=user, defaults={"wanted": wanted})
    return row


def wants(user: User) -> bool:
    """Say whether somebody is written to: a reader who has not switched it off."""
    refused = CsrLetters.objects.filter(user=user, wanted=False).exists()
    return not refused and readers().filter(pk=user.pk).exists()


def readers() -> QuerySet[User]:
    """Return the members of staff who decide such requests by their role."""
    return (
        User.objects.filter(
            is_active=True, is_staff=True, groups__name__in=(roles.CSR, roles.CSR_LEAD)
        )
        .exclude(email="")
        .distinct()
        .order_by("pk")
    )


def waiting_for_csr() -> QuerySet[OverallocationRequest]:
    """Return the open requests whose plan leaves the answer to customer service."""
    return OverallocationRequest.objects.filter(
        state=OverallocationRequest.State.PENDING, policy=AddressEntitlement.Policy.ASK_CSR
    )


@transaction.atomic
def _tell(user: User, waiting: Iterable[OverallocationRequest], at: datetime) -> bool:
    CsrLetters.objects.get_or_create(user=user)
    row = CsrLetters.objects.select_for_update().get(user=user)
    settled = [each for each in waiting if each.asked_at <= at - SETTLED and each.answer_by > at]
    news = [each for each in settled if row.told_until is None or each.asked_at > row.told_until]
    if not row.wanted or not news or (row.written_at and row.written_at > at - EVERY):
        return False
    notify.send_to_staff(
        kind=notice_kinds.CSR_REQUESTS.code,
        user=user,
        cause=f"requests:{at.isoformat()}",
        at=at,
        how_many=_how_many(len(settled)),
        answer_by=f"{timezone.localtime(settled[0].answer_by):%H:%M on %-d %B}",
        queue_url=settings.BASE_URL.rstrip("/") + reverse("admin:console_overallocation"),
    )
    row.written_at, row.told_until = at, at - SETTLED
    row.save(update_fields=["written_at", "told_until"])
    return True


def _how_many(count: int) -> str:
    return "One device waits" if count == 1 else f"{count:,} devices wait"
