"""Lines that get their addresses by DHCP, in the console; see `provisioning.admin`."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.decorators import action
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from ipam.models import AddressServer
from ispops.admin_base import VerbAdmin, VerbForm
from ispops.parties.models import Partner, User
from provisioning import dhcp_servers, models, reservations


class DhcpServerForm(VerbForm):
    """Where a Kea keeps its hosts, and whose lines it serves. The address is never shown."""

    new_hosts_url = forms.CharField(
        required=False,
        max_length=500,
        label="Address of its database",
        help_text="Such as postgresql://isp_ops:password@kea.example/kea. It is never shown; leave "
        "it empty to keep the one that is there.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
    )

    class Meta:
        model = models.DhcpServer
        fields = ("address_server", "provider", "technology", "subnet_id", "circuit_id")
        labels: ClassVar[dict[str, str]] = {
            "provider": "Network whose lines it serves",
            "subnet_id": "Number of its subnet",
            "circuit_id": "Circuit id in option 82",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "technology": "Only lines of this technology; empty is all that have no server of "
            "their own.",
            "circuit_id": "As access nodes write it, with {node} and {port}. Empty where they "
            "write none: then each line's device is named by hand.",
        }

    def perform(self, **more: Any) -> models.DhcpServer:
        given = dict(self.cleaned_data)
        given["hosts_url"] = given.pop("new_hosts_url", "")
        if self.instance.pk:
            for name in ("address_server", "provider", "technology"):
                given.pop(name, None)
            return dhcp_servers.change_dhcp(
                dhcp_server_id=self.instance.pk, at=timezone.now(), **given, **more
            )
        return dhcp_servers.connect_dhcp(at=timezone.now(), **given, **more)

    def add_error(self, field: str | None, error: Any) -> None:
        """Show what is wrong with the database's address beside the box in which it is written."""
        super().add_error("new_hosts_url" if field == "hosts_url" else field, error)


@admin.register(models.DhcpServer)
class DhcpServerAdmin(VerbAdmin):
    """Kea servers whose lines are reserved there, and how many wait to be written."""

    form = DhcpServerForm
    list_display = ("address_server", "provider", "technology", "subnet_id", "waiting")
    list_select_related = ("address_server", "provider")
    search_fields = ("address_server__name", "provider__name")
    ordering = ("address_server__name",)
    FIXED = ("address_server", "provider", "technology")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.add_dhcpserver")  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.change_dhcpserver")  # type: ignore[union-attr]

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.DhcpServer]:
        return reservations.with_waiting(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = [*DhcpServerForm.Meta.fields]
        if obj is None or self.has_change_permission(request):
            fields.insert(3, "new_hosts_url")
        return fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.FIXED] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the DHCP servers that are not connected yet, and networks."""
        if db_field.name == "address_server":
            kwargs["queryset"] = AddressServer.objects.filter(
                kind=AddressServer.Kind.DHCP, dhcp=None
            ).order_by("name")
        if db_field.name == "provider":
            kwargs["queryset"] = Partner.objects.filter(
                kind=Partner.Kind.NETWORK_PROVIDER
            ).order_by("name")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()

    @admin.display(description="Waiting to be written")
    def waiting(self, server: models.DhcpServer) -> int:
        return server.waiting_count  # type: ignore[attr-defined]


class DeviceForm(BaseDialogForm):
    """Asks by what the DHCP server tells a line's device."""

    device = forms.CharField(
        label="Hardware address, DUID or circuit id; empty is the circuit of its port",
        required=False,
        max_length=130,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    reason = forms.CharField(
        label="How do you know?",
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )


@admin.register(models.DhcpReservation)
class DhcpReservationAdmin(VerbAdmin):
    """What each line's device is to get by DHCP, and whether its server knows."""

    list_display = (
        "service", "dhcp_server", "device", "address", "access", "is_written", "written_at",
        "last_error",
    )  # fmt: skip
    list_filter = ("access", "dhcp_server", ("next_attempt_at", admin.EmptyFieldListFilter))
    list_select_related = ("service__offering", "dhcp_server__address_server")
    search_fields = ("device", "=address", "service__subscriber__name")
    ordering = ("-pk",)
    actions = ("write_again",)
    actions_detail = ("name_device",)

    def has_write_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("provisioning.work_fallout")

    @admin.display(boolean=True, description="The server knows")
    def is_written(self, row: models.DhcpReservation) -> bool:
        return row.written_revision == row.revision

    @admin.action(description="Write to the server again", permissions=["write"])
    def write_again(self, request: HttpRequest, queryset: Any) -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: reservations.write_again(
                reservation_id=row.pk, actor=cast(User, request.user), at=at
            ),
            done="{n} reservations are written again.",
        )

    @action(
        description="Name its device",
        permissions=["write"],
        url_path="name-device",
        dialog={
            "title": "Name the line's device",
            "description": "Another device gets another address, from its next request on.",
            "form_class": DeviceForm,
            "form_submit_text": "Name it",
        },
    )
    def name_device(self, request: HttpRequest, form: DeviceForm, object_id: int) -> HttpResponse:
        self.call_each(
            request,
            models.DhcpReservation.objects.filter(pk=object_id).select_related("service"),
            lambda row, at: reservations.name_device(
                service=row.service,
                device=form.cleaned_data["device"],
                actor=cast(User, request.user),
                reason=form.cleaned_data["reason"],
                at=at,
            ),
            done="The device is named. Retry the step that waited for it.",
        )
        return redirect("admin:provisioning_dhcpreservation_change", object_id)
