"""How the console writes states, times, amounts, sizes and ids: the same on every page."""

import json as standard_json
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from ispops.console import tones
from ispops.console.zone import in_full, local
from ispops.money import format_money

register = template.Library()

_PUBLIC_ID = re.compile(r"\b[a-z]{3}_[0-9a-f]{32}\b")
_UNITS = (
    (31_556_952, "year"),
    (2_629_746, "month"),
    (86_400, "day"),
    (3_600, "hour"),
    (60, "minute"),
    (1, "second"),
)
# Beyond it nobody counts: "in 9 years" says less than the day.
A_LONG_TIME = timedelta(days=60)

# Where each kind of public id leads.
_PAGES = {
    "ord": "admin:console_order",
    "sub": "admin:console_subscriber",
    "qlf": "admin:console_qualification",
    "inq": "admin:console_inquiry",
    "blk": "admin:console_bulk_file",
    "msg": "admin:console_webhook",
    "drf": "admin:console_price_draft",
    "sim": "admin:console_simulation",
}


@register.simple_tag
def state(value: str, said: str = "", *, tone: str = "") -> SafeString:
    """Write a state as a shape and a word in its colour."""
    tone = tone or tones.tone_of(value)
    return format_html(
        '<span class="c-state c-{}"><span aria-hidden="true">{}</span> {}</span>',
        tone,
        tones.SHAPES[tone],
        said or words(value),
    )


@register.filter
def tone(value: str) -> str:
    return tones.tone_of(value)


@register.filter
def ago(value: datetime | None) -> str | SafeString:
    """Write a time as how long ago it was, or how far off it is, with the exact one on hover."""
    if value is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        in_full(value),
        _distance(value),
    )


@register.filter
def has_come(value: datetime) -> bool:
    """Say whether a moment is past."""
    return value <= timezone.now()


def _distance(value: datetime) -> str:
    """Write how far off a time is in its largest unit: `in 4 days`, `3 minutes ago`."""
    seconds = int((value - timezone.now()).total_seconds())
    size = next((unit for unit in _UNITS if abs(seconds) >= unit[0]), None)
    if size is None:
        return "now"
    count = abs(seconds) // size[0]
    words = f"{count} {size[1]}{'' if count == 1 else 's'}"
    return f"in {words}" if seconds > 0 else f"{words} ago"


@register.filter
def until(value: datetime | None) -> str | SafeString:
    """Write when something ends: how far off it is, or the day where that is a long time."""
    if value is None:
        return "—"
    return billing_day(value) if value - timezone.now() > A_LONG_TIME else ago(value)


@register.filter
def exact(value: datetime | None) -> str | SafeString:
    """Write a time to the minute on the ISP's clock, for tables in which rows are compared."""
    if value is None:
        return "—"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        in_full(value),
        f"{local(value):%d %b %H:%M}",
    )


@register.filter
def billing_day(value: datetime) -> SafeString:
    """Write the day on which a billing period begins or ends, in the ISP's own time zone."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.isoformat(),
        in_full(value),
        f"{local(value):%d %b %Y}",
    )


@register.simple_tag
def money(amount: Decimal | None, currency: str) -> str:
    return "—" if amount is None else format_money(amount, currency)


@register.filter
def volume(value: int | None) -> str:
    """Write a number of bytes in decimal units, as access lines are sold."""
    if value is None:
        return "—"
    size = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@register.filter
def counted(quantity: int, unit: str) -> str:
    """Write how much was used: bytes as a volume, anything else as a count of its unit."""
    if unit == "byte":
        return volume(quantity)
    return f"{quantity:,} {unit}" if quantity == 1 else f"{quantity:,} {unit}s"


@register.filter
def speed(kbps: int | None) -> str:
    """Write a speed in the unit people know: 300 Mbit/s, 1 Gbit/s."""
    if kbps is None:
        return "—"
    if kbps >= 1_000_000:
        return f"{kbps / 1_000_000:g} Gbit/s"
    return f"{kbps / 1_000:g} Mbit/s" if kbps >= 1_000 else f"{kbps} kbit/s"


@register.filter
def ref(public_id: str) -> SafeString:
    """Write a public id short, with the whole one on hover and a button that copies it."""
    return format_html(
        '<span class="c-ref"><code title="{}">{}</code>'
        '<button type="button" data-copy="{}" aria-label="Copy {}" title="Copy">'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span>'
        "</button></span>",
        public_id,
        short(public_id),
        public_id,
        public_id,
    )


@register.filter
def short(public_id: str) -> str:
    """Shorten `ord_0190…` to its kind and last six digits; other words stay as they are."""
    prefix, mark, digits = public_id.partition("_")
    if mark and len(prefix) == 3 and len(digits) == 32:
        return f"{prefix}_…{digits[-6:]}"
    return public_id


@register.filter
def address(network: str) -> str:
    """Write an address without the length that only says that it is one: `100.64.0.9`."""
    return str(network).removesuffix("/32").removesuffix("/128")


@register.filter
def subject(public_id: str) -> str | SafeString:
    """Write what an event is about, as a link where there is a page about it."""
    prefix, _, digits = public_id.partition("_")
    if len(digits) == 32 and prefix in _PAGES:
        return format_html(
            '<a href="{}" title="{}">{}</a>',
            reverse(_PAGES[prefix], args=[public_id]),
            public_id,
            short(public_id),
        )
    return format_html('<span title="{}">{}</span>', public_id, short(public_id))


@register.filter
def said(text: str) -> SafeString:
    """Write a text in which ids are named with the ids short, and whole on hover."""
    return mark_safe(_PUBLIC_ID.sub(_shortened, escape(text)))  # noqa: S308


def _shortened(found: re.Match[str]) -> str:
    return f'<span title="{found[0]}">{short(found[0])}</span>'


@register.filter
def words(code: str) -> str:
    """Turn a code such as `service_order.completed` into words: `Service order completed`."""
    return code.replace(".", " ").replace("_", " ").strip().capitalize()


@register.filter
def facts(value: Any) -> list[tuple[str, Any]]:
    """Return the entries of a JSON object as (words, value), leaving out what is empty."""
    if not isinstance(value, dict):
        return []
    return [(words(str(key)), item) for key, item in value.items() if item not in ("", None, [])]


@register.filter
def json(value: Any) -> str:
    """Write what was said between machines for a person to read."""
    return standard_json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.simple_tag
def meter(percent: int, label: str, *, warn_at: int = 80, bad_at: int = 95) -> SafeString:
    """Draw how full something is; the words beside it say the same."""
    tone_name = "bad" if percent >= bad_at else "warn" if percent >= warn_at else "good"
    return format_html(
        '<span class="c-meter c-{}" role="img" aria-label="{}"><span style="width:{}%"></span>'
        "</span>",
        tone_name,
        label,
        max(min(percent, 100), 0),
    )
