"""Who may see what: a subscriber only its own, and of anything else not even that it exists."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache

from ispops.db import PublicIdModel
from ispops.parties.models import Subscriber, User

P = ParamSpec("P")
M = TypeVar("M", bound=PublicIdModel)


def subscriber_of(user: Any) -> Subscriber | None:
    """Return the account that a login belongs to, or None for a visitor, staff or a partner."""
    if not isinstance(user, User):
        return None
    return user.subscribers.order_by("created_at", "pk").first()


def for_subscriber(
    view: Callable[Concatenate[HttpRequest, Subscriber, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let a view run for the login's own account; a login without one is shown how to get one.

    What is private is kept in no cache, so that nothing is left on a shared computer.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        subscriber = subscriber_of(request.user)
        if subscriber is None:
            return redirect("portal:no_account")
        return view(request, subscriber, *args, **kwargs)

    return never_cache(login_required(wrapped))


def own(rows: "QuerySet[M]", public_id: str) -> M:
    """Return the row that a public id names among the rows its asker may see.

    Raises:
        Http404: there is no such row, or it is somebody else's; the two cannot be told apart.
    """
    key = rows.model.key_of(public_id)
    row = rows.filter(pk=key).first() if key else None
    if row is None:
        raise Http404
    return row
