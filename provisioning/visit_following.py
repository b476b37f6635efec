"""How the visit of an order follows what becomes of the order: another day, other products, none.

The caller has locked the order.
"""

from datetime import datetime

from ispops.parties.models import User
from provisioning import visiting, visits
from provisioning.models import Appointment, InstallSlot, ProductOrder


def follow_day(*, order: ProductOrder, actor: User | None, at: datetime) -> None:
    """Move a visit that would now be before the day of a locked order to that day, or after it.

    It stays where nothing is free then. Publishes `visit.moved`.
    """
    visit, day = visiting.visit_of(order), order.wanted_from
    if visit is not None and day is not None and at < visit.slot.starts_at < day:
        visits.move_on(order=order, visit=visit, actor=actor, at=at)


def keep_or_release(*, order: ProductOrder, actor: User | None, at: datetime) -> Appointment | None:
    """Keep the visit of a locked order that was filled anew, if what it is of now allows it.

    Whoever chose a time has planned with it, so another plan leaves it as it is. It is given back
    where nobody has to come any more, or to another area, or only on a later day. Publishes
    `visit.cancelled` then, with the reason. Returns the visit that was given back, if one was.
    """
    visit = visiting.visit_of(order)
    if visit is None:
        return None
    reason = _impossible(order, visit.slot)
    if not reason:
        visits.expect(order=order, slot=visit.slot, at=at)
        return None
    visits.release(order=order, visit=visit, actor=actor, reason=reason, at=at)
    return visit


def _impossible(order: ProductOrder, slot: InstallSlot) -> str:
    """Say why an order cannot have its visit in a slot any more; empty when it can."""
    if not visiting.is_visited(order):
        return "Nobody has to come for what is ordered now."
    if slot.area != visiting.area_of(order.premises):
        return "What is ordered now is for another area."
    if order.wanted_from and slot.starts_at < order.wanted_from:
        return "The time is before the day of the order."
    return ""


def give_back(*, order: ProductOrder, at: datetime) -> None:
    """Give the visit of a locked order back that is undone, if it has one."""
    visit = visiting.visit_of(order)
    if visit is not None:
        reason = "The order was taken back."
        visits.release(order=order, visit=visit, actor=None, reason=reason, at=at)
