"""Purchases, use, charges, bills, the ledger and statements in the console.

Everything is shown and nothing is edited; usage in error is sent to be rated again by its verb.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join

from ispops.admin_base import ReadOnlyAdmin, ReadOnlyInline
from ispops.money import format_money
from rating import queries, usage
from rating.models import (
    BillLine,
    Charge,
    CustomerBill,
    Dispute,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    MeteredInterval,
    MeteredSession,
    PassedThreshold,
    Purchase,
    PurchaseConsent,
    PurchaseRequest,
    RatedUsage,
    Reservation,
    ReservationUse,
    SettlementStatement,
    SimulatedUse,
    Simulation,
    StandingConsent,
    Usage,
    UsageClosing,
    UsageConflict,
    UsageFile,
    UsagePack,
)


@admin.register(Purchase)
class PurchaseAdmin(ReadOnlyAdmin):
    list_display = ("offering", "subscriber", "state", "channel", "placed_at", "settled_at")
    list_filter = ("state", "channel", "offering__provider")
    list_select_related = ("offering", "subscriber")
    search_fields = ("subscriber__name", "subscriber__email", "offering__name")
    ordering = ("-placed_at",)


class StateFilter(admin.SimpleListFilter):
    """How far a use is, which no column says."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Usage.State.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Usage]) -> QuerySet[Usage]:
        # `state` is added by `with_state`, which the checker of types does not see here.
        only: dict[str, Any] = {"state": self.value()} if self.value() else {}
        return queryset.filter(**only)


@admin.register(Usage)
class UsageAdmin(ReadOnlyAdmin):
    """All usage; with the state *Cannot be rated* it is the queue of rating errors."""

    list_display = (
        "event_id",
        "source",
        "subscriber",
        "product_ref",
        "quantity",
        "unit",
        "started_at",
        "how_far",
        "error",
    )
    list_filter = (StateFilter, "error_code", "source")
    list_select_related = ("subscriber",)
    search_fields = ("event_id", "subscriber_ref", "subscriber__name")
    ordering = ("-pk",)
    actions = ("recycle",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Usage]:
        rows: QuerySet[Usage] = super().get_queryset(request)
        return rows.with_state()  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="State")
    def how_far(self, use: Usage) -> str:
        return Usage.State(use.state).label  # type: ignore[attr-defined]

    def has_recycle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("rating.change_usage")  # type: ignore[union-attr]

    @admin.action(description="Try to rate again", permissions=["recycle"])
    def recycle(self, request: HttpRequest, queryset: QuerySet[Usage]) -> None:
        keys = list(queryset.exclude(error_code="").values_list("pk", flat=True))
        freed = usage.recycle(
            usage_ids=keys,
            actor=request.user,  # type: ignore[arg-type]
            at=timezone.now(),
        )
        left = len(keys) - freed
        if freed:
            self.message_user(request, f"{freed} will be rated.", messages.SUCCESS)
        if left:
            self.message_user(request, f"{left} still cannot be; see why.", messages.WARNING)
        if not keys:
            self.message_user(request, "None of these is in error.", messages.WARNING)


@admin.register(MeteredSession)
class MeteredSessionAdmin(ReadOnlyAdmin):
    list_display = (
        "username",
        "framed_ip",
        "nas_ip",
        "started_at",
        "last_event_at",
        "ended_at",
        "input_bytes",
        "output_bytes",
        "was_reset",
    )
    list_filter = ("was_reset", ("ended_at", admin.EmptyFieldListFilter))
    search_fields = ("username", "unique_session_id", "calling_station_id")
    ordering = ("-last_event_at",)


@admin.register(MeteredInterval)
class MeteredIntervalAdmin(ReadOnlyAdmin):
    list_display = (
        "username", "meter", "started_at", "ended_at", "download_bytes", "upload_bytes",
    )  # fmt: skip
    search_fields = ("username", "meter")
    ordering = ("-pk",)


@admin.register(UsageConflict)
class UsageConflictAdmin(ReadOnlyAdmin):
    """Events that came again with other content; what came first counts."""

    list_display = ("event_id", "source", "kept", "told", "times", "first_at", "last_at")
    list_filter = ("source",)
    search_fields = ("event_id",)
    ordering = ("-last_at", "-pk")


@admin.register(UsageFile)
class UsageFileAdmin(ReadOnlyAdmin):
    list_display = (
        "file_name", "partner", "format", "state", "rows_done", "rows_total", "created_at",
    )  # fmt: skip
    list_filter = ("state", "format", "partner")
    list_select_related = ("partner",)
    search_fields = ("file_name", "digest")
    ordering = ("-created_at",)
    # The files are given out by the console's own page.
    exclude = ("file", "rejects")


@admin.register(RatedUsage)
class RatedUsageAdmin(ReadOnlyAdmin):
    """What single uses came to; the bill has the charges that gather them."""

    list_display = (
        "usage_id",
        "service",
        "price",
        "quantity",
        "units_after",
        "amount",
        "rated_at",
    )
    list_select_related = ("service__offering", "price__offering")
    search_fields = ("service__subscriber__name",)
    ordering = ("-pk",)
    show_full_result_count = False

    @admin.display(description="Net", ordering="amount_net")
    def amount(self, rated: RatedUsage) -> str:
        return format_money(rated.amount_net, rated.price.currency)


@admin.register(UsageClosing)
class UsageClosingAdmin(ReadOnlyAdmin):
    list_display = ("service", "price", "period_start", "part", "whole", "closed_at")
    list_select_related = ("service__offering", "price__offering")
    search_fields = ("service__subscriber__name",)
    ordering = ("-closed_at",)


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    list_display = ("charge", "subscriber", "partner", "state", "opened_at", "answered_at")
    list_filter = ("state", "partner")
    list_select_related = ("charge__offering", "subscriber", "partner")
    search_fields = ("subscriber__name", "words")
    ordering = ("-opened_at",)


@admin.register(PurchaseRequest)
class PurchaseRequestAdmin(ReadOnlyAdmin):
    list_display = ("offering", "partner", "subscriber", "state", "requested_at", "answered_at")
    list_filter = ("state", "partner")
    list_select_related = ("offering", "partner", "subscriber")
    search_fields = ("subscriber__name", "offering__name")
    ordering = ("-requested_at",)


@admin.register(PurchaseConsent)
class PurchaseConsentAdmin(ReadOnlyAdmin):
    list_display = ("request", "partner", "user", "standing", "channel", "amount", "given_at")
    list_filter = ("channel", "partner")
    list_select_related = (
        "request__offering", "request__subscriber", "partner", "user", "standing__partner",
        "standing__subscriber",
    )  # fmt: skip
    search_fields = ("subscriber__name",)
    ordering = ("-given_at",)


@admin.register(StandingConsent)
class StandingConsentAdmin(ReadOnlyAdmin):
    list_display = ("subscriber", "partner", "monthly_limit", "currency", "given_at", "ended_at")
    list_filter = ("partner", ("ended_at", admin.EmptyFieldListFilter))
    list_select_related = ("subscriber", "partner")
    search_fields = ("subscriber__name",)
    ordering = ("-given_at",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = (
        "subscriber", "partner", "offering", "amount", "used_amount", "held_until", "released_at",
    )  # fmt: skip
    list_filter = ("partner", ("released_at", admin.EmptyFieldListFilter))
    list_select_related = ("subscriber", "partner", "offering")
    search_fields = ("subscriber__name",)
    ordering = ("-held_at",)


@admin.register(ReservationUse)
class ReservationUseAdmin(ReadOnlyAdmin):
    list_display = ("reservation", "net", "charge", "used_at")
    list_select_related = (
        "reservation__offering", "reservation__subscriber", "charge__offering",
    )  # fmt: skip
    search_fields = ("reservation__subscriber__name",)
    ordering = ("-used_at",)


@admin.register(UsagePack)
class UsagePackAdmin(ReadOnlyAdmin):
    list_display = ("purchase", "service", "units", "period_start", "periods", "granted_at")
    list_select_related = ("purchase__offering", "purchase__subscriber", "service__offering")
    search_fields = ("service__subscriber__name",)
    ordering = ("-granted_at",)


@admin.register(Charge)
class ChargeAdmin(ReadOnlyAdmin):
    list_display = (
        "offering",
        "subscriber",
        "kind",
        "amount",
        "tax",
        "isp_share",
        "bsp_share",
        "network_provider_share",
        "charged_at",
    )
    list_filter = ("kind", "bsp", "network_provider", ("bill_line", admin.EmptyFieldListFilter))
    list_select_related = ("offering", "subscriber", "price", "bsp", "network_provider")
    search_fields = ("subscriber__name", "subscriber__email", "cause")
    ordering = ("-charged_at", "-pk")
    readonly_fields = ("why_this_amount",)
    exclude = ("explanation",)

    @admin.display(description="Net", ordering="amount_net")
    def amount(self, charge: Charge) -> str:
        return format_money(charge.amount_net, charge.currency)

    @admin.display(description="Tax", ordering="amount_tax")
    def tax(self, charge: Charge) -> str:
        return format_money(charge.amount_tax, charge.currency)

    @admin.display(description="Why this amount")
    def why_this_amount(self, charge: Charge) -> str:
        told = queries.why(charge)
        lines = [told["rule"], told["price"], told["arithmetic"], told["bundle"], told["tax"]]
        lines += [told["because"], *told["shares"]]
        return format_html_join("", "<p>{}</p>", ((line,) for line in lines if line))


class BillLineInline(ReadOnlyInline):
    model = BillLine
    fields = ("position", "description", "quantity", "unit", "amount_net", "amount_tax", "rounding")
    show_change_link = False
    ordering = ("position",)


@admin.register(CustomerBill)
class CustomerBillAdmin(ReadOnlyAdmin):
    list_display = ("number", "subscriber", "period_start", "amount", "due_date", "issued_at")
    list_select_related = ("subscriber",)
    search_fields = ("number", "subscriber__name", "subscriber__email")
    ordering = ("-number",)
    inlines = (BillLineInline,)

    @admin.display(description="To pay", ordering="amount_due")
    def amount(self, bill: CustomerBill) -> str:
        return format_money(bill.amount_due, bill.currency)


class LedgerEntryInline(ReadOnlyInline):
    model = LedgerEntry
    fields = ("account", "amount")
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows.select_related("account__subscriber", "account__partner").order_by("-amount")


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyAdmin):
    list_display = ("description", "cause", "posted_at")
    search_fields = ("cause", "description")
    ordering = ("-pk",)
    inlines = (LedgerEntryInline,)


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    list_display = ("kind", "subscriber", "partner", "currency")
    list_filter = ("kind",)
    list_select_related = ("subscriber", "partner")
    search_fields = ("subscriber__name", "partner__name")


@admin.register(SettlementStatement)
class SettlementStatementAdmin(ReadOnlyAdmin):
    list_display = ("partner", "period_start", "period_end", "charge_count", "total", "issued_at")
    list_filter = ("partner",)
    list_select_related = ("partner",)
    ordering = ("-period_start", "partner")

    @admin.display(description="Amount", ordering="amount")
    def total(self, statement: SettlementStatement) -> str:
        return format_money(statement.amount, statement.currency)


@admin.register(PassedThreshold)
class PassedThresholdAdmin(ReadOnlyAdmin):
    """Which parts of what is included were used up, and told, newest first."""

    list_display = ("passed_at", "service", "percent", "used", "included", "period_start", "packs")
    list_filter = ("percent",)
    list_select_related = ("service__offering",)
    ordering = ("-id",)


@admin.register(Simulation)
class SimulationAdmin(ReadOnlyAdmin):
    list_display = (
        "draft", "first_month_date", "last_month_date", "state", "accounts_done", "accounts_total",
        "created_by", "created_at",
    )  # fmt: skip
    list_filter = ("state",)
    list_select_related = ("draft__offering", "created_by")
    search_fields = ("draft__name", "draft__offering__name")
    ordering = ("-created_at",)


@admin.register(SimulatedUse)
class SimulatedUseAdmin(ReadOnlyAdmin):
    list_display = (
        "simulation", "subscriber", "service", "period_start", "quantity", "paid_net", "would_net",
    )  # fmt: skip
    list_select_related = ("simulation__draft__offering", "subscriber", "service__offering")
    search_fields = ("subscriber__name",)
    ordering = ("-pk",)
