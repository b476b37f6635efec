"""What the product says when it will not do a thing.

A verb raises a `Refusal`; a face turns it into a form error, a page or an RFC 9457 problem.
Anything that is not a `Refusal` is our own fault and is never shown to a caller.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """A request that is understood and refused, with the field, the reason and what to do.

    Subclasses live beside the verb that raises them and set `code` (stable, part of the API),
    `title` (the same for every occurrence) and the HTTP `status` that fits.
    """

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The request was refused"
    status: ClassVar[int] = 409

    def __init__(self, detail: str, *, field: str = "", **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.facts = facts


class InvalidInput(Refusal):
    """A value that cannot be used, whatever the state of the system."""

    code = "invalid_input"
    title = "A value cannot be used"
    status = 422


class NotFound(Refusal):
    """Something that does not exist, or that the asker may not know of."""

    code = "not_found"
    title = "Not found"
    status = 404


class IllegalTransition(Refusal):
    """A change of state that the object's table does not allow."""

    code = "illegal_transition"
    title = "Not possible in this state"


class OutsideFault(Exception):
    """An outside system was called in vain; keeps what was said to it and what came back."""

    def __init__(self, words: str = "", *, request: Any = None, reply: Any = None) -> None:
        super().__init__(words)
        self.request = request
        self.reply = reply


class TransientFault(OutsideFault):
    """An outside system did not answer as it should; trying again later may help.

    `system_answered` where it did, and what lies behind it did not: others may be served by it.
    """

    system_answered: ClassVar[bool] = False


class PermanentFault(OutsideFault):
    """An outside system refused; a person has to look before it is tried again.

    `cause` is what the queue of such things calls it.
    """

    cause = "not_possible"
