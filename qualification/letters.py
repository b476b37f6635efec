"""Letters to those on the waitlist for whom service was found: one each.

Being found is written down before, in the transaction that found it. The letter is sent outside
any transaction, by the one worker that holds the lease; if that worker dies after sending and
before noting it, and only then, the letter goes out a second time, under the same Message-ID.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from ispops import db, jobs
from ispops.errors import IllegalTransition
from ispops.money import format_money
from ispops.parties import audit
from ispops.parties.models import User
from ispops.periods import day_in_words
from qualification import queries, waitlist
from qualification.eligibility import in_mbits
from qualification.models import QualifiedOffer, WaitlistEntry

log = logging.getLogger(__name__)
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
# After the last one, which comes within two days, a person has to look.
MOST_ATTEMPTS = 12


def send_next(*, at: datetime) -> bool:
    """Write to the next person for whom service was found; False when there is nobody, or when the
    mail server is away: then nobody else is tried before the next sweep.

    Where what was found is gone by now, because the import was rolled back or the answer has
    expired, nothing is sent and the place is looked at again. A letter that cannot be sent is
    tried again with growing pauses; then it waits for a person, with the reason.
    """
    taken = jobs.claim(WaitlistEntry.objects.found(), at=at, lease=settings.TASK_LEASE)
    if not taken:
        return False
    entry = taken[0]
    # Whoever took the row after the lease had run out has another lease.
    mine = WaitlistEntry.objects.found().filter(pk=entry.pk, leased_until=entry.leased_until)
    plan = _standing_plan(entry, at)
    if plan is None:
        mine.update(found=None, called_at=at, next_attempt_at=at, leased_until=None, attempts=0)
        return True
    try:
        letter(entry, plan).send()
    except Exception as fault:
        log.exception("the letter to waitlist entry %s was not sent", entry.pk)
        is_last = entry.attempts >= MOST_ATTEMPTS
        pause = jobs.backoff(entry.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        mine.update(
            next_attempt_at=None if is_last else at + pause,
            leased_until=None,
            last_error=f"{type(fault).__name__}: {fault}"[:300],
        )
        return not isinstance(fault, OSError)
    else:
        mine.update(notified_at=at, next_attempt_at=None, leased_until=None, last_error="")
    return True


@transaction.atomic
def send_again(*, entry_id: int, actor: User, at: datetime) -> WaitlistEntry:
    """Take up a letter that was given up on, or one that waits for its next attempt.

    Raises:
        IllegalTransition: nothing was found for them yet, or they were told, or have left.
    """
    entry = db.lock(WaitlistEntry, entry_id)
    if entry.state != "found":
        raise IllegalTransition("There is no letter to send for this entry.")
    entry.next_attempt_at, entry.attempts = at, 0
    entry.save(update_fields=["next_attempt_at", "attempts"])
    subject = entry.qualification.public_id
    audit.record(actor=actor, action="waitlist.letter_retried", subject=subject, at=at)
    waitlist.send_letter()
    return entry


def letter(entry: WaitlistEntry, plan: QualifiedOffer) -> EmailMessage:
    """Write the letter to somebody for whom a plan was found.

    It does not greet by name: whoever joined may have written anything there, for somebody else
    to read. Its headers let a mail program offer to leave the list (RFC 8058).
    """
    answer = entry.found
    if answer is None:
        raise ValueError(f"nothing was found for waitlist entry {entry.pk}")
    base = settings.BASE_URL.rstrip("/")
    leave_url = base + reverse("portal:leave_waitlist", args=[waitlist.leave_token(entry)])
    place = " ".join(str(answer.premises or answer.asked_text).split())
    context = {
        "place": place,
        "was_served": queries.best_plan(entry.qualification) is not None,
        "plan": plan,
        "download": in_mbits(plan.download_kbps or 0),
        "upload": in_mbits(plan.upload_kbps or 0),
        "monthly": format_money(plan.recurring_amount, plan.currency),
        "setup": plan.one_off_amount and format_money(plan.one_off_amount, plan.currency),
        "construction": plan.construction_fee
        and format_money(plan.construction_fee, plan.currency),
        "answer_url": base + reverse("portal:answer", args=[answer.public_id]),
        "valid_until": day_in_words(answer.expires_at, zone=settings.BILLING_TIME_ZONE),
        "leave_url": leave_url,
        "isp": settings.ISP_NAME,
        "phone": settings.SUPPORT_PHONE,
    }
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    return EmailMessage(
        subject=f"Good news for {place}"[:200],
        body=render_to_string("qualification/mail/service_found.txt", context),
        to=[entry.email],
        headers={
            "Message-ID": f"<waitlist-{entry.pk}-{answer.public_id}@{domain}>",
            "List-Unsubscribe": f"<{leave_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
    )


def _standing_plan(entry: WaitlistEntry, at: datetime) -> QualifiedOffer | None:
    """Return the best plan that was found, if what it rests on is still there."""
    answer = entry.found
    if answer is None or answer.expires_at <= at:
        return None
    plan = queries.best_plan(answer)
    if plan is None:
        return None
    ended = plan.coverage and plan.coverage.valid_to and plan.coverage.valid_to <= at
    return None if ended else plan
