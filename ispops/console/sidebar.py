"""The sidebar: what there is to work on, in the order of work, with what waits."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from ispops.console import queues
from ispops.console.sidebar_entries import GROUPS, Entry


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar for this user, in django-unfold's form."""
    waiting = queues.counts(request)
    current = _current(request.path)
    groups = []
    for title, entries in GROUPS:
        items = [
            _item(entry, waiting, is_current=entry == current)
            for entry in entries
            if not entry.permission or request.user.has_perm(entry.permission)
        ]
        if items:
            groups.append({"title": title, "separator": bool(title), "items": items})
    return groups


def _item(entry: Entry, waiting: dict[str, int], *, is_current: bool) -> dict[str, Any]:
    path = reverse(entry.address)
    item: dict[str, Any] = {
        "title": entry.title,
        "icon": entry.icon,
        "link": path + (f"?{entry.query}" if entry.query else ""),
        "active": is_current,
    }
    if count := waiting.get(entry.queue, 0):
        trouble = next(queue.is_trouble for queue in queues.QUEUES if queue.key == entry.queue)
        item |= {
            "badge": _Badge(queues.shown(count)),
            "badge_variant": "danger" if trouble else "primary",
        }
    return item


def _current(path: str) -> Entry | None:
    """Return the one entry that a page belongs to: the nearest above it, by address."""
    home, around = reverse("admin:index"), dict[str, Entry]()
    for address, entry in ((reverse(entry.address), entry) for _, all_ in GROUPS for entry in all_):
        if path == address or (address != home and path.startswith(address)):
            around[address] = entry
    return around[max(around, key=len)] if around else None


class _Badge:
    """A count that unfold prints as it is, and does not take for the name of a function."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text
