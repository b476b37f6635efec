"""More data for a plan of our own: a pack that is bought once, and there at once.

It is sold as an add-on whose one-off price says what it is a pack for. No partner has to confirm
it, so the charge, the units and the purchase that is completed with them are one transaction.
"""

from datetime import datetime

from django.db import transaction

from ispops import db, events
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.catalog.queries import sold_at
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from provisioning.models import Service
from rating import accrual, packs
from rating.models import Charge, Purchase
from rating.purchases import NotInGoodStanding, OfferingWithdrawn, PurchaseKeyReused
from rating.tariff import Tariff

DATA_PACK = ProductOffering.Addon.DATA_PACK


def packs_for(line: Service, at: datetime) -> list[OfferingPrice]:
    """Return the prices at which more data for the plan of a line is sold, the smallest first."""
    plans = [key for key in (line.offering_id, line.bundle_id) if key]
    prices = OfferingPrice.objects.at(at).filter(
        offering__in=sold_at(at).filter(addon_type=DATA_PACK),
        charge=OfferingPrice.Charge.ONE_OFF,
        currency=line.subscriber.currency,
        pack_for__in=plans,
    )
    return list(prices.select_related("offering").order_by("pack_units", "pk"))


@transaction.atomic
def top_up(
    *,
    subscriber: Subscriber,
    line: Service,
    offering: ProductOffering,
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
) -> Purchase:
    """Buy more data for a line; it counts for what is used from now on.

    The same subscriber and key give the first purchase again and change nothing. A line that is
    slow has its speed back with the event, within seconds. Publishes `purchase.completed`.

    Raises:
        InvalidInput: the key is missing, or the line is not an active one of this subscriber.
        NotInGoodStanding: the account is restricted or closed.
        OfferingWithdrawn: it is no pack of data that is sold at `at`.
        NothingToTopUp: the line has another plan.
        PurchaseKeyReused: the key belongs to a purchase of something else.
    """
    if not 0 < len(idempotency_key) <= 200:
        raise InvalidInput("Send a key of 1 to 200 characters.", field="idempotency_key")
    held = db.lock(Service, line.pk)
    account = db.lock(Subscriber, subscriber.pk)
    first = Purchase.objects.filter(subscriber=account, idempotency_key=idempotency_key).first()
    if first is not None:
        if (first.line_id, first.offering_id) != (held.pk, offering.pk):
            raise PurchaseKeyReused("Use a new key for a new purchase.", field="idempotency_key")
        return first
    _authorise(account, held, offering, at)
    purchase = Purchase.objects.create(
        subscriber=account,
        line=held,
        offering=offering,
        channel=channel,
        placed_by=placed_by,
        idempotency_key=idempotency_key,
        state=Purchase.State.COMPLETED,
        placed_at=at,
        settled_at=at,
    )
    charges = accrual.one_off_charge(
        subscriber=account,
        service=held,
        offering=offering,
        since=at,
        cause=f"purchase:{purchase.public_id}:one_off",
        tariff=Tariff.of([offering.pk]),
        at=at,
    )
    made = Charge.objects.bulk_create(list(charges))
    if packs.grant_pack(purchase=purchase, at=at) is None or not made:
        raise OfferingWithdrawn("This pack has no price at the moment.", field="offering")
    _note(purchase, made[0])
    return purchase


def _authorise(account: Subscriber, line: Service, offering: ProductOffering, at: datetime) -> None:
    if account.standing != Subscriber.Standing.GOOD:
        raise NotInGoodStanding(
            f"This account is {account.get_standing_display().lower()}. "
            "Settle what is open on it, or call us.",
        )
    is_line = line.line_id is None and line.state == Service.State.ACTIVE
    if line.subscriber_id != account.pk or not is_line:
        raise InvalidInput("Choose an active line of this account.", field="line")
    if not sold_at(at).filter(pk=offering.pk, addon_type=DATA_PACK).exists():
        raise OfferingWithdrawn("This pack is no longer sold.", field="offering")


def _note(purchase: Purchase, charge: Charge) -> None:
    account, code = purchase.subscriber, purchase.offering.code
    events.publish(
        "purchase.completed",
        subject=purchase.public_id,
        at=purchase.placed_at,
        subscriber=account.public_id,
        offering=code,
        reason="",
    )
    audit.record(
        actor=purchase.placed_by,
        actor_name="" if purchase.placed_by else purchase.get_channel_display(),
        action="purchase.placed",
        subject=purchase.public_id,
        subscriber=account,
        at=purchase.placed_at,
        offering=code,
        line=purchase.line.public_id,
        amount_net=str(charge.amount_net),
        currency=account.currency,
    )
