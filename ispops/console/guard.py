"""Who may open which page of the console."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from ispops.console import pages

View = Callable[..., HttpResponseBase]


def needs(permission: str, view: View) -> View:
    """Return the view behind a permission; without it the answer is 403 and says what lacks.

    Being staff is checked before, by the site: this is about which staff.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.has_perm(permission):
            return pages.show(
                request,
                "console/not_allowed.html",
                "Not allowed",
                status=403,
                permission=permission,
            )
        return view(request, *args, **kwargs)

    return guarded
