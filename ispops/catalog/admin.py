"""The catalogue in the console. What is published is added by the verbs and then only read."""

from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from ispops.admin_base import ReadOnlyAdmin, ReadOnlyInline, VerbAdmin, VerbForm
from ispops.catalog import fair_use, labelled, labelling, publishing
from ispops.catalog.models import (
    AddressEntitlement,
    BroadbandLabel,
    BundleComponent,
    FairUseRule,
    OfferingPrice,
    PriceDraft,
    ProductOffering,
    SettlementTerm,
    TaxRate,
)
from ispops.parties.models import User


class PublishingAdmin(VerbAdmin):
    """A table to which a verb adds rows; a row that is there is read, and never edited."""

    add_form: ClassVar[type[VerbForm]]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        permission = f"catalog.add_{self.opts.model_name}"
        return request.user.has_perm(permission)  # type: ignore[union-attr]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = self.add_form
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return list(self.add_form._meta.fields or ())
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return super().get_readonly_fields(request, obj) if obj else []

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return super().get_inlines(request, obj) if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = form.perform(actor=request.user)
        obj.pk = made.pk
        obj._state.adding = False
        obj.refresh_from_db()


class OfferingForm(VerbForm):
    verb = staticmethod(publishing.create_offering)

    class Meta:
        model = ProductOffering
        fields = (
            "code", "name", "description", "kind", "provider", "subscriber_kind", "tax_category",
            "sold_from", "technology", "download_kbps", "upload_kbps", "needs_download_kbps",
            "needs_low_latency", "addon_type", "is_subscription",
        )  # fmt: skip


class PlainForm(VerbForm):
    """A form of which most fields may be left as they are: empty is what a plain one has."""

    needed: ClassVar[tuple[str, ...]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.required = name in self.needed

    def perform(self, **more: Any) -> models.Model:
        for name, value in list(self.cleaned_data.items()):
            if value in ("", []):
                del self.cleaned_data[name]
        return super().perform(**more)


class PriceForm(PlainForm):
    verb = staticmethod(publishing.set_price)
    needed = ("offering", "charge", "amount")

    class Meta:
        model = OfferingPrice
        fields = (
            "offering", "charge", "name", "currency", "amount", "tax_category", "unit", "model",
            "block_size", "counts_started_blocks", "counts_events", "tiers", "bands", "allowance",
            "rollover_periods", "rollover_most", "percent", "event_fee", "event_minimum",
            "event_maximum", "discount_percent", "discount_amount", "discount_periods",
            "period_minimum", "period_maximum", "proration", "pack_for", "pack_unit", "pack_units",
            "pack_periods", "valid_from",
        )  # fmt: skip
        help_texts: ClassVar[dict[str, str]] = {
            "amount": "For a block of units, a purchase or a period; of a percentage, what one "
            "unit of the value is worth.",
            "tax_category": "Leave it empty for the offering's own.",
            "tiers": 'Such as [{"up_to": 1000, "amount": "0.10"}, {"up_to": null, "amount": '
            '"0.05"}]. A tier may have a "flat" amount beside.',
            "bands": 'Such as [{"name": "Night", "days": [0, 1, 2, 3, 4, 5, 6], "start": "22:00", '
            '"end": "06:00", "amount": "0.01", "counts": false}]. Monday is 0.',
            "rollover_periods": "For how many more periods units that were not used are kept.",
            "rollover_most": "Leave it empty to keep all of them.",
            "discount_periods": "Leave it empty for all periods of a service.",
            "period_minimum": "What the use of a service costs in a period at least.",
            "period_maximum": "What it costs at most. Leave it empty for no limit.",
            "pack_for": "What the units of a pack are for, when this price buys one.",
        }


class TermForm(PlainForm):
    verb = staticmethod(publishing.set_settlement_term)
    needed = ("offering", "role", "partner", "basis")

    class Meta:
        model = SettlementTerm
        fields = (
            "offering", "role", "partner", "basis", "percent", "amount", "block_size", "tiers",
            "minimum", "valid_from",
        )  # fmt: skip
        help_texts: ClassVar[dict[str, str]] = {
            "block_size": "Of a wholesale price: the units that the amount is for.",
            "tiers": 'Such as [{"up_to": "100.00", "percent": "30"}, {"up_to": null, "percent": '
            '"40"}].',
            "minimum": "Guaranteed of a whole charge, or of the use of a service in a period.",
        }


class TaxForm(VerbForm):
    verb = staticmethod(publishing.set_tax_rate)

    class Meta:
        model = TaxRate
        fields = ("category", "percent", "valid_from")


class EntitlementForm(VerbForm):
    verb = staticmethod(publishing.set_entitlement)

    class Meta:
        model = AddressEntitlement
        fields = (
            "offering", "ipv4_addresses", "ipv6_prefixes", "static_addresses", "policy",
            "extra_address", "most_extra_addresses", "most_requests_an_hour",
        )  # fmt: skip


class FairUseForm(VerbForm):
    verb = staticmethod(fair_use.set_fair_use)

    class Meta:
        model = FairUseRule
        fields = ("offering", "threshold_bytes", "download_kbps", "upload_kbps", "valid_from")
        help_texts: ClassVar[dict[str, str]] = {
            "offering": "An access plan, or an aggregated plan, with a price of its use by the "
            "byte. It may cost nothing: it is what the use is counted by.",
            "threshold_bytes": "In a billing period. Hours that are beside the allowance do not "
            "count, and packs of data come on top.",
            "download_kbps": "What the line has then, until the next period.",
        }


class FeesField(forms.CharField):
    """Fees of a label, one a line: the name, a colon and the amount."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            help_text="One a line, such as: Router rental: 5.00",
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            **kwargs,
        )

    def clean(self, value: Any) -> list[dict[str, Any]]:
        fees = []
        for line in super().clean(value).splitlines():
            name, _, amount = line.rpartition(":")
            try:
                fees.append({"name": name.strip(), "amount": Decimal(amount.strip())})
            except InvalidOperation as error:
                raise forms.ValidationError(
                    "%(line)s: write the name, a colon and the amount.", params={"line": line[:80]}
                ) from error
        return fees


def _with_https(field: models.Field, **kwargs: Any) -> Any:
    """Take an address without a scheme for one with https."""
    if isinstance(field, models.URLField):
        kwargs["assume_scheme"] = "https"
    return field.formfield(**kwargs)


class LabelForm(VerbForm):
    verb = staticmethod(labelling.set_label)

    fcc_plan_code = forms.CharField(
        label="FCC plan code",
        required=False,
        help_text="15 capital letters and digits, given once. Leave it empty to have one made.",
        widget=UnfoldAdminTextInputWidget,
    )
    purchase_fees = FeesField(label="One-time fees beside the catalogue")
    monthly_fees = FeesField(label="Monthly fees beside the catalogue")

    class Meta:
        model = BroadbandLabel
        formfield_callback = _with_https
        fields = (
            "offering", "fcc_plan_code", "tier_name", "typical_download_kbps",
            "typical_upload_kbps", "typical_latency_ms", "contract_months", "contract_terms_url",
            "early_termination_fee", "purchase_fees", "monthly_fees", "discounts_url",
            "data_allowance_url", "valid_from",
        )  # fmt: skip
        help_texts: ClassVar[dict[str, str]] = {
            "offering": "An access plan, or an aggregated plan with one in it.",
            "contract_months": "How long the monthly price binds the subscriber; 0 is not at all.",
            "early_termination_fee": "Only with a contract. Bills do not charge it by themselves.",
        } | dict.fromkeys(
            ("contract_terms_url", "discounts_url", "data_allowance_url"),
            "Leave it empty for the page that all plans lead to.",
        )


class PriceInline(ReadOnlyInline):
    model = OfferingPrice
    fk_name = "offering"
    fields = ("charge", "name", "amount", "currency", "unit", "valid_from", "valid_to")
    ordering = ("-valid_from",)


class TermInline(ReadOnlyInline):
    model = SettlementTerm
    fields = ("role", "partner", "basis", "percent", "amount", "valid_from", "valid_to")
    ordering = ("-valid_from",)


class ComponentInline(ReadOnlyInline):
    model = BundleComponent
    fk_name = "bundle"
    fields = ("component", "revenue_weight")


class LabelFilter(admin.SimpleListFilter):
    """Finds the plans that are sold without the label that the FCC asks for."""

    title = "broadband label"
    parameter_name = "label"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("missing", "Sold without one")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() != "missing":
            return queryset
        return queryset.filter(pk__in=labelled.unlabelled_plans(timezone.now()).values("pk"))


@admin.register(ProductOffering)
class ProductOfferingAdmin(PublishingAdmin):
    add_form = OfferingForm
    list_display = ("name", "code", "kind", "provider", "subscriber_kind", "sold_from", "sold_to")
    list_filter = ("kind", "provider", "subscriber_kind", LabelFilter)
    list_select_related = ("provider",)
    search_fields = ("name", "code", "description", "fcc_plan_code")
    ordering = ("kind", "name")
    inlines = (PriceInline, TermInline, ComponentInline)
    actions = ("withdraw",)

    def has_change_offering_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("catalog.change_productoffering")  # type: ignore[union-attr]

    @admin.action(description="Stop selling", permissions=["change_offering"])
    def withdraw(self, request: HttpRequest, queryset: "models.QuerySet[ProductOffering]") -> None:
        self.call_each(
            request,
            queryset,
            lambda row, at: publishing.withdraw_offering(
                offering=row,
                actor=request.user,  # type: ignore[arg-type]
                at=at,
            ),
            done="{n} offerings are no longer sold. What was sold goes on.",
        )


@admin.register(OfferingPrice)
class OfferingPriceAdmin(PublishingAdmin):
    add_form = PriceForm
    list_display = (
        "offering", "charge", "amount", "currency", "unit", "model", "valid_from", "valid_to",
    )  # fmt: skip
    list_filter = ("charge", "model", "currency", ("valid_to", admin.EmptyFieldListFilter))
    list_select_related = ("offering",)
    search_fields = ("offering__name", "offering__code", "name")
    ordering = ("offering", "charge", "-valid_from")


@admin.register(PriceDraft)
class PriceDraftAdmin(ReadOnlyAdmin):
    list_display = ("name", "offering", "created_by", "changed_at", "published_at")
    list_filter = (("published_at", admin.EmptyFieldListFilter),)
    list_select_related = ("offering", "created_by")
    search_fields = ("name", "offering__name", "offering__code")
    ordering = ("-changed_at",)


@admin.register(SettlementTerm)
class SettlementTermAdmin(PublishingAdmin):
    add_form = TermForm
    list_display = (
        "offering", "role", "partner", "basis", "percent", "amount", "valid_from", "valid_to",
    )  # fmt: skip
    list_filter = ("role", "basis", "partner")
    list_select_related = ("offering", "partner")
    search_fields = ("offering__name", "offering__code")
    ordering = ("offering", "role", "-valid_from")


@admin.register(TaxRate)
class TaxRateAdmin(PublishingAdmin):
    add_form = TaxForm
    list_display = ("category", "percent", "valid_from", "valid_to")
    list_filter = ("category",)
    ordering = ("category", "-valid_from")


@admin.register(AddressEntitlement)
class AddressEntitlementAdmin(PublishingAdmin):
    add_form = EntitlementForm
    list_display = (
        "offering", "ipv4_addresses", "ipv6_prefixes", "static_addresses", "policy",
        "extra_address", "most_extra_addresses",
    )  # fmt: skip
    list_filter = ("policy",)
    list_select_related = ("offering", "extra_address")
    ordering = ("offering",)


@admin.register(BroadbandLabel)
class BroadbandLabelAdmin(PublishingAdmin):
    add_form = LabelForm
    list_display = (
        "offering", "plan_code", "typical_download_kbps", "typical_upload_kbps",
        "typical_latency_ms", "contract_months", "valid_from", "valid_to",
    )  # fmt: skip
    list_filter = ("offering__kind", ("valid_to", admin.EmptyFieldListFilter))
    list_select_related = ("offering",)
    search_fields = ("offering__name", "offering__code", "offering__fcc_plan_code")
    ordering = ("offering", "-valid_from")
    formfield_overrides: ClassVar[dict[Any, Any]] = {models.URLField: {"assume_scheme": "https"}}

    @admin.display(description="FCC plan code", ordering="offering__fcc_plan_code")
    def plan_code(self, label: BroadbandLabel) -> str:
        return label.offering.fcc_plan_code or ""


@admin.register(FairUseRule)
class FairUseRuleAdmin(PublishingAdmin):
    """From how much use on plans are slow; `End` is from now on."""

    add_form = FairUseForm
    list_display = (
        "offering", "threshold_bytes", "download_kbps", "upload_kbps", "valid_from", "valid_to",
    )  # fmt: skip
    list_filter = (("valid_to", admin.EmptyFieldListFilter),)
    list_select_related = ("offering",)
    search_fields = ("offering__name", "offering__code")
    ordering = ("offering", "-valid_from")
    actions = ("end",)

    @admin.action(description="End", permissions=["add"])
    def end(self, request: HttpRequest, rows: Any) -> None:
        self.call_each(
            request,
            rows.select_related("offering"),
            lambda rule, at: fair_use.end_fair_use(
                offering=rule.offering, actor=cast(User, request.user), at=at
            ),
            done="Rules that have ended: {n}.",
        )
