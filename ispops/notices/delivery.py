"""Sending what was written: outside any transaction, by the one worker that holds the lease.

A worker that dies after sending and before noting it, and only then, sends a second time, under
the same Message-ID. A far end that is away or hangs costs one attempt now and then, whatever
waits: its channel rests after a fault, and at most `AT_ONCE` workers are in it at a time.
"""

import json
import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from ispops import db, gates, jobs
from ispops.errors import IllegalTransition, NotFound, PermanentFault
from ispops.notices import gateways, wording
from ispops.notices.gateways.base import ChannelAway, Message
from ispops.notices.models import Notice, NoticeChannel
from ispops.parties import audit
from ispops.parties.models import User

log = logging.getLogger(__name__)
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
# After the last one, which comes within two days, a person has to look.
MOST_ATTEMPTS = 12
SHORTEST_REST = timedelta(seconds=10)
LONGEST_REST = timedelta(minutes=5)
AT_ONCE = 2
# What the ways out are called among the systems outside.
GATE = "notices:"
_NAMES = {"email": "Mail server", "sms": "SMS gateway"}
State = Notice.State


def deliver_next(*, channel: str, at: datetime) -> bool:
    """Send the oldest notice that is due on a channel; False when there is none for this worker.

    What cannot be sent now is tried again with growing pauses. What the far end refuses for good,
    and what has failed `MOST_ATTEMPTS` times, waits for a person, with the reason.

    Raises:
        RuntimeError: called inside a transaction, which would be held open by a mail server.
    """
    notice = _claim(channel, at)
    if notice is None:
        return False
    try:
        if notice.attempts > MOST_ATTEMPTS:
            raise PermanentFault("Every worker that took this was lost.")
        gateway_id = gateways.of(channel).send(_message(notice))
    except Exception as fault:
        log.warning("notice %s was not sent: %s", notice.public_id, fault)
        _note_fault(notice, fault, at)
    else:
        _note_sent(notice, gateway_id, at)
    return True


@transaction.atomic(durable=True)
def _claim(channel: str, at: datetime) -> Notice | None:
    """Take the next notice, unless the channel rests or enough workers are in it."""
    NoticeChannel.objects.get_or_create(channel=channel)
    way = NoticeChannel.objects.select_for_update().get(channel=channel)
    if way.rests_until is not None and way.rests_until > at:
        return None
    pending = Notice.objects.filter(channel=channel, state=State.PENDING)
    lost = pending.filter(leased_until__lte=at)
    if lost.update(leased_until=None, next_attempt_at=at + FIRST_PAUSE):
        # A worker died, or was ended because the far end held it by dripping.
        _let_rest(way, at)
        return None
    running = pending.filter(leased_until__gt=at).count()
    # After a fault one goes ahead, so that not all workers hang with it.
    if way.failures and running:
        return None
    taken = jobs.claim(pending, at=at, lease=settings.TASK_LEASE)
    was_due_at = taken[0].next_attempt_at if taken else None
    again_at = gates.admit(_gate(channel), running=running, at=at) if taken else None
    if again_at is not None:
        # It keeps its place: whoever comes next, when there is room, takes it.
        jobs.put_back(taken[0], until=was_due_at or again_at)
        return None
    return taken[0] if taken else None


def _gate(channel: str) -> gates.Gate:
    return gates.Gate(f"{GATE}{channel}", _NAMES[channel], at_once=AT_ONCE)


def _message(notice: Notice) -> Message:
    secrets = json.loads(notice.secrets) if notice.secrets else {}
    return Message(
        reference=notice.public_id,
        address=notice.address,
        subject=notice.subject,
        body=wording.reveal(notice.body, secrets),
        links=tuple(wording.reveal(link, secrets) for link in notice.links),
    )


@transaction.atomic
def _note_sent(notice: Notice, gateway_id: str, at: datetime) -> None:
    sent = {"state": State.SENT, "sent_at": at, "next_attempt_at": None, "last_error": ""}
    _mine(notice).update(leased_until=None, secrets="", gateway_id=gateway_id, **sent)
    gates.report(_gate(notice.channel), at=at)
    NoticeChannel.objects.filter(channel=notice.channel, failures__gt=0).update(
        failures=0, rests_until=None
    )


@transaction.atomic
def _note_fault(notice: Notice, fault: Exception, at: datetime) -> None:
    if isinstance(fault, ChannelAway):
        way = NoticeChannel.objects.select_for_update().get(channel=notice.channel)
        _let_rest(way, at)
        gates.report(_gate(notice.channel), fault=str(fault), at=at)
    changes: dict[str, Any] = {
        "leased_until": None,
        "last_error": f"{type(fault).__name__}: {fault}"[:500],
    }
    if isinstance(fault, PermanentFault) or notice.attempts >= MOST_ATTEMPTS:
        changes |= {"state": State.PARKED, "next_attempt_at": None}
    else:
        pause = jobs.backoff(notice.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        changes |= {"next_attempt_at": at + pause}
    _mine(notice).update(**changes)


def _let_rest(way: NoticeChannel, at: datetime) -> None:
    way.failures += 1
    rest = jobs.backoff(way.failures - 1, base=SHORTEST_REST, most=LONGEST_REST)
    way.rests_until = at + rest
    way.save(update_fields=["failures", "rests_until"])


def _mine(notice: Notice) -> Any:
    """The row while the lease is ours: whoever took it after that has another lease."""
    return Notice.objects.filter(
        pk=notice.pk, state=State.PENDING, leased_until=notice.leased_until
    )


@transaction.atomic
def send_again(*, notice_id: Any, actor: User, at: datetime, reason: str = "") -> Notice:
    """Take up a notice that was given up on, or one that waits for its next attempt.

    Raises:
        IllegalTransition: it was sent, or is being sent at this moment.
    """
    from ispops.notices.tasks import send_notices

    notice = db.lock(Notice, notice_id)
    if notice.state == State.SENT or (notice.leased_until and notice.leased_until > at):
        raise IllegalTransition("This notice was sent, or is being sent right now.")
    notice.state, notice.next_attempt_at = State.PENDING, at
    notice.attempts, notice.leased_until = 0, None
    notice.save(update_fields=["state", "next_attempt_at", "attempts", "leased_until"])
    audit.record(
        actor=actor,
        action="notice.retried",
        subject=notice.public_id,
        subscriber=notice.subscriber,
        reason=reason,
        at=at,
        kind=notice.kind,
        channel=notice.channel,
    )
    jobs.send_on_commit(send_notices, channel=notice.channel)
    return notice


@transaction.atomic
def take_report(*, reference: str, delivered: bool, detail: str = "", at: datetime) -> Notice:
    """Note what the gateway says became of an SMS. Its first word is its last: a repeat, or a
    report that overtook another, changes nothing.

    `reference` is the gateway's own id of the message or ours.

    Raises:
        NotFound: no such message was sent by it.
    """
    rows = Notice.objects.select_for_update(of=("self",)).filter(channel="sms", state=State.SENT)
    key = Notice.key_of(reference)
    notice = rows.filter(pk=key).first() if key else rows.filter(gateway_id=reference).first()
    if notice is None:
        raise NotFound("No message that was sent has this id.")
    if notice.report == Notice.Report.NONE:
        report = Notice.Report.DELIVERED if delivered else Notice.Report.UNDELIVERED
        notice.report, notice.reported_at, notice.last_error = report, at, detail[:500]
        notice.save(update_fields=["report", "reported_at", "last_error"])
    return notice
