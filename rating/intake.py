"""The one way in for what partners report, whether it comes in a call, a stream or a file.

Here a report gets what `usage.record_usage` needs no knowledge of: rows that could not even be
read, units that no price of the product counts, and the keeping of contradictions.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from psycopg2.extras import Json

from ispops import bulk
from ispops.errors import InvalidInput
from ispops.parties.models import Partner
from rating import culprits, reported, usage
from rating.usage import RowResult
from rating.usage_events import LONGEST_CODE, UnusableEvent, event_id_of, read_event

_UNKNOWN = "This cannot be stored as it is. Look for what is unusual in it, or call us."
_KEEP = """
INSERT INTO rating_usageconflict
    (source, event_id, digest, kept, told, times, first_at, last_at)
VALUES %s ON CONFLICT (source, event_id, digest) DO UPDATE
SET times = rating_usageconflict.times + EXCLUDED.times, last_at = EXCLUDED.last_at
RETURNING event_id
"""


def unreadable(error: UnusableEvent) -> RowResult:
    """Return what becomes of a row that is no event at all."""
    return RowResult("", "error", "unreadable", str(error), error.field)


@transaction.atomic
def take_in(*, partner: Partner, rows: Sequence[Any], received_at: datetime) -> list[RowResult]:
    """Store what a partner reports; returns one result for each row, in their order.

    A row that is a `RowResult` already was refused before and is handed through. A unit that the
    product is not priced by is refused, to be sent again; see `usage.record_usage` for the rest.
    Events that contradict what is known are kept beside it.

    Raises:
        InvalidInput: there are no rows, or more than `usage.MOST_EVENTS`.
    """
    if not 0 < len(rows) <= usage.MOST_EVENTS:
        raise InvalidInput(f"Send 1 to {usage.MOST_EVENTS:,} events at once.", field="events")
    rows = _checked(partner, rows)
    events = [row for row in rows if not isinstance(row, RowResult)]
    answers = culprits.without(
        lambda some: usage.record_usage(partner=partner, events=some, received_at=received_at),
        events,
        lambda event: RowResult(event_id_of(event), "error", "invalid_event", _UNKNOWN, "event"),
    )
    told = [
        event for event, answer in zip(events, answers, strict=True) if answer.status == "conflict"
    ]
    if told:
        _keep_contradictions(partner, told, received_at)
    left = iter(answers)
    return [row if isinstance(row, RowResult) else next(left) for row in rows]


def _checked(partner: Partner, rows: Sequence[Any]) -> list[Any]:
    """Refuse what is no event at all, or in a unit that the product is not priced by."""
    codes = {
        code.strip()
        for row in rows
        if isinstance(row, Mapping)
        and isinstance(code := row.get("offering"), str)
        and len(code) <= LONGEST_CODE
        and code.isprintable()
    }
    units = reported.priced_units(partner, codes)
    return [_checked_row(row, units) for row in rows]


def _checked_row(row: Any, units: Mapping[str, set[str]]) -> Any:
    if isinstance(row, RowResult):
        return row
    if not isinstance(row, Mapping):
        return RowResult("", "error", "invalid_event", "Send each event as an object.", "event")
    code, unit = row.get("offering"), row.get("unit")
    if not isinstance(code, str) or not isinstance(unit, str):
        return row
    known = units.get(code.strip())
    if not known or unit.strip() in known:
        return row
    words = " or ".join(sorted(known))
    reason = f"This product is counted by the {words}. Send it in that unit."
    return RowResult(event_id_of(row), "error", "wrong_unit", reason, "unit")


def _keep_contradictions(partner: Partner, told: Sequence[Any], at: datetime) -> None:
    """Keep both contents; the same contradiction that comes again is counted."""
    events = [read_event(row, at) for row in told]
    kept = reported.contents(partner.code, {event.event_id for event in events})
    # The content that counts may be of a month that was put away.
    times = Counter(
        (event.event_id, json.dumps(reported.content(event, event.offering), sort_keys=True))
        for event in events
    )
    rows = [
        (
            partner.code, event_id, hashlib.sha256(said.encode()).hexdigest(),
            Json(kept.get(event_id, {})), Json(json.loads(said)), count, at, at,
        )
        for (event_id, said), count in sorted(times.items())
    ]  # fmt: skip
    bulk.insert_returning(_KEEP, rows)
