"""What every way out has in common."""

from dataclasses import dataclass
from typing import Protocol

from ispops.errors import TransientFault


class ChannelAway(TransientFault):
    """The far end does not answer, whoever is written to: leave it alone for a while."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it leaves us; `reference` is ours and the same at every attempt."""

    reference: str
    address: str
    subject: str
    body: str
    links: tuple[str, ...] = ()


class Gateway(Protocol):
    """Something that takes a message and carries it on."""

    def send(self, message: Message) -> str:
        """Hand a message over; return what the far end calls it, or nothing.

        Raises:
            ChannelAway: nobody answers there, or nobody may send.
            TransientFault: this message was put off.
            PermanentFault: this message is refused for good.
        """
        ...
