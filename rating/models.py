"""Purchases, usage and charges with their shares; what is entered in the books is beside them."""

from django.db import models
from django.db.models import (
    PROTECT,
    CharField,
    CheckConstraint,
    F,
    ForeignKey,
    Index,
    Q,
    UniqueConstraint,
    Value,
)
from django.db.models.functions import Cast, Concat, Replace

from ipam.models import ExtraAddress
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.db import PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber, User
from provisioning.models import Service, ServiceOrder
from rating.books import (
    BillLine,
    BillNumber,
    CustomerBill,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    SettlementStatement,
)
from rating.charged import ChargedSpan, ChargeKey, charge_key
from rating.claims import (
    Dispute,
    PurchaseConsent,
    PurchaseRequest,
    Reservation,
    ReservationUse,
    StandingConsent,
)
from rating.reports import MeteredInterval, UsageConflict, UsageFile
from rating.trials import SimulatedUse, Simulation
from rating.used import (
    PassedThreshold,
    RatedUsage,
    RatingLane,
    Usage,
    UsageClosing,
    UsageKey,
    UsageLook,
    UsagePosting,
    UsedPrice,
    WaitingUsage,
)

__all__ = [
    "BillLine",
    "BillNumber",
    "Charge",
    "ChargeKey",
    "ChargedSpan",
    "CustomerBill",
    "Dispute",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "MeteredInterval",
    "MeteredSession",
    "PassedThreshold",
    "Purchase",
    "PurchaseConsent",
    "PurchaseRequest",
    "RatedUsage",
    "RatingLane",
    "Reservation",
    "ReservationUse",
    "SettlementStatement",
    "SimulatedUse",
    "Simulation",
    "StandingConsent",
    "Usage",
    "UsageClosing",
    "UsageConflict",
    "UsageFile",
    "UsageKey",
    "UsageLook",
    "UsagePack",
    "UsagePosting",
    "UsedPrice",
    "WaitingUsage",
]


class Purchase(PublicIdModel):
    """A subscriber's purchase of a partner's product (figure 8).

    A bundle of several partners' products is one purchase, with a part for each; see
    `rating.parts`.
    """

    PREFIX = "pur"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting for the partner"
        COMPLETED = "completed", "Completed"
        REVERSED = "reversed", "Reversed"
        CANCELLED = "cancelled", "Cancelled"

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"
        BSP = "bsp", "Partner"

    subscriber = ForeignKey(Subscriber, PROTECT, related_name="purchases")
    line = ForeignKey(Service, PROTECT, related_name="+")
    offering = ForeignKey(ProductOffering, PROTECT, related_name="+")
    # The bundle that it was bought in; its subscriber, line and key are those of the bundle.
    part_of = ForeignKey("self", PROTECT, null=True, blank=True, related_name="parts")
    # The subscription that came of it; a one-off purchase has one too, while it is delivered.
    service = models.OneToOneField(Service, PROTECT, null=True, related_name="purchase")
    service_order = models.OneToOneField(ServiceOrder, PROTECT, null=True, related_name="purchase")
    channel = models.CharField(max_length=8, choices=Channel)
    placed_by = ForeignKey(User, PROTECT, null=True, related_name="+")
    # What a partner sells by itself the subscriber has agreed to; each consent is to one purchase.
    consent = models.OneToOneField(PurchaseConsent, PROTECT, null=True, related_name="purchase")
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    reason = models.CharField(max_length=300, blank=True, default="")
    placed_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    # When it was no longer wanted: before the partner confirmed, or of a subscription after.
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("cancel_purchase", "Can cancel a purchase")]
        constraints = [
            UniqueConstraint(fields=["subscriber", "idempotency_key"], name="purchase_placed_once"),
            CheckConstraint(
                condition=Q(state="pending", settled_at__isnull=True)
                | ~Q(state="pending") & Q(settled_at__isnull=False),
                name="settled_purchase_says_when",
            ),
            CheckConstraint(
                condition=Q(state="cancelled", cancelled_at__isnull=False)
                | ~Q(state="cancelled") & Q(cancelled_at__isnull=True),
                name="cancelled_purchase_says_when",
            ),
            CheckConstraint(
                condition=Q(channel="bsp", consent__isnull=False)
                | ~Q(channel="bsp") & Q(consent__isnull=True),
                name="what_a_partner_sells_is_agreed_to",
            ),
            UniqueConstraint(
                fields=["part_of", "offering"],
                condition=Q(part_of__isnull=False),
                name="part_of_a_purchase_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offering} for {self.subscriber}"

    @property
    def can_be_cancelled(self) -> bool:
        """It waits for a partner, or something that came of it still runs."""
        services = [one.service for one in [self, *self.parts.all()]]
        runs = any(service and service.state == Service.State.ACTIVE for service in services)
        return self.state == self.State.PENDING or runs


class MeteredSession(models.Model):
    """How far the counters of one access session have been turned into usage (figure 9B).

    The row holds the high-water mark; `sequence` numbers the slices that were emitted. Devices
    use a session's id again after a restart: `incarnation` tells those sessions apart, and the
    row of incarnation 0 is the lock of them all.
    """

    nas_ip = models.GenericIPAddressField(null=True)
    unique_session_id = models.CharField(max_length=64)
    incarnation = models.PositiveIntegerField(default=0)
    # The Class we gave when we let it in: new each time, so it tells incarnations apart.
    session_class = models.CharField(max_length=80, blank=True, default="")
    service = ForeignKey(Service, PROTECT, null=True, related_name="sessions")
    username = models.CharField(max_length=250)
    framed_ip = models.GenericIPAddressField(null=True)
    calling_station_id = models.CharField(max_length=130, blank=True, default="")
    started_at = models.DateTimeField()
    last_event_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    session_seconds = models.PositiveBigIntegerField(default=0)
    # The high-water marks as the device counts, and the bytes that were emitted in all; the two
    # differ once the device's counters were reset.
    input_mark = models.PositiveBigIntegerField(default=0)
    output_mark = models.PositiveBigIntegerField(default=0)
    input_bytes = models.PositiveBigIntegerField(default=0)
    output_bytes = models.PositiveBigIntegerField(default=0)
    sequence = models.PositiveIntegerField(default=0)
    # The device's counters went backwards without a reason we know.
    was_reset = models.BooleanField(default=False)

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["unique_session_id", "nas_ip", "incarnation"],
                name="session_incarnation_once",
                nulls_distinct=False,
            )
        ]
        # No index has a column that a message of a session moves, so a new mark changes none.
        indexes = [
            Index(fields=["nas_ip"], condition=Q(ended_at__isnull=True), name="session_open"),
            Index(
                fields=["unique_session_id"], condition=Q(incarnation__gt=0), name="session_again"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.username} {self.unique_session_id}"


class UsagePack(models.Model):
    """Units that a subscriber bought on top of what is included: 10 hours, 50 gigabytes.

    They cover use of the service beyond what it stood at when they were bought: `after` units more
    than was included then. What is left of them is good for `periods` billing periods.
    """

    service = ForeignKey(Service, PROTECT, related_name="packs")
    price = ForeignKey(OfferingPrice, PROTECT, related_name="+", db_index=False)
    purchase = models.OneToOneField(Purchase, PROTECT, related_name="pack")
    period_start = models.DateTimeField()
    after = models.PositiveBigIntegerField()
    units = models.PositiveBigIntegerField()
    periods = models.PositiveSmallIntegerField(default=1)
    # What had been used in the period by then that draws upon what is included.
    counted = models.PositiveBigIntegerField(default=0)
    granted_at = models.DateTimeField()

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(units__gt=0, periods__gt=0), name="pack_holds_something")
        ]

    def __str__(self) -> str:
        return f"{self.units} on top of {self.price_id}"


# The cause of a reversal, which the database holds it to.
_REVERSAL = Concat(
    Value("reversal:chg_"), Replace(Cast(F("reverses"), CharField()), Value("-"), Value(""))
)


class Charge(PublicIdModel):
    """An amount that a subscriber owes, with the shares of everybody who gets a part of it.

    The shares and the tax are the charge's settlement entries. They are columns and not rows, so
    that the database itself refuses a charge that does not add up. A charge is never edited: a
    reversal is a new one of kind adjustment that names it, with every amount below zero instead
    of above. TM Forum: AppliedCustomerBillingRate.
    """

    PREFIX = "chg"

    class Kind(models.TextChoices):
        ONE_OFF = "one_off", "One-off"
        RECURRING = "recurring", "Recurring"
        USAGE = "usage", "Use"
        ADJUSTMENT = "adjustment", "Adjustment"

    subscriber = ForeignKey(Subscriber, PROTECT, related_name="charges", db_index=False)
    service = ForeignKey(Service, PROTECT, null=True, related_name="+", db_index=False)
    offering = ForeignKey(ProductOffering, PROTECT, related_name="+", db_index=False)
    bundle = ForeignKey(ProductOffering, PROTECT, null=True, related_name="+", db_index=False)
    price = ForeignKey(OfferingPrice, PROTECT, null=True, related_name="+", db_index=False)
    # The address beyond the plan that is charged for.
    extra_address = ForeignKey(ExtraAddress, PROTECT, null=True, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    # What it is for, unique so that nothing is charged twice: "purchase:pur_...:one_off",
    # "use:svc_...", "recurring:svc_...:2026-01-01...", "activation:svc_...", "reversal:chg_...".
    cause = models.CharField(max_length=120)
    reverses = charge_key("reversals", null=True, db_index=False)
    # Of what this gives a part back, or puts a partner's share right.
    corrects = charge_key("corrections", null=True, db_index=False)
    # The span that is charged for; the bill of the period that holds its start takes it.
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True)
    quantity = models.PositiveBigIntegerField(default=1)
    unit = models.CharField(max_length=20, blank=True, default="")
    # A charge for use gathers the steps of a counter after one of them, up to another.
    step_before = models.PositiveBigIntegerField(null=True)
    step_after = models.PositiveBigIntegerField(null=True)
    currency = models.CharField(max_length=3)
    amount_net = AmountField()
    isp_share = AmountField()
    bsp_share = AmountField(default=0)
    network_provider_share = AmountField(default=0)
    amount_tax = AmountField()
    bsp = ForeignKey(Partner, PROTECT, null=True, related_name="+", db_index=False)
    network_provider = ForeignKey(Partner, PROTECT, null=True, related_name="+", db_index=False)
    # The rule, its version and the arithmetic, in words and numbers: *why this amount*.
    explanation = models.JSONField(default=dict)
    charged_at = models.DateTimeField()
    # Written once, when the bill that holds it is issued.
    bill_line = ForeignKey(BillLine, PROTECT, null=True, related_name="charges", db_index=False)

    class Meta:
        permissions = [("refund_charge", "Can give a charge back")]
        # Charges are written by the thousand a second, so there is no index that nobody reads by.
        constraints = [
            # What is charged once only is in `ChargeKey` and `ChargedSpan`, for all months; a
            # cause of its own makes a reversal one of them.
            CheckConstraint(
                name="reversed_once", condition=Q(reverses__isnull=True) | Q(cause=_REVERSAL)
            ),
            CheckConstraint(
                name="shares_add_up_to_the_charge",
                condition=Q(
                    amount_net=F("isp_share") + F("bsp_share") + F("network_provider_share")
                ),
            ),
            CheckConstraint(
                name="a_share_names_its_partner",
                condition=(Q(bsp_share=0) | Q(bsp__isnull=False))
                & (Q(network_provider_share=0) | Q(network_provider__isnull=False)),
            ),
            CheckConstraint(
                name="only_an_adjustment_gives_back",
                condition=Q(kind="adjustment") | Q(amount_net__gte=0, amount_tax__gte=0),
            ),
            CheckConstraint(
                name="a_reversal_is_an_adjustment",
                condition=Q(reverses__isnull=True) | Q(kind="adjustment"),
            ),
            CheckConstraint(
                name="a_correction_takes_nothing",
                condition=Q(corrects__isnull=True)
                | Q(
                    kind="adjustment",
                    reverses__isnull=True,
                    amount_net__lte=0,
                    amount_tax__lte=0,
                ),
            ),
            CheckConstraint(
                name="a_charge_that_gathers_says_what",
                condition=Q(step_before__isnull=True, step_after__isnull=True)
                | Q(
                    service__isnull=False,
                    price__isnull=False,
                    step_before__isnull=False,
                    step_after__gt=F("step_before"),
                ),
            ),
            CheckConstraint(
                name="recurring_charge_has_a_span",
                condition=~Q(kind="recurring")
                | Q(
                    service__isnull=False,
                    period_end__isnull=False,
                    period_end__gt=F("period_start"),
                ),
            ),
        ]
        indexes = [
            Index(fields=["cause"], name="charge_by_cause"),
            Index(
                fields=["reverses"],
                condition=Q(reverses__isnull=False),
                name="charge_by_reversed",
            ),
            Index(fields=["subscriber", "period_start"], name="charge_by_subscriber"),
            Index(
                fields=["subscriber"], condition=Q(bill_line__isnull=True), name="charge_unbilled"
            ),
            Index(
                fields=["bill_line"],
                condition=Q(bill_line__isnull=False),
                name="charge_by_bill_line",
            ),
            Index(
                fields=["corrects"],
                condition=Q(corrects__isnull=False),
                name="charge_by_corrected",
            ),
            Index(
                fields=["service", "price", "period_start", "step_after"],
                condition=Q(step_after__isnull=False),
                name="charge_by_counter",
            ),
            Index(
                fields=["bsp", "charged_at"], condition=Q(bsp__isnull=False), name="charge_by_bsp"
            ),
            Index(
                fields=["network_provider", "charged_at"],
                condition=Q(network_provider__isnull=False),
                name="charge_by_network_provider",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offering} {self.currency} {self.amount_net}"
