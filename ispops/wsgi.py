"""The WSGI entry point for gunicorn and other servers."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ispops.settings")

_django = get_wsgi_application()

from provisioning import aaa  # noqa: E402 - models can be imported once Django is set up


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Answer an address server at once, and hand everything else to Django."""
    if environ["PATH_INFO"] == aaa.AUTHORIZE:
        return aaa.authorize_wsgi(environ, start)
    return _django(environ, start)
