"""By what a subscriber wants to be written to: e-mail always, SMS by consent."""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput
from ispops.notices import sms
from ispops.notices.models import ContactChoice
from ispops.parties import audit
from ispops.parties.models import Subscriber, User


@transaction.atomic
def agree_to_sms(*, subscriber: Subscriber, number: str, actor: User, at: datetime) -> str:
    """Send SMS to this number from now on; returns it in its international form.

    Agreeing to what is agreed to changes nothing. Who agreed, and when, is in the audit trail.

    Raises:
        InvalidInput: on `number`; it is no telephone number.
    """
    if len(number) > 40:
        raise InvalidInput("A telephone number is shorter.", field="number")
    asked = sms.e164(number, region=settings.PHONE_REGION, field="number")
    _set(subscriber, asked, action="contact.sms_agreed", actor=actor, at=at)
    return asked


@transaction.atomic
def refuse_sms(*, subscriber: Subscriber, actor: User, at: datetime) -> None:
    """Send no SMS any more, from the next notice on. Refusing twice is refusing once."""
    _set(subscriber, "", action="contact.sms_refused", actor=actor, at=at)


def _set(subscriber: Subscriber, number: str, *, action: str, actor: User, at: datetime) -> None:
    held = db.lock(Subscriber, subscriber.pk)
    known = ContactChoice.objects.filter(subscriber=held).first()
    before = known.sms_number if known else ""
    if before == number:
        return
    ContactChoice.objects.update_or_create(
        subscriber=held, defaults={"sms_number": number, "changed_at": at}
    )
    audit.record(
        actor=actor,
        action=action,
        subject=held.public_id,
        subscriber=held,
        at=at,
        before=before,
        number=number,
    )
