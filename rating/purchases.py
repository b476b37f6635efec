"""Purchases of partners' products (figure 8): authorised, charged and asked for in one step.

A purchase waits for its partner as *pending*. The partner confirms, and it is completed; the
partner refuses, lets the time pass, or the line ends first, and every charge is taken back by a new
one. A one-off price is charged at once; a recurring price for the rest of the billing period at
once, and for later periods by the bills; use when it is reported.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from ispops import db, events
from ispops.catalog.models import ProductOffering, SettlementTerm
from ispops.errors import InvalidInput, Refusal
from ispops.money import format_money
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from ispops.periods import Period
from provisioning import partner_orders, services
from provisioning.models import Service
from rating import accrual, carriage, charges, held, packs, posting
from rating.models import Charge, Purchase, PurchaseConsent
from rating.tariff import Tariff

State = Purchase.State


class NotInGoodStanding(Refusal):
    code = "not_in_good_standing"
    title = "The account cannot buy at the moment"


class OfferingNotCarried(Refusal):
    code = "offering_not_carried"
    title = "The line cannot carry this product"


class OfferingWithdrawn(Refusal):
    code = "offering_withdrawn"
    title = "The offering is no longer sold"


class SpendingLimitReached(Refusal):
    code = "spending_limit_reached"
    title = "The spending limit would be passed"


class AlreadySubscribed(Refusal):
    code = "already_subscribed"
    title = "The line has this product already"


class PurchaseKeyReused(Refusal):
    code = "purchase_key_reused"
    title = "The key was used for another purchase"


@transaction.atomic
def place_purchase(
    *,
    subscriber: Subscriber,
    line: Service,
    offering: ProductOffering,
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    consent: PurchaseConsent | None = None,
) -> Purchase:
    """Buy a partner's product for a line, at the prices in force at `at`.

    The same subscriber and key give the first purchase again and change nothing. The charge, the
    service, and the order to the partner (which hears of it by webhook) are written together or
    not at all. Publishes `purchase.placed`. What a partner asked for needs the `consent` to it.

    Raises:
        InvalidInput: the key is missing, or the line is not an active one of this subscriber.
        NotInGoodStanding: the account is restricted or closed.
        OfferingWithdrawn: it is not sold at `at`, has no price, or its partner has left.
        OfferingNotCarried: the line is too slow for it, or it is not for this kind of account.
        AlreadySubscribed: the line has this subscription.
        NothingToTopUp: it is a pack of units for something that the line does not have.
        SpendingLimitReached: with it, partners' products of this period cost more than the limit.
        PurchaseKeyReused: the key belongs to a purchase of something else.
    """
    if not 0 < len(idempotency_key) <= 200:
        raise InvalidInput("Send a key of 1 to 200 characters.", field="idempotency_key")
    first = _placed_before(subscriber, idempotency_key, line, offering)
    if first is not None:
        return first
    held, account = db.lock(Service, line.pk), db.lock(Subscriber, subscriber.pk)
    first = _placed_before(account, idempotency_key, line, offering)
    if first is not None:
        return first
    _authorise(account, held, offering, at)
    tariff = Tariff.of([offering.pk])
    service = services.create_carried_service(line=held, offering=offering, at=at)
    purchase = Purchase(
        subscriber=account,
        line=held,
        offering=offering,
        service=service,
        channel=channel,
        placed_by=placed_by,
        consent=consent,
        idempotency_key=idempotency_key,
        placed_at=at,
    )
    drafts = list(_drafts(purchase, tariff))
    _require_price(purchase, drafts, tariff)
    _require_limit(account, drafts, at)
    purchase.service_order = partner_orders.request_entitlement(
        line=held, service=service, offering=offering, cause=purchase.public_id, at=at
    )
    purchase.save(force_insert=True)
    Charge.objects.bulk_create(drafts)
    _note(purchase, drafts)
    return purchase


def quote(
    *, subscriber: Subscriber, line: Service, offering: ProductOffering, at: datetime
) -> list[Charge]:
    """Return what buying would be charged for at once, not saved. Saves nothing.

    Raises what `place_purchase` does, but for the spending limit.
    """
    _authorise(subscriber, line, offering, at)
    tariff = Tariff.of([offering.pk])
    purchase = Purchase(
        subscriber=subscriber,
        line=line,
        offering=offering,
        service=Service(subscriber=subscriber, offering=offering, line=line),
        placed_at=at,
    )
    drafts = list(_drafts(purchase, tariff))
    _require_price(purchase, drafts, tariff)
    return drafts


def _placed_before(
    subscriber: Subscriber, key: str, line: Service, offering: ProductOffering
) -> Purchase | None:
    first = Purchase.objects.filter(subscriber=subscriber, idempotency_key=key).first()
    if first is not None and (first.line_id, first.offering_id) != (line.pk, offering.pk):
        raise PurchaseKeyReused("Use a new key for a new purchase.", field="idempotency_key")
    return first


def _authorise(account: Subscriber, line: Service, offering: ProductOffering, at: datetime) -> None:
    if account.standing != Subscriber.Standing.GOOD:
        raise NotInGoodStanding(
            f"This account is {account.get_standing_display().lower()}. "
            "Settle what is open on it, or call us.",
        )
    is_line = line.line_id is None and line.state == Service.State.ACTIVE
    if line.subscriber_id != account.pk or not is_line:
        raise InvalidInput("Choose an active line of this account.", field="line")
    require_sold(offering, at)
    verdict = carriage.offers_on(line, [offering])[offering.pk]
    if not verdict.eligible:
        raise OfferingNotCarried(verdict.reason, field="offering", reason_code=verdict.reason_code)
    has_it = line.carried.exclude(state=Service.State.CEASED).filter(offering=offering)
    if offering.is_subscription and has_it.exists():
        raise AlreadySubscribed(f"This line has {offering} already.", field="offering")


def require_sold(offering: ProductOffering, at: datetime) -> None:
    """Refuse what is no partner's product that is sold at a moment.

    Raises:
        OfferingWithdrawn: see above.
    """
    is_sold = offering.sold_from <= at and (offering.sold_to is None or at < offering.sold_to)
    partner = offering.provider
    if offering.kind != ProductOffering.Kind.BSP or not is_sold or not partner:
        raise OfferingWithdrawn("This product is no longer sold.", field="offering")
    if not partner.active:
        raise OfferingWithdrawn(f"{partner} does not sell at the moment.", field="offering")


def _drafts(purchase: Purchase, tariff: Tariff) -> Iterator[Charge]:
    """Give the charges of a purchase: its one-off price, and the rest of the running period."""
    at, service, offering = purchase.placed_at, purchase.service, purchase.offering
    if service is None:
        return
    yield from accrual.one_off_charge(
        subscriber=purchase.subscriber,
        service=service,
        offering=offering,
        since=at,
        cause=f"purchase:{purchase.public_id}:one_off",
        tariff=tariff,
        at=at,
    )
    period = accrual.period_at(purchase.subscriber, at)
    edges = tariff.edges(offering.pk, None)
    for number, span in enumerate(accrual.cut([Period(at, period.end)], edges), start=1):
        yield from accrual.recurring_charge(
            subscriber=purchase.subscriber,
            service=service,
            offering=offering,
            span=span,
            period=period,
            cause=f"purchase:{purchase.public_id}:recurring:{number}",
            tariff=tariff,
            at=at,
            since=at,
        )


def _require_price(purchase: Purchase, drafts: list[Charge], tariff: Tariff) -> None:
    at, currency = purchase.placed_at, purchase.subscriber.currency
    if not drafts and not tariff.has_usage_price(purchase.offering_id, at, currency):
        raise OfferingWithdrawn("This product has no price at the moment.", field="offering")
    packs.require_use(purchase=purchase, tariff=tariff, at=at)


def third_party_spend(subscriber: Subscriber, at: datetime) -> Decimal:
    """Return what a subscriber's partner products come to in the billing period of `at`, with tax.

    That is all charges in which a BSP has a part, less what was taken back, what was rated and is
    not charged yet, what subscriptions will still add until the period's end, and what is held.
    """
    period = accrual.period_at(subscriber, at)
    # What is charged is read last: what becomes a charge at this moment counts twice, never not.
    coming = held.held_of(subscriber, at) + _coming(subscriber, period, at)
    posted = Charge.objects.filter(
        subscriber=subscriber,
        period_start__gte=period.start,
        period_start__lt=period.end,
        bsp__isnull=False,
    ).aggregate(net=Sum("amount_net"), tax=Sum("amount_tax"))
    spent = (posted["net"] or Decimal(0)) + (posted["tax"] or Decimal(0))
    return coming + spent


def _coming(subscriber: Subscriber, period: Period, at: datetime) -> Decimal:
    """Return what subscriptions will still add, and what use of them is rated and not charged.

    Nothing is worked out where there is none.
    """
    shares = SettlementTerm.objects.filter(
        role=SettlementTerm.Role.BSP, offering=OuterRef("offering")
    )
    of_partners = Q(line__isnull=False) | Q(bundle__isnull=False) | Exists(shares)
    if not Service.objects.filter(of_partners, subscriber=subscriber).exists():
        return Decimal(0)
    due = accrual.due(subscriber=subscriber, period=period, at=at)
    due += (row for row in posting.due(subscriber=subscriber) if row.period_start in period)
    return sum((c.amount_net + c.amount_tax for c in due if c.bsp_id is not None), Decimal(0))


def _require_limit(account: Subscriber, drafts: list[Charge], at: datetime) -> None:
    require_room(account, sum((c.amount_net + c.amount_tax for c in drafts), Decimal(0)), at)


def require_room(account: Subscriber, wanted: Decimal, at: datetime) -> None:
    """Refuse what would pass the spending limit of an account that is held.

    Raises:
        SpendingLimitReached: see above.
    """
    if account.spending_limit is None:
        return
    spent = third_party_spend(account, at)
    if spent + wanted > account.spending_limit:
        left = max(account.spending_limit - spent, Decimal(0))
        raise SpendingLimitReached(
            f"This costs {format_money(wanted, account.currency)} with tax in this billing period, "
            f"and {format_money(left, account.currency)} of the spending limit are left. "
            "Raise the limit, or wait for the next period.",
            field="offering",
        )


def _note(purchase: Purchase, drafts: list[Charge]) -> None:
    amount = sum((draft.amount_net for draft in drafts), Decimal(0))
    facts = {
        "offering": purchase.offering.code,
        "line": purchase.line.public_id,
        "amount_net": str(amount),
        "currency": purchase.subscriber.currency,
    }
    events.publish(
        "purchase.placed",
        subject=purchase.public_id,
        at=purchase.placed_at,
        subscriber=purchase.subscriber.public_id,
        **facts,
    )
    audit.record(
        actor=purchase.placed_by,
        actor_name="" if purchase.placed_by else purchase.get_channel_display(),
        action="purchase.placed",
        subject=purchase.public_id,
        subscriber=purchase.subscriber,
        at=purchase.placed_at,
        **facts,
    )


@transaction.atomic
def complete_purchase(*, service_order_id: UUID, at: datetime) -> Purchase | None:
    """Take the partner's confirmation: the purchase is completed and its service active.

    A one-off product is delivered with that, and its service ends; a pack's units are granted, or
    it is taken back where there is nothing any more that it could top up.
    Publishes `purchase.completed`.
    Returns None when the partner's order is no purchase's. A settled purchase stays as it is.
    """
    purchase = _lock_purchase(service_order_id)
    if purchase is None or purchase.state != State.PENDING:
        return purchase
    try:
        with transaction.atomic():
            packs.grant_pack(purchase=purchase, at=at)
    except packs.NothingToTopUp as gone:
        # What the pack was for went while the partner was asked.
        return reverse_purchase(service_order_id=service_order_id, because=gone.detail, at=at)
    _settle(purchase, State.COMPLETED, "", at)
    service = purchase.service
    if service is not None and service.state == Service.State.RESERVED:
        services.activate(service=service, at=at)
        if not purchase.offering.is_subscription:
            services.cease(service=service, at=at)
    return purchase


@transaction.atomic
def reverse_purchase(*, service_order_id: UUID, because: str, at: datetime) -> Purchase | None:
    """Take a purchase back that its partner does not deliver: each charge is reversed by a new one.

    Publishes `purchase.reversed`. Returns None when the partner's order is no purchase's. A settled
    purchase stays as it is.
    """
    purchase = _lock_purchase(service_order_id)
    if purchase is None or purchase.state != State.PENDING:
        return purchase
    _settle(purchase, State.REVERSED, because, at)
    for charge in charges_of(purchase):
        charges.take_back_rest(charge=charge, because=because, at=at)
    if purchase.service is not None:
        services.cease(service=purchase.service, at=at)
    return purchase


def charges_of(purchase: Purchase) -> QuerySet[Charge]:
    """Return what was charged when something was bought, in the order of its charges."""
    prefix = f"purchase:{purchase.public_id}:"
    posted = Charge.objects.filter(subscriber=purchase.subscriber_id, cause__startswith=prefix)
    return posted.order_by("pk")


def _lock_purchase(service_order_id: UUID) -> Purchase | None:
    return (
        Purchase.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service", "offering", "subscriber")
        .filter(service_order=service_order_id)
        .first()
    )


def _settle(purchase: Purchase, state: str, reason: str, at: datetime) -> None:
    purchase.state, purchase.reason, purchase.settled_at = state, reason[:300], at
    purchase.save(update_fields=["state", "reason", "settled_at"])
    events.publish(
        f"purchase.{state}",
        subject=purchase.public_id,
        at=at,
        subscriber=purchase.subscriber.public_id,
        offering=purchase.offering.code,
        reason=purchase.reason,
    )
