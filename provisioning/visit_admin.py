"""The calendar of technicians' visits in the console; see `provisioning.admin`."""

from datetime import datetime, time
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from ispops.admin_base import ReadOnlyAdmin, VerbAdmin, VerbForm
from ispops.parties.models import User
from provisioning import models, visiting, visits


class HoursField(forms.CharField):
    """The spans of a day, such as `8:00-12:00, 13:00-17:00`."""

    def clean(self, value: Any) -> list[tuple[time, time]]:
        try:
            return [_span(span) for span in str(super().clean(value)).split(",")]
        except ValueError as error:
            raise forms.ValidationError("Write hours like 8:00-12:00, 13:00-17:00.") from error


def _span(text: str) -> tuple[time, time]:
    start, end = (datetime.strptime(word.strip(), "%H:%M").time() for word in text.split("-"))  # noqa: DTZ007 - a time of any day
    return start, end


class SlotsForm(VerbForm):
    """Plans the same visits on the days of some weeks."""

    city = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget())
    region = forms.CharField(
        max_length=2, label="State, in two letters", widget=UnfoldAdminTextInputWidget()
    )
    first_day = forms.DateField(widget=UnfoldAdminDateWidget())
    weeks = forms.IntegerField(
        initial=1, min_value=1, max_value=12, widget=UnfoldAdminIntegerFieldWidget()
    )
    hours = HoursField(
        max_length=200,
        initial="8:00-12:00, 13:00-17:00",
        help_text="In the time zone of the ISP.",
        widget=UnfoldAdminTextInputWidget(),
    )
    at_weekends = forms.BooleanField(
        required=False, label="On Saturdays and Sundays, too", widget=UnfoldBooleanWidget()
    )

    class Meta:
        model = models.InstallSlot
        fields = ("capacity",)
        labels: ClassVar[dict[str, str]] = {"capacity": "Visits at the same time"}

    def perform(self, **more: Any) -> models.InstallSlot:
        given = {"actor": None, "at": timezone.now(), **self.cleaned_data, **more}
        return visits.add_slots(**given)[0]


@admin.register(models.InstallSlot)
class InstallSlotAdmin(VerbAdmin):
    """When technicians make visits in which area, and how many are taken; a verb adds weeks.

    A row leads to the page about its slot, in `ispops.console`.
    """

    form = SlotsForm
    list_display = ("area", "when", "taken", "capacity", "withdrawn_at")
    list_filter = ("starts_at", ("withdrawn_at", admin.EmptyFieldListFilter))
    search_fields = ("area",)
    ordering = ("starts_at", "area")
    ADDED = ("city", "region", "first_day", "weeks", "hours", "at_weekends", "capacity")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.add_installslot")  # type: ignore[union-attr]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return list(self.ADDED)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()

    @admin.display(description="When", ordering="starts_at")
    def when(self, slot: models.InstallSlot) -> str:
        return visiting.in_words(slot)


@admin.register(models.Appointment)
class AppointmentAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "slot", "order", "state", "booked_at", "booked_by")
    list_filter = ("state", "slot__starts_at")
    list_select_related = ("slot", "order", "booked_by")
    search_fields = ("slot__area", "order__subscriber__name")
    ordering = ("-booked_at",)
