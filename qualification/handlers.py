"""What qualification does when something happened; registered when Django starts."""

from typing import Any

from django.utils import timezone

from ispops import events
from qualification import reach, waitlist
from qualification.models import ServiceQualification


@events.on("coverage.changed", name="qualification.call_up_the_waitlist")
def call_up_the_waitlist(event: Any) -> None:
    """Who waits where a network has come is looked at again."""
    waitlist.call_up(
        provider_id=event.payload["provider_id"], changed_at=event.occurred_at, at=timezone.now()
    )


@events.on("coverage.changed", name="qualification.refresh_reached_cells")
def refresh_reached_cells(event: Any) -> None:
    """The cells that a network reaches are worked out anew."""
    reach.refresh(provider_id=event.payload["provider_id"], at=timezone.now())


@events.on("qualification.settled", name="qualification.waitlist_takes_the_answer")
def waitlist_takes_the_answer(event: Any) -> None:
    """What was asked for somebody on the waitlist has been answered."""
    key = ServiceQualification.key_of(event.subject)
    if key is not None:
        waitlist.take_settled(answer_id=key, at=timezone.now())
