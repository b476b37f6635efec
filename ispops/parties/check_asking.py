"""Asking checkers outside: by workers, in no transaction, each person until there is an answer.

A checker that does not answer is asked again with growing pauses; one that fails several times in a
row is left alone for a while. Whom it has not looked into in `CHECK_ANSWERED_WITHIN`, and whom it
refers or will not be asked about, staff look into: nobody waits for ever.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from ispops import db, jobs
from ispops.breaker import HALF_OPEN, OPEN, Breaker
from ispops.errors import OutsideFault, PermanentFault, TransientFault
from ispops.masking import MASK, mask, mask_text
from ispops.parties import checks
from ispops.parties.gateways import check_registry
from ispops.parties.gateways.checks import Answer, Checker, Question, Verdict
from ispops.parties.models import CheckInquiry, CheckProvider, SubscriberCheck

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
MOST_ATTEMPTS = 8
# So many failures in a row open the breaker, for so long each time; and how many ask at a time.
BREAKER_THRESHOLD, BREAKER_PAUSE = 5, timedelta(minutes=1)
AT_ONCE = 2
# Of an answer, what is kept in clear.
_KEPT = {"verdict", "reason", "reference", "id"}
State, Outcome = SubscriberCheck.State, CheckInquiry.Outcome


def ask_next(*, kind: str, at: datetime) -> bool:
    """Ask about the person who has been due longest; False when there is none for this worker.

    Raises:
        RuntimeError: called inside a transaction, which would be held open by the checker.
    """
    row = _claim(kind, at)
    if row is None:
        return False
    started = time.monotonic()
    checker = check_registry.checker_of(kind)
    found = _ask(checker, row) if checker else PermanentFault("No checker is set any more.")
    ended_at = at + timedelta(seconds=time.monotonic() - started)
    _record(row, found, asked_at=at, ended_at=ended_at)
    return True


def _ask(checker: Checker, row: SubscriberCheck) -> Answer | Exception:
    holder = row.subscriber
    question = Question(
        check_id=row.public_id, kind=row.kind, name=holder.name, email=holder.email,
        phone=holder.phone, account_kind=holder.kind,
    )  # fmt: skip
    try:
        if row.attempts > MOST_ATTEMPTS:
            raise PermanentFault("Every worker that asked was lost.")
        return checker.ask(question)
    except Exception as fault:
        if not isinstance(fault, OutsideFault):
            log.exception("check %s could not be asked", row.public_id)
        return fault


@transaction.atomic(durable=True)
def _claim(kind: str, at: datetime) -> SubscriberCheck | None:
    """Take the next person, unless the checker is left alone or enough workers ask it."""
    provider = _lock_provider(kind)
    waiting = SubscriberCheck.objects.filter(kind=kind, state=State.ASKING)
    breaker = _breaker(provider)
    if breaker.state(at) == OPEN:
        _give_up_overdue(waiting, provider, at)
        return None
    # After a failure one goes ahead, so that not all workers hang with it.
    most = 1 if provider.failures else AT_ONCE
    if waiting.filter(leased_until__gt=at).count() >= most:
        return None
    taken = jobs.claim(
        waiting.select_related("subscriber"), at=at, lease=settings.TASK_LEASE, limit=1
    )
    if taken and breaker.state(at) == HALF_OPEN:
        provider.open_until = breaker.probing(at + settings.TASK_LEASE).open_until
        provider.save(update_fields=["open_until"])
    return taken[0] if taken else None


def _lock_provider(kind: str) -> CheckProvider:
    found, _ = CheckProvider.objects.get_or_create(kind=kind)
    return db.lock(CheckProvider, found.pk)


def _breaker(provider: CheckProvider) -> Breaker:
    return Breaker(
        failures=provider.failures,
        open_until=provider.open_until,
        threshold=BREAKER_THRESHOLD,
        pause=BREAKER_PAUSE,
    )


def _give_up_overdue(waiting: Any, provider: CheckProvider, at: datetime) -> None:
    """Leave those to staff who have waited long enough for a checker that is left alone."""
    late = waiting.filter(asked_at__lte=at - settings.CHECK_ANSWERED_WITHIN)
    free = late.exclude(leased_until__gt=at).select_for_update(skip_locked=True, of=("self",))
    for row in free.order_by("pk"):
        _refer(row, f"The checker cannot be reached: {provider.last_error}")


@transaction.atomic
def _record(
    row: SubscriberCheck, found: Answer | Exception, *, asked_at: datetime, ended_at: datetime
) -> None:
    """Write what came of asking, unless somebody else has taken or decided the check meanwhile."""
    provider = _lock_provider(row.kind)
    _note_health(provider, found, ended_at)
    rows = SubscriberCheck.objects.select_for_update(of=("self",)).select_related("subscriber")
    mine = rows.filter(pk=row.pk, state=State.ASKING, leased_until=row.leased_until).first()
    if mine is None:
        log.warning("an answer about %s came too late", row.public_id)
        return
    if isinstance(found, Answer):
        outcome, detail = _take_answer(mine, found, ended_at)
    else:
        outcome, detail = _take_fault(mine, found, ended_at)
    private = _private(mine)
    CheckInquiry.objects.create(
        subscriber_check=mine,
        asked_at=asked_at,
        ended_at=ended_at,
        outcome=outcome,
        detail=detail[:300],
        request=_without_person(mask(getattr(found, "request", None)), private, kept=None),
        reply=_without_person(mask(getattr(found, "reply", None)), private, kept=_KEPT),
    )


def _take_answer(row: SubscriberCheck, answer: Answer, at: datetime) -> tuple[str, str]:
    words = _mask_words(mask_text(answer.reason), _private(row))
    row.reference = answer.reference
    match answer.verdict:
        case Verdict.PASS:
            words = words or "The checker found nothing against it."
            checks.write_verdict(row, passed=True, reason=words, actor=None, at=at)
            return Outcome.PASSED, words
        case Verdict.REFUSE:
            words = words or "The checker gave no reason."
            checks.write_verdict(row, passed=False, reason=words, actor=None, at=at)
            return Outcome.REFUSED, words
    words = words or "The checker gave no reason."
    _refer(row, f"The checker is not sure: {words}")
    return Outcome.REFERRED, words


def _take_fault(row: SubscriberCheck, fault: Exception, at: datetime) -> tuple[str, str]:
    words = mask_text(str(fault) or type(fault).__name__)
    is_over = row.attempts >= MOST_ATTEMPTS or at >= row.asked_at + settings.CHECK_ANSWERED_WITHIN
    if isinstance(fault, TransientFault) and not is_over:
        pause = jobs.backoff(row.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        row.next_attempt_at, row.leased_until = at + pause, None
        row.save(update_fields=["next_attempt_at", "leased_until"])
        return Outcome.RETRY, words
    _refer(row, f"The checker cannot be asked: {words}")
    return Outcome.PARKED, words


def _refer(row: SubscriberCheck, why: str) -> None:
    """Leave a locked check to staff."""
    row.state, row.referral = State.PENDING, why[:300]
    row.next_attempt_at = row.leased_until = None
    row.save()


def _note_health(provider: CheckProvider, found: Answer | Exception, at: datetime) -> None:
    """Open the breaker by failures in a row; a checker that refuses to be asked is there."""
    breaker = _breaker(provider)
    if isinstance(found, TransientFault):
        breaker = breaker.after_failure(at)
        provider.last_error = mask_text(str(found))[:300]
    else:
        breaker = breaker.after_success()
        provider.last_error = ""
    provider.failures, provider.open_until = breaker.failures, breaker.open_until
    provider.save()


def _private(row: SubscriberCheck) -> Sequence[str]:
    """What must not be kept of a conversation about somebody, the longest first."""
    holder = row.subscriber
    told = [holder.name, holder.email, holder.phone, *holder.name.split()]
    return sorted({word for word in told if len(word) > 1}, key=len, reverse=True)


def _without_person(said: Any, private: Sequence[str], *, kept: set[str] | None) -> Any:
    """Return what was said without whom it is about.

    Of what a checker says, only the fields of `kept` stay in clear: the others may tell anything
    of anybody.
    """
    if not isinstance(said, dict):
        return said
    body = said.get("body", said)
    shown: Any = MASK if body else body
    if isinstance(body, dict):
        shown = {
            name: _mask_words(value, private)
            if isinstance(value, str) and (kept is None or name in kept)
            else MASK
            for name, value in body.items()
        }
    return {"status": said["status"], "body": shown} if "body" in said else shown


def _mask_words(text: str, private: Sequence[str]) -> str:
    for word in private:
        start = 0
        while (found := text.lower().find(word.lower(), start)) >= 0:
            text = text[:found] + MASK + text[found + len(word) :]
            start = found + len(MASK)
    return text
