"""Ids of stored use: when it came, in which batch, and where in it.

A month of receipt is therefore a range of ids, which is what the tables are partitioned by.
"""

import hashlib
from datetime import datetime, timedelta

# Behind the second of receipt are 16 bits of a number for the batch, and 14 for the place in it.
PLACE_BITS = 14
SECOND_BITS = 30
MOST_AT_ONCE = 1 << PLACE_BITS
# A partner's clock may be ahead of ours, so a use may come before the time that it tells.
AHEAD = timedelta(hours=2)


def first_id(moment: datetime) -> int:
    """Return the smallest id that a use can have that came at a moment or later."""
    return max(int(moment.timestamp()), 0) << SECOND_BITS


def batch_id(moment: datetime, number: int) -> int:
    """Return the first id of a batch that came at a moment."""
    return first_id(moment) | number << PLACE_BITS


def digest(text: str) -> str:
    """Return what stands for a text of any length, for ever: a UUID in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def event_digest(source: str, event_id: str) -> str:
    """Return what stands for the id that a source gave a use."""
    return digest(f"{source}\0{event_id}")
