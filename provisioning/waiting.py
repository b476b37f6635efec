"""The queues of stored accounting messages: ranges of ids, taken by whoever reads them.

The database queues messages in the transaction that stores them, and a reader takes ranges off its
queue in the transaction in which it does its work. So a message whose id is lower than others that
were read already is seen once it is committed, and a reader that dies leaves all for the next.
Nothing is written to a message.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.db import connection

from provisioning.models import WaitingAccounting

# A message that came by itself is a range, too; so more of them are looked at each time.
_FIRST_LOOK = 16
_NEXT = """
SELECT id, first, last FROM provisioning_waitingaccounting
 WHERE reader = %s AND first > %s ORDER BY first LIMIT %s FOR UPDATE SKIP LOCKED
"""
_DELETE = "DELETE FROM provisioning_waitingaccounting WHERE id = ANY(%s)"


class Range(NamedTuple):
    """Messages from the first id to the last; ids in between that are in use are all of them."""

    first: int
    last: int


def take(*, reader: WaitingAccounting.Reader, limit: int) -> list[Range]:
    """Take up to `limit` messages off a queue, the oldest first; those that others hold are left.

    Call it in a transaction. At least one message is taken unless none waits.
    """
    taken: list[Range] = []
    keys: list[int] = []
    for key, first, last in _held(reader):
        upto = min(last, first + limit - 1)
        taken.append(Range(first, upto))
        keys.append(key)
        limit -= upto - first + 1
        if upto < last:
            WaitingAccounting.objects.filter(pk=key).update(first=upto + 1)
            keys.pop()
        if not limit:
            break
    if keys:
        with connection.cursor() as cursor:
            cursor.execute(_DELETE, [keys])
    return taken


def count(ranges: Sequence[Range]) -> int:
    """Return how many messages there are in some ranges."""
    return sum(last - first + 1 for first, last in ranges)


def halves(ranges: Sequence[Range]) -> tuple[list[Range], list[Range]]:
    """Cut ranges in two of about as many messages; the first is empty when there is but one."""
    first: list[Range] = []
    rest: list[Range] = []
    left = count(ranges) // 2
    for start, end in ranges:
        upto = min(end, start + left - 1)
        if upto >= start:
            first.append(Range(start, upto))
            left -= upto - start + 1
        if upto < end:
            rest.append(Range(max(upto + 1, start), end))
    return first, rest


def _held(reader: WaitingAccounting.Reader) -> Iterator[tuple[int, int, int]]:
    """Yield what waits and nobody holds, and hold it."""
    after, many = -1, _FIRST_LOOK
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_NEXT, [reader, after, many])
            rows = cursor.fetchall()
            yield from rows
            if len(rows) < many:
                return
            after, many = rows[-1][1], many * 2
