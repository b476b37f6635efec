"""Purchases that a partner asks for: nothing is charged before the subscriber has agreed.

The partner's request waits. The subscriber sees the price and agrees or declines; without an answer
it expires. A standing consent answers for the subscriber, for what costs a single time and keeps
within its amount a month.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import IllegalTransition, InvalidInput, NotFound, Refusal
from ispops.parties import audit, webhooks
from ispops.parties.models import Partner, Subscriber, User
from provisioning.models import PartnerSubscriber, Service
from rating import offers, probing, purchases
from rating.models import Purchase, PurchaseConsent, PurchaseRequest, StandingConsent
from rating.offers import Offer
from rating.spending import SpendingLimitReached
from rating.standing import left_of_month, month_of

State = PurchaseRequest.State
VALID_FOR = timedelta(days=3)
# A partner that asks again and again is not heard before the first are answered.
MOST_WAITING = 3
# Nor one that asks, takes it back and asks anew; each time the subscriber is written to.
MOST_A_DAY = 10
# A no is heard for so long.
DECLINED_FOR = timedelta(days=7)
EXPIRED_PER_SWEEP = 500


class TooManyRequests(Refusal):
    code = "too_many_purchase_requests"
    title = "The subscriber was asked too often"


class DeclinedLately(Refusal):
    code = "purchase_declined_lately"
    title = "The subscriber has said no to it lately"


class PurchaseNotPossible(Refusal):
    code = "purchase_not_possible"
    title = "The subscriber cannot buy this at the moment"


class OfferChanged(Refusal):
    code = "offer_changed"
    title = "The price is another one now"


@transaction.atomic
def request_purchase(
    *,
    partner: Partner,
    subscriber_ref: str,
    offering_code: str,
    idempotency_key: str,
    at: datetime,
    service_ref: str = "",
    words: str = "",
) -> PurchaseRequest:
    """Ask a subscriber to buy a product of the partner's own. Publishes `purchase_request.waiting`.

    `subscriber_ref` is the partner's name for the subscriber; `service_ref` a line of theirs, or
    something that it carries, needed where there are several. The same key again returns the first
    request. Where a standing consent covers it, it is agreed to at once.

    Raises:
        InvalidInput: the key, the subscriber, the product or the line is none that is known.
        PurchaseKeyReused: the key belongs to a request of something else.
        PurchaseNotPossible: the account cannot buy.
        TooManyRequests: `MOST_WAITING` of this partner wait for the subscriber's answer, or it was
            asked `MOST_A_DAY` times.
        DeclinedLately: the subscriber has declined the same within `DECLINED_FOR`.
        and what `purchases.quote` raises of the product.
    """
    if not 0 < len(idempotency_key) <= 200:
        raise InvalidInput("Send a key of 1 to 200 characters.", field="idempotency_key")
    first = PurchaseRequest.objects.filter(partner=partner, idempotency_key=idempotency_key).first()
    account, offering = _subscriber(partner, subscriber_ref), _offering(partner, offering_code)
    if first is not None:
        if (first.subscriber_id, first.offering_id) != (account.pk, offering.pk):
            raise purchases.PurchaseKeyReused(
                "Use a new key for a new request.", field="idempotency_key"
            )
        return first
    # Held in the order of a purchase, so that what one partner asks of one subscriber is counted.
    line = db.lock(Service, _line(partner, account, service_ref).pk)
    account = db.lock(Subscriber, account.pk)
    _offer(account, line, offering, at)
    text = words.replace("\x00", "").strip()
    if len(text) > 300:
        raise InvalidInput("Write 300 characters at most.", field="words")
    request = PurchaseRequest.objects.create(
        partner=partner,
        subscriber=account,
        line=line,
        offering=offering,
        words=text,
        idempotency_key=idempotency_key,
        requested_at=at,
        expires_at=at + VALID_FOR,
    )
    _agree_by_standing(request, at)
    if request.state == State.WAITING:
        _require_welcome(request, at)
        events.publish("purchase_request.waiting", subject=request.public_id, at=at)
    return request


def _require_welcome(request: PurchaseRequest, at: datetime) -> None:
    """Refuse what would only bother a subscriber; what a standing consent covers does not."""
    before = PurchaseRequest.objects.filter(
        partner=request.partner, subscriber=request.subscriber
    ).exclude(pk=request.pk)
    if before.filter(state=State.WAITING, expires_at__gt=at).count() >= MOST_WAITING:
        raise TooManyRequests("Wait until the subscriber has answered, or a request has expired.")
    declined = before.filter(
        offering=request.offering, state=State.DECLINED, answered_at__gt=at - DECLINED_FOR
    )
    if declined.exists():
        raise DeclinedLately("Ask again some days later, or for something else.", field="offering")
    asked = before.filter(requested_at__gt=at - timedelta(days=1)).exclude(state=State.AGREED)
    if asked.count() >= MOST_A_DAY:
        raise TooManyRequests("This subscriber was asked often enough for a day.")


@transaction.atomic
def agree(*, request_id: UUID, user: User, channel: str, digest: str, at: datetime) -> Purchase:
    """Take a subscriber's consent to what was shown, and buy it. Agreeing again changes nothing.

    `digest` is that of the offer that was shown.

    Raises:
        NotFound: it is no request to an account of this login.
        IllegalTransition: it was declined or withdrawn, or has expired.
        OfferChanged: it costs something else now.
        and what `purchases.place_purchase` raises.
    """
    request = _hold_own(request_id, user)
    if request.state == State.AGREED:
        return request.consent.purchase
    _require_open(request, at)
    shown = offers.offer(
        subscriber=request.subscriber, line=request.line, offering=request.offering, at=at
    )
    if digest != shown.digest:
        raise OfferChanged("The price has changed meanwhile. Look at it again before you agree.")
    return _buy(request, shown, channel, at, user=user)


@transaction.atomic
def decline(*, request_id: UUID, user: User, at: datetime) -> PurchaseRequest:
    """Take a subscriber's no. Declining again changes nothing.

    Raises:
        NotFound: it is no request to an account of this login.
        IllegalTransition: it was agreed to or withdrawn, or has expired.
    """
    request = _hold_own(request_id, user)
    if request.state == State.DECLINED:
        return request
    _require_open(request, at)
    return _close(request, State.DECLINED, "The subscriber declined.", at, actor=user)


@transaction.atomic
def withdraw(*, request_id: UUID, partner: Partner, at: datetime) -> PurchaseRequest:
    """Take a partner's own request back while it waits. Withdrawing again changes nothing.

    Raises:
        NotFound: it is no request of this partner's.
        IllegalTransition: it has been answered or has expired.
    """
    request = _hold(request_id)
    if request is None or request.partner_id != partner.pk:
        raise NotFound("There is no such request.")
    if request.state == State.WITHDRAWN:
        return request
    _require_open(request, at)
    return _close(request, State.WITHDRAWN, "The partner withdrew it.", at)


def expire_due(*, at: datetime) -> int:
    """Close the requests that nobody answered in time, and tell the partners; returns how many.

    They cannot be agreed to any more before that.
    """
    due = PurchaseRequest.objects.filter(state=State.WAITING, expires_at__lte=at)
    keys = list(due.order_by("expires_at").values_list("pk", flat=True)[:EXPIRED_PER_SWEEP])
    return sum(_expire(key, at) for key in keys)


@transaction.atomic
def _expire(key: UUID, at: datetime) -> bool:
    request = _hold(key)
    if request is None or request.state != State.WAITING:
        return False
    _close(request, State.EXPIRED, "Nobody answered in time.", at)
    return True


def _agree_by_standing(request: PurchaseRequest, at: datetime) -> None:
    """Buy at once what a standing consent covers; what cannot be bought waits for an answer."""
    standing = StandingConsent.objects.filter(
        subscriber=request.subscriber, partner=request.partner, ended_at__isnull=True
    ).first()
    if standing is None:
        return
    standing = db.lock(StandingConsent, standing.pk)
    shown = _offer(request.subscriber, request.line, request.offering, at)
    is_covered = shown.is_single and shown.now <= left_of_month(standing, at)
    who = request.partner_id, request.subscriber_id
    if standing.ended_at is not None or not is_covered or probing.is_refused_too_often(*who, at):
        return
    try:
        with transaction.atomic():
            _buy(request, shown, Purchase.Channel.BSP, at, standing=standing)
    except Refusal as refusal:
        # Such as the spending limit: the subscriber sees it, and may raise it.
        if isinstance(refusal, SpendingLimitReached):
            probing.note_refusal(*who, at)
        request.refresh_from_db()


def _buy(
    request: PurchaseRequest,
    shown: Offer,
    channel: str,
    at: datetime,
    *,
    user: User | None = None,
    standing: StandingConsent | None = None,
) -> Purchase:
    consent = PurchaseConsent.objects.create(
        request=request,
        subscriber=request.subscriber,
        partner=request.partner,
        user=user,
        standing=standing,
        channel=channel,
        amount=shown.now,
        month_start=month_of(at),
        shown={
            **shown.facts,
            "offering": request.offering.code,
            "name": request.offering.name,
            "partner": request.partner.name,
            "line": request.line.public_id,
            "words": request.words,
        },
        given_at=at,
    )
    purchase = purchases.place_purchase(
        subscriber=request.subscriber,
        line=request.line,
        offering=request.offering,
        channel=Purchase.Channel.BSP,
        placed_by=user,
        idempotency_key=f"request:{request.public_id}",
        consent=consent,
        at=at,
    )
    _close(request, State.AGREED, "", at, actor=user, purchase=purchase)
    return purchase


def _close(
    request: PurchaseRequest,
    state: str,
    reason: str,
    at: datetime,
    *,
    actor: User | None = None,
    purchase: Purchase | None = None,
) -> PurchaseRequest:
    """Write the answer to a held request, and tell the partner."""
    request.state, request.reason, request.answered_at = state, reason, at
    request.save(update_fields=["state", "reason", "answered_at"])
    bought = purchase.public_id if purchase else None
    events.publish(f"purchase_request.{state}", subject=request.public_id, at=at, purchase=bought)
    audit.record(
        actor=actor,
        actor_name="" if actor else str(request.partner if purchase else "Worker"),
        action=f"purchase_request.{state}",
        subject=request.public_id,
        subscriber=request.subscriber,
        reason=reason,
        at=at,
        purchase=bought,
        offering=request.offering.code,
    )
    webhooks.queue_webhook(
        partner=request.partner,
        kind=f"purchase_request.{state}",
        subject=request.public_id,
        data={
            "state": state,
            "offering": request.offering.code,
            "purchase": bought,
            "reason": reason,
        },
        at=at,
    )
    return request


def _offer(account: Subscriber, line: Service, offering: ProductOffering, at: datetime) -> Offer:
    try:
        return offers.offer(subscriber=account, line=line, offering=offering, at=at)
    except purchases.NotInGoodStanding:
        # Why is between the subscriber and us.
        raise PurchaseNotPossible("This subscriber cannot buy at the moment.") from None


def _subscriber(partner: Partner, reference: str) -> Subscriber:
    known = PartnerSubscriber.objects.filter(partner=partner, reference=reference)
    found = known.select_related("subscriber").first()
    if found is None:
        raise InvalidInput("You have no such subscriber.", field="subscriber_ref")
    return found.subscriber


def _offering(partner: Partner, code: str) -> ProductOffering:
    found = ProductOffering.objects.filter(provider=partner, code=code).first()
    if found is None:
        raise InvalidInput("You have no such product.", field="offering")
    return found


def _line(partner: Partner, account: Subscriber, service_ref: str) -> Service:
    """Return the line that is meant: named by itself or by what it carries of this partner."""
    lines = Service.objects.filter(
        subscriber=account, line__isnull=True, state=Service.State.ACTIVE
    ).order_by("created_at", "pk")
    if service_ref:
        key = Service.key_of(service_ref)
        own = Service.objects.filter(subscriber=account, offering__provider=partner)
        found = own.filter(pk=key).first() if key else None
        line = lines.filter(pk=found.line_id or found.pk).first() if found else None
        if line is None:
            raise InvalidInput("You have no such service of this subscriber.", field="service_ref")
        return line
    carrying = list(lines.filter(carried__offering__provider=partner).distinct()[:2])
    found_lines = carrying if len(carrying) == 1 else list(lines[:2])
    if not found_lines:
        raise PurchaseNotPossible("This subscriber has no line that could carry it.")
    if len(found_lines) > 1:
        raise InvalidInput("This subscriber has several lines: name one.", field="service_ref")
    return found_lines[0]


def _hold(request_id: UUID) -> PurchaseRequest | None:
    rows = PurchaseRequest.objects.select_for_update(of=("self",), no_key=True)
    return (
        rows.select_related("partner", "subscriber", "line", "offering__provider")
        .filter(pk=request_id)
        .first()
    )


def _hold_own(request_id: UUID, user: User) -> PurchaseRequest:
    request = _hold(request_id)
    if request is None or not request.subscriber.users.filter(pk=user.pk).exists():
        raise NotFound("There is no such request.")
    return request


def _require_open(request: PurchaseRequest, at: datetime) -> None:
    if request.state != State.WAITING:
        raise IllegalTransition(f"It is closed: {request.get_state_display().lower()}.")
    if request.expires_at <= at:
        raise IllegalTransition("It has expired, and nothing was charged.")
