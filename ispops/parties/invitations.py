"""Verbs for invitations: the link, and the login that comes of it.

The link in the letter is signed and holds no more than the invitation's id; whether it still opens
anything, the row says. So a link works once, ends with its day, and ends when a new one is sent.
"""

from datetime import datetime

from django.conf import settings
from django.core import signing
from django.db import transaction

from ispops import db, events
from ispops.errors import NotFound, Refusal
from ispops.parties import audit
from ispops.parties.models import Invitation, Subscriber, User

_SALT = "ispops.parties.invitation"


class InvitationOver(Refusal):
    code = "invitation_over"
    title = "This invitation is no longer open"
    status = 410


class AnotherLogin(Refusal):
    code = "another_login"
    title = "The invitation is for another e-mail address"


@transaction.atomic
def invite(*, subscriber: Subscriber, actor: User, at: datetime, reason: str = "") -> Invitation:
    """Invite the holder of an account to make its login. Publishes `invitation.made`.

    An invitation that was sent before ends by it. The letter is a notice, written by the event.
    """
    account = db.lock(Subscriber, subscriber.pk)
    before = Invitation.objects.filter(
        subscriber=account, accepted_at__isnull=True, withdrawn_at__isnull=True
    )
    again = before.update(withdrawn_at=at)
    made = Invitation.objects.create(
        subscriber=account,
        email=account.email,
        invited_by=actor,
        created_at=at,
        expires_at=at + settings.INVITATION_VALID_FOR,
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
    events.publish("invitation.made", subject=made.public_id, at=at)
    return made


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
