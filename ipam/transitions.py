"""The state tables of requests for more addresses, by a device and by a server (figure 11). Pure.

Guards of the migrations enforce the same tables in the database.
"""

from typing import Literal

State = Literal["pending", "granted", "denied", "expired"]

REQUEST: dict[str, frozenset[str]] = {
    "pending": frozenset({"granted", "denied", "expired"}),
    "granted": frozenset(),
    "denied": frozenset(),
    "expired": frozenset(),
}

# A further block: decided, cut from its parent, told to the server, and seen to be in use there.
BLOCK: dict[str, frozenset[str]] = {
    "open": frozenset({"asked", "granted", "refused", "withdrawn"}),
    "asked": frozenset({"granted", "refused", "withdrawn"}),
    "granted": frozenset({"carved", "refused"}),
    "carved": frozenset({"pushed", "parked"}),
    "pushed": frozenset({"confirmed", "parked"}),
    "parked": frozenset({"carved"}),
    "confirmed": frozenset(),
    "refused": frozenset(),
    "withdrawn": frozenset(),
}
# A further block on its way back.
RETURN: dict[str, frozenset[str]] = {
    "draining": frozenset({"removed", "kept", "parked"}),
    "removed": frozenset({"returned", "parked"}),
    "parked": frozenset({"draining"}),
    "returned": frozenset(),
    "kept": frozenset(),
}
# The holders of a pool on their way into another one.
RENUMBERING: dict[str, frozenset[str]] = {
    "running": frozenset({"paused", "rolling_back", "finished"}),
    "paused": frozenset({"running", "rolling_back"}),
    "rolling_back": frozenset({"rolled_back"}),
    "rolled_back": frozenset(),
    "finished": frozenset(),
}


def may_become(state: str, following: str) -> bool:
    """Say whether a request may go from one state to another; staying is no transition."""
    return following in REQUEST[state]


def follows(table: dict[str, frozenset[str]], state: str, following: str) -> bool:
    """Say whether a state may come after another one by a table; staying is no transition."""
    return following in table[state]
