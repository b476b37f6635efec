"""Changing an order that is under way, as long as it has not taken effect (figure 7).

Another day only moves the steps that wait for it. Other products or another plan are another order
in the same place: what was done is undone in reverse, as when an order is cancelled, and the order
is filled anew, in one transaction. So the port that is given back is taken again at once, and no
state in between can be seen. The old steps stay with the order, cancelled, as its history.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import (
    changing,
    execution,
    moving,
    orders,
    placing,
    plan,
    queries,
    visit_following,
)
from provisioning.models import OrderTask, ProductOrder
from provisioning.placing import Wish
from provisioning.transitions import CLOSED_ORDER, ORDER
from qualification.models import ServiceQualification

Intent = ProductOrder.Intent
State = ProductOrder.State


class TooLateToAmend(Refusal):
    code = "too_late_to_amend"
    title = "The order has taken effect already"


@transaction.atomic
def reschedule_order(
    *, order_id: UUID, wanted_from: datetime | None, actor: User | None, reason: str, at: datetime
) -> ProductOrder:
    """Let an order take effect on another day; None is as soon as it can.

    Publishes `order.amended`. Only its steps that wait for that day are moved, and the visit of a
    technician that would be before it. The same day again changes nothing.

    Raises:
        InvalidInput: the day is past or too far off.
        TooLateToAmend: it has taken effect, or was taken back.
        OnlyForStaff: a subscriber would move what we ordered.
    """
    order = _lock_open(order_id, actor)
    placing.require_day(wanted_from, at=at)
    if order.wanted_from == wanted_from:
        return order
    before, order.wanted_from = order.wanted_from, wanted_from
    order.expected_at = _expected_at(order, before, at)
    for task in order.tasks.exclude(item=None).order_by("position"):
        if not _is_of_old_line(order, task):
            begins_at = placing.day_of(order, task.kind)
            due_at = plan.due_at(
                task.kind, starts_at=max(at, begins_at or at), expected_at=order.expected_at
            )
            execution.move_to(task=task, begins_at=begins_at, due_at=due_at, at=at)
    if wanted_from and wanted_from > at and ORDER.allows(order.state, State.PENDING):
        order.state = State.PENDING if order.intent not in plan.NEW_LINES else order.state
    order.save(update_fields=["wanted_from", "expected_at", "state"])
    visit_following.follow_day(order=order, actor=actor, at=at)
    day = wanted_from.isoformat() if wanted_from else None
    _note(order, actor, reason, at, wanted_from=day)
    return order


@transaction.atomic
def amend_order(
    *,
    order_id: UUID,
    qualification: ServiceQualification | None = None,
    offering_codes: Sequence[str] = (),
    plan_code: str | None = None,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    boosts_until: datetime | None = None,
    actor: User | None,
    reason: str,
    at: datetime,
) -> ProductOrder:
    """Make an order one for another plan or other products. Publishes `order.amended`.

    A new line is named whole by `offering_codes`; of a line that is there, `plan_code`, `add`,
    `remove` and `boosts_until` say what shall become of it, instead of what was said before. The
    answer that the order rests on stays, unless another is given. Its day stays too, and so does
    the visit of a technician that is booked, unless it cannot be any more; see
    `visit_following.keep_or_release`.

    Raises:
        InvalidInput: it is not clear what is wanted, or the order is of no products.
        TooLateToAmend: it has taken effect, or was taken back.
        and what placing such an order raises: then the order stays as it was.
    """
    order = _lock_open(order_id, actor)
    if not queries.is_of_products(order):
        raise InvalidInput("This order is of no products. Cancel it instead.", field="order")
    promised = qualification or order.qualification
    execution.cancel_tasks(order=order, reason="The order was amended.", at=at)
    orders.undo(order, "The order was amended.", at)
    order.tasks.update(item=None)
    order.items.all().delete()
    order.qualification = promised
    if order.state == State.HELD:
        order.state = State.IN_PROGRESS
    order.save(update_fields=["qualification", "state"])
    if order.intent == Intent.NEW:
        if promised is None:
            raise ValueError(f"{order.pk} is a new line without a promise")
        orders.fill(order, promised, list(offering_codes), at)
    else:
        _fill_later(order, promised, plan_code, add, remove, boosts_until, at)
    visit_following.keep_or_release(order=order, actor=actor, at=at)
    _note(
        order, actor, reason, at,
        offerings=list(order.items.order_by("pk").values_list("offering__code", flat=True)),
    )  # fmt: skip
    return order


def _fill_later(
    order: ProductOrder,
    promised: ServiceQualification | None,
    plan_code: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    boosts_until: datetime | None,
    at: datetime,
) -> None:
    """Fill the order of a line that is there anew, with the line locked."""
    if order.line is None:
        raise ValueError(f"{order.pk} is about no line")
    asked = {"plan": plan_code, "add": sorted(add), "remove": sorted(remove)}
    wish = Wish(
        order.line, order.intent, order.channel, order.placed_by, order.idempotency_key, at,
        order.wanted_from, order.reason, order.asked | asked,
    )  # fmt: skip
    line = placing.lock_line(wish)
    if order.intent == Intent.CHANGE:
        wanted = changing.wanted_of(wish, line, plan_code, add, remove, boosts_until)
        changing.fill(wish, line, wanted, promised, order)
        return
    if promised is None:
        raise ValueError(f"{order.pk} is a new line without a promise")
    until = order.asked.get("old_line_until")
    old_line_until = datetime.fromisoformat(until) if until else None
    moving.fill(wish, line, promised, plan_code, add, remove, old_line_until, order)


def _lock_open(order_id: UUID, actor: User | None) -> ProductOrder:
    """Hold an order that has not taken effect."""
    order = db.lock(ProductOrder, order_id)
    orders.require_entitled(order, actor)
    done = order.tasks.filter(kind__in=plan.NO_RETURN, state=OrderTask.State.COMPLETED)
    if order.state in CLOSED_ORDER or done.exists():
        raise TooLateToAmend("It has taken effect, or was taken back. Place a new order instead.")
    return order


def _is_of_old_line(order: ProductOrder, task: OrderTask) -> bool:
    """Say whether a step ends the line that is moved from, which has a day of its own."""
    return order.intent in plan.NEW_LINES and task.kind in {
        plan.CEASE_SERVICE,
        plan.RELEASE_IN_DHCP,
        plan.CLEAR_EQUIPMENT,
        plan.APPLY_TO_SESSION,
    }


def _expected_at(order: ProductOrder, before: datetime | None, at: datetime) -> datetime:
    """Return until when an order should be done that has another day now."""
    takes = order.expected_at - (before or order.placed_at)
    starts_at = order.wanted_from or at
    if order.intent in plan.NEW_LINES:
        days = [item.offer.install_days or 0 for item in order.items.all() if item.offer]
        return max(order.placed_at + timedelta(days=max(days, default=0)), starts_at)
    return starts_at + takes


def _note(
    order: ProductOrder, actor: User | None, reason: str, at: datetime, **facts: object
) -> None:
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="order.amended",
        subject=order.public_id,
        subscriber=order.subscriber,
        reason=reason.strip(),
        at=at,
        **facts,
    )
    events.publish("order.amended", subject=order.public_id, at=at, **facts)
