"""The state table of an over-allocation request (figure 11). Pure.

The guards migration enforces the same table in the database.
"""

from typing import Literal

State = Literal["pending", "granted", "denied", "expired"]

REQUEST: dict[str, frozenset[str]] = {
    "pending": frozenset({"granted", "denied", "expired"}),
    "granted": frozenset(),
    "denied": frozenset(),
    "expired": frozenset(),
}


def may_become(state: str, following: str) -> bool:
    """Say whether a request may go from one state to another; staying is no transition."""
    return following in REQUEST[state]
