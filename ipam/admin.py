"""Servers, blocks, pools, and who holds or held which address, in the console.

Everything is shown, and only where a Kea server runs is saved here, by its verbs; requests are
decided in the console's own queue.
"""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminPasswordWidget

from ipam import kea_servers, queries
from ipam.models import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    Block,
    BlockImport,
    BlockRequest,
    BlockReturn,
    CsrLetters,
    ExtraAddress,
    KeaServer,
    OverallocationRequest,
    Pool,
    PoolPolicy,
    PoolReport,
    PoolSample,
    RefusedDevice,
    Renumbering,
    StaticAddress,
)
from ispops.admin_base import ReadOnlyAdmin, VerbAdmin, VerbForm
from ispops.parties.models import User


@admin.register(AddressServer)
class AddressServerAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "active")
    list_filter = ("kind", "active")
    search_fields = ("name",)
    ordering = ("name",)


@admin.register(BlockImport)
class BlockImportAdmin(ReadOnlyAdmin):
    list_display = ("file_name", "state", "rows_total", "made", "refused", "created_by")
    list_filter = ("state",)
    search_fields = ("file_name",)
    ordering = ("-id",)
    exclude = ("file", "results")


@admin.register(CsrLetters)
class CsrLettersAdmin(ReadOnlyAdmin):
    list_display = ("user", "wanted", "written_at")
    list_filter = ("wanted",)
    search_fields = ("user__email",)
    ordering = ("user",)


class KeaServerForm(VerbForm):
    """Where a Kea server runs. The address of its database is never shown."""

    new_config_url = forms.CharField(
        required=False,
        max_length=500,
        label="Address of its configuration database",
        help_text="Such as postgresql://isp_ops:password@kea.example/kea. It is never shown; leave "
        "it empty to keep the one that is there.",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
    )

    class Meta:
        model = KeaServer
        fields = (
            "server", "family", "control_socket", "server_tag", "subnet_id", "subnet",
            "shared_network", "lease_file", "log_file",
        )  # fmt: skip
        labels: ClassVar[dict[str, str]] = {"subnet_id": "Number of its subnet"}
        help_texts: ClassVar[dict[str, str]] = {
            "control_socket": "Such as /run/kea/kea4.socket.",
            "subnet": "Such as 100.64.0.0/16. Blocks inside it become pools of it.",
            "shared_network": "Where other blocks become subnets of their own. Empty: nowhere. "
            "Kea 2.2 opens no walled garden to lines of a shared network.",
            "lease_file": "Such as /var/lib/kea/kea-leases4.csv; empty where it cannot be read.",
            "log_file": "Whom it refused is read from it; empty where it cannot be read.",
        }

    def perform(self, **more: Any) -> KeaServer:
        given = dict(self.cleaned_data)
        given["config_url"] = given.pop("new_config_url", "")
        if self.instance.pk:
            for name in ("server", "family"):
                given.pop(name, None)
            return kea_servers.change_kea(
                kea_server_id=self.instance.pk, at=timezone.now(), **given, **more
            )
        return kea_servers.connect_kea(at=timezone.now(), **given, **more)


@admin.register(KeaServer)
class KeaServerAdmin(VerbAdmin):
    """Kea servers that are told of their pools, and what was heard of them last."""

    form = KeaServerForm
    list_display = (
        "server", "family", "subnet", "strangers_refused", "refused_when_full", "heard_at",
        "last_error",
    )  # fmt: skip
    list_select_related = ("server",)
    search_fields = ("server__name",)
    ordering = ("server__name", "family")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("ipam.add_keaserver")  # type: ignore[union-attr]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("ipam.change_keaserver")  # type: ignore[union-attr]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = [*KeaServerForm.Meta.fields]
        if obj is None or self.has_change_permission(request):
            fields.insert(3, "new_config_url")
        return fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["server", "family"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=cast(User, request.user))
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()


@admin.register(RefusedDevice)
class RefusedDeviceAdmin(ReadOnlyAdmin):
    list_display = ("device", "kea", "times", "first_at", "last_at", "why")
    list_filter = ("kea", "was_full", "last_at")
    list_select_related = ("kea__server",)
    search_fields = ("device",)
    ordering = ("-last_at",)

    @admin.display(ordering="was_full")
    def why(self, row: RefusedDevice) -> str:
        return "Nothing was free" if row.was_full else "No pool is for it"


@admin.register(Block)
class BlockAdmin(ReadOnlyAdmin):
    list_display = ("network", "name", "tier", "vrf", "parent")
    list_filter = ("tier", "vrf")
    list_select_related = ("parent",)
    search_fields = ("name",)
    ordering = ("vrf", "network")


@admin.register(Pool)
class PoolAdmin(ReadOnlyAdmin):
    list_display = (
        "name", "server", "block", "purpose", "family", "unit_length", "taken", "quarantine",
    )  # fmt: skip
    readonly_fields = ("taken",)
    list_filter = ("server", "purpose", "family")
    list_select_related = ("server", "block")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        return queries.with_free_slots(super().get_queryset(request))

    @admin.display(description="Held or resting")
    def taken(self, pool: Pool) -> str:
        if pool.state == Pool.State.RETURNED:
            return "given back"
        use = queries.use_of(pool)
        return f"{use.taken:,} of {use.total:,} ({use.percent:.1f} %)"


@admin.register(AddressHolder)
class AddressHolderAdmin(ReadOnlyAdmin):
    list_display = ("service_ref", "subscriber", "plan", "ended_at", "refused_by_limit")
    list_filter = ("plan", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("subscriber", "plan")
    search_fields = ("service_ref", "subscriber__name", "subscriber__email")
    ordering = ("-id",)


@admin.register(Allocation)
class AllocationAdmin(ReadOnlyAdmin):
    list_display = ("address", "device", "holder", "pool", "state", "allocated_at", "expires_at")
    list_filter = ("state", "pool", "family", "counts")
    list_select_related = ("holder", "pool")
    search_fields = ("device", "holder__service_ref")
    ordering = ("-id",)


@admin.register(AllocationHistory)
class AllocationHistoryAdmin(ReadOnlyAdmin):
    list_display = (
        "address", "device", "subscriber", "pool", "held_from", "held_to", "ended_because",
    )  # fmt: skip
    list_filter = ("pool", "ended_because", "held_from")
    list_select_related = ("subscriber", "pool")
    search_fields = ("device", "service_ref", "subscriber__name", "subscriber__email")
    ordering = ("-held_from",)


@admin.register(OverallocationRequest)
class OverallocationRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "device", "holder", "policy", "state", "asked_at", "answer_by", "decided_at",
        "decided_by", "decided_by_user", "reason",
    )  # fmt: skip
    list_filter = ("state", "policy", "decided_by", "asked_at")
    list_select_related = ("holder", "decided_by_user")
    search_fields = ("device", "holder__subscriber__name", "holder__subscriber__email")
    ordering = ("-asked_at",)


@admin.register(ExtraAddress)
class ExtraAddressAdmin(ReadOnlyAdmin):
    list_display = ("device", "holder", "addon", "granted_at", "ended_at")
    list_filter = ("addon", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("holder", "addon")
    search_fields = ("device", "holder__subscriber__name", "holder__subscriber__email")
    ordering = ("-granted_at",)


@admin.register(PoolPolicy)
class PoolPolicyAdmin(ReadOnlyAdmin):
    list_display = (
        "pool", "threshold_percent", "least_days", "decision", "largest_automatic",
        "lines_per_address",
    )  # fmt: skip
    list_filter = ("decision",)
    list_select_related = ("pool",)
    search_fields = ("pool__name",)
    ordering = ("pool__name",)


@admin.register(PoolSample)
class PoolSampleAdmin(ReadOnlyAdmin):
    list_display = ("pool", "grain", "starts_at", "total", "held", "resting", "peak", "lines")
    list_filter = ("grain", "pool")
    list_select_related = ("pool",)
    search_fields = ("pool__name",)
    ordering = ("-starts_at",)


@admin.register(PoolReport)
class PoolReportAdmin(ReadOnlyAdmin):
    list_display = ("pool", "assigned", "declined", "reported_at")
    list_select_related = ("pool",)
    search_fields = ("pool__name",)
    ordering = ("pool__name",)


@admin.register(BlockRequest)
class BlockRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "pool", "length", "state", "cause", "asked_at", "decided_at", "decided_by",
        "decided_by_user", "reason", "made",
    )  # fmt: skip
    list_filter = ("state", "decided_by", "asked_at")
    list_select_related = ("pool", "decided_by_user", "made")
    search_fields = ("pool__name", "reference")
    ordering = ("-asked_at",)


@admin.register(BlockReturn)
class BlockReturnAdmin(ReadOnlyAdmin):
    list_display = ("pool", "network", "state", "cause", "started_at", "ended_at", "last_error")
    list_filter = ("state", "started_at")
    list_select_related = ("pool",)
    search_fields = ("pool__name",)
    ordering = ("-started_at",)


@admin.register(Renumbering)
class RenumberingAdmin(ReadOnlyAdmin):
    list_display = (
        "source", "target", "state", "held_at_start", "deadline_at", "started_at", "ended_at",
    )  # fmt: skip
    list_filter = ("state", "started_at")
    list_select_related = ("source", "target")
    search_fields = ("source__name", "target__name", "reason")
    ordering = ("-started_at",)


@admin.register(StaticAddress)
class StaticAddressAdmin(ReadOnlyAdmin):
    list_display = ("address", "holder", "pool", "cause_ref", "assigned_at", "released_at")
    list_filter = ("pool", ("released_at", admin.EmptyFieldListFilter))
    list_select_related = ("holder", "pool")
    search_fields = ("cause_ref", "holder__service_ref", "holder__subscriber__name")
    ordering = ("-assigned_at",)
