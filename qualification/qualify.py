"""The verb of figures 1 to 3: can this place be served, by whom, how fast, at what price, when?"""

from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber
from qualification import eligibility, locating, queries
from qualification.models import (
    CoverageArea,
    QualifiedOffer,
    ServiceQualification,
    WaitlistEntry,
)

State = ServiceQualification.State
_LONGEST_EMAIL = 254  # RFC 5321, and what the column holds.


class QualificationExpired(Refusal):
    code = "qualification_expired"
    title = "The answer has expired"


class OfferNotQualified(Refusal):
    code = "offer_not_qualified"
    title = "This cannot be delivered at this address"


@transaction.atomic
def qualify_address(
    *,
    text: str = "",
    premises_id: str | None = None,
    channel: str,
    asker: str = "",
    subscriber_kind: str = Subscriber.Kind.CONSUMER,
    at: datetime,
) -> ServiceQualification:
    """Answer what a place can have, and store the answer (figures 1 to 3; TM Forum TMF645).

    The place is the address in `text`, or the premises with the public id `premises_id`, as after
    picking one of several. All channels get the same answer; nothing is locked or reserved by it.
    An address that is on no list, but whose neighbours are covered, becomes a premises that is to
    be reviewed. `asker` is who may read the answer again; empty for a visitor.

    Raises:
        AddressUnparseable: the text is no usable address; says what is missing.
        InvalidInput: `channel` or `subscriber_kind` is unknown.
        NotFound: there is no premises with this id.
    """
    if subscriber_kind not in Subscriber.Kind.values:
        raise InvalidInput("Choose consumer or business.", field="subscriber_kind")
    if channel not in ServiceQualification.Channel.values:
        raise InvalidInput("This channel is not known.", field="channel")
    place = locating.by_id(premises_id) if premises_id else locating.by_text(text, at)
    premises = place.premises
    lines = queries.coverage_at(premises, premises.h3_res8, at) if premises else []
    offers = _judged(lines, subscriber_kind, at) if premises else []
    answer = ServiceQualification.objects.create(
        asked_text=str(premises) if premises_id else " ".join(text.split()),
        channel=channel,
        asker=asker,
        subscriber_kind=subscriber_kind,
        premises=premises,
        address=str(premises) if premises else "",
        state=_state(place, offers),
        confidence=place.confidence,
        remark=place.remark,
        candidates=[{"id": row.public_id, "address": str(row)} for row in place.candidates],
        asked_at=at,
        expires_at=at + settings.QUALIFICATION_VALID_FOR,
    )
    QualifiedOffer.objects.bulk_create(_row(answer, sold, offer) for sold, offer in offers)
    return answer


def require_live_offer(
    *, qualification: ServiceQualification, offering: ProductOffering, at: datetime
) -> QualifiedOffer:
    """Return the promise of an offering in an answer, if it still stands.

    Raises:
        QualificationExpired: the answer is too old; ask again.
        OfferNotQualified: the offering was refused in it, with the reason, or is not in it.
    """
    if at >= qualification.expires_at:
        raise QualificationExpired(
            f"This answer was good until {qualification.expires_at:%B %-d, %Y}. "
            "Check the address again.",
            field="qualification",
        )
    offer = qualification.offers.filter(offering=offering).first()
    if offer is None or not offer.eligible:
        reason = offer.reason if offer else "It was not sold when the address was checked."
        raise OfferNotQualified(
            f"{offering.name} cannot be delivered here. {reason} Choose another one.",
            field="offering",
            offering=offering.code,
            reason_code=offer.reason_code if offer else "not_in_answer",
        )
    return offer


@transaction.atomic
def join_waitlist(
    *, qualification: ServiceQualification, email: str, name: str = "", at: datetime
) -> WaitlistEntry:
    """Keep somebody's address for the day when service, or better service, comes to the place.

    Repeating it gives the entry that is there.

    Raises:
        InvalidInput: the e-mail address is none, or no place has been chosen yet.
    """
    email = email.strip().lower()
    if not _is_email(email):
        raise InvalidInput("Enter an e-mail address like name@example.com.", field="email")
    if qualification.state == State.CHOOSE:
        raise InvalidInput("Choose one of the addresses first.", field="qualification")
    if len(name) > 200 or not name.isprintable():
        raise InvalidInput("Enter a name of up to 200 characters.", field="name")
    premises = qualification.premises
    entry, _ = WaitlistEntry.objects.get_or_create(
        qualification=qualification,
        email=email,
        defaults={
            "name": name.strip(),
            "h3_res8": premises.h3_res8 if premises else "",
            "created_at": at,
        },
    )
    return entry


def _is_email(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return len(text) <= _LONGEST_EMAIL


def _judged(
    lines: list[CoverageArea], subscriber_kind: str, at: datetime
) -> list[tuple[SoldOffering, eligibility.Offer]]:
    sold = catalogue_at(at, settings.CURRENCY)
    products = [_product(entry) for entry in sold]
    offers = eligibility.judge([_line(row) for row in lines], subscriber_kind, products)
    return list(zip(sold, offers, strict=True))


def _state(place: locating.Place, offers: list[tuple[SoldOffering, eligibility.Offer]]) -> str:
    if place.candidates:
        return State.CHOOSE
    if place.premises is None:
        return State.OUT_OF_FOOTPRINT
    return eligibility.outcome(offer for _, offer in offers)


def _line(row: CoverageArea) -> eligibility.Line:
    return eligibility.Line(
        key=row.pk,
        provider=row.provider_id,
        provider_name=row.provider.name,
        technology=row.technology,
        technology_name=row.get_technology_display(),
        max_download_kbps=row.max_download_kbps,
        max_upload_kbps=row.max_upload_kbps,
        low_latency=row.low_latency,
        install_days=row.install_days,
        loop_length_m=row.loop_length_m,
        construction_fee=row.construction_fee,
        construction_days=row.construction_days,
        has_free_port=row.has_free_port,
    )


def _product(sold: SoldOffering) -> eligibility.Product:
    offering = sold.offering
    return eligibility.Product(
        key=offering.pk,
        name=offering.name,
        kind=offering.kind,
        has_price=sold.has_price,
        subscriber_kind=offering.subscriber_kind,
        provider=offering.provider_id,
        provider_name=offering.provider.name if offering.provider else "",
        technology=offering.technology,
        technology_name=offering.get_technology_display() if offering.technology else "",
        download_kbps=offering.download_kbps or 0,
        upload_kbps=offering.upload_kbps or 0,
        needs_download_kbps=offering.needs_download_kbps,
        needs_low_latency=offering.needs_low_latency,
        components=sold.components,
    )


def _row(
    answer: ServiceQualification, sold: SoldOffering, offer: eligibility.Offer
) -> QualifiedOffer:
    line, plan = offer.line, offer.plan
    return QualifiedOffer(
        qualification=answer,
        offering=sold.offering,
        provider_id=sold.offering.provider_id or (line.provider if line else None),
        coverage_id=line.key if line else None,
        offering_name=sold.offering.name,
        provider_name=_provider_name(sold, line),
        eligible=offer.eligible,
        reason_code=offer.reason_code,
        reason=offer.reason[:300],
        technology=plan.technology if plan else sold.offering.technology,
        download_kbps=plan.download_kbps if plan else sold.offering.download_kbps,
        upload_kbps=plan.upload_kbps if plan else sold.offering.upload_kbps,
        install_days=line.install_days + line.construction_days if line else None,
        currency=settings.CURRENCY,
        one_off_amount=sold.one_off_amount or Decimal(0),
        recurring_amount=sold.recurring_amount or Decimal(0),
        construction_fee=line.construction_fee if line else Decimal(0),
        usage_terms=sold.usage_terms[:300],
    )


def _provider_name(sold: SoldOffering, line: eligibility.Line | None) -> str:
    if sold.offering.provider:
        return sold.offering.provider.name
    return line.provider_name if line else ""
