"""Purchases of partners' products (figure 8): authorised, charged and asked for in one step.

A purchase waits for its partner as *pending*. The partner confirms, and it is completed; the
partner refuses, lets the time pass, or the line ends first, and every charge is taken back by a new
one. A bundle of several partners' products waits for all of them; see `rating.parts`.

A one-off price is charged at once; a recurring price for the rest of the billing period at once,
and for later periods by the bills; use when it is reported.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from ispops.periods import Period
from provisioning import partner_orders, services
from provisioning.models import Service
from rating import accrual, carriage, charges, lanes, packs, parts, spans, spending
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
    """Buy a partner's product, or a bundle of several, for a line, at the prices in force at `at`.

    The same subscriber and key give the first purchase again and change nothing. The charge, the
    service, and the order to the partner (which hears of it by webhook), of a bundle for each of
    its parts, are written together or not at all. Publishes `purchase.placed`. What a partner asked
    for needs the `consent` to it.

    Raises:
        InvalidInput: the key is missing, or the line is not an active one of this subscriber.
        NotInGoodStanding: the account is restricted or closed.
        OfferingWithdrawn: it is not sold at `at`, has no price, or its partner has left.
        OfferingNotCarried: the line is too slow for it, or it is not for this kind of account.
        AlreadySubscribed: the line has this subscription.
        NothingToTopUp: it is a pack of units for something that the line does not have.
        SpendingLimitReached: it would pass the limit of this period, or what was paid ahead.
        PurchaseKeyReused: the key belongs to a purchase of something else.
    """
    if not 0 < len(idempotency_key) <= 200:
        raise InvalidInput("Send a key of 1 to 200 characters.", field="idempotency_key")
    if (first := _placed_before(subscriber, idempotency_key, line, offering)) is not None:
        return first
    held, account = db.lock(Service, line.pk), db.lock(Subscriber, subscriber.pk)
    first = _placed_before(account, idempotency_key, line, offering)
    if first is not None:
        return first
    _authorise(account, held, offering, at)
    purchase = Purchase(
        subscriber=account,
        line=held,
        offering=offering,
        channel=channel,
        placed_by=placed_by,
        consent=consent,
        idempotency_key=idempotency_key,
        placed_at=at,
    )
    members = parts.make_members(purchase)
    tariff = Tariff.of({offering.pk, *(one.offering.pk for one in members)})
    for one in members:
        one.service = services.create_carried_service(
            line=held, offering=one.offering, bundle=_bundle(one), at=at
        )
    drafts = [draft for one in members for draft in _drafts(one, tariff)]
    _require_price(purchase, members, drafts, tariff)
    spending.require_room(account, charges.total_of(drafts), at)
    _save(purchase, members, at)
    Charge.objects.bulk_create(drafts)
    _note(purchase, drafts)
    return purchase


def _bundle(purchase: Purchase) -> ProductOffering | None:
    return purchase.part_of.offering if purchase.part_of else None


def _save(whole: Purchase, members: list[Purchase], at: datetime) -> None:
    """Save a purchase and its parts, and ask each partner to grant what is its own."""
    if members != [whole]:
        whole.save(force_insert=True)
    for one in members:
        if one.service is not None:
            one.service_order = partner_orders.request_entitlement(
                line=one.line,
                service=one.service,
                offering=one.offering,
                cause=one.public_id,
                at=at,
            )
        one.save(force_insert=True)


def quote(
    *, subscriber: Subscriber, line: Service, offering: ProductOffering, at: datetime
) -> list[Charge]:
    """Return what buying would be charged for at once, not saved. Saves nothing.

    Raises what `place_purchase` does, but for the spending limit.
    """
    _authorise(subscriber, line, offering, at)
    purchase = Purchase(subscriber=subscriber, line=line, offering=offering, placed_at=at)
    members = parts.make_members(purchase)
    tariff = Tariff.of({offering.pk, *(one.offering.pk for one in members)})
    for one in members:
        one.service = Service(
            subscriber=subscriber, offering=one.offering, line=line, bundle=_bundle(one)
        )
    drafts = [draft for one in members for draft in _drafts(one, tariff)]
    _require_price(purchase, members, drafts, tariff)
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
    products = parts.products_of(offering)
    if offering.kind == ProductOffering.Kind.PACKAGE:
        _require_package(offering, products, account, at)
    else:
        require_sold(offering, at)
    verdicts = carriage.offers_on(line, products)
    for verdict in (verdicts[product.pk] for product in products):
        if not verdict.eligible:
            raise OfferingNotCarried(
                verdict.reason, field="offering", reason_code=verdict.reason_code
            )
    lasting = [product for product in products if product.is_subscription]
    has_it = line.carried.exclude(state=Service.State.CEASED).filter(offering__in=lasting)
    for one in has_it.select_related("offering")[:1]:
        raise AlreadySubscribed(f"This line has {one.offering} already.", field="offering")


def _require_package(
    package: ProductOffering, products: list[ProductOffering], account: Subscriber, at: datetime
) -> None:
    """Refuse a bundle that is not sold, or to which one of its partners adds nothing any more."""
    if not (products and _is_on_sale(package, at)):
        raise OfferingWithdrawn("This product is no longer sold.", field="offering")
    if package.subscriber_kind not in ("", account.kind):
        raise OfferingNotCarried("It is not sold to this kind of account.", field="offering")
    for product in products:
        is_sold = _is_on_sale(product, at) and product.provider and product.provider.active
        if not is_sold:
            raise OfferingWithdrawn(f"{product} is not to be had at the moment.", field="offering")


def _is_on_sale(offering: ProductOffering, at: datetime) -> bool:
    return offering.sold_from <= at and (offering.sold_to is None or at < offering.sold_to)


def require_sold(offering: ProductOffering, at: datetime) -> None:
    """Refuse what is no partner's product that is sold at a moment.

    Raises:
        OfferingWithdrawn: see above.
    """
    partner = offering.provider
    if offering.kind != ProductOffering.Kind.BSP or not _is_on_sale(offering, at) or not partner:
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
        bundle_id=service.bundle_id,
    )
    period = accrual.period_at(purchase.subscriber, at)
    edges = tariff.edges(offering.pk, service.bundle_id)
    for number, span in enumerate(spans.cut([Period(at, period.end)], edges), start=1):
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
            bundle_id=service.bundle_id,
        )


def _require_price(
    purchase: Purchase, members: list[Purchase], drafts: list[Charge], tariff: Tariff
) -> None:
    at, currency = purchase.placed_at, purchase.subscriber.currency
    if not drafts and not tariff.has_usage_price(purchase.offering_id, at, currency):
        raise OfferingWithdrawn("This product has no price at the moment.", field="offering")
    for one in members:
        packs.require_use(purchase=one, tariff=tariff, at=at)


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

    A one-off product is delivered with that, and its service ends. A bundle is completed when the
    last of its partners has confirmed. With that a pack's units are granted, or all is taken back
    where there is nothing any more that they could top up.
    Publishes `purchase.completed`.
    Returns None when the partner's order is no purchase's. A settled purchase stays as it is.
    """
    purchase = parts.hold_by_order(service_order_id)
    if purchase is None or purchase.state != State.PENDING:
        return purchase
    whole = purchase.part_of or purchase
    others = [one for one in parts.members(whole) if one.pk != purchase.pk]
    is_last = all(one.state == State.COMPLETED for one in others)
    one = purchase
    if is_last:
        try:
            with transaction.atomic():
                for one in [purchase, *others]:
                    packs.grant_pack(purchase=one, at=at)
        except packs.NothingToTopUp as gone:
            # What the pack was for went while the partner was asked.
            _take_back(whole, one, gone.detail, at)
            return purchase
    parts.settle(purchase, State.COMPLETED, "", at)
    parts.deliver(purchase, at)
    if is_last and purchase.part_of is not None:
        parts.settle(whole, State.COMPLETED, "", at)
    return purchase


@transaction.atomic
def reverse_purchase(*, service_order_id: UUID, because: str, at: datetime) -> Purchase | None:
    """Take a purchase back that its partner does not deliver: each charge is reversed by a new one.

    Of a bundle, all of it is taken back, and partners who granted their part are told to end it.
    Publishes `purchase.reversed`. Returns None when the partner's order is no purchase's. A settled
    purchase stays as it is.
    """
    purchase = parts.hold_by_order(service_order_id)
    if purchase is None or purchase.state != State.PENDING:
        return purchase
    _take_back(purchase.part_of or purchase, purchase, because, at)
    return purchase


def _take_back(whole: Purchase, failed: Purchase, because: str, at: datetime) -> None:
    """Reverse all charges of a held purchase, and end what came of it, for all its members.

    `because` is said of the member that failed, and of the whole.
    """
    # Nothing of its use is charged while this looks for what was, nor after it.
    lanes.hold_lane(whole.subscriber_id)
    reasons = [
        (one, because if one.pk == failed.pk else parts.NOT_DELIVERED)
        for one in parts.members(whole)
    ]
    for one, reason in reasons:
        for charge in parts.all_charges_of(one):
            charges.take_back_rest(charge=charge, because=reason, at=at)
    for one, reason in reasons:
        parts.settle(one, State.REVERSED, reason, at)
        if one.service is not None:
            services.cease(service=one.service, at=at)
        if one.part_of is not None and one.service_order is not None:
            # Also what was delivered and used up: the partner is not paid for it.
            partner_orders.withdraw(service_order_id=one.service_order.pk, reason=reason, at=at)
    if whole.state != State.REVERSED:
        parts.settle(whole, State.REVERSED, f"{failed.offering}: {because}", at)
