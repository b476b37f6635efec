"""How providers are asked: the inquiry is the queue, a worker is only passing through.

A worker takes a lease on an inquiry and opens an attempt, calls the provider outside any
transaction, and records the outcome. A worker that comes back after its lease, or after the
inquiry was closed, changes nothing. Where a provider keeps failing, its breaker opens, and its
inquiries wait without being tried; each is given up on when its time is over.
"""

import logging
import time
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Least

from ispops import db, jobs
from ispops.breaker import HALF_OPEN, OPEN, Breaker
from ispops.errors import PermanentFault, TransientFault
from qualification import inquiries
from qualification.models import (
    InquiryAttempt,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
)
from qualification.providers.base import (
    Answer,
    QuestionLost,
    Waiting,
    WrongAddress,
)
from qualification.providers.registry import provider_of, question_of

log = logging.getLogger(__name__)
State = ProviderInquiry.State
Outcome = InquiryAttempt.Outcome
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)
# Longer than the call may take, for what is before and after it.
LEASE_BEYOND_TIMEOUT = timedelta(seconds=15)
_NO_ANSWER = "It did not answer in time."
_NOT_ASKED = "It is not asked any more."


def ask(*, inquiry_id: UUID, at: datetime) -> bool:
    """Go on with one inquiry, if it is due and its provider may be asked now.

    Raises:
        RuntimeError: called inside a transaction, which would be held open by the provider.
    """
    inquiry = _due(at).filter(pk=inquiry_id).first()
    return inquiry is not None and _go_on(inquiry, at)


def ask_next(*, at: datetime) -> bool:
    """Go on with the due inquiry that has waited longest; False when none can be gone on with."""
    return jobs.go_on_with_next(_due(at), lambda inquiry: _go_on(inquiry, at))


def _due(at: datetime) -> QuerySet[ProviderInquiry]:
    rows = ProviderInquiry.objects.filter(state=State.PENDING)
    rows = rows.select_related("connection__partner")
    return jobs.due(rows, at=at).order_by("next_attempt_at", "pk")


def _go_on(inquiry: ProviderInquiry, at: datetime) -> bool:
    """End an inquiry that needs no call, or make one; False when its provider is to be left."""
    if _take_kept(inquiry, at):
        return True
    if inquiry.give_up_at <= at:
        return _give_up(inquiry.pk, inquiry.last_error or _NO_ANSWER, at)
    if not (inquiry.connection.active and inquiry.connection.partner.active):
        return _give_up(inquiry.pk, _NOT_ASKED, at)
    attempt = _begin(inquiry.pk, at)
    if attempt is None:
        return False
    started = time.monotonic()
    outcome = _call(attempt.inquiry)
    _record(attempt, outcome, at + timedelta(seconds=time.monotonic() - started))
    return True


@transaction.atomic
def _give_up(inquiry_id: UUID, reason: str, at: datetime) -> bool:
    inquiry = inquiries.lock(inquiry_id)
    if not jobs.is_due(inquiry, at=at) or inquiry.state != State.PENDING:
        return False  # Somebody was quicker, or has just asked for another try.
    _end_lost_attempts(inquiry, at)
    inquiries.give_up(inquiry=inquiry, reason=reason, at=at)
    return True


@transaction.atomic
def _take_kept(inquiry: ProviderInquiry, at: datetime) -> bool:
    """Close the inquiry if the provider has told somebody else of the place meanwhile."""
    told = ProviderAnswer.objects.filter(
        connection=inquiry.connection_id,
        premises__qualifications=inquiry.qualification_id,
        expires_at__gt=at,
    )
    kept = told.order_by("-expires_at", "-pk").first()
    if kept is None:
        return False
    held = inquiries.lock(inquiry.pk)
    if held.state != State.PENDING:
        return False
    _end_lost_attempts(held, at)
    inquiries.take_kept(inquiry=held, kept=kept, at=at)
    return True


@transaction.atomic(durable=True)
def _begin(inquiry_id: UUID, at: datetime) -> InquiryAttempt | None:
    """Take the inquiry and open an attempt, if the provider may be asked now."""
    connection_id = ProviderInquiry.objects.values_list("connection_id", flat=True).get(
        pk=inquiry_id
    )
    connection = db.lock(ProviderConnection, connection_id)
    breaker = breaker_of(connection)
    if breaker.state(at) == OPEN:
        _postpone(connection, at)
        return None
    if _is_busy(connection, at):
        return None
    lease = timedelta(seconds=float(connection.timeout_seconds)) + LEASE_BEYOND_TIMEOUT
    rows = ProviderInquiry.objects.filter(pk=inquiry_id, state=State.PENDING)
    claimed = jobs.claim(rows.select_related("qualification__premises"), at=at, lease=lease)
    if not claimed:
        return None
    inquiry = claimed[0]
    inquiry.connection = connection
    if breaker.state(at) == HALF_OPEN:
        _keep_breaker(connection, breaker.probing(at + lease))
    _end_lost_attempts(inquiry, at)
    return InquiryAttempt.objects.create(inquiry=inquiry, number=inquiry.attempts, started_at=at)


def _is_busy(connection: ProviderConnection, at: datetime) -> bool:
    """Say whether this provider, or all of them together, are being asked enough at a time."""
    running = ProviderInquiry.objects.filter(state=State.PENDING, leased_until__gt=at)
    held = list(running.values_list("connection_id", flat=True))
    at_once = held.count(connection.pk)
    return at_once >= connection.at_once or len(held) >= settings.PROVIDER_CALLS_AT_ONCE


def _postpone(connection: ProviderConnection, at: datetime) -> None:
    """Let everything that is due wait until the pause is over, or its own time is."""
    waiting = ProviderInquiry.objects.filter(connection=connection, state=State.PENDING)
    jobs.due(waiting, at=at).update(
        next_attempt_at=Least(Value(connection.open_until), "give_up_at")
    )


def _call(inquiry: ProviderInquiry) -> Answer | Waiting | Exception:
    """Call the provider, which never ends otherwise than with something to record."""
    try:
        return provider_of(inquiry.connection).ask(question_of(inquiry))
    except (TransientFault, PermanentFault) as fault:
        return fault
    except OSError as fault:
        return TransientFault(f"Its folder cannot be used ({fault.strerror}).")
    except Exception:
        log.exception("asking %s failed", inquiry.connection)
        return TransientFault("The question could not be asked because of a fault of ours.")


@transaction.atomic
def _record(attempt: InquiryAttempt, outcome: Answer | Waiting | Exception, at: datetime) -> None:
    """Write what came of an attempt, unless somebody else has taken or closed the inquiry."""
    inquiry = inquiries.lock(attempt.inquiry_id)
    if inquiry.state != State.PENDING or inquiry.leased_until != attempt.inquiry.leased_until:
        log.warning("attempt %s of inquiry %s came too late", attempt.number, inquiry.pk)
        return
    inquiry.leased_until = None
    if isinstance(outcome, Exception):
        _record_fault(attempt, inquiry, outcome, at)
        return
    inquiry.connection.last_error = ""
    _keep_breaker(inquiry.connection, breaker_of(inquiry.connection).after_success())
    if isinstance(outcome, Answer):
        _end(attempt, Outcome.ANSWERED, "", at)
        inquiries.answer(inquiry=inquiry, told=outcome, at=at)
    else:
        _end(attempt, Outcome.WAITING, "", at)
        inquiry.reference = outcome.reference
        _try_later(inquiry, at)


def _record_fault(
    attempt: InquiryAttempt, inquiry: ProviderInquiry, fault: Exception, at: datetime
) -> None:
    reason = str(fault)[:300]
    _end(attempt, Outcome.FAILED, reason, at)
    inquiry.last_error = inquiry.connection.last_error = reason
    if isinstance(fault, QuestionLost):
        inquiry.reference = ""
    # A provider that refuses a question is there; one that mixes up addresses might as well not be.
    failed = isinstance(fault, TransientFault | WrongAddress)
    breaker = breaker_of(inquiry.connection)
    _keep_breaker(
        inquiry.connection, breaker.after_failure(at) if failed else breaker.after_success()
    )
    if isinstance(fault, PermanentFault):
        inquiries.give_up(inquiry=inquiry, reason=reason, at=at)
    else:
        _try_later(inquiry, at)


def _try_later(inquiry: ProviderInquiry, at: datetime) -> None:
    pause = jobs.backoff(inquiry.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
    inquiry.next_attempt_at = min(at + pause, inquiry.give_up_at)
    inquiry.save()


def _end(attempt: InquiryAttempt, outcome: str, detail: str, at: datetime) -> None:
    attempt.outcome, attempt.detail, attempt.ended_at = outcome, detail, at
    attempt.save(update_fields=["outcome", "detail", "ended_at"])


def _end_lost_attempts(inquiry: ProviderInquiry, at: datetime) -> None:
    open_ones = InquiryAttempt.objects.filter(inquiry=inquiry, ended_at__isnull=True)
    open_ones.update(outcome=Outcome.LOST, ended_at=at)


def breaker_of(connection: ProviderConnection) -> Breaker:
    return Breaker(
        failures=connection.failures,
        open_until=connection.open_until,
        threshold=connection.breaker_threshold,
        pause=timedelta(seconds=connection.breaker_pause_seconds),
    )


def _keep_breaker(connection: ProviderConnection, breaker: Breaker) -> None:
    connection.failures, connection.open_until = breaker.failures, breaker.open_until
    connection.save(update_fields=["failures", "open_until", "last_error"])
