"""The moment in which an answer that waited for providers becomes final."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import connection

from ispops import events
from ispops.parties import webhooks
from ispops.parties.models import Partner
from qualification import judging
from qualification.judging import Fact, Judgement
from qualification.models import ProviderInquiry, QualifiedOffer, ServiceQualification

State = ServiceQualification.State
Confidence = ServiceQualification.Confidence
_LONGEST_REMARK = 300


def settle(*, qualification: ServiceQualification, at: datetime) -> ServiceQualification:
    """Judge the whole of what is known now, and store it: once, in the caller's transaction.

    What was promised while the answer was pending stands as it is; the rest is added. Prices are
    those of the moment of the question. A provider that was given up on counts with what its
    lists say, which nobody has confirmed. Publishes `qualification.settled`; a partner that asked
    is told by webhook. The row must be locked.

    Raises:
        RuntimeError: called outside a transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an answer is settled in the transaction that closes its last inquiry")
    inquiries = list(qualification.inquiries.select_related("connection__partner", "answer"))
    silent = [row for row in inquiries if row.state == ProviderInquiry.State.GIVEN_UP]
    unconfirmed = _unconfirmed(qualification, silent)
    judged = judging.judge(
        [*_certain(qualification, inquiries), *unconfirmed],
        subscriber_kind=qualification.subscriber_kind,
        confidence=qualification.confidence,
        at=qualification.asked_at,
    )
    offers = judged.offers(qualification)
    promised = set(qualification.offers.values_list("offering", flat=True))
    QualifiedOffer.objects.bulk_create(row for row in offers if row.offering_id not in promised)
    qualification.state = _state(judged, inquiries)
    qualification.confidence = _confidence(qualification.confidence, offers)
    qualification.remark = _remark(qualification, silent, unconfirmed)
    qualification.lines = judged.lines
    qualification.settled_at = at
    qualification.save(update_fields=["state", "confidence", "remark", "lines", "settled_at"])
    _tell(qualification, at)
    return qualification


def _certain(
    qualification: ServiceQualification, inquiries: Iterable[ProviderInquiry]
) -> list[Fact]:
    """Return what was known at once of the others, and what the providers said of themselves."""
    asked = {row.connection.partner_id for row in inquiries}
    known = [judging.fact_from_json(kept) for kept in qualification.lines]
    return [
        *(fact for fact in known if fact.line.provider not in asked),
        *(fact for row in inquiries if row.answer for fact in judging.facts_of(row.answer)),
    ]


def _unconfirmed(
    qualification: ServiceQualification, silent: Sequence[ProviderInquiry]
) -> list[Fact]:
    """Return what the lists say of the providers that did not answer, as not confirmed."""
    if not silent or qualification.premises is None:
        return []
    providers = {row.connection.partner_id for row in silent}
    listed = judging.known_facts(qualification.premises, at=qualification.asked_at)
    return [
        replace(fact, line=replace(fact.line, confidence=Confidence.RED))
        for fact in listed
        if fact.line.provider in providers
    ]


def _state(judged: Judgement, inquiries: Iterable[ProviderInquiry]) -> str:
    """Sum up; where nobody could be asked and no list says anything, nothing was found out."""
    if judged.outcome != State.NOT_QUALIFIED:
        return judged.outcome
    is_known = any(fact.line.max_download_kbps > 0 for fact in judged.facts)
    has_answered = any(row.answer_id for row in inquiries)
    return State.NOT_QUALIFIED if is_known or has_answered else State.FAILED


def _confidence(place: str, offers: Iterable[QualifiedOffer]) -> str:
    """Say how sure the answer is as a whole: as its place, unless no line in it is confirmed."""
    lines = {row.confidence for row in offers if row.eligible and row.technology is not None}
    return Confidence.RED if lines == {Confidence.RED} else place


def _remark(
    qualification: ServiceQualification,
    silent: Iterable[ProviderInquiry],
    unconfirmed: Iterable[Fact],
) -> str:
    """Say in words who did not answer, what that means, and what to do."""
    listed = {fact.line.provider for fact in unconfirmed if fact.line.max_download_kbps > 0}
    names: dict[bool, list[str]] = {True: [], False: []}
    for row in silent:
        names[row.connection.partner_id in listed].append(row.connection.partner.name)
    said = [qualification.remark]
    if names[True]:
        said.append(
            f"{_and(names[True])} did not confirm this address in time. "
            "We confirm it before we install anything."
        )
    if names[False] and qualification.state == State.FAILED:
        said.append(
            f"{_and(names[False])} did not answer, so we cannot say what there is here. "
            "Check the address again in a few minutes, or call us."
        )
    elif names[False]:
        said.append(
            f"{_and(names[False])} did not answer. Check the address again later to see what "
            "they have here."
        )
    return " ".join(filter(None, said))[:_LONGEST_REMARK]


def _and(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _tell(qualification: ServiceQualification, at: datetime) -> None:
    subject = qualification.public_id
    events.publish("qualification.settled", subject=subject, at=at, state=qualification.state)
    code = qualification.asker.removeprefix("partner_")
    if code == qualification.asker:
        return
    partner = Partner.objects.filter(code=code).first()
    if partner is not None:
        webhooks.queue_webhook(
            partner=partner,
            kind="qualification.settled",
            subject=subject,
            data={
                "state": qualification.state,
                "address": qualification.asked_text,
                "premises_id": qualification.premises.public_id if qualification.premises else None,
                "confidence": qualification.confidence,
                "remark": qualification.remark,
            },
            at=at,
        )
