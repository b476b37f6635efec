"""What is sold: offerings of the ISP and its partners; what they cost is in `prices`."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from ispops.catalog.prices import OfferingPrice, PriceDraft, SettlementTerm, TaxRate
from ispops.db import Effective
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber

__all__ = [
    "AddressEntitlement",
    "BroadbandLabel",
    "BundleComponent",
    "CatalogueRevision",
    "FairUseRule",
    "OfferingPrice",
    "PriceDraft",
    "ProductOffering",
    "SettlementTerm",
    "TaxRate",
    "Technology",
]


class Technology(models.IntegerChoices):
    """Access technologies, by the codes of the FCC broadband data collection."""

    COPPER = 10, "DSL"
    CABLE = 40, "Cable"
    FIBRE = 50, "Fiber"
    GSO_SATELLITE = 60, "Satellite"
    NGSO_SATELLITE = 61, "Low-orbit satellite"
    UNLICENSED_WIRELESS = 70, "Fixed wireless (unlicensed)"
    LICENSED_WIRELESS = 71, "Fixed wireless (licensed)"
    LICENSED_BY_RULE_WIRELESS = 72, "Fixed wireless (licensed by rule)"
    OTHER = 0, "Other"


class ProductOffering(models.Model):
    """Something sold: an access plan, a BSP product, an add-on, or an aggregated plan of several.

    TM Forum: ProductOffering (TMF620).
    """

    class Kind(models.TextChoices):
        ACCESS = "access", "Access plan"
        BSP = "bsp", "Partner product"
        ADDON = "addon", "Add-on"
        BUNDLE = "bundle", "Aggregated plan"
        PACKAGE = "package", "Bundle of partners' products"

    class Addon(models.TextChoices):
        EXTRA_ADDRESS = "extra_address", "Extra dynamic address"
        STATIC_ADDRESS = "static_address", "Static address"
        SPEED_BOOST = "speed_boost", "Speed boost"
        DATA_PACK = "data_pack", "Pack of data for a plan of our own"

    code = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=8, choices=Kind)
    # The network provider of an access plan, the BSP of a partner product; None for the ISP's own.
    provider = models.ForeignKey(
        Partner, on_delete=models.PROTECT, null=True, blank=True, related_name="offerings"
    )
    # Which subscribers may have it; blank is anyone.
    subscriber_kind = models.CharField(
        max_length=10, choices=Subscriber.Kind, blank=True, default=""
    )
    tax_category = models.SlugField(default="telecom")
    sold_from = models.DateTimeField()
    sold_to = models.DateTimeField(null=True, blank=True)

    # An access plan's line, or what a speed boost adds to one; kilobits a second, None elsewhere.
    technology = models.PositiveSmallIntegerField(choices=Technology, null=True, blank=True)
    download_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    upload_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    # What a partner product needs of the line that carries it.
    needs_download_kbps = models.PositiveBigIntegerField(default=0)
    needs_low_latency = models.BooleanField(default=False)

    addon_type = models.CharField(max_length=16, choices=Addon, blank=True, default="")
    # A partner product that runs until it is cancelled, instead of once.
    is_subscription = models.BooleanField(default=False)
    # A plan's own part of the FCC's unique plan identifier; given with its first label, for good.
    fcc_plan_code = models.CharField(
        "FCC plan code", max_length=15, null=True, blank=True, unique=True, editable=False
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="fcc_plan_code_has_its_form",
                condition=Q(fcc_plan_code__isnull=True) | Q(fcc_plan_code__regex=r"^[A-Z0-9]{15}$"),
            ),
            models.CheckConstraint(
                name="access_plan_names_its_line",
                condition=~Q(kind="access")
                | Q(
                    provider__isnull=False,
                    technology__isnull=False,
                    # A comparison with NULL is no violation, so they must be there too.
                    download_kbps__isnull=False,
                    upload_kbps__isnull=False,
                    download_kbps__gt=0,
                    upload_kbps__gt=0,
                ),
            ),
            models.CheckConstraint(
                name="partner_product_names_its_bsp",
                condition=~Q(kind="bsp") | Q(provider__isnull=False),
            ),
            models.CheckConstraint(
                name="addon_names_its_type", condition=~Q(kind="addon") | ~Q(addon_type="")
            ),
            models.CheckConstraint(
                name="speed_boost_adds_speed",
                condition=~Q(addon_type="speed_boost")
                | Q(
                    download_kbps__isnull=False,
                    upload_kbps__isnull=False,
                    download_kbps__gt=0,
                    upload_kbps__gt=0,
                ),
            ),
            models.CheckConstraint(
                name="offering_ends_after_it_starts",
                condition=Q(sold_to__isnull=True) | Q(sold_to__gt=F("sold_from")),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class BundleComponent(models.Model):
    """One offering inside an aggregated plan or a bundle of partners' products, and its weight when
    the one price is divided."""

    bundle = models.ForeignKey(ProductOffering, on_delete=models.CASCADE, related_name="components")
    component = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    revenue_weight = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bundle", "component"], name="bundle_component_once"),
            models.CheckConstraint(
                condition=~Q(bundle=F("component")), name="bundle_not_in_itself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.component} in {self.bundle}"


# Whoever needs more of them is routed a network.
MOST_STATIC_ADDRESSES = 64


class AddressEntitlement(models.Model):
    """How many addresses an access plan includes, and what happens when a device asks for more."""

    class Policy(models.TextChoices):
        DENY = "deny", "Deny"
        GRANT_AND_CHARGE = "grant_and_charge", "Grant and charge"
        ASK_SUBSCRIBER = "ask_subscriber", "Ask the subscriber"
        ASK_CSR = "ask_csr", "Ask a CSR"

    offering = models.OneToOneField(
        ProductOffering, on_delete=models.CASCADE, related_name="address_entitlement"
    )
    ipv4_addresses = models.PositiveSmallIntegerField(default=1)
    ipv6_prefixes = models.PositiveSmallIntegerField(default=1)
    # IPv4 addresses that the line keeps for as long as it has the plan, online or not.
    static_addresses = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(MOST_STATIC_ADDRESSES)]
    )
    policy = models.CharField(max_length=16, choices=Policy, default=Policy.ASK_SUBSCRIBER)
    extra_address = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    most_extra_addresses = models.PositiveSmallIntegerField(default=4)
    most_requests_an_hour = models.PositiveSmallIntegerField(default=10)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(policy="deny") | Q(extra_address__isnull=False),
                name="granting_policy_names_its_addon",
            )
        ]

    def __str__(self) -> str:
        return f"addresses of {self.offering}"


class FairUseRule(models.Model):
    """From how much use on a plan is slow for the rest of the billing period, and how slow.

    Counted is what draws upon the plan's allowance, so hours that are free do not count here
    either; the threshold may be another than the allowance. Packs of data make room beyond it. The
    rule of an aggregated plan goes before that of its access plan. Never edited, only ended.
    """

    offering = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, related_name="fair_use_rules"
    )
    threshold_bytes = models.PositiveBigIntegerField()
    download_kbps = models.PositiveBigIntegerField()
    upload_kbps = models.PositiveBigIntegerField()
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects = Effective.as_manager()

    class Meta:
        # A GiST exclusion in the migration refuses two rules of one offering at once.
        constraints = [
            models.CheckConstraint(
                condition=Q(threshold_bytes__gt=0, download_kbps__gt=0, upload_kbps__gt=0),
                name="fair_use_slows_and_never_blocks",
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="fair_use_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"fair use of {self.offering}"


class BroadbandLabel(models.Model):
    """What the FCC's consumer label says of a plan and nothing else here knows, for a span of time.

    Prices, taxes, the allowance and the names are not here: the label takes them from the catalogue
    that the plan is billed by. Fees are what the ISP takes beside its catalogue, as
    `[{"name": "Router rental", "amount": "5.00"}]`. An address that is empty is the ISP's own for
    all plans. Never edited, only ended, because old labels must be kept (47 CFR 8.1).
    """

    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="labels")
    tier_name = models.CharField(max_length=60, blank=True, default="")
    typical_download_kbps = models.PositiveBigIntegerField()
    typical_upload_kbps = models.PositiveBigIntegerField()
    typical_latency_ms = models.PositiveIntegerField()
    # How long the monthly price binds the subscriber; 0 where it does not.
    contract_months = models.PositiveSmallIntegerField(default=0)
    contract_terms_url = models.URLField(blank=True, default="")
    early_termination_fee = AmountField(null=True, blank=True)
    purchase_fees = models.JSONField(default=list, blank=True)
    monthly_fees = models.JSONField(default=list, blank=True)
    discounts_url = models.URLField(blank=True, default="")
    data_allowance_url = models.URLField(blank=True, default="")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects = Effective.as_manager()

    class Meta:
        # A GiST exclusion in the migration refuses two labels of one offering at once.
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    typical_download_kbps__gt=0,
                    typical_upload_kbps__gt=0,
                    typical_latency_ms__gt=0,
                ),
                name="label_says_what_is_typical",
            ),
            models.CheckConstraint(
                condition=Q(early_termination_fee__isnull=True)
                | Q(contract_months__gt=0, early_termination_fee__gte=0),
                name="only_a_contract_has_a_termination_fee",
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="label_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"label of {self.offering}"


class CatalogueRevision(models.Model):
    """The number of the catalogue's state: one row, which triggers change with what is sold.

    Whoever keeps the catalogue in memory compares it; see `ispops.catalog.catalogue`.
    """

    number = models.BigIntegerField()

    def __str__(self) -> str:
        return f"revision {self.number}"
