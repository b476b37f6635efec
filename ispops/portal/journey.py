"""What a visitor has chosen so far, kept in the session through signing up until the order.

The session survives the login, so an order can be left, resumed and placed by whoever logs in.
"""

import secrets
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from django.http import HttpRequest

_SESSION_KEY: Final = "portal_choice"


def _new_key() -> str:
    return secrets.token_urlsafe(24)


@dataclass(slots=True)
class Choice:
    """A qualified offering, what goes with it, who it is for, and the key it is ordered under."""

    qualification: str
    offering: str
    extras: list[str] = field(default_factory=list)
    extras_asked: bool = False
    name: str = ""
    phone: str = ""
    terms_version: str = ""
    idempotency_key: str = field(default_factory=_new_key)
    # The public id of the order, once it is placed.
    order: str = ""


def begin(request: HttpRequest, *, qualification: str, offering: str) -> Choice:
    """Remember what was chosen, in place of anything chosen before."""
    choice = Choice(qualification=qualification, offering=offering)
    _keep(request, choice)
    return choice


def current(request: HttpRequest) -> Choice | None:
    """Return what was chosen in this session, if anything."""
    stored = request.session.get(_SESSION_KEY)
    return Choice(**stored) if stored else None


def change(request: HttpRequest, choice: Choice, **answers: Any) -> None:
    """Remember further answers, under a new key.

    The page that asks for the order carries the key of what it shows, so an order is never
    placed for something that was changed meanwhile in another window.
    """
    for name, answer in answers.items():
        setattr(choice, name, answer)
    choice.idempotency_key = _new_key()
    _keep(request, choice)


def ordered(request: HttpRequest, choice: Choice, *, order: str) -> None:
    """Remember that the choice became an order; its key stays, so that a repeat finds it."""
    choice.order = order
    _keep(request, choice)


def _keep(request: HttpRequest, choice: Choice) -> None:
    request.session[_SESSION_KEY] = asdict(choice)
