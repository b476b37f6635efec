"""Usage: recorded once, guided, rated, and tried again when something was missing (figure 9A).

Recording only stores; workers rate what is stored, in batches of one transaction each, so that a
crash at any point and another run give the same result. A use of a product that has no price by
use is included in what the product costs: it is rated without a charge.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DataError, connection, transaction
from psycopg2.extras import Json

from ispops import bulk, db, jobs
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import Partner, User
from rating import sessions
from rating.batch import Batch, Fault, Rated
from rating.guiding import Guided, PartnerGuide, guide_again
from rating.models import Usage
from rating.sessions import close_stale, meter_accounting
from rating.usage_events import UnusableEvent, UsageEvent, event_id_of, read_event

__all__ = [
    "RowResult",
    "close_stale",
    "meter_accounting",
    "rate_usage",
    "record_usage",
    "recycle",
]
log = logging.getLogger(__name__)
State = Usage.State
MOST_EVENTS = 10_000

_INSERT = """
INSERT INTO rating_usage (source, event_id, fingerprint, subscriber_ref, product_ref,
    subscriber_id, service_id, offering_id, started_at, ended_at, quantity, unit, attributes,
    received_at, state, error_code, error)
VALUES %s ON CONFLICT (source, event_id) DO NOTHING RETURNING event_id
"""


@dataclass(frozen=True, slots=True)
class RowResult:
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
    if partner.code == sessions.SOURCE:
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
    stored = _store(partner, first, guided, received_at)
    known = dict(
        Usage.objects.filter(source=partner.code, event_id__in=first).values_list(
            "event_id", "fingerprint"
        )
    )
    results = []
    for event in read:
        if isinstance(event, RowResult):
            results.append(event)
        else:
            is_new = event.event_id in stored
            stored.discard(event.event_id)
            results.append(_result(event, known, guided[event.event_id], is_new=is_new))
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
) -> set[str]:
    """Insert the events that are not known; returns their ids.

    They go in by the order of their ids, so that two reports of the same events wait for each
    other instead of locking each other out.
    """
    rows = []
    for event_id, event in sorted(events.items()):
        to = guided[event_id]
        rows.append(
            (
                partner.code,
                event_id,
                event.fingerprint,
                event.subscriber_ref,
                event.offering,
                to.subscriber_id,
                to.service_id,
                to.offering_id,
                event.started_at,
                event.ended_at,
                event.quantity,
                event.unit,
                Json(event.attributes),
                received_at,
                State.ERROR if to.error_code else State.RECEIVED,
                to.error_code,
                to.error,
            )
        )
    return {row[0] for row in bulk.insert_returning(_INSERT, rows)} if rows else set()


def _result(event: UsageEvent, known: dict[str, str], guided: Guided, *, is_new: bool) -> RowResult:
    if known[event.event_id] != event.fingerprint:
        return RowResult(
            event.event_id,
            "conflict",
            "event_id_reused",
            "This event id came before with other content, which stays. Use a new id.",
        )
    if not is_new:
        return RowResult(event.event_id, "duplicate")
    if guided.error_code:
        return RowResult(event.event_id, "error", guided.error_code, guided.error)
    return RowResult(event.event_id, "accepted")


def _rate_soon() -> None:
    from rating.tasks import rate_stored_usage

    jobs.send_on_commit(rate_stored_usage)


def rate_usage(*, at: datetime, limit: int = 10_000) -> int:
    """Rate up to `limit` stored uses; returns how many were settled, as rated or in error.

    Each gets one charge, caused by `usage:<id>`, or none where its product has no price by use.
    Safe to run in any number of workers: each takes uses that no other holds, and counters are
    locked in one order. A use that breaks its batch is found by rating them one by one, and goes
    to the error queue.
    """
    try:
        with transaction.atomic():
            return _rate(at, limit)
    except (ArithmeticError, ValueError, DataError):
        if limit == 1:
            raise
        log.exception("a batch of usage could not be rated; rating its rows one by one")
    return _rate_one_by_one(at, limit)


def _rate(at: datetime, limit: int) -> int:
    batch = Batch.take(limit)
    return _settle(batch.rate(at)) if batch.rows else 0


def _rate_one_by_one(at: datetime, limit: int) -> int:
    done = 0
    for _ in range(limit):
        with transaction.atomic():
            batch = Batch.take(1)
            if not batch.rows:
                break
            try:
                with transaction.atomic():
                    _settle(batch.rate(at))
            except (ArithmeticError, ValueError, DataError) as error:
                _settle(Rated(errors=[(batch.rows[0].id, Fault("not_ratable", str(error)[:300]))]))
            done += 1
    return done


def _settle(rated: Rated) -> int:
    """Write the charges of a batch and the state of its usage."""
    rated.write_charges()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rating_usage SET state = 'rated' WHERE id = ANY(%s)", [rated.done])
    if rated.errors:
        bulk.update_rows(
            "rating_usage",
            "id",
            {"id": "bigint", "state": "text", "error_code": "text", "error": "text"},
            [(key, State.ERROR, *fault) for key, fault in rated.errors],
        )
    return len(rated.done) + len(rated.errors)


@transaction.atomic
def recycle(*, usage_ids: Iterable[int], actor: User | None, at: datetime) -> int:
    """Guide usage in error again and send what has a subscriber now to be rated.

    Returns how many left the error queue; the others stay, with the reason of today. Usage that is
    not in error is passed over.
    """
    waiting = list(
        Usage.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk__in=list(usage_ids), state=State.ERROR)
        .exclude(error_code="implausible_counter")
        .order_by("pk")
    )
    freed = 0
    for usage, guided in guide_again(waiting, sessions.SOURCE):
        usage.subscriber_id, usage.service_id = guided.subscriber_id, guided.service_id
        usage.offering_id = guided.offering_id
        usage.error_code, usage.error = guided.error_code, guided.error
        usage.state = State.ERROR if guided.error_code else State.RECEIVED
        usage.save(
            update_fields=["subscriber", "service", "offering", "error_code", "error", "state"]
        )
        freed += usage.state == State.RECEIVED
        audit.record(
            actor=actor,
            actor_name="" if actor else "system",
            action="usage.recycled",
            subject=db.opaque_id("usg", usage.pk),
            at=at,
            outcome=usage.error_code or "received",
        )
    if freed:
        _rate_soon()
    return freed
