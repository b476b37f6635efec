"""What came of a technician's visit: the work was done, it was in vain, or nobody has to come.

A line goes live when the visit of its order was made. An order whose visit was in vain waits until
its subscriber, or somebody for them, has chosen another time. An order is locked before its visit,
and its steps after.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops import db, events
from ispops.errors import IllegalTransition, InvalidInput, NotFound, Refusal
from ispops.parties.models import User
from provisioning import plan, progress, visiting, visits
from provisioning.models import Appointment, OrderTask, ProductOrder, TaskAttempt

State = Appointment.State
MOST_CHARACTERS = 300


class NoVisitAwaited(Refusal):
    code = "no_visit_awaited"
    title = "The order does not wait for a visit"


def await_visit(*, order: ProductOrder, at: datetime) -> tuple[str, bool]:
    """Return, of a locked order whose line is ready, what comes of its visit in words, and whether
    the order waits for it. Publishes `visit.needed` where the subscriber has to choose one.

    Nobody is waited for where no visit can be had by the calendar: it has ended, or a person has
    passed over the booking because it was settled otherwise.
    """
    if made := visiting.made_visit_of(order):
        return f"Our technician was there: {made.note}", False
    booked = visiting.visit_of(order)
    if booked is not None:
        return f"Our technician comes on {visiting.in_words(booked.slot)}.", True
    is_kept = visiting.has_calendar(visiting.area_of(order.premises), at=at)
    if not is_kept or visiting.last_visit_of(order) is None:
        return "No visit is booked in the calendar: nobody is waited for.", False
    events.publish("visit.needed", subject=order.public_id, at=at)
    return "The subscriber has to choose when the technician comes.", True


@transaction.atomic
def complete_visit(*, visit_id: UUID, actor: User, note: str, at: datetime) -> Appointment:
    """Say that the technician was there and the work is done; the order goes on.

    It may have been sooner than planned. Publishes `visit.done`; saying it again changes nothing.

    Raises:
        NotFound: there is no such visit.
        InvalidInput: there is no note.
        IllegalTransition: the visit is over in another way.
    """
    order, visit = _lock(visit_id)
    if visit.state == State.DONE:
        return visit
    words = _said(note, "Say in a few words what was done.")
    _close(visit, State.DONE, actor, words, at)
    visits.tell("visit.done", order=order, actor=actor, reason=words, at=at)
    task = _waiting_step(order)
    if task is not None:
        progress.note(task, TaskAttempt.Outcome.DONE, f"Our technician was there: {words}", at)
        progress.finish([task], OrderTask.State.COMPLETED, at)
        progress.send_tasks(progress.settle(order, at))
    return visit


@transaction.atomic
def fail_visit(
    *, visit_id: UUID, failure: str, actor: User, note: str, at: datetime
) -> Appointment:
    """Say that the technician came in vain, and why; the subscriber has to choose another time.

    Publishes `visit.failed`; saying it again changes nothing.

    Raises:
        NotFound: there is no such visit.
        InvalidInput: there is no note, or no such `failure`; or the visit has not begun, and can be
            moved instead.
        IllegalTransition: the visit is over in another way.
    """
    order, visit = _lock(visit_id)
    if visit.state == State.FAILED:
        return visit
    if failure not in Appointment.Failure.values:
        raise InvalidInput("Say whether nobody was at home or it was not possible.",
                           field="failure")  # fmt: skip
    words = _said(note, "Say what was in the way, for whoever comes next.")
    if visit.slot.starts_at > at:
        raise InvalidInput("This visit has not begun. Move or cancel it instead.", field="failure")
    visit.failure = failure
    _close(visit, State.FAILED, actor, words, at)
    visits.tell(
        "visit.failed", order=order, actor=actor, reason=words, at=at, failure=failure,
        visit=visit.public_id,
    )  # fmt: skip
    task = _waiting_step(order)
    if task is not None:
        why = f"{visit.get_failure_display()}: {words} Another visit is needed."
        progress.note(task, TaskAttempt.Outcome.AWAITING, why, at)
    visits.expect_choice(order=order, at=at)
    return visit


@transaction.atomic
def go_without_visit(*, order_id: UUID, actor: User, reason: str, at: datetime) -> ProductOrder:
    """Let an order go on without the visit that it waits for; a visit that is booked is cancelled.

    Raises:
        InvalidInput: there is no reason.
        NoVisitAwaited: the order waits for no visit, or not yet.
    """
    words = _said(reason, "Say why nobody has to come.")
    order = db.lock(ProductOrder, order_id)
    task = _waiting_step(order)
    if task is None:
        raise NoVisitAwaited("This order does not wait for a visit.")
    booked = visiting.visit_of(order)
    progress.note(task, TaskAttempt.Outcome.SKIPPED, f"{actor}: {words}", at)
    progress.finish([task], OrderTask.State.SKIPPED, at)
    visits.tell("visit.waived", order=order, actor=actor, reason=words, at=at)
    if booked is not None:
        visits.release(order=order, visit=booked, actor=actor, reason=words, at=at)
    progress.send_tasks(progress.settle(order, at))
    return order


def _lock(visit_id: UUID) -> tuple[ProductOrder, Appointment]:
    """Hold the order of a visit, then read the visit."""
    order_id = Appointment.objects.filter(pk=visit_id).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NotFound("There is no such visit.")
    order = db.lock(ProductOrder, order_id)
    return order, Appointment.objects.select_related("slot").get(pk=visit_id)


def _close(visit: Appointment, state: str, actor: User, words: str, at: datetime) -> None:
    if visit.state != State.BOOKED:
        raise IllegalTransition(f"This visit is over: {visit.get_state_display().lower()}.")
    visit.closed_by, visit.note = actor, words
    visits.close(visit, state, at)


def _waiting_step(order: ProductOrder) -> OrderTask | None:
    """Hold the step of a locked order that waits for its visit, if it has come to that."""
    waiting = order.tasks.filter(kind=plan.INSTALL_VISIT, state=OrderTask.State.AWAITING)
    keys = list(waiting.values_list("pk", flat=True))
    tasks = progress.lock_tasks(order.pk, keys)
    for task in tasks:
        task.order = order
    return tasks[0] if tasks else None


def _said(text: str, ask: str) -> str:
    words = text.replace("\0", "").strip()[:MOST_CHARACTERS]
    if not words:
        raise InvalidInput(ask, field="note")
    return words
