"""What is written when something happened to an account; registered when Django starts."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from ispops import events
from ispops.notices import kinds, notify
from ispops.parties import invitations
from ispops.parties.models import Invitation
from ispops.periods import day_in_words


@events.on("invitation.made", name="notices.write_invitation")
def write_invitation(event: Any) -> None:
    """Whoever was invited gets the link, unless it was used or withdrawn meanwhile."""
    key = Invitation.key_of(event.subject)
    row = Invitation.objects.select_related("subscriber").filter(pk=key).first() if key else None
    if row is None or row.state_at(event.occurred_at) != "open":
        return
    link = reverse("portal:invitation", args=[invitations.token_of(row)])
    notify.send(
        kind=kinds.INVITATION.code,
        subscriber=row.subscriber,
        cause=row.public_id,
        at=event.occurred_at,
        invitation_url=settings.BASE_URL.rstrip("/") + link,
        valid_until=day_in_words(row.expires_at, zone=settings.BILLING_TIME_ZONE),
    )
