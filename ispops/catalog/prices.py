"""What offerings cost and who gets which part of it: prices, settlement terms and taxes.

A price is one wide row, so that whoever rates by the thousand reads one row a product and joins
nothing. What the columns mean to the micro-unit is said, and done, by the pure modules of rating.
"""

from django.db import models
from django.db.models import F, Q

from ispops.db import Effective, PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner, User


class OfferingPrice(models.Model):
    """A version of a price of an offering, in force for a span of time; never edited, only ended.

    One-off and recurring prices are an amount, net of tax, a purchase or a billing period. Usage
    prices are an amount for each started or exact block of `block_size` units, after `allowance`
    free units a period; with `tiers` the amount depends on how much is used:
    `[{"up_to": 1000, "amount": "0.10", "flat": "5.00"}, {"up_to": null, "amount": "0.05"}]`, where
    `up_to` counts units of the period after the allowance, amounts are for one block, and `flat` is
    charged once when the tier is reached. `bands` are hours with a price of their own:
    `[{"name": "Night", "days": [0, 1, 2, 3, 4, 5, 6], "start": "22:00", "end": "06:00",
    "amount": "0.01", "counts": false}]`, in the ISP's zone, Monday being 0.

    TM Forum: ProductOfferingPrice (TMF620).
    """

    class Charge(models.TextChoices):
        ONE_OFF = "one_off", "One-off"
        RECURRING = "recurring", "Every billing period"
        USAGE = "usage", "By use"

    class Model(models.TextChoices):
        GRADUATED = "graduated", "Graduated: each unit by its tier"
        VOLUME = "volume", "Volume: all units by the tier of the total"
        STAIRSTEP = "stairstep", "Stairstep: one price for the tier of the total"
        PERCENTAGE = "percentage", "Percentage of each event's value"

    class Proration(models.TextChoices):
        SECOND = "second", "By the second"
        DAY = "day", "By the day"

    offering = models.ForeignKey(
        "catalog.ProductOffering", on_delete=models.PROTECT, related_name="prices"
    )
    charge = models.CharField(max_length=10, choices=Charge)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    amount = AmountField()
    # Empty is the offering's own category.
    tax_category = models.SlugField(blank=True, default="")

    # Units of use: "byte" for access lines; the BSP's word for its own, such as "minute".
    unit = models.CharField(max_length=20, blank=True, default="")
    model = models.CharField(max_length=10, choices=Model, default=Model.GRADUATED)
    block_size = models.PositiveBigIntegerField(default=1)
    counts_started_blocks = models.BooleanField(default=False)
    # A use is one unit, whatever quantity is reported.
    counts_events = models.BooleanField(default=False)
    tiers = models.JSONField(default=list, blank=True)
    bands = models.JSONField(default=list, blank=True)

    allowance = models.PositiveBigIntegerField(default=0)
    # For how many more periods units that were not used are kept, and how many at most.
    rollover_periods = models.PositiveSmallIntegerField(default=0)
    rollover_most = models.PositiveBigIntegerField(null=True, blank=True)

    # A percentage of each event's value; `amount` is then what one unit of the value is worth.
    percent = models.DecimalField(max_digits=6, decimal_places=3, default=0)
    event_fee = AmountField(default=0, blank=True)
    event_minimum = AmountField(default=0, blank=True)
    event_maximum = AmountField(null=True, blank=True)

    # Taken off the price of a purchase or a period: the percentage first, then the amount; in the
    # first periods of a service only, or always.
    discount_percent = models.DecimalField(max_digits=6, decimal_places=3, default=0)
    discount_amount = AmountField(default=0, blank=True)
    discount_periods = models.PositiveSmallIntegerField(null=True, blank=True)
    # What the use of a service costs in a period at least, made up for at its end, and at most.
    period_minimum = AmountField(default=0, blank=True)
    period_maximum = AmountField(null=True, blank=True)
    proration = models.CharField(max_length=6, choices=Proration, default=Proration.SECOND)

    # A pack of units: who buys at this one-off price may use so many of the other offering.
    pack_for = models.ForeignKey(
        "catalog.ProductOffering",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="packs",
    )
    pack_unit = models.CharField(max_length=20, blank=True, default="")
    pack_units = models.PositiveBigIntegerField(default=0)
    # For how many periods they are good; the first is the one in which they are bought.
    pack_periods = models.PositiveSmallIntegerField(default=1)

    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects = Effective.as_manager()

    class Meta:
        # A GiST exclusion in the migration refuses two prices of one (offering, charge, unit)
        # that are in force at the same moment; triggers refuse changes.
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="price_ends_after_it_starts",
            ),
            models.CheckConstraint(
                condition=~Q(charge="usage") | ~Q(unit=""), name="usage_price_names_its_unit"
            ),
            models.CheckConstraint(condition=Q(block_size__gt=0), name="price_block_is_positive"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="price_not_negative"),
            models.CheckConstraint(
                condition=Q(
                    event_fee__gte=0,
                    event_minimum__gte=0,
                    discount_amount__gte=0,
                    period_minimum__gte=0,
                ),
                name="price_adjustments_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=0, discount_percent__range=(0, 100)),
                name="price_percent_in_range",
            ),
            models.CheckConstraint(
                condition=(Q(event_maximum__isnull=True) | Q(event_maximum__gte=F("event_minimum")))
                & (Q(period_maximum__isnull=True) | Q(period_maximum__gte=F("period_minimum"))),
                name="price_most_not_below_least",
            ),
            models.CheckConstraint(
                condition=Q(pack_units=0, pack_for__isnull=True)
                | Q(charge="one_off", pack_units__gt=0, pack_for__isnull=False, pack_periods__gt=0)
                & ~Q(pack_unit=""),
                name="pack_says_what_it_is_for",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.offering}"

    @property
    def counts_by_period(self) -> bool:
        """Whether what a use costs depends on the other use of its billing period.

        Such a price counts to the end of the periods that it began in, when a new one takes its
        place; see `rating.versions`.
        """
        has_blocks = self.counts_started_blocks and self.block_size > 1
        has_tiers = len(self.tiers) > 1 or any(tier.get("flat") for tier in self.tiers)
        of_all = self.model in (self.Model.VOLUME, self.Model.STAIRSTEP)
        amounts = (self.allowance, self.discount_amount, self.period_minimum)
        return has_blocks or has_tiers or of_all or any(amounts) or self.period_maximum is not None


class SettlementTerm(models.Model):
    """What a partner gets of each charge of an offering; the ISP keeps the remainder.

    - `percent_of_net` gives that part of the amount before tax, after discounts and caps;
    - `percent_of_retail` gives that part of the price before discounts;
    - `fixed` gives an amount for every one-off charge and for every recurring charge of a whole
      period, prorated as the charge is;
    - `wholesale` gives an amount for every `block_size` units of use, whatever the subscriber pays;
    - `tiered` gives a percentage that changes as the period's net amount of a service grows:
      `[{"up_to": "100.00", "percent": "30"}, {"up_to": null, "percent": "40"}]`.

    `minimum` is guaranteed to the partner of every whole one-off or recurring charge, and of the
    use of a service in a period.
    """

    class Role(models.TextChoices):
        BSP = "bsp", "BSP share"
        NETWORK_PROVIDER = "network_provider", "Network provider share"

    class Basis(models.TextChoices):
        PERCENT_OF_NET = "percent_of_net", "Percent of the net amount"
        PERCENT_OF_RETAIL = "percent_of_retail", "Percent of the price before discounts"
        FIXED = "fixed", "Fixed amount"
        WHOLESALE = "wholesale", "Wholesale price of use"
        TIERED = "tiered", "Percent by tiers of the net amount"

    offering = models.ForeignKey(
        "catalog.ProductOffering", on_delete=models.PROTECT, related_name="settlement_terms"
    )
    role = models.CharField(max_length=20, choices=Role)
    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="settlement_terms")
    basis = models.CharField(max_length=20, choices=Basis)
    percent = models.DecimalField(max_digits=6, decimal_places=3, default=0)
    amount = AmountField(default=0, blank=True)
    block_size = models.PositiveBigIntegerField(default=1)
    tiers = models.JSONField(default=list, blank=True)
    minimum = AmountField(default=0, blank=True)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects = Effective.as_manager()

    class Meta:
        # A GiST exclusion in the migration refuses two terms of one (offering, role) at once.
        constraints = [
            models.CheckConstraint(
                condition=Q(percent__range=(0, 100)), name="settlement_percent_in_range"
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=0, minimum__gte=0), name="settlement_amount_positive"
            ),
            models.CheckConstraint(
                condition=Q(block_size__gt=0), name="settlement_block_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="settlement_term_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} of {self.offering}"


class TaxRate(models.Model):
    """The percentage of tax on a category of goods, for a span of time."""

    category = models.SlugField()
    percent = models.DecimalField(max_digits=6, decimal_places=3)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    objects = Effective.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(percent__range=(0, 100)), name="tax_percent_in_range"
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="tax_rate_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.category} {self.percent} %"


class PriceDraft(PublicIdModel):
    """A price that somebody works on: named, shown to others, tried on past use, then published.

    Nothing is charged by it. `facts` are the columns of `OfferingPrice` that say what it costs.
    """

    PREFIX = "drf"

    offering = models.ForeignKey(
        "catalog.ProductOffering", on_delete=models.PROTECT, related_name="price_drafts"
    )
    name = models.CharField(max_length=120)
    facts = models.JSONField()
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    # Nobody works on it any more; what was tried with it stays to be read.
    discarded_at = models.DateTimeField(null=True, blank=True)
    # Empty again where another price took its place before it came into force.
    price = models.ForeignKey(
        OfferingPrice, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(price__isnull=True) | Q(published_at__isnull=False),
                name="published_draft_says_when",
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | Q(discarded_at__isnull=True),
                name="published_draft_is_not_discarded",
            ),
        ]
        indexes = [models.Index(fields=["offering", "-changed_at"], name="draft_by_offering")]

    def __str__(self) -> str:
        return f"{self.name} for {self.offering}"
