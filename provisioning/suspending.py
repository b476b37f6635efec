"""Pausing a line, letting it work again, and ending it (figure 7).

Each is an order whose worker does it within seconds. Suspending and resuming never wait for a
change of the line that is stuck.
"""

from datetime import datetime

from django.db import transaction

from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import User
from provisioning import placing, plan
from provisioning.composing import Line
from provisioning.models import ProductOrder, ProductOrderItem, Service, ServiceSuspension
from provisioning.placing import OnlyForStaff, Wish
from provisioning.transitions import CLOSED_ORDER

Intent = ProductOrder.Intent
Action = ProductOrderItem.Action
Reason = ServiceSuspension.Reason
Treatment = ServiceSuspension.Treatment


class AlreadySuspended(Refusal):
    code = "already_suspended"
    title = "The line is suspended for this already"


class NotSuspended(Refusal):
    code = "not_suspended"
    title = "The line is not suspended for this"


@transaction.atomic
def suspend_line(
    *,
    line: Service,
    reason: str,
    treatment: str = Treatment.BLOCK,
    note: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
) -> ProductOrder:
    """Order that a line is paused for a reason, now or from a moment on.

    `note` is for the subscriber's eyes: what to do. A subscriber may only ask for it (`requested`);
    `placed_by` of None is the system itself. The line is not charged while it is suspended;
    partners' products on it go on. The same key gives the first order again and changes nothing.

    Raises:
        InvalidInput: the reason or the treatment is unknown, or the day is past.
        OnlyForStaff: a subscriber names another reason than the own wish.
        LineNotLive: the line is not switched on, or has ended.
        AlreadySuspended: it is, or is about to be, suspended for this reason.
        OrderKeyReused: the key belongs to an order for something else.
    """
    _require_choice(reason, Reason.values, "reason")
    _require_choice(treatment, Treatment.values, "treatment")
    wish = Wish(
        line, Intent.SUSPEND, channel, placed_by, idempotency_key, at, wanted_from, note.strip(),
        {"suspension": reason, "treatment": treatment, "note": note.strip()},
    )  # fmt: skip
    _require_entitled(wish, reason)
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    if _is_open(held, reason) or _is_ordered(held, Intent.SUSPEND, reason):
        raise AlreadySuspended(f"{Reason(reason).label}: this is so already.", field="reason")
    return _place(wish, held, suspension=reason, treatment=treatment)


@transaction.atomic
def resume_line(
    *,
    line: Service,
    reason: str,
    note: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
) -> ProductOrder:
    """Order that one reason for which a line is paused is lifted; it works when it was the last.

    Raises:
        InvalidInput: the reason is unknown, or the day is past.
        OnlyForStaff: a subscriber would lift what was not the own wish.
        LineNotLive: the line has ended.
        NotSuspended: the line is not suspended for this reason, or it is being lifted already.
        OrderKeyReused: the key belongs to an order for something else.
    """
    _require_choice(reason, Reason.values, "reason")
    wish = Wish(
        line, Intent.RESUME, channel, placed_by, idempotency_key, at, wanted_from, note.strip(),
        {"suspension": reason, "note": note.strip()},
    )  # fmt: skip
    _require_entitled(wish, reason)
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    is_suspended = _is_open(held, reason) or _is_ordered(held, Intent.SUSPEND, reason)
    if not is_suspended or _is_ordered(held, Intent.RESUME, reason):
        raise NotSuspended(
            f"{Reason(reason).label}: the line is not suspended for this, or it is being lifted.",
            field="reason",
        )
    return _place(wish, held, suspension=reason)


@transaction.atomic
def cease_line(
    *,
    line: Service,
    reason: str = "",
    channel: str,
    placed_by: User | None,
    idempotency_key: str,
    at: datetime,
    wanted_from: datetime | None = None,
) -> ProductOrder:
    """Order that a line ends for good, now or on a day; until then the order can be cancelled.

    Its port, addresses, login and products are free then, its partners are told, and its last
    charges come with the bill of the period.

    Raises:
        InvalidInput: the day is past or too far off.
        LineNotLive: the line was never switched on, or has ended.
        ChangeUnderWay: another change of the line is not done yet.
        OrderKeyReused: the key belongs to an order for something else.
    """
    wish = Wish(
        line, Intent.CEASE, channel, placed_by, idempotency_key, at, wanted_from, reason.strip()
    )
    held = placing.lock_or_repeat(wish)
    if isinstance(held, ProductOrder):
        return held
    placing.require_no_open_change(held)
    order = placing.open_order(wish, expected_at=wish.starts_at + plan.OWN_WORK_TAKES)
    items = [
        placing.add_item(
            order, Line(service.offering, None, service.bundle), service, action=Action.DELETE
        )
        for service in [held, *placing.carried_by(held)]
    ]
    placing.create_tasks(order, items, at=at)
    placing.announce(order, [item.offering.code for item in items])
    return order


def _place(wish: Wish, line: Service, *, suspension: str, treatment: str = "") -> ProductOrder:
    order = placing.open_order(
        wish,
        expected_at=wish.starts_at + plan.OWN_WORK_TAKES,
        suspension=suspension,
        treatment=treatment,
    )
    kept = Line(line.offering, None, line.bundle)
    item = placing.add_item(order, kept, line, action=Action.NO_CHANGE)
    placing.create_tasks(order, [item], at=wish.at)
    placing.announce(order, [line.offering.code])
    return order


def _require_choice(value: str, choices: list[str], name: str) -> None:
    if value not in choices:
        raise InvalidInput(f"Use one of {', '.join(choices)}.", field=name)


def _require_entitled(wish: Wish, reason: str) -> None:
    """Subscribers pause their lines as they like, and leave alone what we paused."""
    if reason != Reason.REQUESTED and not wish.is_of_staff:
        raise OnlyForStaff("Please call us: we paused this line, and only we can lift it.")


def _is_open(line: Service, reason: str) -> bool:
    return line.suspensions.filter(reason=reason, ended_at__isnull=True).exists()


def _is_ordered(line: Service, intent: str, reason: str) -> bool:
    """Say whether such an order is on its way, as one that waits for its day is."""
    orders = ProductOrder.objects.filter(line=line, intent=intent, suspension=reason)
    return orders.exclude(state__in=CLOSED_ORDER).exists()
