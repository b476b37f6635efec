"""Standing consents: what a subscriber lets one partner sell unasked, and for how much a month."""

from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from ispops import db
from ispops.db import Prepared
from ispops.errors import InvalidInput, NotFound
from ispops.money import format_money, from_micros, minor_unit
from ispops.parties import audit
from ispops.parties.models import Partner, Subscriber, User
from rating import held
from rating.models import StandingConsent


def used_of_month_sql(subscriber: str, partner: str, month: str, at: str) -> str:
    """Return the SQL of two columns, for a larger statement too: what was sold by standing consent
    in a month, and what is held by it. Values are SQL as well."""
    held = f"""
    FROM rating_reservation WHERE subscriber_id = {subscriber} AND partner_id = {partner}
     AND month_start = {month}"""
    return f"""
    ((SELECT COALESCE(sum(amount), 0) FROM rating_purchaseconsent
       WHERE subscriber_id = {subscriber} AND partner_id = {partner} AND month_start = {month}
         AND standing_id IS NOT NULL)
     + (SELECT COALESCE(sum(used_amount), 0) {held}))::bigint,
    (SELECT COALESCE(sum(amount - used_amount), 0)::bigint {held}
        AND released_at IS NULL AND held_until > {at})
    """  # noqa: S608


_USED_OF_MONTH = Prepared(
    "rating_used_of_month",
    ("uuid", "bigint", "timestamptz", "timestamptz"),
    f"SELECT {used_of_month_sql('$1', '$2', '$3', '$4')}",
)


def month_of(at: datetime) -> datetime:
    """Return when the calendar month of a moment began, in the ISP's time zone."""
    here = at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE))
    return here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def end_of_month(at: datetime) -> datetime:
    """Return when the calendar month of a moment ends, in the ISP's time zone."""
    return (month_of(at) + timedelta(days=32)).replace(day=1)


def words(partner: Partner, amount: Decimal, currency: str) -> str:
    """Return what a subscriber agrees to with a standing consent."""
    return (
        f"{partner} may charge single purchases to my bill without asking me each time, up to "
        f"{format_money(amount, currency)} with tax in a calendar month. Subscriptions and what is "
        "paid by use always ask me. I can withdraw this at any time."
    )


@transaction.atomic
def give(
    *, subscriber: Subscriber, partner: Partner, monthly_limit: Decimal, user: User, at: datetime
) -> StandingConsent:
    """Let a partner sell single things up to an amount a month; one given before ends, and with it
    what is held by it.

    The same amount again changes nothing.

    Raises:
        InvalidInput: the amount is not above zero or no whole coin, or the partner sells nothing.
    """
    coin = minor_unit(subscriber.currency)
    is_amount = monthly_limit.is_finite() and 0 < monthly_limit < Decimal(10) ** 9
    if not is_amount or monthly_limit != monthly_limit.quantize(coin):
        raise InvalidInput("Give an amount above zero, such as 20.00.", field="monthly_limit")
    if partner.kind != Partner.Kind.BSP or not partner.active:
        raise InvalidInput("This partner sells nothing.", field="partner")
    account = db.lock(Subscriber, subscriber.pk)
    before = _live(account, partner)
    if before is not None and before.monthly_limit == monthly_limit:
        return before
    if before is not None:
        _end(before, user, at)
    given = StandingConsent.objects.create(
        subscriber=account,
        partner=partner,
        monthly_limit=monthly_limit,
        currency=account.currency,
        shown=words(partner, monthly_limit, account.currency),
        given_at=at,
        given_by=user,
    )
    audit.record(
        actor=user,
        action="standing_consent.given",
        subject=given.public_id,
        subscriber=account,
        at=at,
        partner=partner.code,
        monthly_limit=str(monthly_limit),
    )
    return given


@transaction.atomic
def withdraw(*, consent_id: UUID, user: User, at: datetime) -> StandingConsent:
    """End a standing consent of an account of this login, and release what is held by it.

    Again, it changes nothing.

    Raises:
        NotFound: there is no such consent of theirs.
    """
    rows = StandingConsent.objects.filter(pk=consent_id, subscriber__users=user)
    found = rows.first()
    if found is None:
        raise NotFound("There is no such consent.")
    db.lock(Subscriber, found.subscriber_id)
    consent = db.lock(StandingConsent, found.pk)
    if consent.ended_at is None:
        _end(consent, user, at)
    return consent


def left_of_month(consent: StandingConsent, at: datetime) -> Decimal:
    """Return how much of a standing consent is left in the calendar month of `at`."""
    used, reserved = used_of_month(consent, at)
    return max(consent.monthly_limit - used - reserved, Decimal(0))


def used_of_month(consent: StandingConsent, at: datetime) -> tuple[Decimal, Decimal]:
    """Return what was sold by standing consent in the month of `at`, and what is held by it."""
    [(used, reserved)] = _USED_OF_MONTH.rows(
        consent.subscriber_id, consent.partner_id, month_of(at), at
    )
    return from_micros(used), from_micros(reserved)


def _live(subscriber: Subscriber, partner: Partner) -> StandingConsent | None:
    rows = StandingConsent.objects.filter(subscriber=subscriber, partner=partner)
    found = rows.filter(ended_at__isnull=True).first()
    return db.lock(StandingConsent, found.pk) if found else None


def _end(consent: StandingConsent, user: User, at: datetime) -> None:
    consent.ended_at, consent.ended_by = at, user
    consent.save(update_fields=["ended_at", "ended_by"])
    # Nothing can be used of what is held by it any more.
    held.live(at, standing=consent).update(released_at=at)
    audit.record(
        actor=user,
        action="standing_consent.withdrawn",
        subject=consent.public_id,
        subscriber=consent.subscriber,
        at=at,
        partner=consent.partner.code,
    )
