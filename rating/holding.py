"""The SQL of reservations, written by hand.

A partner waits for each hold and each use, and whoever holds keeps the account from all others for
as long. Built anew from Django's expressions, the statements cost several times what PostgreSQL
needs to run them. What they read and write is the same, and the database checks it the same.
"""

from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models

from ispops.catalog import catalogue
from ispops.catalog.models import ProductOffering
from ispops.db import Prepared, columns, inserted, inserting, made
from ispops.money import from_micros, to_micros
from ispops.parties.models import Partner, Subscriber
from ispops.periods import Period
from rating.models import Charge, Reservation, ReservationUse, StandingConsent
from rating.spending import Counted, counted_sql
from rating.standing import used_of_month_sql

# The number of the catalogue, as in `catalogue.revision`, read with whatever is read anyway.
_REVISION = "(SELECT number FROM catalog_cataloguerevision WHERE id = 1)"
_OF_PARTNER = ["id", "name", "active"]
M = TypeVar("M", bound=models.Model)


class Stands(NamedTuple):
    """How an account that is held stands with a partner, as of one moment, and what the partner
    means to sell; None where it has no such product."""

    offering: ProductOffering | None
    revision: catalogue.Revision | None
    # What the key was used for before, and the standing consent that there is.
    first: Reservation | None
    standing: StandingConsent | None
    left_of_month: Decimal
    counted: Counted


class Held(NamedTuple):
    """A reservation that is held, with its consent and product, and what a key used of it."""

    reservation: Reservation
    first: ReservationUse | None
    revision: catalogue.Revision | None


_LOCK_ACCOUNT = Prepared("rating_lock_account", ("bigint", "text"), f"""
SELECT {columns(Subscriber, "account")} FROM parties_subscriber account
 WHERE account.id = (SELECT known.subscriber_id FROM provisioning_partnersubscriber known
                      WHERE known.reference = $2 AND known.partner_id = $1)
   FOR NO KEY UPDATE OF account
""")  # noqa: S608  # fmt: skip

_LOCK_OWNER = Prepared("rating_lock_owner", ("uuid", "bigint"), f"""
SELECT {columns(Subscriber, "account")} FROM parties_subscriber account
 WHERE account.id = (SELECT held.subscriber_id FROM rating_reservation held
                      WHERE held.id = $1 AND held.partner_id = $2)
   FOR NO KEY UPDATE OF account
""")  # noqa: S608  # fmt: skip

_STANDS = Prepared(
    "rating_stands",
    ("uuid", "bigint", "text", "timestamptz", "timestamptz", "timestamptz", "timestamptz", "text"),
    f"""
SELECT {_REVISION}, {used_of_month_sql("$1", "$2", "$4", "$7")},
       {counted_sql("$1", "$5", "$6", "$7")},
       partner.id, partner.name, partner.active,
       {columns(ProductOffering, "offering")},
       {columns(Reservation, "first")}, {columns(StandingConsent, "standing")}
  FROM parties_partner partner
  LEFT JOIN catalog_productoffering offering
    ON offering.provider_id = partner.id AND offering.code = $8
  LEFT JOIN rating_reservation first ON first.partner_id = $2 AND first.idempotency_key = $3
  LEFT JOIN rating_standingconsent standing ON standing.subscriber_id = $1
   AND standing.partner_id = $2 AND standing.ended_at IS NULL
 WHERE partner.id = $2
""",  # noqa: S608
)

_HELD = Prepared("rating_held", ("uuid", "bigint", "text"), f"""
SELECT {_REVISION}, {columns(Reservation, "held")}, {columns(ProductOffering, "offering")},
       {columns(StandingConsent, "standing")}, {columns(ReservationUse, "first")}
  FROM rating_reservation held
  JOIN catalog_productoffering offering ON offering.id = held.offering_id
  JOIN rating_standingconsent standing ON standing.id = held.standing_id
  LEFT JOIN rating_reservationuse first
    ON first.reservation_id = held.id AND first.idempotency_key = $3
 WHERE held.id = $1 AND held.partner_id = $2 FOR NO KEY UPDATE OF held
""")  # noqa: S608  # fmt: skip


def lock_account(partner: Partner, reference: str) -> Subscriber | None:
    """Hold the account that a partner knows by a reference; None where it knows none."""
    found = _LOCK_ACCOUNT.rows(partner.pk, reference)
    return made(Subscriber, found[0]) if found else None


def lock_owner(reservation_id: UUID, partner: Partner) -> Subscriber | None:
    """Hold the account that a partner's reservation is of."""
    found = _LOCK_OWNER.rows(reservation_id, partner.pk)
    return made(Subscriber, found[0]) if found else None


def stands(
    account: Subscriber,
    partner: Partner,
    code: str,
    key: str,
    month: datetime,
    period: Period,
    at: datetime,
) -> Stands:
    """Return how an account that is held stands with a partner at a moment."""
    [(number, used, held, charged, reserved, may_come, *row)] = _STANDS.rows(
        account.pk, partner.pk, key, month, period.start, period.end, at, code
    )
    seller, row = row[: len(_OF_PARTNER)], row[len(_OF_PARTNER) :]
    offering, row = _next(ProductOffering, row)
    first, row = _next(Reservation, row)
    standing, _ = _next(StandingConsent, row)
    if offering is not None:
        # Without its secrets, which would have to be deciphered.
        offering.provider = Partner.from_db(DEFAULT_DB_ALIAS, _OF_PARTNER, seller)
    limit = to_micros(standing.monthly_limit) if standing else 0
    return Stands(
        offering=offering,
        revision=catalogue.revision_of(number),
        first=first,
        standing=standing,
        left_of_month=from_micros(max(limit - used - held, 0)),
        counted=Counted(charged, reserved, may_come),
    )


def _next(model: type[M], row: list[Any]) -> tuple[M | None, list[Any]]:
    """Take the columns of a model off a row; they are all NULL where there is none."""
    width = len(model._meta.concrete_fields)
    return (made(model, row[:width]) if row[0] is not None else None), row[width:]


def hold_held(reservation_id: UUID, partner: Partner, key: str, account: Subscriber) -> Held | None:
    """Hold a reservation of an account that is held, and read what belongs to it."""
    found = _HELD.rows(reservation_id, partner.pk, key)
    if not found:
        return None
    number, *row = found[0]
    held, row = _next(Reservation, row)
    offering, row = _next(ProductOffering, row)
    standing, row = _next(StandingConsent, row)
    first, _ = _next(ReservationUse, row)
    if held is None or offering is None or standing is None:
        return None
    held.subscriber, held.partner = account, partner
    held.offering, held.standing = offering, standing
    if first is not None:
        first.reservation = held
    return Held(held, first, catalogue.revision_of(number))


def keep(row: Reservation) -> Reservation:
    """Write a new reservation; the database adds up again what is held and spent."""
    _keeping().rows(*inserted(row))
    row._state.adding = False
    return row


def keep_use(charge: Charge, use: ReservationUse) -> ReservationUse:
    """Write a use: the charge, what is left of the reservation, and that the key was used."""
    held = use.reservation
    use.charge = charge
    [(use.pk,)] = _using().rows(
        *inserted(charge), *inserted(use),
        held.pk, to_micros(held.used_net), to_micros(held.used_amount), held.released_at,
    )  # fmt: skip
    charge._state.adding = use._state.adding = False
    return use


@cache
def _keeping() -> Prepared:
    statement, types = inserting(Reservation)
    return Prepared("rating_keep", types, statement)


@cache
def _using() -> Prepared:
    charge, types = inserting(Charge)
    use, more = inserting(ReservationUse, first=len(types) + 1)
    types = [*types, *more]
    place = len(types)
    types += ["uuid", "bigint", "bigint", "timestamptz"]
    return Prepared("rating_use", types, f"""
WITH charge AS ({charge}), held AS (
    UPDATE rating_reservation
       SET used_net = ${place + 2}, used_amount = ${place + 3}, released_at = ${place + 4}
     WHERE id = ${place + 1}
)
{use} RETURNING id
""")  # noqa: S608  # fmt: skip
