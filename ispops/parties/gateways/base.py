"""What a payment gateway can do for us: know how somebody pays, and give it a name."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Named:
    """How the gateway calls a way to pay, and how people do."""

    reference: str
    label: str


class Gateway(Protocol):
    """One gateway. No card's number ever passes through us: people give it to the gateway."""

    name: str
    kinds: frozenset[str]
    # Whether people have to tell the gateway something, on a page of its own, before it is used.
    has_page: bool

    def name_at_once(self, kind: str) -> Named:
        """Name a way to pay of which nothing more has to be known; makes no call."""
        ...

    def page_for(self, *, method_id: str, email: str, return_url: str, key: str) -> str:
        """Open the gateway's page for one payment method of ours; returns its address.

        The same `key` opens it once.

        Raises:
            TransientFault: the gateway does not answer.
            PermanentFault: it refuses, and trying again would not help.
        """
        ...
