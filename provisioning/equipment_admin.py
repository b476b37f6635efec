"""Routers and modems at subscribers' places, in the console; see `provisioning.admin`."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget

from ispops.admin_base import VerbAdmin, VerbForm
from ispops.parties.models import User
from provisioning import equipment, models


class ModelForm(VerbForm):
    """A make of device, and the paths at which it keeps the name and secret of its line."""

    class Meta:
        model = models.EquipmentModel
        fields = ("name", "parameters")
        help_texts: ClassVar[dict[str, str]] = {
            "parameters": "A line for each: path = value, with {username} and {password}. "
            "At the end of the line they are written empty.",
        }

    def perform(self, **more: Any) -> models.EquipmentModel:
        return equipment.set_model(
            model_id=self.instance.pk, at=timezone.now(), **self.cleaned_data, **more
        )


class EquipmentForm(VerbForm):
    """Which device stands at a line, which is named by its id: there are too many for a list."""

    line = forms.CharField(
        required=False,
        max_length=40,
        help_text="Its id, such as svc_0190...",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )

    class Meta:
        model = models.SubscriberEquipment
        fields = ("model", "serial")
        labels: ClassVar[dict[str, str]] = {"serial": "Serial number"}
        help_texts: ClassVar[dict[str, str]] = {
            "serial": "As on its label, and as the ACS knows it.",
        }

    def clean_line(self) -> models.Service | None:
        if self.instance.pk:
            return None
        key = models.Service.key_of(self.cleaned_data["line"].strip())
        found = models.Service.objects.filter(pk=key).first() if key else None
        if found is None:
            raise forms.ValidationError("There is no line with this id.")
        return found

    def perform(self, **more: Any) -> models.SubscriberEquipment:
        given = dict(self.cleaned_data)
        line = given.pop("line", None)
        service = self.instance.service if self.instance.pk else line
        return equipment.note_equipment(
            service=service, at=timezone.now(), **{"actor": None, **given, **more}
        )


class _Written(VerbAdmin):
    """A table with a form of its own, whose values a verb writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.work_fallout")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()


@admin.register(models.EquipmentModel)
class EquipmentModelAdmin(_Written):
    form = ModelForm
    fields = ModelForm.Meta.fields
    list_display = ("name",)
    search_fields = ("name",)
    ordering = ("name",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_equipmentmodel")


@admin.register(models.SubscriberEquipment)
class SubscriberEquipmentAdmin(_Written):
    """Which device stands at which line, and whether it has what it should."""

    form = EquipmentForm
    list_display = (
        "serial", "model", "service", "is_written", "written_at", "last_error", "noted_at"
    )  # fmt: skip
    list_filter = ("model", ("next_attempt_at", admin.EmptyFieldListFilter))
    list_select_related = ("model", "service__offering")
    search_fields = ("=serial", "service__subscriber__name")
    ordering = ("-pk",)
    READ = ("noted_at", "noted_by", "is_written", "written_at", "last_error")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["line", *EquipmentForm.Meta.fields]
        return ["service", *EquipmentForm.Meta.fields, *self.READ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["service", *self.READ] if obj else []

    @admin.display(boolean=True, description="The device has it")
    def is_written(self, row: models.SubscriberEquipment) -> bool:
        return row.written_revision == row.revision
