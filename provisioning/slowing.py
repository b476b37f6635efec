"""Lines that are held to less than their plan's speed for the rest of a billing period.

Each is a row that is opened and closed in the transaction that writes the line's profile. So its
live sessions are due at once, new ones are let in with the speed of now, and an access server that
cannot be told is a person's work, as for all changes of a profile; see `provisioning.steering`.
It is nobody's order: nobody asked for it, and it must wait for no order of the line.
"""

from datetime import datetime

from django.db import transaction

from ispops import db, events
from ispops.errors import InvalidInput, NotFound
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import profiles
from provisioning.in_force import Speed
from provisioning.models import Service, Slowdown

EndedFor = Slowdown.EndedFor
_LIVE = (Service.State.ACTIVE, Service.State.SUSPENDED)


@transaction.atomic
def slow(*, line: Service, to: Speed, until: datetime, at: datetime) -> Slowdown | None:
    """Hold a line to a speed from now until a moment. Publishes `line.slowed`.

    A line that is held to it already stays as it is; one that is held to another speed is held to
    this one instead. None where nothing is done: the line is not live, the moment has passed, or a
    person has lifted it for the time until then.
    """
    held = db.lock(Service, line.pk)
    if held.state not in _LIVE or held.line_id is not None or until <= at:
        return None
    if held.slowdowns.filter(holds_until=until, ended_for=EndedFor.STAFF).exists():
        return None
    now = held.slowdowns.filter(ended_at__isnull=True).first()
    if now is not None:
        if (now.download_kbps, now.upload_kbps, now.holds_until) == (*to, until):
            return now
        _close(now, EndedFor.PLAN, at)
    made = Slowdown.objects.create(
        service=held,
        download_kbps=to.download_kbps,
        upload_kbps=to.upload_kbps,
        started_at=at,
        holds_until=until,
    )
    profiles.refresh(service=held, at=at)
    events.publish(
        "line.slowed", subject=held.public_id, at=at, slowdown=made.pk, until=until.isoformat()
    )
    return made


@transaction.atomic
def restore(*, line: Service, because: str, at: datetime) -> bool:
    """Give a line the speed of its plan back; False when it has it. Publishes `line.restored`.

    Where its time is over anyway, and `end_next` only has not come to it, that is why.
    """
    held = db.lock(Service, line.pk)
    now = held.slowdowns.filter(ended_at__isnull=True).first()
    if now is None:
        return False
    is_over = now.holds_until <= at
    _restore(held, now, EndedFor.PERIOD if is_over else because, at)
    return True


@transaction.atomic
def end_next(*, at: datetime) -> bool:
    """End one slowdown whose time is over, and tell the line's sessions; False when there is none.

    A line that is suspended gets its speed back too, for when it works again.
    """
    over = Slowdown.objects.filter(ended_at__isnull=True, holds_until__lte=at)
    found = over.order_by("holds_until", "pk").values_list("service", flat=True).first()
    if found is None:
        return False
    line = db.lock(Service, found)
    now = line.slowdowns.filter(ended_at__isnull=True, holds_until__lte=at).first()
    if now is not None:
        _restore(line, now, EndedFor.PERIOD, at)
    return True


@transaction.atomic
def lift(*, line: Service, actor: User, reason: str, at: datetime) -> Slowdown:
    """Give a line its speed back by hand; it is not slowed again before the moment it was for.

    Raises:
        InvalidInput: there is no reason.
        NotFound: the line is not slowed (any more).
    """
    if not reason.strip():
        raise InvalidInput("Say why the line gets its speed back.", field="reason")
    held = db.lock(Service, line.pk)
    now = held.slowdowns.filter(ended_at__isnull=True).first()
    if now is None:
        raise NotFound("The line is not slowed.")
    _restore(held, now, EndedFor.STAFF, at)
    audit.record(
        actor=actor,
        action="line.slowdown_lifted",
        subject=held.public_id,
        subscriber=held.subscriber,
        reason=reason.strip(),
        at=at,
        until=now.holds_until.isoformat(),
    )
    return now


def _restore(line: Service, now: Slowdown, because: str, at: datetime) -> None:
    _close(now, because, at)
    profiles.refresh(service=line, at=at)
    events.publish("line.restored", subject=line.public_id, at=at, slowdown=now.pk, because=because)


def _close(now: Slowdown, because: str, at: datetime) -> None:
    now.ended_at, now.ended_for = max(at, now.started_at), because
    now.save(update_fields=["ended_at", "ended_for"])
