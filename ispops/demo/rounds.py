"""What workers and partners would have done at a moment of the demonstration's past.

No worker runs while the demonstration is loaded, and none could work yesterday. So each of these
calls the verbs that a worker's task would call, with the time that it was then.
"""

from datetime import datetime, timedelta

from ispops import events
from ispops.notices import delivery
from ispops.notices.models import Notice
from provisioning import execution, partner_orders, sessions
from provisioning.models import ServiceOrder
from rating import posting, usage, watching

STEPS_AT_ONCE = 100
MESSAGES_AT_ONCE = 1_000
# More rounds than any order of the demonstration takes; it must not hang for an order that does.
MOST_ROUNDS = 20
SENT_WITHIN = timedelta(minutes=1)


def work(at: datetime) -> None:
    """Do what is to be done of orders and events; the partners confirm what they are asked."""
    for _ in range(MOST_ROUNDS):
        done = execution.run_due(at=at, limit=STEPS_AT_ONCE)
        done += _confirm(at)
        done += _tell(at)
        if not done:
            return


def _confirm(at: datetime) -> int:
    asked = ServiceOrder.objects.filter(state=ServiceOrder.State.ACKNOWLEDGED, requested_at__lte=at)
    waiting = list(asked.select_related("partner").order_by("pk"))
    for order in waiting:
        reference = f"{order.partner.code}-{order.public_id[-8:]}"
        partner_orders.complete(
            service_order_id=order.pk, partner=order.partner, reference=reference, at=at
        )
    return len(waiting)


def _tell(at: datetime) -> int:
    due = events.due_deliveries(at=at, limit=MESSAGES_AT_ONCE)
    return sum(events.deliver(delivery_id=key, at=at) for key in due)


def count(at: datetime) -> None:
    """Follow and rate what access servers and partners have told, and see whom it concerns."""
    sessions.follow_accounting(at=at, limit=MESSAGES_AT_ONCE)
    while usage.meter_accounting(at=at, limit=MESSAGES_AT_ONCE):
        pass
    while usage.rate_usage(at=at):
        pass


def end_day(at: datetime) -> None:
    """Count what came in a day, charge it, and write to whom it concerns."""
    count(at)
    watching.look(at=at)
    posting.post_rated_usage(until=at - posting.COMMITTED_WITHIN)
    work(at)


def send_letters(at: datetime) -> None:
    """Send what waits, each letter as soon after its cause as it was due; outside a transaction."""
    waiting = Notice.objects.filter(state=Notice.State.PENDING, next_attempt_at__lte=at)
    for channel, due_at in waiting.order_by("next_attempt_at", "pk").values_list(
        "channel", "next_attempt_at"
    ):
        if due_at is not None:
            delivery.deliver_next(channel=channel, at=due_at + SENT_WITHIN)
