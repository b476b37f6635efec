"""What the page of one notice shows: the words, how they read, and how they came about."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ispops.errors import Refusal
from ispops.notices import catalogue, queries, sms, wording
from ispops.notices.catalogue import SMS, Kind, Wording
from ispops.notices.models import Channel, NoticeTemplate


@dataclass(frozen=True, slots=True)
class Preview:
    """A text as its reader would get it, filled with the examples; or why it cannot be used."""

    subject: str = ""
    body: str = ""
    length: sms.Length | None = None
    error: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """One version in the history, with what it changed of the one before."""

    row: NoticeTemplate
    lines: tuple[tuple[str, str], ...]


def overview() -> list[dict[str, Any]]:
    """Return every kind with the channels it goes by, and which words were edited by whom."""
    newest = queries.newest_of_all()
    return [
        {
            "kind": kind,
            "texts": [
                {"channel": Channel(channel), "edited": newest.get((kind.code, channel))}
                for channel in kind.channels
            ],
        }
        for kind in catalogue.every_kind()
    ]


def in_force(kind: Kind, channel: str, latest: NoticeTemplate | None) -> Wording:
    """Return the words that hold: the operator's, else those of the product."""
    if latest is None or latest.is_default:
        return kind.wording(channel)
    return Wording(latest.subject, latest.body)


def preview(kind: Kind, channel: str, words: Wording) -> Preview:
    """Fill words in that may not be saved yet."""
    try:
        wording.check(kind, channel, words)
        filled = wording.fill(kind, words, kind.examples)
    except Refusal as refused:
        return Preview(error=refused.detail, field=refused.field)
    body = wording.reveal(filled.body, wording.secrets_of(kind, kind.examples))
    length = sms.length(body.strip()) if channel == SMS else None
    return Preview(filled.subject, body, length)


def history(kind: Kind, channel: str, versions: Sequence[NoticeTemplate]) -> list[Edit]:
    """Return the edits, the newest first; the first of all is compared with our own words."""
    texts = [in_force(kind, channel, row) for row in versions] + [kind.wording(channel)]
    return [
        Edit(row, tuple(_changes(texts[index + 1], texts[index])))
        for index, row in enumerate(versions)
    ]


def _changes(before: Wording, after: Wording) -> Iterator[tuple[str, str]]:
    """Yield the lines that differ and one on each side of them, with a sign: + or - or none."""
    lines = difflib.unified_diff(_lines(before), _lines(after), lineterm="", n=1)
    for line in list(lines)[2:]:
        sign, text = ("…", "") if line.startswith("@@") else (line[0].strip(), line[1:])
        yield sign, text


def _lines(words: Wording) -> list[str]:
    subject = [f"Subject: {words.subject}"] if words.subject else []
    return subject + words.body.strip().split("\n")
