"""Verbs for invitations: the letter, and the login that comes of it.

The link in the letter is signed and holds no more than the invitation's id; whether it still opens
anything, the row says. So a link works once, ends with its day, and ends when a new one is sent.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.core import signing
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from ispops import db, jobs
from ispops.errors import NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import Invitation, Subscriber, User

log = logging.getLogger(__name__)
_SALT = "ispops.parties.invitation"
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
# After the last one, which comes within two days, a person has to look.
MOST_ATTEMPTS = 12


class InvitationOver(Refusal):
    code = "invitation_over"
    title = "This invitation is no longer open"
    status = 410


class AnotherLogin(Refusal):
    code = "another_login"
    title = "The invitation is for another e-mail address"


@transaction.atomic
def invite(*, subscriber: Subscriber, actor: User, at: datetime, reason: str = "") -> Invitation:
    """Write to the holder of an account with the way to make its login.

    An invitation that was sent before ends by it. Workers send the letter.
    """
    account = db.lock(Subscriber, subscriber.pk)
    before = Invitation.objects.filter(
        subscriber=account, accepted_at__isnull=True, withdrawn_at__isnull=True
    )
    again = before.update(withdrawn_at=at, next_attempt_at=None, leased_until=None)
    made = Invitation.objects.create(
        subscriber=account,
        email=account.email,
        invited_by=actor,
        created_at=at,
        expires_at=at + settings.INVITATION_VALID_FOR,
        next_attempt_at=at,
    )
    audit.record(
        actor=actor,
        action="invitation.sent_again" if again else "invitation.sent",
        subject=account.public_id,
        subscriber=account,
        reason=reason,
        at=at,
        email=account.email,
    )
    from ispops.parties.tasks import send_invitations

    jobs.send_on_commit(send_invitations)
    return made


def send_next(*, at: datetime) -> bool:
    """Mail the next invitation that is due; False when there is none.

    A letter that cannot be sent is tried again with growing pauses. One whose worker died between
    sending it and noting that goes out twice, with the same Message-ID.
    """
    taken = jobs.claim(Invitation.objects.all(), at=at, lease=settings.TASK_LEASE)
    if not taken:
        return False
    row = taken[0]
    mine = Invitation.objects.filter(pk=row.pk, leased_until=row.leased_until)
    try:
        _letter(row).send()
    except Exception as fault:
        log.exception("invitation %s was not sent", row.public_id)
        is_last = row.attempts >= MOST_ATTEMPTS
        pause = jobs.backoff(row.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        mine.update(
            next_attempt_at=None if is_last else at + pause,
            leased_until=None,
            last_error=f"{type(fault).__name__}: {fault}"[:300],
        )
    else:
        mine.update(sent_at=at, next_attempt_at=None, leased_until=None, last_error="")
    return True


def _letter(row: Invitation) -> EmailMessage:
    base = settings.BASE_URL.rstrip("/")
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    context = {
        "name": row.subscriber.name,
        "url": base + reverse("portal:invitation", args=[token_of(row)]),
        "until": f"{row.expires_at:%B %-d, %Y}",
        "isp": settings.ISP_NAME,
        "phone": settings.SUPPORT_PHONE,
    }
    return EmailMessage(
        subject=f"Make your login at {settings.ISP_NAME}",
        body=render_to_string("parties/mail/invitation.txt", context),
        to=[row.email],
        headers={"Message-ID": f"<{row.public_id}@{domain}>"},
    )


def token_of(row: Invitation) -> str:
    """Return the part of the link that opens an invitation."""
    return signing.dumps(row.public_id, salt=_SALT)


def of_token(token: str) -> Invitation:
    """Return the invitation that a link opens, whatever has become of it.

    Raises:
        NotFound: nobody here signed this.
    """
    try:
        key = Invitation.key_of(str(signing.loads(token, salt=_SALT)))
    except signing.BadSignature as strange:
        raise NotFound("There is no such invitation.") from strange
    rows = Invitation.objects.select_related("subscriber")
    row = rows.filter(pk=key).first() if key else None
    if row is None:
        raise NotFound("There is no such invitation.")
    return row
