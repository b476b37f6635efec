"""Servers, blocks, pools, and who holds or held which address, in the console.

Everything is shown and nothing is saved here; requests are decided in the console's own queue.
"""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ipam import queries
from ipam.models import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    Block,
    ExtraAddress,
    OverallocationRequest,
    Pool,
)
from ispops.admin_base import ReadOnlyAdmin


@admin.register(AddressServer)
class AddressServerAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "active")
    list_filter = ("kind", "active")
    search_fields = ("name",)
    ordering = ("name",)


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
