"""Writing to a subscriber: the words are chosen and kept in the transaction of their cause.

Sending is another matter, see `delivery`: what is written here goes out when the transaction is
committed, and at the latest with the next sweep.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from ispops import jobs
from ispops.notices import catalogue, gateways, queries, wording
from ispops.notices.catalogue import EMAIL, SMS, Kind, Wording
from ispops.notices.models import Notice, NoticeTemplate
from ispops.parties import audit
from ispops.parties.models import Subscriber, User

log = logging.getLogger(__name__)


def send(
    *, kind: str, subscriber: Subscriber, cause: str, at: datetime, **variables: str
) -> list[Notice]:
    """Write a notice to a subscriber, by e-mail and, for kinds that have words for it, by SMS.

    `cause` names what it tells of, such as an order's public id: a notice of this kind about it
    was written before, and nothing is written again. `variables` are what the kind declares, in
    words; the common ones are added. Returns what was written, one row a channel.

    Raises:
        ValueError: no such kind is registered, or its variables are others.
        RuntimeError: called outside a transaction, where the notice could outlive its cause.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("notices are written inside the transaction of their cause")
    known = catalogue.get(kind)
    values = {**_common(subscriber.name), **variables}
    if lacking := set(values) ^ set(known.examples):
        raise ValueError(f"{kind} and its caller do not agree about {sorted(lacking)}")
    written = (
        _write(
            known,
            channel,
            values,
            cause=cause,
            recipient=subscriber.public_id,
            subscriber=subscriber,
            address=address,
            at=at,
        )
        for channel, address in _ways_to(subscriber, known)
    )
    return [notice for notice in written if notice is not None]


def send_to_number(
    *, kind: str, subscriber: Subscriber, number: str, cause: str, at: datetime, **variables: str
) -> Notice | None:
    """Write an SMS to a number that is not the subscriber's yet, such as to see whether it is.

    Returns None when one of this kind about this cause was written before. Raises as `send` does.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("notices are written inside the transaction of their cause")
    return _write(
        catalogue.get(kind),
        SMS,
        {**_common(subscriber.name), **variables},
        cause=cause,
        recipient=subscriber.public_id,
        subscriber=subscriber,
        address=number,
        at=at,
    )


def send_to_staff(
    *, kind: str, user: User, cause: str, at: datetime, **variables: str
) -> Notice | None:
    """Write a letter to a member of staff, about work that waits.

    Returns None when one of this kind about this cause was written before. Raises as `send` does.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("notices are written inside the transaction of their cause")
    return _write(
        catalogue.get(kind),
        EMAIL,
        {**_common(user.get_full_name() or user.email), **variables},
        cause=cause,
        recipient=f"user_{user.pk}",
        subscriber=None,
        address=user.email,
        at=at,
    )


@transaction.atomic
def send_test(
    *, kind: Kind, channel: str, words: Wording, address: str, actor: User, cause: str, at: datetime
) -> Notice | None:
    """Send a text that may not be saved yet to the member of staff who words it.

    The examples are filled in. Returns None when the same `cause` has been sent.

    Raises:
        TextCannotBeUsed: see `wording.check`.
    """
    wording.check(kind, channel, words)
    filled = wording.fill(kind, words, kind.examples)
    sent = _keep(
        kind,
        channel,
        filled,
        secrets=wording.secrets_of(kind, kind.examples),
        template=None,
        cause=f"test:{cause}",
        recipient=f"user_{actor.pk}",
        subscriber=None,
        address=address,
        at=at,
    )
    if sent is not None:
        audit.record(
            actor=actor,
            action="notice_template.tested",
            subject=f"notice_{kind.code}_{channel}",
            at=at,
            address=address,
        )
    return sent


def _common(name: str) -> dict[str, str]:
    return {
        "name": name,
        "isp": settings.ISP_NAME,
        "phone": settings.SUPPORT_PHONE,
        "account_url": f"{settings.BASE_URL.rstrip('/')}/account/",
    }


def _ways_to(subscriber: Subscriber, kind: Kind) -> list[tuple[str, str]]:
    """The channels by which this subscriber hears of this, each with the address."""
    ways = [(EMAIL, subscriber.email)] if EMAIL in kind.channels else []
    if SMS in kind.channels and gateways.has_sms():
        number = queries.sms_number_of(subscriber)
        ways += [(SMS, number)] if number else []
    return ways


def _write(
    kind: Kind,
    channel: str,
    values: Mapping[str, str],
    *,
    cause: str,
    recipient: str,
    subscriber: Subscriber | None,
    address: str,
    at: datetime,
) -> Notice | None:
    filled, template = _fill(kind, channel, values)
    return _keep(
        kind,
        channel,
        filled,
        secrets=wording.secrets_of(kind, values),
        template=template,
        cause=cause,
        recipient=recipient,
        subscriber=subscriber,
        address=address,
        at=at,
    )


def _fill(
    kind: Kind, channel: str, values: Mapping[str, str]
) -> tuple[wording.Filled, NoticeTemplate | None]:
    """Fill in the operator's words; ours, where there are none or they speak of what is gone."""
    template = queries.latest(kind.code, channel)
    if template is not None and not template.is_default:
        try:
            words = Wording(template.subject, template.body)
            return wording.fill(kind, words, values), template
        except wording.TextCannotBeUsed as refusal:
            log.error("%s cannot be used, ours was: %s", template, refusal.detail)
    return wording.fill(kind, kind.wording(channel), values), None


def _keep(
    kind: Kind,
    channel: str,
    filled: wording.Filled,
    *,
    secrets: Mapping[str, str],
    template: NoticeTemplate | None,
    cause: str,
    recipient: str,
    subscriber: Subscriber | None,
    address: str,
    at: datetime,
) -> Notice | None:
    """Write the row and queue it, unless its like was written before; the database decides."""
    from ispops.notices.tasks import send_notices

    try:
        with transaction.atomic():
            notice = Notice.objects.create(
                kind=kind.code,
                channel=channel,
                cause=cause,
                recipient=recipient,
                subscriber=subscriber,
                template=template,
                address=address,
                subject=filled.subject,
                body=filled.body,
                links=list(filled.links),
                secrets=json.dumps(secrets) if secrets else "",
                created_at=at,
                next_attempt_at=at,
            )
    except IntegrityError:
        same = Notice.objects.filter(
            kind=kind.code, cause=cause, recipient=recipient, channel=channel
        )
        if not same.exists():
            raise
        return None
    jobs.send_on_commit(send_notices, channel=channel)
    return notice
