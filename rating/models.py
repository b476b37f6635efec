"""Purchases, usage, charges with their shares, the ledger, bills and partners' statements."""

from django.db import models
from django.db.models import F, Q

from ipam.models import ExtraAddress
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.db import PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber, User
from provisioning.models import Service, ServiceOrder


class Purchase(PublicIdModel):
    """A subscriber's purchase of a partner's product (figure 8)."""

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

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="purchases")
    line = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="+")
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # The subscription that came of it; a one-off purchase has one too, while it is delivered.
    service = models.OneToOneField(
        Service, on_delete=models.PROTECT, null=True, related_name="purchase"
    )
    service_order = models.OneToOneField(
        ServiceOrder, on_delete=models.PROTECT, null=True, related_name="purchase"
    )
    channel = models.CharField(max_length=8, choices=Channel)
    placed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    reason = models.CharField(max_length=300, blank=True, default="")
    placed_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "idempotency_key"], name="purchase_placed_once"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", settled_at__isnull=True)
                | ~Q(state="pending") & Q(settled_at__isnull=False),
                name="settled_purchase_says_when",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offering} for {self.subscriber}"


class Usage(models.Model):
    """A use of a service, counted once: a partner's event, or a slice of a network session.

    `source` is the partner's code, or "network". Quantities are whole units of `unit`.
    TM Forum: Usage (TMF635).
    """

    class State(models.TextChoices):
        RECEIVED = "received", "Waiting to be rated"
        RATED = "rated", "Rated"
        ERROR = "error", "Cannot be rated"

    source = models.CharField(max_length=50)
    event_id = models.CharField(max_length=120)
    # What the source said of it, so that the same id with other content is seen as a conflict.
    fingerprint = models.CharField(max_length=64)
    # Whom and what the source named: a partner's reference or an AAA user name, and a product.
    subscriber_ref = models.CharField(max_length=250)
    product_ref = models.CharField(max_length=50, blank=True, default="")
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, null=True, related_name="usage", db_index=False
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, related_name="usage", db_index=False
    )
    offering = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    quantity = models.PositiveBigIntegerField()
    unit = models.CharField(max_length=20)
    # Download and upload bytes of a network slice, and whether a cut at a period's end estimated
    # them; a partner's own attributes of an event.
    attributes = models.JSONField(default=dict)
    received_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.RECEIVED)
    error_code = models.CharField(max_length=40, blank=True, default="")
    error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name_plural = "usage"
        constraints = [
            models.UniqueConstraint(fields=["source", "event_id"], name="usage_counted_once"),
            models.CheckConstraint(
                condition=Q(state="error") | Q(subscriber__isnull=False, offering__isnull=False),
                name="usage_is_guided_or_in_error",
            ),
            models.CheckConstraint(
                condition=Q(state="error") & ~Q(error_code="")
                | ~Q(state="error") & Q(error_code=""),
                name="usage_error_has_a_code",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="usage_ends_after_it_starts",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(state="received"), name="usage_to_rate"),
            models.Index(fields=["id"], condition=Q(state="error"), name="usage_in_error"),
            models.Index(fields=["subscriber", "-started_at"], name="usage_by_subscriber"),
            models.Index(fields=["service", "started_at"], name="usage_by_service"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.event_id}"


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
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, related_name="sessions"
    )
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
            models.UniqueConstraint(
                fields=["unique_session_id", "nas_ip", "incarnation"],
                name="session_incarnation_once",
                nulls_distinct=False,
            )
        ]
        indexes = [
            models.Index(
                fields=["last_event_at"], condition=Q(ended_at__isnull=True), name="session_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.username} {self.unique_session_id}"


class UsageCounter(models.Model):
    """How much of a service was used and charged so far in one billing period, at one price.

    A price that replaces another within the period starts a counter of its own. A charge for use
    is F(counter after) - F(counter before), with F the price of a running total, so that the sum
    does not depend on the order or the batches in which usage is rated.
    """

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="+", db_index=False)
    price = models.ForeignKey(
        OfferingPrice, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    period_start = models.DateTimeField()
    quantity = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "price", "period_start"], name="one_counter_a_period"
            )
        ]

    def __str__(self) -> str:
        return f"{self.quantity} at {self.price_id}"


class CustomerBill(PublicIdModel):
    """A numbered bill of one account for one period; never changed. TM Forum: CustomerBill."""

    PREFIX = "bil"

    number = models.PositiveBigIntegerField(unique=True)
    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="bills")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    amount_net = AmountField()
    amount_tax = AmountField()
    amount_due = AmountField()
    issued_at = models.DateTimeField()
    due_date = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "period_start"], name="one_bill_an_account_and_period"
            ),
            models.CheckConstraint(
                condition=Q(amount_due=F("amount_net") + F("amount_tax")), name="bill_adds_up"
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")),
                name="bill_period_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"Bill {self.number}"


class BillLine(models.Model):
    """One line of a bill: the charges of one offering, rounded once to what can be paid."""

    bill = models.ForeignKey(CustomerBill, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveSmallIntegerField()
    description = models.CharField(max_length=200)
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    charge_kind = models.CharField(max_length=10)
    quantity = models.PositiveBigIntegerField(default=1)
    unit = models.CharField(max_length=20, blank=True, default="")
    amount_net = AmountField()
    amount_tax = AmountField()
    # What rounding added or took, so that the exact charges can always be found again.
    rounding = AmountField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bill", "position"], name="bill_line_position_once")
        ]

    def __str__(self) -> str:
        return self.description


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

    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, related_name="charges", db_index=False
    )
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    offering = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    bundle = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    price = models.ForeignKey(
        OfferingPrice, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    # The address beyond the plan that is charged for.
    extra_address = models.ForeignKey(
        ExtraAddress, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    kind = models.CharField(max_length=10, choices=Kind)
    # What it is for, unique so that nothing is charged twice: "purchase:pur_...:one_off",
    # "usage:123", "recurring:svc_...:2026-01-01...", "activation:svc_...", "reversal:chg_...".
    cause = models.CharField(max_length=120)
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, related_name="reversed_by"
    )
    # The span that is charged for; the bill of the period that holds its start takes it.
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True)
    quantity = models.PositiveBigIntegerField(default=1)
    unit = models.CharField(max_length=20, blank=True, default="")
    currency = models.CharField(max_length=3)
    amount_net = AmountField()
    isp_share = AmountField()
    bsp_share = AmountField(default=0)
    network_provider_share = AmountField(default=0)
    amount_tax = AmountField()
    bsp = models.ForeignKey(
        Partner, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    network_provider = models.ForeignKey(
        Partner, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    # The rule, its version and the arithmetic, in words and numbers: *why this amount*.
    explanation = models.JSONField(default=dict)
    charged_at = models.DateTimeField()
    # Written once, when the bill that holds it is issued.
    bill_line = models.ForeignKey(
        BillLine, on_delete=models.PROTECT, null=True, related_name="charges", db_index=False
    )

    class Meta:
        # Charges are written by the thousand a second, so there is no index that nobody reads by.
        constraints = [
            models.UniqueConstraint(fields=["cause"], name="charged_once"),
            models.CheckConstraint(
                name="shares_add_up_to_the_charge",
                condition=Q(
                    amount_net=F("isp_share") + F("bsp_share") + F("network_provider_share")
                ),
            ),
            models.CheckConstraint(
                name="a_share_names_its_partner",
                condition=(Q(bsp_share=0) | Q(bsp__isnull=False))
                & (Q(network_provider_share=0) | Q(network_provider__isnull=False)),
            ),
            models.CheckConstraint(
                name="only_an_adjustment_gives_back",
                condition=Q(kind="adjustment") | Q(amount_net__gte=0, amount_tax__gte=0),
            ),
            models.CheckConstraint(
                name="a_reversal_is_an_adjustment",
                condition=Q(reverses__isnull=True) | Q(kind="adjustment"),
            ),
            models.CheckConstraint(
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
            models.Index(fields=["subscriber", "period_start"], name="charge_by_subscriber"),
            models.Index(
                fields=["subscriber"], condition=Q(bill_line__isnull=True), name="charge_unbilled"
            ),
            models.Index(
                fields=["bill_line"],
                condition=Q(bill_line__isnull=False),
                name="charge_by_bill_line",
            ),
            models.Index(
                fields=["bsp", "charged_at"], condition=Q(bsp__isnull=False), name="charge_by_bsp"
            ),
            models.Index(
                fields=["network_provider", "charged_at"],
                condition=Q(network_provider__isnull=False),
                name="charge_by_network_provider",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offering} {self.currency} {self.amount_net}"


class LedgerAccount(models.Model):
    """An account of the double-entry ledger, in one currency.

    A receivable is of one subscriber and a payable of one partner; revenue, tax, rounding and
    cash are the ISP's own.
    """

    class Kind(models.TextChoices):
        RECEIVABLE = "receivable", "Receivable from a subscriber"
        PAYABLE = "payable", "Payable to a partner"
        REVENUE = "revenue", "Revenue"
        TAX = "tax", "Tax payable"
        ROUNDING = "rounding", "Rounding differences"
        CASH = "cash", "Cash"

    kind = models.CharField(max_length=12, choices=Kind)
    currency = models.CharField(max_length=3)
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, null=True, related_name="ledger_accounts"
    )
    partner = models.ForeignKey(
        Partner, on_delete=models.PROTECT, null=True, related_name="ledger_accounts"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "currency", "subscriber", "partner"],
                name="ledger_account_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(kind="receivable", subscriber__isnull=False, partner__isnull=True)
                | Q(kind="payable", subscriber__isnull=True, partner__isnull=False)
                | ~Q(kind__in=["receivable", "payable"])
                & Q(subscriber__isnull=True, partner__isnull=True),
                name="ledger_account_names_its_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subscriber or self.partner or ''}".strip()


class LedgerTransaction(models.Model):
    """Entries of one currency that sum to zero at commit (a deferred trigger sees to it)."""

    cause = models.CharField(max_length=120, unique=True)
    description = models.CharField(max_length=200)
    posted_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.description


class LedgerEntry(models.Model):
    """An amount on one account: debits are positive, credits negative."""

    transaction = models.ForeignKey(
        LedgerTransaction, on_delete=models.PROTECT, related_name="entries"
    )
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    amount = AmountField()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="ledger_entry_is_not_zero")
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"


class SettlementStatement(PublicIdModel):
    """What a partner gets for one span, as the sum of its shares of the charges made in it."""

    PREFIX = "stm"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="statements")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    charge_count = models.PositiveBigIntegerField()
    amount = AmountField()
    issued_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["partner", "currency", "period_start"], name="one_statement_a_period"
            ),
            models.CheckConstraint(
                condition=Q(period_end__gt=F("period_start")),
                name="statement_period_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.partner} {self.period_start:%Y-%m}"


class BillNumber(models.Model):
    """The last bill number given: one row, locked while a bill is issued, so none is skipped."""

    last = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_row_of_bill_numbers")]

    def __str__(self) -> str:
        return str(self.last)
