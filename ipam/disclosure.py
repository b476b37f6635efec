"""Giving the history of addresses out of the house: each time with who, why, and what was given.

The audit trail keeps the digest of the file, so that it can be shown later which file it was.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from ipam import history
from ipam.models import AllocationHistory
from ispops import csv_files
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from ispops.uploads import harmless_row

MOST_ROWS = 50_000
_COLUMNS = (
    "address", "vrf", "held_from", "held_to", "ended_because", "device", "service", "subscriber",
    "subscriber_name", "held_from_local", "held_to_local", "local_zone",
)  # fmt: skip
_CONTACT = ("subscriber_email", "subscriber_phone")


class TooMuchAsked(Refusal):
    """More than one file holds; what is asked must be narrower."""

    code = "too_much_asked"
    title = "Too much is asked for"


@dataclass(frozen=True, slots=True)
class Given:
    """A file that was given out: CSV in UTF-8, and its SHA-256 in hexadecimal."""

    content: bytes
    digest: str
    rows: int


def export(*, search: history.Search, actor: User, at: datetime) -> Given:
    """Give out what was searched for, to somebody of the house.

    Raises:
        InvalidInput: nothing is asked for, or as `history.parts`.
        TooMuchAsked: there is more than `MOST_ROWS`.
    """
    if search.is_empty:
        raise InvalidInput("Say whom, what or when you look for.", field="address")
    return _give(search, action="history.exported", reference="", reason="", actor=actor, at=at)


def export_for_request(
    *, search: history.Search, reference: str, reason: str, actor: User, at: datetime
) -> Given:
    """Give out what a lawful request asks for, with how to reach the subscribers.

    Raises:
        InvalidInput: the reference or the reason is missing, nobody is named, or no time.
        TooMuchAsked: there is more than `MOST_ROWS`.
    """
    for name, value, most in (("reference", reference, 100), ("reason", reason, 300)):
        if not value.strip() or len(value) > most or "\0" in value:
            raise InvalidInput(
                f"Write the {name} of the request, up to {most} characters.", field=name
            )
    if not search.names_somebody:
        raise InvalidInput("A request names an address, a device or somebody.", field="address")
    if search.start is None or search.end is None:
        raise InvalidInput(
            "A request names the time: from when and to when.",
            field="end" if search.start else "start",
        )
    return _give(
        search, action="history.disclosed", reference=reference.strip(), reason=reason.strip(),
        actor=actor, at=at,
    )  # fmt: skip


@transaction.atomic
def _give(
    search: history.Search,
    *,
    action: str,
    reference: str,
    reason: str,
    actor: User,
    at: datetime,
) -> Given:
    rows = list(islice(history.every(search), MOST_ROWS + 1))
    if len(rows) > MOST_ROWS:
        raise TooMuchAsked(
            f"This is more than {MOST_ROWS:,} stays. Ask for a shorter time.", field="end"
        )
    content = _written(rows, with_contact=bool(reference))
    digest = hashlib.sha256(content).hexdigest()
    audit.record(
        actor=actor, action=action, subject=reference or search.address or "address history",
        subscriber=search.subscriber, reason=reason, at=at, reference=reference, rows=len(rows),
        sha256=digest, asked=_told(search),
    )  # fmt: skip
    return Given(content, digest, len(rows))


def _told(search: history.Search) -> dict[str, str]:
    """What was asked, for the audit trail."""
    asked = {
        "address": search.address,
        "vrf": str(search.vrf) if search.address else "",
        "subscriber": search.subscriber.public_id if search.subscriber else "",
        "service": search.service_ref,
        "device": search.device,
        "start": search.start.isoformat() if search.start else "",
        "end": search.end.isoformat() if search.end else "",
    }
    return {name: value for name, value in asked.items() if value}


def _written(rows: Iterable[AllocationHistory], *, with_contact: bool) -> bytes:
    # Who reads it may think in the ISP's zone, while the request was written in UTC: it has both.
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(_CONTACT if with_contact else ())])
    for row in rows:
        who = row.subscriber
        values = [
            row.address, str(row.vrf), csv_files.utc(row.held_from), csv_files.utc(row.held_to),
            row.ended_because or "", row.device, row.service_ref, who.public_id, who.name,
            *(moment.astimezone(zone).isoformat() if moment else ""
              for moment in (row.held_from, row.held_to)), zone.key,
        ]  # fmt: skip
        writer.writerow(harmless_row(values + ([who.email, who.phone] if with_contact else [])))
    return text.getvalue().encode()
