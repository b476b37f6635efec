"""The operator's own words: a new version for each edit, never a change of an old one."""

from datetime import datetime

from django.db import IntegrityError, transaction

from ispops.errors import InvalidInput, Refusal
from ispops.notices import queries, wording
from ispops.notices.catalogue import SMS, Kind, Wording
from ispops.notices.models import NoticeTemplate
from ispops.parties import audit
from ispops.parties.models import User


class TextWasChanged(Refusal):
    code = "text_was_changed"
    title = "The text was changed meanwhile"


def reword(
    *, kind: Kind, channel: str, words: Wording, based_on: int, actor: User, at: datetime
) -> NoticeTemplate:
    """Let new words hold from now on; what is written already stays as it is.

    `based_on` is the version that was on the screen, 0 for the words of the product. The same
    words again change nothing.

    Raises:
        InvalidInput: this kind is not sent by this channel.
        TextCannotBeUsed: see `wording.check`.
        TextWasChanged: somebody else has saved another version since.
    """
    if channel not in kind.channels:
        raise InvalidInput("This notice is not sent by this channel.", field="channel")
    given = Wording(
        "" if channel == SMS else words.subject.strip(),
        words.body.replace("\r\n", "\n").strip() + "\n",
    )
    wording.check(kind, channel, given)
    return _add(kind, channel, given, based_on=based_on, actor=actor, at=at)


def reset(*, kind: Kind, channel: str, based_on: int, actor: User, at: datetime) -> NoticeTemplate:
    """Let the words of the product hold again. What was edited stays in the history.

    Raises:
        InvalidInput: nobody has edited this text.
        TextWasChanged: see `reword`.
    """
    if queries.latest(kind.code, channel) is None:
        raise InvalidInput("This text is the one of the product already.", field="channel")
    return _add(kind, channel, None, based_on=based_on, actor=actor, at=at)


@transaction.atomic
def _add(
    kind: Kind, channel: str, words: Wording | None, *, based_on: int, actor: User, at: datetime
) -> NoticeTemplate:
    latest = queries.latest(kind.code, channel)
    if latest is not None and _says(latest, words):
        return latest
    changed = TextWasChanged(
        "Somebody else has changed this text while you worked on it. Look at the newest version, "
        "then save yours again."
    )
    if based_on != (latest.version if latest else 0):
        raise changed
    try:
        with transaction.atomic():
            made = NoticeTemplate.objects.create(
                kind=kind.code,
                channel=channel,
                version=based_on + 1,
                is_default=words is None,
                subject=words.subject if words else "",
                body=words.body if words else "",
                created_by=actor,
                created_at=at,
            )
    except IntegrityError as error:
        raise changed from error
    audit.record(
        actor=actor,
        action="notice_template.reset" if words is None else "notice_template.saved",
        subject=f"notice_{kind.code}_{channel}",
        at=at,
        version=made.version,
    )
    return made


def _says(latest: NoticeTemplate, words: Wording | None) -> bool:
    if words is None:
        return latest.is_default
    return not latest.is_default and (latest.subject, latest.body) == (words.subject, words.body)
