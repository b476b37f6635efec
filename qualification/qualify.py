"""The verb of figures 1 to 3: can this place be served, by whom, how fast, at what price, when?"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from ispops import bulk
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber
from ispops.periods import day_in_words
from qualification import inquiries, judging, locating
from qualification.models import QualifiedOffer, ServiceQualification

State = ServiceQualification.State


class QualificationExpired(Refusal):
    code = "qualification_expired"
    title = "The answer has expired"


class OfferNotQualified(Refusal):
    code = "offer_not_qualified"
    title = "This cannot be delivered at this address"


@transaction.atomic
def qualify_address(
    *,
    text: str | None = None,
    premises_id: str | None = None,
    location_id: str | None = None,
    latitude: Any = None,
    longitude: Any = None,
    as_written: bool = False,
    channel: str,
    asker: str = "",
    subscriber_kind: str = Subscriber.Kind.CONSUMER,
    at: datetime,
) -> ServiceQualification:
    """Answer what a place can have, and store the answer (figures 1 to 3; TM Forum TMF645).

    The place is named in exactly one way: the address in `text`; the premises with the public id
    `premises_id`, as after picking one of several; the place with `location_id`; or the point at
    `latitude` and `longitude`. All channels get the same answer; nothing is locked or reserved by
    it. An address that is on no list, but whose neighbours are covered, becomes a premises that is
    to be reviewed; `as_written` says that it is not a known one misspelt. `asker` is who may read
    the answer again; empty for a visitor.

    Where an off-net provider must be asked first, the answer is pending: it holds what can be
    ordered at once, and the rest is added when the last provider has answered or is given up on.

    Raises:
        AddressUnparseable: the text is no usable address; says what is missing.
        InvalidInput: `channel` or `subscriber_kind` is unknown, the place is named in no way or in
            several, or a coordinate cannot be used.
        NotFound: there is no place with this id.
    """
    if subscriber_kind not in Subscriber.Kind.values:
        raise InvalidInput("Choose consumer or business.", field="subscriber_kind")
    if channel not in ServiceQualification.Channel.values:
        raise InvalidInput("This channel is not known.", field="channel")
    place = locating.find(
        text=text, premises_id=premises_id, location_id=location_id, latitude=latitude,
        longitude=longitude, as_written=as_written, at=at,
    )  # fmt: skip
    return _answer(
        locating.store(place), channel=channel, asker=asker, subscriber_kind=subscriber_kind, at=at
    )


def require_live_offer(
    *,
    qualification: ServiceQualification,
    offering: ProductOffering,
    at: datetime,
    lifted: Collection[str] = (),
) -> QualifiedOffer:
    """Return the promise of an offering in an answer, if it still stands.

    `lifted` are codes of refusals that do not count for the asker: whoever has a line there needs
    no free port for it.

    Raises:
        QualificationExpired: the answer is too old; ask again.
        OfferNotQualified: the offering was refused in it, with the reason, or is not in it.
    """
    if at >= qualification.expires_at:
        raise QualificationExpired(
            f"This answer was good until {_last_day(qualification)}. Check the address again.",
            field="qualification",
        )
    offer = qualification.offers.filter(offering=offering).first()
    if offer is None or not (offer.eligible or offer.reason_code in lifted):
        reason = offer.reason if offer else "It was not sold when the address was checked."
        raise OfferNotQualified(
            f"{offering.name} cannot be delivered here. {reason} Choose another one.",
            field="offering",
            offering=offering.code,
            reason_code=offer.reason_code if offer else "not_in_answer",
        )
    return offer


def _answer(
    place: locating.Place, *, channel: str, asker: str, subscriber_kind: str, at: datetime
) -> ServiceQualification:
    """Judge a place by what is known of it at once, store the answer, and ask for the rest."""
    premises = place.premises
    known = inquiries.known_at(premises=premises, at=at) if premises else None
    judged = _judged(place, known, subscriber_kind, at)
    answer = ServiceQualification(
        asked_text=place.asked_text,
        channel=channel,
        asker=asker,
        subscriber_kind=subscriber_kind,
        premises=premises,
        address=str(premises) if premises else "",
        location_id=(premises.location_id or "") if premises else "",
        state=_state(place, known, judged),
        confidence=place.confidence,
        remark=place.remark,
        lines=judged.lines if judged else [],
        **place.columns,
        candidates=place.to_choose_from,
        asked_at=at,
        expires_at=at + settings.QUALIFICATION_VALID_FOR,
    )
    bulk.insert_models([answer])
    if judged and known:
        # A refusal that a provider's answer may still lift is stored when that has come.
        offers = judged.offers(answer)
        bulk.insert_models([row for row in offers if row.eligible or not known.to_ask])
        inquiries.open_inquiries(qualification=answer, known=known, at=at)
    return answer


def _judged(
    place: locating.Place, known: inquiries.Known | None, subscriber_kind: str, at: datetime
) -> judging.Judgement | None:
    """Judge what is known of the place that was found; None where there is not one."""
    if known is None:
        return None
    return judging.judge(
        known.facts, subscriber_kind=subscriber_kind, confidence=place.confidence, at=at
    )


def _state(
    place: locating.Place, known: inquiries.Known | None, judged: judging.Judgement | None
) -> str:
    if known and known.to_ask:
        return State.PENDING
    if judged:
        return judged.outcome
    return State.CHOOSE if place.candidates else State.OUT_OF_FOOTPRINT


def _last_day(qualification: ServiceQualification) -> str:
    return day_in_words(qualification.expires_at, zone=settings.BILLING_TIME_ZONE)
