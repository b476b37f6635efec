"""What happened to a thing: business events and people's actions in one list, newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ispops.models import Event
from ispops.notices import catalogue, wording
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber

MOST = 60


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: `who` is empty for what the system did by itself."""

    at: datetime
    kind: str
    subject: str
    # What the subject is called, where the page knows it: "Fibre 500".
    name: str
    who: str
    reason: str
    detail: dict[str, Any]


def of(
    names: Mapping[str, str],
    subscriber: Subscriber | None = None,
    *,
    may_see_audit: bool,
    notices: Sequence[Notice] = (),
) -> list[Moment]:
    """Return the newest `MOST` moments of things, given as their public ids and names.

    With `subscriber`, every audit entry about that subscriber belongs to it too. `notices` are what
    was written to whom it is about.
    """
    events = Event.objects.filter(subject__in=list(names)).order_by("-pk")[:MOST]
    moments = [
        Moment(
            event.occurred_at,
            event.kind,
            event.subject,
            names[event.subject],
            "",
            "",
            event.payload,
        )
        for event in events
    ]
    if may_see_audit:
        entries = AuditEntry.objects.filter(subject__in=list(names))
        if subscriber is not None:
            entries = AuditEntry.objects.filter(subscriber=subscriber)
        moments += [
            Moment(
                entry.at,
                entry.action,
                entry.subject,
                names.get(entry.subject, ""),
                entry.actor_name,
                entry.reason,
                entry.detail,
            )
            for entry in entries.order_by("-at")[:MOST]
        ]
    moments += [_of_notice(notice) for notice in notices]
    told = {(moment.at, moment.kind, moment.subject) for moment in moments if moment.who}
    # What a person did is often published too: then the entry that names the person stands.
    seen = [
        moment
        for moment in moments
        if moment.who or (moment.at, moment.kind, moment.subject) not in told
    ]
    return sorted(seen, key=lambda moment: moment.at, reverse=True)[:MOST]


def _of_notice(notice: Notice) -> Moment:
    """What was written to the subscriber, with the words that were sent."""
    kind = catalogue.find(notice.kind)
    became = notice.get_report_display() if notice.report else notice.get_state_display()
    return Moment(
        notice.created_at,
        f"{notice.get_channel_display()}: {became.lower()}",
        notice.public_id,
        kind.title if kind else notice.kind,
        "",
        "",
        {
            "to": notice.address,
            "subject": notice.subject,
            "text": wording.conceal(notice.body),
            "fault": notice.last_error,
        },
    )
