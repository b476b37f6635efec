"""Celery's way in to notices. The rows are the queue; see `ispops.jobs`."""

import time

from celery import shared_task
from django.utils import timezone

from ispops import jobs
from ispops.notices import delivery
from ispops.notices.catalogue import CHANNELS

# A task gives way after this, so that letters do not keep a worker for themselves.
SENDING_SECONDS = 10.0
# A mail server that drips must not hold a worker for ever; the lease runs out before.
LONGEST_SECONDS = 90


@shared_task(time_limit=LONGEST_SECONDS)
def send_notices(*, channel: str) -> None:
    """Send what is due on a channel, soon after it was written."""
    started = time.monotonic()
    while delivery.deliver_next(channel=channel, at=timezone.now()):
        if time.monotonic() - started > SENDING_SECONDS:
            jobs.send(send_notices, channel=channel)
            return


@shared_task
def send_due_notices() -> None:
    """Go on with what is due again, and with what lost its message or its worker."""
    for channel in CHANNELS:
        jobs.send(send_notices, channel=channel)
