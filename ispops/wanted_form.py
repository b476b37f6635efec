"""What is filled in for a later order, on the portal and on the console alike.

The form checks its shape and turns days into moments; what can be done, the verbs decide.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator

from ispops.errors import Refusal
from provisioning.later_orders import Wanted
from provisioning.models import InstallSlot

NOW, NEXT, DAY = "now", "next", "day"
LAST_DAY = date(9998, 12, 31)
# The fields at which a verb's refusal is shown, by the verb's own names.
_SHOWN_AT = {
    "wanted_from": "day",
    "old_line_until": "old_day",
    "boosts_until": "boost_day",
    "offering_codes": "plan",
    "offering": "plan",
}


def day_field(label: str, hint: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        help_text=hint,
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": "Enter a day like 2026-01-31."},
        # The calendar's last day has no day after it, which is when a line would end.
        validators=[MaxValueValidator(LAST_DAY, "Choose a day within a year.")],
    )


def begin_of(day: date | None, now: datetime) -> datetime | None:
    """Return the moment at which a day begins where bills are made; None when that is over."""
    if day is None:
        return None
    zone = ZoneInfo(settings.BILLING_TIME_ZONE)
    return None if day == now.astimezone(zone).date() else _midnight(day)


def end_of(day: date | None) -> datetime | None:
    """Return the moment at which a day is over: a last day is had whole."""
    return _midnight(day + timedelta(days=1)) if day else None


def last_day_of(end: datetime | None) -> date | None:
    """Return the day that `end_of` was told."""
    if end is None:
        return None
    return (end - timedelta(microseconds=1)).astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()


def first_day_of(begin: datetime | None) -> date | None:
    return begin.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date() if begin else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(settings.BILLING_TIME_ZONE))


class WantedForm(forms.Form):
    """Which plan, what comes and goes, and the days; the choices are those of one answer."""

    plan = forms.ChoiceField(label="Plan", required=False)
    add = forms.MultipleChoiceField(label="Add", required=False)
    remove = forms.MultipleChoiceField(label="Remove", required=False)
    when = forms.ChoiceField(
        label="When",
        choices=[(NOW, "Now"), (NEXT, "With the next billing period"), (DAY, "On a day")],
        required=False,
    )
    day = day_field("From", "Leave it empty for as soon as it can be.")
    old_day = day_field(
        "Last day of the old line", "Leave it empty to end it as soon as the new one works."
    )
    boost_day = day_field(
        "Last day of the speed boost", "Leave it empty to keep it until it is removed."
    )

    def __init__(
        self,
        *args: Any,
        plans: Iterable[str] = (),
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for name, codes in (("plan", plans), ("add", add), ("remove", remove)):
            self.fields[name].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]

    def clean(self) -> None:
        if self.cleaned_data.get("when") == DAY and not self.cleaned_data.get("day"):
            self.add_error("day", "Enter the day.")

    def wanted(self, *, now: datetime, next_period: datetime) -> Wanted:
        """Return what was filled in, in the words of the verbs."""
        given = self.cleaned_data
        begins = {NOW: None, NEXT: next_period}.get(given["when"], begin_of(given["day"], now))
        return Wanted(
            plan_code=given["plan"] or None,
            add=tuple(given["add"]),
            remove=tuple(given["remove"]),
            wanted_from=begins,
            old_line_until=end_of(given["old_day"]),
            boosts_until=end_of(given["boost_day"]),
        )

    def refuse(self, refused: Refusal) -> None:
        """Show why the verb refused, at the field that it names or above the form."""
        name = _SHOWN_AT.get(refused.field or "", refused.field)
        self.add_error(name if name in self.fields else None, refused.detail)


def as_filled_in(wanted: Wanted) -> dict[str, Any]:
    """Return the values of the form that mean this: what an open order is for, to begin with."""
    return {
        "plan": wanted.plan_code or "",
        "add": list(wanted.add),
        "remove": list(wanted.remove),
        "when": DAY if wanted.wanted_from else NOW,
        "day": first_day_of(wanted.wanted_from),
        "old_day": last_day_of(wanted.old_line_until),
        "boost_day": last_day_of(wanted.boosts_until),
    }


class ConfirmForm(forms.Form):
    """The button under a preview: its key, so that it is pressed once, and the visit's time."""

    idempotency_key = forms.CharField(max_length=200, widget=forms.HiddenInput)
    slot = forms.CharField(required=False, max_length=40)
    reason = forms.CharField(required=False, max_length=300)

    def clean_slot(self) -> Any:
        chosen = self.cleaned_data["slot"]
        key = InstallSlot.key_of(chosen) if chosen else None
        if chosen and key is None:
            raise forms.ValidationError("There is no such time. Choose one of those offered.")
        return key


def keeping_moments(wanted: Wanted, before: Wanted) -> Wanted:
    """Return what was filled in, with the very moments of before where the days are the same."""
    kept: dict[str, datetime | None] = {}
    for name, day_of in (
        ("wanted_from", first_day_of),
        ("old_line_until", last_day_of),
        ("boosts_until", last_day_of),
    ):
        new, old = getattr(wanted, name), getattr(before, name)
        kept[name] = old if day_of(new) == day_of(old) else new
    return replace(wanted, **kept)  # type: ignore[arg-type]
