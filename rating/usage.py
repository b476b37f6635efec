"""Usage: recorded once, guided, rated, and tried again when something was missing (figure 9A).

Recording only stores; workers rate what is stored, in batches of one transaction each, so that a
crash at any point and another run give the same result. A use of a product that has no price by
use is included in what the product costs: it is rated without a charge.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError, transaction

from ispops import db, jobs
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import Partner, User
from rating import engine, metered, partitions, storing
from rating.guiding import Guided, PartnerGuide, guide_again
from rating.lanes import lane_of
from rating.sessions import close_stale, meter_accounting
from rating.usage_events import UnusableEvent, UsageEvent, event_id_of, read_event
from rating.used import Usage, WaitingUsage

__all__ = [
    "RowResult",
    "close_stale",
    "meter_accounting",
    "rate_usage",
    "record_usage",
    "recycle",
]
log = logging.getLogger(__name__)
MOST_EVENTS = 10_000


class RowResult(NamedTuple):
    """What became of one reported event.

    `status` is `accepted` (it will be rated), `duplicate` (known already, nothing changed),
    `conflict` (known with other content; the first stays) or `error`. An error with the field of
    the event named in `field` was not stored: correct it and send it again. An error without one is
    stored and waits for a person.
    """

    event_id: str
    status: str
    code: str = ""
    reason: str = ""
    field: str = ""


@transaction.atomic
def record_usage(
    *, partner: Partner, events: Sequence[Any], received_at: datetime
) -> list[RowResult]:
    """Store what a partner reports; returns one result for each event, in their order.

    An event id counts once for ever for each partner. Good rows are kept whatever the others are.

    Raises:
        InvalidInput: there are no events, or more than `MOST_EVENTS`.
    """
    if not 0 < len(events) <= MOST_EVENTS:
        raise InvalidInput(f"Send 1 to {MOST_EVENTS:,} events at once.", field="events")
    if partner.code == metered.SOURCE:
        raise InvalidInput("This partner's code is the name of our own metering.", field="partner")
    read = [_read(row, received_at) for row in events]
    first: dict[str, UsageEvent] = {}
    for event in read:
        if isinstance(event, UsageEvent):
            first.setdefault(event.event_id, event)
    guide = PartnerGuide(
        partner,
        (event.subscriber_ref for event in first.values()),
        (event.offering for event in first.values()),
    )
    guided = {
        event.event_id: guide.guide(event.subscriber_ref, event.offering, event.started_at)
        for event in first.values()
    }
    answers = _store(partner, first, guided, received_at)
    results = []
    for event in read:
        if isinstance(event, RowResult):
            results.append(event)
        else:
            results.append(_result(event, first[event.event_id], guided, answers))
    if any(result.status == "accepted" for result in results):
        _rate_soon()
    return results


def _read(row: Any, received_at: datetime) -> UsageEvent | RowResult:
    try:
        return read_event(row, received_at)
    except UnusableEvent as wrong:
        return RowResult(event_id_of(row), "error", "invalid_event", str(wrong), wrong.field)


def _store(
    partner: Partner,
    events: dict[str, UsageEvent],
    guided: dict[str, Guided],
    received_at: datetime,
) -> dict[str, str]:
    """Store the events that are not known; returns what became of each, by its id."""
    uses = [
        storing.Reported(
            source=partner.code,
            event_id=event_id,
            content=event.said,
            subscriber_ref=event.subscriber_ref,
            product_ref=event.offering,
            guided=guided[event_id],
            started_at=event.started_at,
            ended_at=event.ended_at,
            quantity=event.quantity,
            unit=event.unit,
            attributes=event.attributes,
        )
        for event_id, event in events.items()
    ]
    answers = storing.store(uses=uses, received_at=received_at)
    return dict(zip(events, answers, strict=True))


def _result(
    event: UsageEvent,
    first: UsageEvent,
    guided: dict[str, Guided],
    answers: dict[str, str],
) -> RowResult:
    """Answer one event; of those that came with one id in one report, the first is stored."""
    answer = answers[event.event_id]
    if answer == "other" or (event is not first and event.said != first.said):
        return RowResult(
            event.event_id,
            "conflict",
            "event_id_reused",
            "This event id came before with other content, which stays. Use a new id.",
        )
    if answer == "known" or event is not first:
        return RowResult(event.event_id, "duplicate")
    to = guided[event.event_id]
    if to.error_code:
        return RowResult(event.event_id, "error", to.error_code, to.error)
    return RowResult(event.event_id, "accepted")


def _rate_soon() -> None:
    from rating.tasks import rate_stored_usage

    jobs.send_on_commit(rate_stored_usage)


def rate_usage(*, at: datetime, limit: int = 100_000) -> int:
    """Rate up to `limit` stored uses; returns how many were settled, as rated or in error.

    Each becomes one rated use, or none where its product has no price by use. Safe to run in any
    number of workers: each takes lanes of subscribers that no other holds. A use that breaks its
    batch is found by taking ever fewer, and goes to the error queue.
    """
    while True:
        try:
            with transaction.atomic():
                return engine.rate_batch(at=at, limit=limit)
        except (ArithmeticError, ValueError, DataError, IntegrityError) as error:
            if limit == 1 or not engine.concerns_a_use(error):
                raise
            log.exception("a batch of %s uses could not be rated; taking fewer", limit)
            limit //= 2


@transaction.atomic
def recycle(*, usage_ids: Iterable[int], actor: User | None, at: datetime) -> int:
    """Guide usage in error again and send what has a subscriber now to be rated.

    Returns how many left the error queue; the others stay, with the reason of today. Usage that is
    not in error, or of a month that is closed, is passed over.
    """
    waiting = list(
        Usage.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk__in=list(usage_ids), pk__gte=partitions.first_open_id())
        .exclude(error_code__in=["", *metered.FOR_GOOD])
        .order_by("pk")
    )
    freed = []
    for usage, guided in guide_again(waiting, metered.SOURCE):
        usage.subscriber_id, usage.service_id = guided.subscriber_id, guided.service_id
        usage.offering_id = guided.offering_id
        usage.error_code, usage.error = guided.error_code, guided.error
        usage.save(update_fields=["subscriber", "service", "offering", "error_code", "error"])
        if guided.subscriber_id is not None and not guided.error_code:
            lane = lane_of(guided.subscriber_id)
            freed.append(WaitingUsage(first=usage.pk, last=usage.pk, lane=lane))
        audit.record(
            actor=actor,
            actor_name="" if actor else "system",
            action="usage.recycled",
            subject=db.opaque_id("usg", usage.pk),
            at=at,
            outcome=usage.error_code or "received",
        )
    if freed:
        storing.queue(freed)
        _rate_soon()
    return len(freed)
