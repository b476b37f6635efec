"""The registration of whoever asks: the browser's until the login, then the login's own.

The session survives signing in, so what a visitor has begun goes with whoever signs in. A login
finds its open registration again on any device.
"""

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.utils import timezone

from ispops.errors import Refusal
from ispops.parties.models import User
from provisioning import registrations
from provisioning.models import ProductOrder, Registration
from qualification.models import QualifiedOffer

_SESSION_KEY: Final = "registration"


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a registration, as the list of what is left shows it."""

    name: str
    # The name of its page.
    page: str
    is_done: bool
    # What was answered, in a few words.
    said: str = ""
    # It cannot be done before an earlier one.
    waits: bool = False


def current(request: HttpRequest) -> Registration | None:
    """Return what this browser or this login has begun or ordered last, if anything."""
    if not hasattr(request, "_registration"):
        request._registration = _find(request)  # type: ignore[attr-defined]
    found: Registration | None = request._registration  # type: ignore[attr-defined]
    return found


def open_one(request: HttpRequest) -> Registration | None:
    """Return what was begun and is not ordered yet, for "continue where you left"."""
    found = current(request)
    return found if found and found.state == Registration.State.DRAFT else None


def begin(request: HttpRequest, offer: QualifiedOffer) -> Registration:
    """Take a plan in place of anything chosen before."""
    begun = registrations.begin(
        offer=offer,
        channel=ProductOrder.Channel.PORTAL,
        user=_login(request),
        replaces=open_one(request),
        at=timezone.now(),
    )
    remember(request, begun)
    return begun


def claim(request: HttpRequest, found: Registration) -> Registration | None:
    """Let what a visitor began be that of the login they have by now."""
    user = _login(request)
    if user is None or found.user_id == user.pk or found.state != Registration.State.DRAFT:
        return found
    try:
        mine = registrations.claim(registration_id=found.pk, user=user, at=timezone.now())
    except Refusal:
        return None
    remember(request, mine)
    return mine


def remember(request: HttpRequest, found: Registration) -> None:
    """Keep in the session what this browser is at."""
    request.session[_SESSION_KEY] = found.public_id
    request._registration = found  # type: ignore[attr-defined]


def _login(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None


def _find(request: HttpRequest) -> Registration | None:
    rows = Registration.objects.exclude(state=Registration.State.ABANDONED).select_related(
        "qualification__premises", "offering", "order", "user"
    )
    key = Registration.key_of(request.session.get(_SESSION_KEY, ""))
    found = rows.filter(pk=key, clerk=None).first() if key else None
    user = _login(request)
    if found and found.user_id in {None, user.pk if user else None}:
        return found
    if user is None:
        return None
    return rows.filter(user=user, state=Registration.State.DRAFT).first()
