"""What staff promise against the rules, with a reason: a new answer beside the one that refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from django.db import models, transaction

from ispops.catalog.models import ProductOffering
from ispops.catalog.queries import access_plan_of
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from qualification import queries
from qualification.eligibility import NOT_OF_THE_NETWORK, in_mbits
from qualification.models import QualifiedOffer, ServiceQualification
from qualification.qualify import QualificationExpired

M = TypeVar("M", bound=models.Model)
State = ServiceQualification.State
ANSWERED = frozenset({State.QUALIFIED, State.WITH_CONSTRUCTION, State.NOT_QUALIFIED, State.FAILED})
MOST_DAYS = 3_650
MOST_FEE = 10**7
MOST_LETTERS = 300


class CannotBeOverridden(Refusal):
    code = "cannot_be_overridden"
    title = "Nobody can promise this by hand"


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised of one refused offering; without speeds a plan has those that it is sold
    with. Only a plan has speeds, days and a fee."""

    code: str
    install_days: int = 0
    download_kbps: int | None = None
    upload_kbps: int | None = None
    construction_fee: Decimal = Decimal(0)


@transaction.atomic
def override_answer(
    *,
    qualification: ServiceQualification,
    promises: Sequence[Promise],
    actor: User,
    reason: str,
    at: datetime,
) -> ServiceQualification:
    """Promise what an answer refused, on the word of a member of staff (figure 3).

    The new answer holds all that the old one held, with the chosen offers eligible as promised; it
    expires when the old one would, because the prices are the old one's. It can be ordered from
    like any other. The old one stays as it is.

    Raises:
        InvalidInput: there is no reason, or a promise cannot be understood; names the field, with
            the code of the offering where it is about one: `install_days-fibre-500`.
        QualificationExpired: ask again first.
        CannotBeOverridden: the refusal is about who asks or what is sold, and not about a line.
    """
    reason = _checked_reason(reason)
    if at >= qualification.expires_at:
        raise QualificationExpired(
            "This answer has expired. Check the address again, and override the new one.",
            field="qualification",
        )
    if qualification.state not in ANSWERED:
        raise CannotBeOverridden(
            f"There is nothing to override yet: {qualification.get_state_display().lower()}."
        )
    if not promises:
        raise InvalidInput("Choose what is promised.", field="offering")
    old = list(qualification.offers.select_related("offering", "provider"))
    promised = _promised(old, promises)
    answer = _copy(
        qualification,
        channel=ServiceQualification.Channel.CSR,
        asker=qualification.asker or queries.asker_of(actor),
        state=_state(qualification, promised.values()),
        overrides=qualification,
        override_reason=reason,
        asked_at=at,
        settled_at=None,
    )
    answer.save(force_insert=True)
    rows = [promised.get(offer.offering_id) or _copy(offer) for offer in old]
    for row in rows:
        row.qualification = answer
    QualifiedOffer.objects.bulk_create(rows)
    audit.record(
        actor=actor,
        action="qualification.overridden",
        subject=answer.public_id,
        reason=reason,
        at=at,
        overrides=qualification.public_id,
        offerings=sorted(promise.code for promise in promises),
    )
    return answer


def can_be_promised(offer: QualifiedOffer) -> bool:
    """Say whether staff may promise an offer by hand: it was refused, and for want of a line."""
    return not offer.eligible and offer.reason_code not in NOT_OF_THE_NETWORK


def _checked_reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise InvalidInput("Say why, for whoever reads this later.", field="reason")
    if len(reason) > MOST_LETTERS or not reason.isprintable():
        raise InvalidInput(f"Write up to {MOST_LETTERS} plain characters.", field="reason")
    return reason


def _promised(
    offers: Iterable[QualifiedOffer], promises: Sequence[Promise]
) -> dict[int, QualifiedOffer]:
    """Return the new offers by their offering's key."""
    known = {offer.offering.code: offer for offer in offers}
    promised = {}
    for promise in promises:
        offer = known.get(promise.code)
        if offer is None:
            raise InvalidInput(f"The answer has no offering {promise.code}.", field="offering")
        if offer.eligible:
            raise InvalidInput(f"{offer.offering_name} is available already.", field="offering")
        if not can_be_promised(offer):
            raise CannotBeOverridden(
                f"{offer.offering_name} cannot be promised by hand. {offer.reason}",
                field="offering",
            )
        promised[offer.offering_id] = _kept(offer, promise)
    return promised


def _kept(offer: QualifiedOffer, promise: Promise) -> QualifiedOffer:
    row = _copy(
        offer,
        eligible=True,
        overridden=True,
        reason_code="",
        reason="",
        alternative=None,
        planned_date=None,
        confidence=ServiceQualification.Confidence.RED,
    )
    plan = access_plan_of(offer.offering)
    return _with_line(row, plan, promise) if plan else row


def _with_line(row: QualifiedOffer, plan: ProductOffering, promise: Promise) -> QualifiedOffer:
    """Write what is promised of the line under a plan, or under one that holds a plan."""
    download = _speed(promise, "download_kbps", plan)
    upload = _speed(promise, "upload_kbps", plan)
    if not 0 <= promise.install_days <= MOST_DAYS:
        raise _wrong(promise, "install_days", f"A line is ready in 0 to {MOST_DAYS:,} days.")
    if not promise.construction_fee.is_finite() or not 0 <= promise.construction_fee <= MOST_FEE:
        raise _wrong(promise, "construction_fee", f"The fee is from 0 to {MOST_FEE:,}.")
    if plan.provider and row.provider_id is None:
        row.provider, row.provider_name = plan.provider, plan.provider.name
    row.technology = plan.technology
    row.download_kbps, row.upload_kbps = download, upload
    row.install_days = promise.install_days
    row.construction_fee = promise.construction_fee
    return row


def _speed(promise: Promise, name: str, plan: ProductOffering) -> int:
    """Return what is promised; nobody is promised more than the plan is sold with."""
    sold: int = getattr(plan, name) or 0
    stated: int | None = getattr(promise, name)
    if stated is not None and not 0 < stated <= sold:
        raise _wrong(promise, name, f"The plan has up to {in_mbits(sold)}.")
    return sold if stated is None else stated


def _wrong(promise: Promise, name: str, words: str) -> InvalidInput:
    return InvalidInput(words, field=f"{name}-{promise.code}")


def _state(old: ServiceQualification, promised: Iterable[QualifiedOffer]) -> str:
    """Sum up the new answer by what was there and what is promised; nothing to build is better."""
    fees = [offer.construction_fee for offer in promised if offer.technology is not None]
    if old.state == State.QUALIFIED or not fees:
        return old.state
    return State.QUALIFIED if min(fees) == 0 else State.WITH_CONSTRUCTION


def _copy(row: M, **changes: object) -> M:
    """Return an unsaved row with the columns of another, but for its key and the changes."""
    columns = {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not field.primary_key and field.name not in changes
    }
    return type(row)(**columns, **changes)
