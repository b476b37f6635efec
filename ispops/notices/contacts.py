"""By what a subscriber wants to be written to: e-mail always, SMS by consent.

A number is written to when somebody has entered the code that was sent to it.
"""

import hmac
import secrets
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.notices import kinds, notify, sms
from ispops.notices.models import ContactChoice, Notice
from ispops.parties import audit
from ispops.parties.models import Subscriber, User

CODE_DIGITS = 6
CODE_VALID_FOR = timedelta(minutes=15)
MOST_TRIES = 5
# Codes that an account may have sent, and that a number may be sent by all accounts, in a day; and
# how long to wait for the next.
MOST_CODES, CODES_COUNTED_FOR = 5, timedelta(days=1)
CODE_PAUSE = timedelta(minutes=1)


class TooManyCodes(Refusal):
    code = "too_many_codes"
    title = "Too many codes were sent"
    status = 429


class _Tried(Enum):
    RIGHT, WRONG, OVER = range(3)


@transaction.atomic
def agree_to_sms(
    *, subscriber: Subscriber, number: str, actor: User, at: datetime
) -> ContactChoice:
    """Send SMS to this number from when the code is entered that is sent to it now.

    Agreeing to a number that is confirmed changes nothing; to one that is not, sends another code.
    Who agreed, and when, is in the audit trail.

    Raises:
        InvalidInput: on `number`; it is no telephone number.
        TooManyCodes: on `number`; the account, or the number, was sent enough of them.
    """
    if len(number) > 40:
        raise InvalidInput("A telephone number is shorter.", field="number")
    asked = sms.e164(number, region=settings.PHONE_REGION, field="number")
    held = db.lock(Subscriber, subscriber.pk)
    known = ContactChoice.objects.filter(subscriber=held).first()
    if known is not None and known.sms_number == asked and known.confirmed_at is not None:
        return known
    _require_few_codes(held, asked, at)
    before = known.sms_number if known else ""
    row = known or ContactChoice(subscriber=held)
    if before != asked:
        row.sms_number, row.changed_at = asked, at
        _note(held, "contact.sms_agreed", before, asked, actor, at)
    _send_code(row, at)
    return row


@transaction.atomic
def refuse_sms(*, subscriber: Subscriber, actor: User, at: datetime) -> None:
    """Send no SMS any more, from the next notice on. Refusing twice is refusing once."""
    held = db.lock(Subscriber, subscriber.pk)
    row = ContactChoice.objects.filter(subscriber=held).first()
    if row is None or not row.sms_number:
        return
    before, row.sms_number, row.changed_at = row.sms_number, "", at
    row.confirmed_at, row.code_digest = None, ""
    row.save()
    _note(held, "contact.sms_refused", before, "", actor, at)


def confirm_sms(*, subscriber: Subscriber, code: str, actor: User, at: datetime) -> str:
    """Take the code that was sent to a number; SMS go there from now on. Returns the number.

    Raises:
        InvalidInput: on `code`; it is another, or too old, or was tried too often.
    """
    found, number = _try_code(subscriber, "".join(code.split()), actor, at)
    if found == _Tried.OVER:
        raise InvalidInput("This code cannot be used any more. Have another one sent.",
                           field="code")  # fmt: skip
    if found == _Tried.WRONG:
        raise InvalidInput("This is not the code that we sent last. Look at it again.",
                           field="code")  # fmt: skip
    return number


@transaction.atomic
def _try_code(subscriber: Subscriber, code: str, actor: User, at: datetime) -> tuple[_Tried, str]:
    """Compare a code, and count that it was tried: in a transaction of its own, which is kept."""
    held = db.lock(Subscriber, subscriber.pk)
    row = ContactChoice.objects.filter(subscriber=held).first()
    if row is not None and row.confirmed_at is not None:
        return _Tried.RIGHT, row.sms_number
    if row is None or not row.code_digest or row.code_sent_at is None:
        return _Tried.OVER, ""
    if row.code_tries >= MOST_TRIES or at >= row.code_sent_at + CODE_VALID_FOR:
        return _Tried.OVER, ""
    if not hmac.compare_digest(row.code_digest, _digest(row, code)):
        row.code_tries += 1
        row.save(update_fields=["code_tries"])
        return _Tried.WRONG, ""
    row.confirmed_at, row.code_digest = at, ""
    row.save()
    _note(held, "contact.sms_confirmed", row.sms_number, row.sms_number, actor, at)
    return _Tried.RIGHT, row.sms_number


def _require_few_codes(subscriber: Subscriber, number: str, at: datetime) -> None:
    """Have nobody's telephone ring again and again, nor ourselves pay for it."""
    sent = Notice.objects.filter(kind=kinds.NUMBER_CODE.code, created_at__gt=at - CODES_COUNTED_FOR)
    ours, there = sent.filter(subscriber=subscriber), sent.filter(address=number)
    if ours.filter(created_at__gt=at - CODE_PAUSE).exists():
        raise TooManyCodes("Wait a minute before you have another code sent.", field="number")
    if max(ours.count(), there.count()) >= MOST_CODES:
        raise TooManyCodes("Enough codes were sent for today. Please call us.", field="number")


def _send_code(row: ContactChoice, at: datetime) -> None:
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    row.confirmed_at, row.code_sent_at, row.code_tries = None, at, 0
    row.code_digest = _digest(row, code)
    row.save()
    notify.send_to_number(
        kind=kinds.NUMBER_CODE.code,
        subscriber=row.subscriber,
        number=row.sms_number,
        cause=f"code:{at.isoformat()}",
        at=at,
        code=code,
        minutes=str(int(CODE_VALID_FOR.total_seconds() // 60)),
    )


def _digest(row: ContactChoice, code: str) -> str:
    said = f"{row.subscriber_id}:{row.sms_number}:{code}"
    return salted_hmac("ispops.notices.contacts", said, algorithm="sha256").hexdigest()


def _note(
    subscriber: Subscriber, action: str, before: str, number: str, actor: User, at: datetime
) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=subscriber.public_id,
        subscriber=subscriber,
        at=at,
        before=before,
        number=number,
    )
