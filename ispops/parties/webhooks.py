"""Signed messages to partners: the Standard Webhooks scheme, at least once, in order per object.

`queue_webhook` writes a message in the transaction of its cause. A worker claims it, sends it
outside any transaction and records the outcome. A message waits until all earlier ones about the
same object have arrived, so a partner never hears of the end before the beginning; a receiver
that sees one twice knows it by its `webhook-id`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from standardwebhooks import Webhook

from ispops import db, gates, jobs
from ispops.errors import IllegalTransition, InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.destinations import session_to
from ispops.parties.models import Partner, User, WebhookDelivery

LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 12
FIRST_PAUSE = timedelta(seconds=3)
LONGEST_PAUSE = timedelta(hours=1)
# Seconds to connect, and seconds of silence while waiting for the answer.
TIME_OUT = (3.0, 10.0)
GONE = 410
MOST_KEPT_BYTES = 1_000
MOST_REPLAYED = 1_000
# What partners' webhooks are among the systems outside, and how many one gets at a time.
GATE = "webhooks:"
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: a status, or the reason why there was none."""

    status: int | None
    error: str = ""
    is_final: bool = False
    text: str = ""

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def queue_webhook(
    *, partner: Partner, kind: str, subject: str, data: dict[str, Any], at: datetime
) -> WebhookDelivery | None:
    """Write a message about `subject` to be sent once the caller's transaction is committed.

    The body is `{"type": kind, "timestamp": ..., "data": {**data, "id": subject, "sequence": n}}`
    where n counts the messages to this partner about this object from 1. Returns None, and
    writes nothing, for a partner that takes no webhooks.

    Raises:
        RuntimeError: called outside a transaction, where the message could outlive its cause.
    """
    from ispops.parties.tasks import deliver_webhook

    if not connection.in_atomic_block:
        raise RuntimeError("webhooks are queued inside the transaction of their cause")
    if not partner.webhook_url or not partner.active:
        return None
    sequence = _next_sequence(partner, subject)
    delivery = WebhookDelivery.objects.create(
        partner=partner,
        kind=kind,
        subject=subject,
        sequence=sequence,
        body={
            "type": kind,
            "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": {**data, "id": subject, "sequence": sequence},
        },
        created_at=at,
        next_attempt_at=at,
    )
    jobs.send_on_commit(deliver_webhook, delivery_id=str(delivery.pk))
    return delivery


def deliver(*, delivery_id: Any, at: datetime) -> bool:
    """Send one message if its turn has come; True when the partner has accepted it.

    Anything but a 2xx answer is tried again with growing pauses, and parked for a person after
    `MOST_ATTEMPTS`, or at once when the partner answers 410 Gone. Redirects are not followed.

    Raises:
        RuntimeError: called inside a transaction, which would be held open by the partner.
    """
    delivery = _claim(delivery_id, at)
    if delivery is None:
        return False
    answer = _send(delivery, at)
    # Whoever answers is there, whatever it thinks of this message.
    fault = answer.error if answer.status is None or answer.status >= 500 else ""
    if not answer.is_final:
        gates.report(_gate(delivery.partner), fault=fault, at=at)
    recorded = _record(delivery, answer, at)
    if recorded and answer.accepted:
        _wake_next(delivery)
    return recorded and answer.accepted


@transaction.atomic(durable=True)
def _claim(delivery_id: Any, at: datetime) -> WebhookDelivery | None:
    """Take a message whose turn has come, if its partner may be called now."""
    rows = _in_turn().filter(pk=delivery_id).select_related("partner")
    claimed = jobs.claim(rows, at=at, lease=LEASE)
    if not claimed:
        return None
    (delivery,) = claimed
    waiting = WebhookDelivery.objects.filter(state=WebhookDelivery.State.PENDING)
    others = waiting.filter(partner=delivery.partner_id, leased_until__gt=at)
    running = others.exclude(pk=delivery.pk).count()
    again_at = gates.admit(_gate(delivery.partner), running=running, at=at)
    if again_at is None:
        return delivery
    jobs.put_back(delivery, until=again_at)
    return None


def _gate(partner: Partner) -> gates.Gate:
    return gates.Gate(f"{GATE}{partner.code}", f"Webhooks of {partner}", at_once=AT_ONCE)


@transaction.atomic
def replay(*, delivery_id: Any, actor: User, at: datetime, reason: str = "") -> WebhookDelivery:
    """Send a message again, delivered or parked, or a waiting one now; with the same id.

    Raises:
        IllegalTransition: it is being sent at this moment.
        PartnerTakesNoWebhooks: the partner has no address or is no longer active.
    """
    from ispops.parties.tasks import deliver_webhook

    delivery = db.lock(WebhookDelivery, delivery_id)
    if delivery.leased_until and delivery.leased_until > at:
        raise IllegalTransition("This message is being sent right now. Look again in a minute.")
    if not delivery.partner.webhook_url or not delivery.partner.active:
        raise PartnerTakesNoWebhooks(
            f"{delivery.partner} has no webhook address or is no longer active."
        )
    before = delivery.state
    delivery.state = WebhookDelivery.State.PENDING
    delivery.attempts = 0
    delivery.leased_until = None
    delivery.next_attempt_at = at
    delivery.save(update_fields=["state", "attempts", "leased_until", "next_attempt_at"])
    audit.record(
        actor=actor,
        action="webhook.replayed",
        subject=delivery.public_id,
        reason=reason,
        at=at,
        was=before,
        about=delivery.subject,
        partner=delivery.partner.code,
    )
    jobs.send_on_commit(deliver_webhook, delivery_id=str(delivery.pk))
    return delivery


@transaction.atomic
def replay_span(
    *,
    partner: Partner,
    since: datetime,
    until: datetime,
    actor: User,
    at: datetime,
    state: str = "",
    reason: str = "",
) -> int:
    """Send again what a partner was told about from `since` to before `until`; returns how many.

    With `state`, only what is in that state now. Each keeps its id and its place in the order of
    its object. What is being sent at this moment is left to that.

    Raises:
        InvalidInput: the span is none, or more than `MOST_REPLAYED` messages are in it.
        PartnerTakesNoWebhooks: the partner has no address or is no longer active.
    """
    if not since < until:
        raise InvalidInput("The end must come after the beginning.", field="until")
    if not partner.webhook_url or not partner.active:
        raise PartnerTakesNoWebhooks(f"{partner} has no webhook address or is no longer active.")
    rows = partner.webhooks.filter(created_at__gte=since, created_at__lt=until)
    rows = rows.filter(state=state) if state else rows
    free = rows.filter(Q(leased_until__isnull=True) | Q(leased_until__lte=at))
    held = free.select_for_update(of=("self",), no_key=True, skip_locked=True).order_by("pk")
    keys = list(held.values_list("pk", flat=True)[: MOST_REPLAYED + 1])
    if len(keys) > MOST_REPLAYED:
        raise InvalidInput(
            f"More than {MOST_REPLAYED:,} messages are in this span. Choose a shorter one.",
            field="until",
        )
    WebhookDelivery.objects.filter(pk__in=keys).update(
        state=WebhookDelivery.State.PENDING, attempts=0, leased_until=None, next_attempt_at=at
    )
    audit.record(
        actor=actor,
        action="webhooks.replayed",
        subject=f"partner_{partner.code}",
        reason=reason,
        at=at,
        since=since,
        until=until,
        state=state,
        count=len(keys),
    )
    return len(keys)


class PartnerTakesNoWebhooks(Refusal):
    code = "partner_takes_no_webhooks"
    title = "The partner takes no webhooks"


def due_deliveries(*, at: datetime, limit: int) -> list[Any]:
    """The ids of the messages, oldest first, that a sweep should send because nobody else did."""
    open_to_us = _in_turn().exclude(partner__code__in=gates.shut(GATE, at=at))
    waiting = jobs.due(open_to_us, at=at).order_by("next_attempt_at", "pk")
    return list(waiting.values_list("pk", flat=True)[:limit])


def _in_turn() -> QuerySet[WebhookDelivery]:
    """The waiting messages before which nothing about the same object is still to be sent."""
    earlier = WebhookDelivery.objects.filter(
        partner=OuterRef("partner"), subject=OuterRef("subject"), sequence__lt=OuterRef("sequence")
    ).exclude(state=WebhookDelivery.State.DELIVERED)
    return WebhookDelivery.objects.filter(~Exists(earlier), state=WebhookDelivery.State.PENDING)


def _next_sequence(partner: Partner, subject: str) -> int:
    """Number a message; holds others about the same object back until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"webhook:{partner.pk}:{subject}"],
        )
    last = (
        WebhookDelivery.objects.filter(partner=partner, subject=subject)
        .order_by("-sequence")
        .values_list("sequence", flat=True)
        .first()
    )
    return (last or 0) + 1


def _send(delivery: WebhookDelivery, at: datetime) -> Answer:
    """Make one attempt. The signature covers the exact bytes of the body and the time of it."""
    partner = delivery.partner
    if not partner.webhook_url or not partner.active:
        return Answer(None, "The partner has no webhook address or is not active.", is_final=True)
    text = json.dumps(delivery.body, separators=(",", ":"), ensure_ascii=False)
    headers = {
        "content-type": "application/json",
        "user-agent": "ispops-webhooks/1",
        "webhook-id": delivery.public_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": _signatures(partner, delivery.public_id, text, at),
    }
    try:
        with (
            session_to(partner.webhook_url, field="webhook_url") as session,
            session.post(
                partner.webhook_url,
                data=text.encode(),
                headers=headers,
                timeout=TIME_OUT,
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            status, said = response.status_code, _beginning(response)
    except (requests.RequestException, OSError, Refusal) as error:
        return Answer(None, f"{type(error).__name__}: {error}"[:500])
    accepted = 200 <= status < 300
    return Answer(
        status,
        "" if accepted else f"The partner answered {status}.",
        is_final=status == GONE,
        text=said,
    )


def _signatures(partner: Partner, message_id: str, text: str, at: datetime) -> str:
    """Sign by the secret, and by the one before it for as long as that is good too."""
    secrets = [partner.webhook_secret]
    until = partner.old_webhook_secret_until
    if partner.old_webhook_secret and until is not None and at < until:
        secrets.append(partner.old_webhook_secret)
    moment = at.astimezone(UTC)
    return " ".join(Webhook(secret).sign(message_id, moment, text) for secret in secrets)


def _beginning(response: requests.Response) -> str:
    """Return how the partner's answer begins, for people; what cannot be read is left out."""
    try:
        first = next(response.iter_content(MOST_KEPT_BYTES), b"")
    except (requests.RequestException, OSError):
        return ""
    return first.decode(errors="replace").replace("\x00", "")[:MOST_KEPT_BYTES]


def _record(delivery: WebhookDelivery, answer: Answer, at: datetime) -> bool:
    """Write the outcome, unless the lease ran out and somebody else has taken the message."""
    changes: dict[str, Any] = {
        "leased_until": None,
        "response_status": answer.status,
        "response_text": answer.text,
        "last_error": answer.error,
    }
    if answer.accepted:
        changes |= {
            "state": WebhookDelivery.State.DELIVERED,
            "delivered_at": at,
            "next_attempt_at": None,
        }
    elif answer.is_final or delivery.attempts >= MOST_ATTEMPTS:
        changes |= {"state": WebhookDelivery.State.PARKED, "next_attempt_at": None}
    else:
        pause = jobs.backoff(delivery.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
        changes |= {"next_attempt_at": at + pause}
    held = WebhookDelivery.objects.filter(
        pk=delivery.pk,
        state=WebhookDelivery.State.PENDING,
        leased_until=delivery.leased_until,
    )
    return bool(held.update(**changes))


def _wake_next(delivery: WebhookDelivery) -> None:
    """Send the message that waited for this one without waiting for the sweep."""
    from ispops.parties.tasks import deliver_webhook

    following = (
        WebhookDelivery.objects.filter(
            partner=delivery.partner_id,
            subject=delivery.subject,
            sequence__gt=delivery.sequence,
            state=WebhookDelivery.State.PENDING,
        )
        .order_by("sequence")
        .first()
    )
    if following is not None:
        jobs.send_on_commit(deliver_webhook, delivery_id=str(following.pk))
