"""Reservations: an amount is held for a partner, used in parts, and the rest released.

A partner may hold what the subscriber's standing consent leaves, for so long as it says. What is
held and what is spent never pass the spending limit or the consent: whoever holds more holds the
account, and the database adds it up again. A reservation whose time is over holds nothing; no sweep
is needed for that.
"""

import hashlib
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.money import format_money, from_micros, to_micros
from ispops.parties import audit
from ispops.parties.models import Partner, Subscriber, User
from rating import accrual, charges, holding, probing, purchases, spending
from rating.models import Charge, Reservation, ReservationUse, StandingConsent
from rating.sharing import Totals, take_step, tax_of
from rating.standing import end_of_month, month_of
from rating.tariff import Parties, Rate, Tariff

T = TypeVar("T")
LONGEST = timedelta(days=7)


class NotConsented(Refusal):
    code = "not_consented"
    title = "The subscriber has not agreed to that"


class ReservationOver(Refusal):
    code = "reservation_over"
    title = "The reservation holds nothing any more"


class MoreThanHeld(Refusal):
    code = "more_than_held"
    title = "More would be used than is held"


class ReservationKeyReused(Refusal):
    code = "reservation_key_reused"
    title = "The key was used for something else"


@transaction.atomic
def hold(
    *,
    partner: Partner,
    subscriber_ref: str,
    offering_code: str,
    held_until: datetime,
    idempotency_key: str,
    at: datetime,
    net: Decimal | None = None,
    units: int | None = None,
) -> Reservation:
    """Hold an amount before tax, or the price of some units of an own product, until a moment.

    The same key again returns the first reservation. Nothing is held beyond the calendar month,
    because what a standing consent covers is counted by months.

    Raises:
        InvalidInput: a value is none that can be used, or it is a subscription; names the field.
        OfferingWithdrawn: it is not sold at `at`.
        OfferingNotCarried: it is not for this kind of account.
        NotConsented: no standing consent of the subscriber covers it, or the account cannot buy.
        SpendingLimitReached: it would pass the spending limit; how much is left is not told.
        PrepaidBalanceTooLow: the account pays ahead, and too little is paid in.
        RefusedTooOften: that was tried often enough for the hour.
        ReservationKeyReused: the key belongs to a reservation of something else.
    """
    _key(idempotency_key)
    account = _account(partner, subscriber_ref)
    period, month = accrual.period_at(account, at), month_of(at)
    stands = holding.stands(account, partner, offering_code, idempotency_key, month, period, at)
    offering = _product(stands)
    if stands.first is not None:
        return _held_before(stands.first, account, offering, net, units)
    if not at < held_until <= at + LONGEST:
        raise InvalidInput("Give a moment within the next seven days.", field="held_until")
    _require_sold(offering, account, at)
    tariff = Tariff.of([offering.pk], stands.revision)
    wanted, unit_net, amount = _amounts(tariff, offering, account, net, units, at)
    standing = _require_consent(account, stands, amount)
    probing.require_patience(partner.pk, account.pk, at)
    _require_room(account, partner, amount, at, stands)
    made = Reservation(
        subscriber=account, partner=partner, offering=offering, standing=standing,
        idempotency_key=idempotency_key, currency=account.currency,
        net=wanted, amount=amount, units=units, unit_net=unit_net,
        period_start=period.start, period_end=period.end, month_start=month,
        held_at=at, held_until=min(held_until, end_of_month(at)),
    )  # fmt: skip
    return holding.keep(made)


def _held_before(
    first: Reservation,
    account: Subscriber,
    offering: ProductOffering,
    net: Decimal | None,
    units: int | None,
) -> Reservation:
    same = (first.subscriber_id, first.offering_id) == (account.pk, offering.pk)
    if not same or first.units != units or (net is not None and first.net != net):
        raise ReservationKeyReused("Use a new key.", field="idempotency_key")
    first.offering = offering
    return first


@transaction.atomic
def use(
    *,
    reservation_id: UUID,
    partner: Partner,
    idempotency_key: str,
    at: datetime,
    net: Decimal | None = None,
    units: int | None = None,
    is_last: bool = False,
) -> ReservationUse:
    """Use a part of what is held, which is charged at once; the last part releases the rest.

    The account is held before the reservation, as by whoever buys, holds or withdraws a consent.

    By neither `net` nor `units` it is all that is left. The same key again returns the first use.

    Raises:
        NotFound: the partner has no such reservation.
        InvalidInput: the amount, the units or the key make no sense.
        NotConsented: the consent that it is by was withdrawn, or the account cannot buy any more.
        ReservationOver: it was released, or its time is over.
        MoreThanHeld: less than that is left of it.
        ReservationKeyReused: the key belongs to the use of another part.
    """
    _key(idempotency_key)
    account = _found(holding.lock_owner(reservation_id, partner))
    held, first, revision = _found(
        holding.hold_held(reservation_id, partner, idempotency_key, account)
    )
    left = held.net - held.used_net
    part = left if net is None and units is None else _wanted(net, units, held.unit_net)
    if first is not None:
        if (net is not None or units is not None) and first.net != part:
            raise ReservationKeyReused("Use a new key.", field="idempotency_key")
        return first
    _require_still_consented(held)
    if held.released_at is not None or held.held_until <= at:
        raise ReservationOver("It was released, or its time is over. Hold it anew.")
    if part > left or part <= 0:
        raise MoreThanHeld(
            f"Of this reservation {format_money(left, held.currency)} before tax are left.",
            field="units" if units is not None else "net",
        )
    charge = _charge(held, part, idempotency_key, at, Tariff.of([held.offering_id], revision))
    held.used_net += part
    held.used_amount += charge.amount_net + charge.amount_tax
    if is_last or held.used_net == held.net:
        held.released_at = at
    made = ReservationUse(reservation=held, idempotency_key=idempotency_key, net=part, used_at=at)
    holding.keep_use(charge, made)
    events.publish("reservation.used", subject=held.public_id, at=at, charge=charge.public_id)
    return made


@transaction.atomic
def release(
    *,
    reservation_id: UUID,
    at: datetime,
    partner: Partner | None = None,
    actor: User | None = None,
    reason: str = "",
) -> Reservation:
    """Release what is held and not used: by its partner, or by staff. Again, it changes nothing.

    Raises:
        NotFound: the partner has no such reservation.
    """
    held = _hold_own(reservation_id, partner)
    if held.released_at is None:
        held.released_at = at
        held.save(update_fields=["released_at"])
        if actor is not None:
            audit.record(
                actor=actor,
                action="reservation.released",
                subject=held.public_id,
                subscriber=held.subscriber,
                reason=reason,
                at=at,
            )
    return held


def _charge(held: Reservation, part: Decimal, key: str, at: datetime, tariff: Tariff) -> Charge:
    """Return the charge for a part, not saved: the step between two running totals, so that the
    parts sum exactly."""
    rate = _rate(tariff, held.offering_id, held.currency, held.held_at)
    parties = _parties(tariff, held.offering_id, rate, held.held_at)
    before, after = to_micros(held.used_net), to_micros(held.used_net + part)
    counted = ""
    if held.unit_net:
        counted = (
            f"{after // to_micros(held.unit_net) - before // to_micros(held.unit_net)} units, "
        )
    total = format_money(held.net, held.currency)
    why = {
        "rule": "reservation",
        "arithmetic": f"{counted}{format_money(part, held.currency)} of {total} that were held",
    }
    return charges.draft(
        subscriber=held.subscriber,
        offering_id=held.offering_id,
        kind=Charge.Kind.ONE_OFF,
        cause=f"reservation:{held.public_id}:{hashlib.sha256(key.encode()).hexdigest()[:24]}",
        priced=take_step(_totals(before), _totals(after), parties.terms, why),
        parties=parties,
        period_start=at,
        at=at,
        price=rate.price if rate and held.unit_net else None,
    )


def _totals(net: int) -> Totals:
    return Totals(net, net, part=1 if net else 0)


def _amounts(
    tariff: Tariff,
    offering: ProductOffering,
    account: Subscriber,
    net: Decimal | None,
    units: int | None,
    at: datetime,
) -> tuple[Decimal, Decimal | None, Decimal]:
    """Return what is meant before tax, of units also the price of one, and the sum with tax."""
    rate = _rate(tariff, offering.pk, account.currency, at)
    unit_net = _unit_net(rate) if units is not None else None
    wanted = _wanted(net, units, unit_net)
    terms = _parties(tariff, offering.pk, rate, at).terms
    return wanted, unit_net, wanted + from_micros(tax_of(to_micros(wanted), terms.tax_milli))


def _rate(tariff: Tariff, offering_id: int, currency: str, at: datetime) -> Rate | None:
    charge = OfferingPrice.Charge.ONE_OFF
    return tariff.rate(offering_id, charge, at, currency, bundle_id=None)


def _parties(tariff: Tariff, offering_id: int, rate: Rate | None, at: datetime) -> Parties:
    """Return the tax and the shares: taxed as its one-off price is, where it has one."""
    return tariff.parties(offering_id, at, rate.price.tax_category if rate else "")


def _require_sold(offering: ProductOffering, account: Subscriber, at: datetime) -> None:
    purchases.require_sold(offering, at)
    if offering.is_subscription:
        raise InvalidInput("Ask for the purchase of a subscription instead.", field="offering")
    if offering.subscriber_kind not in ("", account.kind):
        raise purchases.OfferingNotCarried(
            "It is not sold to this kind of account.", field="offering"
        )


def _require_room(
    account: Subscriber, partner: Partner, amount: Decimal, at: datetime, stands: holding.Stands
) -> None:
    """Refuse what the account has no room for; what is spent elsewhere is not the partner's."""
    try:
        spending.require_room(account, amount, at, counted=stands.counted)
    except spending.SpendingLimitReached as refused:
        probing.note_refusal(partner.pk, account.pk, at)
        raise type(refused)(refused.to_partners, field="offering") from None


def _require_still_consented(held: Reservation) -> None:
    if held.subscriber.standing != Subscriber.Standing.GOOD:
        raise NotConsented("This subscriber cannot buy at the moment.")
    if held.standing.ended_at is not None:
        raise NotConsented("The subscriber has withdrawn the consent. Ask for a purchase.")


def _require_consent(
    account: Subscriber, stands: holding.Stands, amount: Decimal
) -> StandingConsent:
    """Return the consent that covers an amount. Whoever ends one holds the account, and the
    database holds the consent and adds it up again."""
    if account.standing != Subscriber.Standing.GOOD:
        raise NotConsented("This subscriber cannot buy at the moment.")
    if stands.standing is None or stands.left_of_month < amount:
        raise NotConsented(
            "The subscriber lets you charge nothing, or not so much, unasked. Ask for a purchase.",
            field="net",
        )
    return stands.standing


def _unit_net(rate: Rate | None) -> Decimal:
    if rate is None or not rate.amount:
        raise InvalidInput("It has no price for one of them. Give an amount.", field="units")
    return from_micros(rate.amount)


def _wanted(net: Decimal | None, units: int | None, unit_net: Decimal | None) -> Decimal:
    """Return the amount before tax that is meant."""
    if net is not None and units is not None:
        raise InvalidInput("Give an amount or units, and not both.", field="net")
    if units is not None:
        if not 0 < units <= 1_000_000 or unit_net is None:
            raise InvalidInput("Give units above zero, of what is held by units.", field="units")
        return unit_net * units
    if net is None or not net.is_finite() or not 0 < net < Decimal(10) ** 9 or net != round(net, 6):
        raise InvalidInput("Give an amount above zero.", field="net")
    if unit_net is not None:
        raise InvalidInput("It is held by units: give units.", field="units")
    return net


def _key(key: str) -> None:
    if not 0 < len(key) <= 200:
        raise InvalidInput("Send a key of 1 to 200 characters.", field="idempotency_key")


def _account(partner: Partner, reference: str) -> Subscriber:
    account = holding.lock_account(partner, reference)
    if account is None:
        raise InvalidInput("You have no such subscriber.", field="subscriber_ref")
    return account


def _product(stands: holding.Stands) -> ProductOffering:
    if stands.offering is None:
        raise InvalidInput("You have no such product.", field="offering")
    return stands.offering


def _hold_own(reservation_id: UUID, partner: Partner | None) -> Reservation:
    try:
        held = db.lock(Reservation, reservation_id)
    except Reservation.DoesNotExist:
        return _found(None)
    return _found(held if partner is None or held.partner_id == partner.pk else None)


def _found(value: T | None) -> T:
    if value is None:
        raise NotFound("There is no such reservation.")
    return value
