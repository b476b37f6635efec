"""What a subscriber fills in to change a line, to pause it and to end it."""

from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator

from ispops.portal.forms import KeyForm, PortalForm

NOW, NEXT = "now", "next"
LAST_DAY = date(9998, 12, 31)


def _day(label: str, hint: str) -> forms.DateField:
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
    begins = datetime.combine(day, time.min, ZoneInfo(settings.BILLING_TIME_ZONE))
    is_today = day == now.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date()
    return None if is_today else begins


class PlanForm(PortalForm):
    """Which plan, and from when: at once, with the next billing period, or from a day on."""

    plan = forms.ChoiceField(
        label="Plan", widget=forms.RadioSelect, error_messages={"required": "Choose a plan."}
    )
    when = forms.ChoiceField(
        label="When",
        choices=[(NOW, "Now"), (NEXT, "With my next billing period")],
        widget=forms.RadioSelect,
        initial=NOW,
        required=False,
    )
    new_day = _day("Switch the new line on", "Leave it empty for as soon as it can be.")
    old_day = _day("End the old line", "Leave it empty to end it as soon as the new one works.")

    def __init__(self, *args: Any, codes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["plan"].choices = codes  # type: ignore[attr-defined]


class PauseForm(KeyForm):
    """From when a line is paused."""

    wanted_from = _day("From", "Leave it empty to pause it now.")


class EndForm(KeyForm):
    """When a line ends."""

    wanted_from = _day("Last day", "Leave it empty to end it now.")
