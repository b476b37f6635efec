"""Which providers are asked about a place, and how each question ends.

An answer is pending while one of its inquiries is open; the last one that closes settles it, in
the same transaction. Locks are taken in the order: qualification, connection, inquiry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from ispops import db, jobs
from ispops.catalog.models import Technology
from ispops.errors import IllegalTransition
from ispops.parties import audit
from ispops.parties.models import Partner, User
from qualification import judging, queries, settling
from qualification.eligibility import Line
from qualification.judging import Fact
from qualification.models import (
    Premises,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    ServiceQualification,
)
from qualification.providers.base import Answer, Deliverable
from qualification.providers.registry import premises_of

State = ProviderInquiry.State
_SIBLINGS_WOKEN = 20


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a place at once, and of whom more is to be asked.

    `facts` are all that count now: a provider that can be asked is not taken at the word of its
    lists, but at its own, in `answers`.
    """

    facts: Sequence[Fact]
    answers: Sequence[ProviderAnswer] = ()
    to_ask: Sequence[ProviderConnection] = ()


def known_at(*, premises: Premises, at: datetime) -> Known:
    """Find out what is known of a place at once, from lists and from what providers said lately."""
    rows = queries.coverage_at(premises, premises.h3_res8, at)
    listed = [judging.fact(row) for row in rows]
    asked = queries.connections_asked(rows)
    answers = [told for row in asked if (told := fresh_answer(row, premises, at))]
    answered = {told.connection_id for told in answers}
    of_themselves = {row.partner_id for row in asked}
    return Known(
        facts=[
            *(fact for fact in listed if fact.line.provider not in of_themselves),
            *(fact for told in answers for fact in judging.facts_of(told)),
        ],
        answers=answers,
        to_ask=[row for row in asked if row.pk not in answered],
    )


def fresh_answer(
    connection: ProviderConnection, premises: Premises, at: datetime
) -> ProviderAnswer | None:
    """Return what a provider said of a place, if it may still be taken for true."""
    told = ProviderAnswer.objects.filter(connection=connection, premises=premises)
    return told.filter(expires_at__gt=at).order_by("-expires_at", "-pk").first()


def open_inquiries(*, qualification: ServiceQualification, known: Known, at: datetime) -> None:
    """Note whom an answer rests on, and ask the others once its transaction is committed."""
    from qualification.tasks import ask_provider

    rows = [
        ProviderInquiry(
            qualification=qualification,
            connection_id=told.connection_id,
            state=State.ANSWERED,
            answer=told,
            reference=told.reference,
            asked_at=at,
            give_up_at=at,
            closed_at=at,
        )
        for told in known.answers
    ]
    waiting = [
        ProviderInquiry(
            qualification=qualification,
            connection=row,
            asked_at=at,
            give_up_at=at + timedelta(seconds=row.give_up_after_seconds),
            next_attempt_at=at,
        )
        for row in known.to_ask
    ]
    if not (rows or waiting):
        return
    ProviderInquiry.objects.bulk_create([*rows, *waiting])
    for row in waiting:
        jobs.send_on_commit(ask_provider, inquiry_id=str(row.pk))


def lock(inquiry_id: UUID) -> ProviderInquiry:
    """Lock an inquiry with its qualification and its connection, which hang on it afterwards."""
    found = ProviderInquiry.objects.only("qualification_id", "connection_id").get(pk=inquiry_id)
    qualification = db.lock(ServiceQualification, found.qualification_id)
    connection = db.lock(ProviderConnection, found.connection_id)
    inquiry = db.lock(ProviderInquiry, inquiry_id)
    inquiry.qualification, inquiry.connection = qualification, connection
    return inquiry


def answer(*, inquiry: ProviderInquiry, told: Answer, at: datetime) -> ProviderAnswer:
    """Close a locked inquiry with what the provider said.

    Others who wait for the same provider and place are woken, since they need not ask any more.
    """
    kept = keep(inquiry=inquiry, told=told, at=at)
    inquiry.answer = kept
    _close(inquiry, State.ANSWERED, at)
    _wake_siblings(inquiry, at)
    return kept


def keep(*, inquiry: ProviderInquiry, told: Answer, at: datetime) -> ProviderAnswer:
    """Store what a provider said of a place, for this question and those that come."""
    connection = inquiry.connection
    expires_at = at + timedelta(seconds=connection.answer_valid_seconds)
    if told.valid_until is not None:
        expires_at = min(expires_at, told.valid_until)
    lines = [_line(line, connection.partner) for line in told.lines]
    return ProviderAnswer.objects.create(
        connection=connection,
        premises=premises_of(inquiry),
        serviceable=bool(lines),
        lines=[judging.line_as_json(line) for line in lines],
        reference=told.reference,
        reason=told.reason,
        received_at=at,
        expires_at=expires_at,
    )


def take_kept(*, inquiry: ProviderInquiry, kept: ProviderAnswer, at: datetime) -> None:
    """Close a locked inquiry with what the provider had said to another one meanwhile."""
    inquiry.answer = kept
    _close(inquiry, State.ANSWERED, at)


def give_up(*, inquiry: ProviderInquiry, reason: str, at: datetime) -> None:
    """Close a locked inquiry without an answer."""
    inquiry.last_error = reason[:300]
    _close(inquiry, State.GIVEN_UP, at)


@transaction.atomic
def ask_again(*, inquiry_id: UUID, actor: User, at: datetime, reason: str) -> ProviderInquiry:
    """Ask now, even where the provider is being left alone, and give it its whole time again.

    Raises:
        IllegalTransition: the inquiry is closed, or the provider is being asked at this moment.
    """
    from qualification.tasks import ask_provider

    inquiry = lock(inquiry_id)
    _require_open(inquiry)
    if inquiry.leased_until and inquiry.leased_until > at:
        raise IllegalTransition("It is being asked right now. Look again in some seconds.")
    connection = inquiry.connection
    inquiry.next_attempt_at = at
    inquiry.give_up_at = at + timedelta(seconds=connection.give_up_after_seconds)
    inquiry.save(update_fields=["next_attempt_at", "give_up_at"])
    if connection.open_until and connection.open_until > at:
        connection.open_until = at
        connection.save(update_fields=["open_until"])
    _note(inquiry, "inquiry.asked_again", actor, reason, at)
    jobs.send_on_commit(ask_provider, inquiry_id=str(inquiry.pk))
    return inquiry


@transaction.atomic
def give_up_now(*, inquiry_id: UUID, actor: User, at: datetime, reason: str) -> ProviderInquiry:
    """Wait no longer: the answer is settled without this provider, if no other is waited for.

    Raises:
        IllegalTransition: the inquiry is closed.
    """
    inquiry = lock(inquiry_id)
    _require_open(inquiry)
    _note(inquiry, "inquiry.given_up", actor, reason, at)
    give_up(inquiry=inquiry, reason=inquiry.last_error or "Given up by a member of staff.", at=at)
    return inquiry


def _require_open(inquiry: ProviderInquiry) -> None:
    if inquiry.state != State.PENDING:
        raise IllegalTransition(
            "This question is closed, and its answer stands. Check the address again to ask anew."
        )


def _close(inquiry: ProviderInquiry, state: str, at: datetime) -> None:
    inquiry.state, inquiry.closed_at = state, at
    inquiry.next_attempt_at = inquiry.leased_until = None
    inquiry.save()
    others = ProviderInquiry.objects.filter(qualification=inquiry.qualification_id)
    if not others.filter(state=State.PENDING).exists():
        settling.settle(qualification=inquiry.qualification, at=at)


def _wake_siblings(inquiry: ProviderInquiry, at: datetime) -> None:
    """Make due who asks the same; nobody else holds them, as the connection is locked."""
    from qualification.tasks import ask_provider

    same = ProviderInquiry.objects.filter(
        connection=inquiry.connection_id,
        qualification__premises=inquiry.qualification.premises_id,
        state=State.PENDING,
        next_attempt_at__gt=at,
    )
    woken = list(same.values_list("pk", flat=True)[:_SIBLINGS_WOKEN])
    ProviderInquiry.objects.filter(pk__in=woken).update(next_attempt_at=at)
    for key in woken:
        jobs.send_on_commit(ask_provider, inquiry_id=str(key))


def _line(told: Deliverable, partner: Partner) -> Line:
    return Line(
        key=0,
        provider=partner.pk,
        provider_name=partner.name,
        technology=told.technology,
        technology_name=str(Technology(told.technology).label),
        max_download_kbps=told.max_download_kbps,
        max_upload_kbps=told.max_upload_kbps,
        low_latency=told.low_latency,
        install_days=told.install_days,
        construction_fee=told.construction_fee,
        construction_days=told.construction_days,
    )


def _note(inquiry: ProviderInquiry, action: str, actor: User, reason: str, at: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=inquiry.public_id,
        reason=reason,
        at=at,
        provider=inquiry.connection.partner.code,
        qualification=inquiry.qualification.public_id,
    )
