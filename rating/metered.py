"""What metering stores: the uses of sessions, and messages that count nothing.

A message that cannot be true, or that the database refuses, is kept as use in error of no quantity:
a person sees it where all such use is seen, and it is never sent to be rated.
"""

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from django.db import IntegrityError, transaction

from provisioning.models import AccountingRecord
from rating import storing
from rating.guiding import Guided
from rating.storing import Reported
from rating.usage_ids import MOST_AT_ONCE

log = logging.getLogger(__name__)

SOURCE = "network"
UNIT = "byte"
_COUNTERS, _AGE, _REFUSED = "implausible_counter", "implausible_age", "uncountable_message"
# What no other line and no other plan puts right, so it is not guided again.
FOR_GOOD = (_COUNTERS, _AGE, _REFUSED)


class Message(Protocol):
    """What is kept of an accounting message that counts nothing."""

    @property
    def pk(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def event_at(self) -> datetime: ...
    @property
    def session_seconds(self) -> int: ...


def use(
    *,
    event_id: str,
    username: str,
    guided: Guided,
    started_at: datetime,
    ended_at: datetime,
    quantity: int,
    facts: dict[str, Any],
) -> Reported:
    """Return a use as our own metering tells it."""
    return Reported(
        source=SOURCE,
        event_id=event_id,
        content=json.dumps(facts),
        subscriber_ref=username,
        product_ref="",
        guided=guided,
        started_at=started_at,
        ended_at=ended_at,
        quantity=quantity,
        unit=UNIT,
        attributes=facts,
    )


def damaged(message: Message) -> Reported:
    """Keep a message whose counters cannot be true where a person sees it; it counts nothing."""
    log.warning("accounting record %s has counters that cannot be true", message.pk)
    words = "The device's counters cannot be true. Look at the device."
    return _kept(message, _COUNTERS, words)


def doubted(message: Message, *, session_id: int) -> Reported:
    """Keep that a session's age cannot be true, once for each; its octets are counted elsewhere."""
    words = (
        f"The device says that this session is {message.session_seconds:,} seconds old, which "
        "cannot be. What it carried counts at the times of its messages. Look at the device."
    )
    return _kept(message, _AGE, words)._replace(event_id=f"{session_id}/age")


def store(*, uses: Sequence[Reported], at: datetime) -> None:
    """Store uses, and see to it that no octets count that counted before, whatever the marks say.

    Raises:
        IntegrityError: a slice is known already.
    """
    for start in range(0, len(uses), MOST_AT_ONCE):
        some = uses[start : start + MOST_AT_ONCE]
        if any(answer != "new" for answer in storing.store(uses=some, received_at=at)):
            raise IntegrityError("a slice of a session was counted before")


def store_once(*, uses: Sequence[Reported], at: datetime) -> None:
    """Store uses that count nothing; those of an id that is known are told already."""
    for start in range(0, len(uses), MOST_AT_ONCE):
        storing.store(uses=uses[start : start + MOST_AT_ONCE], received_at=at)


def put_aside(*, record_id: int, error: Exception, at: datetime) -> None:
    """Keep a stored message that cannot be counted, so that it does not stop the others."""
    log.error("accounting record %s cannot be counted", record_id, exc_info=error)
    message = AccountingRecord.objects.filter(pk=record_id).first()
    if message is not None:
        words = f"This message cannot be counted. {error}"
        with transaction.atomic():
            store(uses=[_kept(message, _REFUSED, words[:300])], at=at)


def _kept(message: Message, code: str, words: str) -> Reported:
    return use(
        event_id=f"record/{message.pk}",
        username=message.username,
        guided=Guided(error_code=code, error=words),
        started_at=message.event_at,
        ended_at=message.event_at,
        quantity=0,
        facts={"accounting_record": message.pk},
    )
