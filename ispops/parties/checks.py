"""Verbs for checks of identity and credit: the only writers of `SubscriberCheck`."""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops import db, events, jobs
from ispops.errors import IllegalTransition, InvalidInput
from ispops.parties import audit
from ispops.parties.gateways import check_registry
from ispops.parties.models import Subscriber, SubscriberCheck, User

State = SubscriberCheck.State


def needed(*, subscriber: Subscriber, plan_code: str) -> tuple[str, ...]:
    """Return the kinds of check that have to be passed before this plan is delivered.

    What a subscriber has passed once is not asked for again.
    """
    only = settings.CHECKED
    if only and not only & {subscriber.kind, plan_code}:
        return ()
    kinds = [kind for kind in SubscriberCheck.Kind.values if check_registry.is_checked(kind)]
    if not kinds:
        return ()
    passed = set(subscriber.checks.filter(state=State.PASSED).values_list("kind", flat=True))
    return tuple(kind for kind in kinds if kind not in passed)


@transaction.atomic
def request_check(*, subscriber: Subscriber, kind: str, at: datetime) -> SubscriberCheck:
    """Return the check that was passed or waits for its verdict; else ask for a new one.

    A worker asks the checker of the settings, after this transaction. Whoever was refused before is
    for staff to look into: a checker would say the same again.
    """
    from ispops.parties.tasks import ask_checker

    holder = db.lock(Subscriber, subscriber.pk)
    rows = holder.checks.filter(kind=kind)
    # Locked, so that a verdict that is given now is seen here, or comes after who waits for it.
    held = rows.select_for_update(of=("self",), no_key=True)
    standing = held.exclude(state=State.REFUSED).order_by("-asked_at").first()
    if standing is not None:
        return standing
    row = SubscriberCheck(subscriber=holder, kind=kind, asked_at=at)
    refused = rows.order_by("-asked_at").first()
    if refused is not None:
        row.referral = f"Refused before: {refused.reason}"[:300]
    elif check_registry.checker_of(kind) is not None:
        row.state, row.next_attempt_at = State.ASKING, at
        jobs.send_on_commit(ask_checker, kind=kind)
    row.save(force_insert=True)
    return row


@transaction.atomic
def decide_check(
    *, check_id: UUID, passed: bool, actor: User, reason: str, at: datetime
) -> SubscriberCheck:
    """Say what came of a check, also while its checker is asked.

    Publishes `check.decided`; the same verdict changes nothing.

    Raises:
        InvalidInput: there is no reason.
        IllegalTransition: the other verdict was given already.
    """
    if not reason.strip():
        raise InvalidInput("Say why, for whoever reads this later.", field="reason")
    row = db.lock(SubscriberCheck, check_id)
    wanted = State.PASSED if passed else State.REFUSED
    if row.state == wanted:
        return row
    if row.state not in {State.ASKING, State.PENDING}:
        raise IllegalTransition("This was decided already. Ask for a new check instead.")
    write_verdict(row, passed=passed, reason=reason.strip()[:300], actor=actor, at=at)
    return row


def write_verdict(
    row: SubscriberCheck, *, passed: bool, reason: str, actor: User | None, at: datetime
) -> None:
    """Write what came of a locked check that is open; None acted where it was its checker."""
    row.state = State.PASSED if passed else State.REFUSED
    row.decided_at, row.decided_by, row.reason = at, actor, reason
    row.next_attempt_at = row.leased_until = None
    row.save()
    audit.record(
        actor=actor,
        actor_name="" if actor else "checker",
        action="check.passed" if passed else "check.refused",
        subject=row.subscriber.public_id,
        subscriber=row.subscriber,
        reason=reason,
        at=at,
        kind=row.kind,
    )
    events.publish("check.decided", subject=row.public_id, at=at, state=row.state)
