"""The console writes and reads times as the clock on the ISP's wall shows them."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone


def local(moment: datetime) -> datetime:
    return moment.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE))


def in_full(moment: datetime) -> str:
    """Write a moment to the second, with its zone: what stands behind a shorter one, on hover."""
    return f"{local(moment):%d %b %Y %H:%M:%S %Z}"


def zones() -> list[tuple[str, str]]:
    """Return the zones in which a form can be filled in, the ISP's first, with their words."""
    return [("local", settings.BILLING_TIME_ZONE), ("utc", "UTC")]


def chosen(name: str) -> tzinfo | None:
    """Return the zone that a form names, the ISP's where it names none; None is no zone."""
    known: dict[str, tzinfo] = {"": ZoneInfo(settings.BILLING_TIME_ZONE), "utc": UTC}
    return known.get("" if name == "local" else name)


class ConsoleTimeMiddleware:
    """Lets the console's lists, rows and forms use that zone, too; all else stays in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/console/"):
            return self.get_response(request)
        with timezone.override(ZoneInfo(settings.BILLING_TIME_ZONE)):
            return self.get_response(request)
