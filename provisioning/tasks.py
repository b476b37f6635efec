"""Celery's way in to orders. The rows are the queue; see `ispops.jobs`."""

import time

from celery import shared_task
from django.utils import timezone

from provisioning import (
    accounting_parts,
    boosts,
    delivering,
    equipment,
    execution,
    inbox,
    jeopardy,
    lease_following,
    partner_orders,
    reminders,
    reservations,
    sessions,
    slowing,
    steering,
)

STEPS_AT_A_TIME = 20
# A little less than the sweep's interval, so that sweeps do not pile up in front of the messages
# of new orders, and one of them always works on what has waited.
SWEEP_SECONDS = 4.5
LETTERS_PER_SWEEP = 100
MESSAGES_A_BATCH = 5_000
# A sweep gives way after so much, so that no kind of work keeps a worker for itself.
BATCHES = 20
SESSIONS_PER_SWEEP = 100
RESERVATIONS_PER_SWEEP = 200
DEVICES_PER_SWEEP = 2
DELIVERING_SECONDS = 10.0
# A provider whose answer drips in must not hold a worker for ever; its lease runs out before.
LONGEST_VISIT_SECONDS = 180


@shared_task
def run_task(*, task_id: int) -> None:
    """Run one step of an order soon after it became ready, and what becomes ready by it."""
    execution.run_task(task_id=task_id, at=timezone.now())


@shared_task
def run_due_tasks() -> None:
    """Run the steps whose message or worker was lost, and close what partners did not answer."""
    partner_orders.time_out_due(at=timezone.now())
    until = time.monotonic() + SWEEP_SECONDS
    while execution.run_due(at=timezone.now(), limit=STEPS_AT_A_TIME):
        if time.monotonic() > until:
            break


@shared_task
def end_boosts() -> None:
    """End the speed boosts whose time is over."""
    until = time.monotonic() + SWEEP_SECONDS
    while boosts.end_next(at=timezone.now()) and time.monotonic() < until:
        pass


@shared_task
def end_slowdowns() -> None:
    """Give lines their speed back whose billing period is over."""
    until = time.monotonic() + SWEEP_SECONDS
    while slowing.end_next(at=timezone.now()) and time.monotonic() < until:
        pass


@shared_task
def mark_late_tasks() -> None:
    """Show which steps are late."""
    jeopardy.mark_late(at=timezone.now())


@shared_task
def read_accounting_inbox() -> None:
    """Make accounting records of what FreeRADIUS has left; metering takes them by its own sweep."""
    for _ in range(BATCHES):
        if inbox.read_inbox(limit=MESSAGES_A_BATCH) < MESSAGES_A_BATCH:
            break


@shared_task
def tend_registrations() -> None:
    """Write to those who left a registration, and give up what has expired."""
    for _ in range(LETTERS_PER_SWEEP):
        if not reminders.remind_next(at=timezone.now()):
            break
    reminders.forget_expired(at=timezone.now())


@shared_task
def follow_sessions() -> None:
    """Bring the list of sessions up to date with the accounting inbox, and steer what is new."""
    followed = 0
    for _ in range(BATCHES):
        taken = sessions.follow_accounting(at=timezone.now(), limit=MESSAGES_A_BATCH)
        followed += taken
        if taken < MESSAGES_A_BATCH:
            break
    if followed:
        steering.steer_due(at=timezone.now(), limit=SESSIONS_PER_SWEEP)


@shared_task
def tend_accounting() -> None:
    """Make room for the messages to come, and let go of those that are read and old."""
    accounting_parts.tend_parts(at=timezone.now())


@shared_task
def steer_sessions() -> None:
    """Bring live sessions up to date with what their lines may do."""
    steering.steer_due(at=timezone.now(), limit=SESSIONS_PER_SWEEP)


@shared_task
def sync_reservations() -> None:
    """Tell DHCP servers of what no step of an order told them, or told them in vain."""
    reservations.sync_due(at=timezone.now(), limit=RESERVATIONS_PER_SWEEP)


@shared_task(time_limit=LONGEST_VISIT_SECONDS)
def follow_leases() -> None:
    """Read what Kea servers gave and refused since the last time."""
    until = time.monotonic() + SWEEP_SECONDS
    lease_following.follow_due(at=timezone.now(), may_go_on=lambda: time.monotonic() < until)


@shared_task(time_limit=LONGEST_VISIT_SECONDS)
def sync_equipment() -> None:
    """Configure the devices that no step of an order waits for, or waited for in vain."""
    equipment.sync_due(at=timezone.now(), limit=DEVICES_PER_SWEEP)


@shared_task
def close_stale_sessions() -> None:
    """Close the sessions from which nothing was heard for too long."""
    sessions.close_stale(at=timezone.now())


@shared_task(time_limit=LONGEST_VISIT_SECONDS)
def deliver(*, delivery_id: int) -> None:
    """Call a provider about one order, soon after there is something to say."""
    delivering.deliver(delivery_id=delivery_id, at=timezone.now())


@shared_task(time_limit=LONGEST_VISIT_SECONDS)
def deliver_due() -> None:
    """Look after orders of which nothing was heard, and do what lost its message or its worker."""
    started = time.monotonic()
    while delivering.deliver_next(at=timezone.now()):
        if time.monotonic() - started > DELIVERING_SECONDS:
            return
