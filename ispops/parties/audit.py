"""The audit trail: who did what, when, to what and why; written beside the change itself."""

from datetime import datetime
from typing import Any

from ispops.parties.models import AuditEntry, Subscriber, User


def record(
    *,
    actor: User | None,
    actor_name: str = "",
    action: str,
    subject: str,
    subscriber: Subscriber | None = None,
    reason: str = "",
    at: datetime,
    **detail: Any,
) -> AuditEntry:
    """Note an action in the caller's transaction, so that it is kept exactly when it happened.

    `action` is a word pair that stays the same for ever, such as `webhook.replayed`; `subject` is
    the public id of what was acted on; `detail` is plain JSON, dates or decimals. `actor_name`
    says who acted when it was no login: "worker", "aaa server north".

    Raises:
        ValueError: nobody is named as the actor.
    """
    name = actor_name or (str(actor) if actor is not None else "")
    if not name:
        raise ValueError("an audit entry names who acted")
    return AuditEntry.objects.create(
        at=at,
        actor=actor,
        actor_name=name[:200],
        action=action,
        subject=subject,
        subscriber=subscriber,
        reason=reason,
        detail=detail,
    )
