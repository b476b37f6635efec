"""Filters and tags of the portal's templates; the words themselves come from `wording`."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.dateformat import format as format_date
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from ispops.money import round_to_minor_unit
from ispops.portal import journey as journeys
from ispops.portal import wording
from ispops.portal.icons import ICONS

register = template.Library()

register.filter("speed", wording.speed)
register.filter("days", wording.days)
register.filter("sureness", wording.sureness)
register.filter("volume", wording.bytes_in_words)
register.filter("quantity", wording.quantity)


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """Write an amount as people pay it: rounded to the currency's smallest coin."""
    return "" if amount is None else exact_money(round_to_minor_unit(amount, currency), currency)


@register.filter
def exact_money(amount: Decimal, currency: str) -> str:
    """Write an amount to its last digit, in figures of one width that do not wrap."""
    return format_html('<span class="money">{}</span>', wording.format_money(amount, currency))


@register.filter
def dollars(amount: Decimal | int, currency: str) -> str:
    """Write an amount as the FCC's label does: with a sign for dollars, never without cents."""
    exact = Decimal(amount)
    return f"${exact:,.2f}" if currency == "USD" else wording.format_money(exact, currency)


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon that says nothing a word beside it does not say."""
    return mark_safe(  # noqa: S308 - the shapes are ours, and `name` is only looked up
        f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
        f"{ICONS[name]}</svg>"
    )


@register.simple_tag
def badge(row: Any) -> str:
    """Show the state of a row by a word, a shape and a colour."""
    shown = wording.look(type(row).__name__, getattr(row, "shown_state", row.state))
    return format_html(
        '<span class="badge {}">{} {}</span>', shown.tone, icon(shown.icon), shown.word
    )


@register.simple_tag
def ago(at: datetime | None) -> str:
    """Show a time as people say it, with the exact one on hover."""
    if at is None:
        return ""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        format_date(_local(at), "F j, Y, g:i A T"),
        wording.ago(at, timezone.now()),
    )


@register.filter
def day(at: datetime | date | None) -> str:
    """Show a day of the ISP's own time zone, such as `Nov 3, 2025`, the exact time on hover."""
    if at is None:
        return ""
    if not isinstance(at, datetime):
        return format_html('<time datetime="{}">{}</time>', at.isoformat(), _day(at))
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        format_date(_local(at), "F j, Y, g:i A T"),
        _day(_local(at)),
    )


@register.filter
def iso_day(at: datetime) -> str:
    """Write a day of the ISP's own time zone as a field or an address takes it."""
    return _local(at).date().isoformat()


@register.filter
def clock(at: datetime) -> str:
    """Show a time of day of the ISP's own time zone, such as `2:35 PM`, the day on hover."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        format_date(_local(at), "F j, Y, g:i A T"),
        format_date(_local(at), "g:i A"),
    )


@register.filter
def last_day(end: datetime) -> str:
    """Show the last day of a span that ends before `end`, as people count days."""
    return day((_local(end) - timedelta(microseconds=1)).date())


@register.simple_tag
def span(start: datetime, end: datetime) -> str:
    """Show the days of a span that ends before `end`; a single day once."""
    first, last = day(start), last_day(end)
    one_day = _local(start).date() == (_local(end) - timedelta(microseconds=1)).date()
    return first if one_day else format_html("{} to {}", first, last)


@register.inclusion_tag("portal/parts/field.html")
def field(bound: Any, size: str = "") -> dict[str, Any]:
    """Show a field of a form with its label, its hint and what is wrong with it."""
    return {"field": bound, "size": size, "box": bound.widget_type == "checkbox"}


@register.inclusion_tag("portal/parts/error_summary.html")
def error_summary(form: Any) -> dict[str, Any]:
    """List what is wrong with a form, each line linked to its field."""
    return {"form": form}


_SECTIONS = {
    "overview": "overview",
    "order": "overview",
    "amend_order": "overview",
    "review_amendment": "overview",
    "choose_plan": "overview",
    "choose_extras": "overview",
    "review_change": "overview",
    "move_line": "overview",
    "visit": "overview",
    "usage": "usage",
    "more_data": "usage",
    "bill": "bill",
    "issued_bill": "bill",
    "charge": "bill",
    "payment": "bill",
    "shop": "shop",
    "buy": "shop",
    "purchases": "shop",
    "purchase": "shop",
    "devices": "devices",
    "letters": "letters",
    "letter": "letters",
    "choose_contact": "letters",
    "confirm_contact": "letters",
}
_STEPS = {
    "plan": "Plan",
    "extras": "Extras",
    "login": "Your login",
    "contact": "Contact",
    "payment": "Payment",
    "review": "Check and order",
}


@register.inclusion_tag("portal/parts/journey.html", takes_context=True)
def journey(context: dict[str, Any], now: str) -> dict[str, Any]:
    """Show how far an order has come; nothing for somebody who is not ordering."""
    request = context.get("request")
    if request is None or journeys.open_one(request) is None:
        return {"steps": []}
    names = list(_STEPS)
    place = names.index(now)
    return {
        "steps": [
            {
                "name": _STEPS[name],
                "state": "done" if index < place else "now" if index == place else "",
            }
            for index, name in enumerate(names)
        ]
    }


@register.simple_tag(takes_context=True)
def current_page(context: dict[str, Any]) -> str:
    """Name the entry of the account's menu that the page belongs to."""
    match = getattr(context.get("request"), "resolver_match", None)
    if match is None:
        return ""
    return _SECTIONS.get(match.url_name, "") if match.namespace == "portal" else "login"


def _local(at: datetime) -> datetime:
    return at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE))


def _day(day: date) -> str:
    return format_date(day, "M j, Y")
