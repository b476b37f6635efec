"""Bills, the ledger and partners' statements: models of `rating.models`, in a file of their own."""

from django.db import models
from django.db.models import PROTECT, CheckConstraint, F, ForeignKey, Q, UniqueConstraint

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber


class CustomerBill(PublicIdModel):
    """A numbered bill of one account for one period; never changed. TM Forum: CustomerBill."""

    PREFIX = "bil"

    number = models.PositiveBigIntegerField(unique=True)
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="bills")
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
            UniqueConstraint(
                fields=["subscriber", "period_start"], name="one_bill_an_account_and_period"
            ),
            CheckConstraint(
                condition=Q(amount_due=F("amount_net") + F("amount_tax")), name="bill_adds_up"
            ),
            CheckConstraint(
                condition=Q(period_end__gt=F("period_start")),
                name="bill_period_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"Bill {self.number}"


class BillLine(models.Model):
    """One line of a bill: the charges of one offering, rounded once to what can be paid."""

    bill = ForeignKey(CustomerBill, PROTECT, related_name="lines")
    position = models.PositiveSmallIntegerField()
    description = models.CharField(max_length=200)
    offering = ForeignKey(ProductOffering, PROTECT, related_name="+")
    charge_kind = models.CharField(max_length=10)
    quantity = models.PositiveBigIntegerField(default=1)
    unit = models.CharField(max_length=20, blank=True, default="")
    amount_net = AmountField()
    amount_tax = AmountField()
    # What rounding added or took, so that the exact charges can always be found again.
    rounding = AmountField()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["bill", "position"], name="bill_line_position_once")
        ]

    def __str__(self) -> str:
        return self.description


class LedgerAccount(models.Model):
    """An account of the double-entry ledger, in one currency.

    A receivable is of one subscriber, and so is what was paid ahead; a payable is of one partner;
    revenue, tax, rounding and cash are the ISP's own.
    """

    class Kind(models.TextChoices):
        RECEIVABLE = "receivable", "Receivable from a subscriber"
        PAYABLE = "payable", "Payable to a partner"
        REVENUE = "revenue", "Revenue"
        TAX = "tax", "Tax payable"
        ROUNDING = "rounding", "Rounding differences"
        CASH = "cash", "Cash"
        PREPAID = "prepaid", "Paid ahead by a subscriber"

    kind = models.CharField(max_length=12, choices=Kind)
    currency = models.CharField(max_length=3)
    subscriber = ForeignKey(Subscriber, PROTECT, null=True, related_name="ledger_accounts")
    partner = ForeignKey(Partner, PROTECT, null=True, related_name="ledger_accounts")

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["kind", "currency", "subscriber", "partner"],
                name="ledger_account_once",
                nulls_distinct=False,
            ),
            CheckConstraint(
                condition=Q(
                    kind__in=["receivable", "prepaid"],
                    subscriber__isnull=False,
                    partner__isnull=True,
                )
                | Q(kind="payable", subscriber__isnull=True, partner__isnull=False)
                | ~Q(kind__in=["receivable", "prepaid", "payable"])
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

    class Meta:
        permissions = [("top_up_prepaid", "Can enter what a subscriber pays ahead")]

    def __str__(self) -> str:
        return self.description


class LedgerEntry(models.Model):
    """An amount on one account: debits are positive, credits negative."""

    transaction = ForeignKey(LedgerTransaction, PROTECT, related_name="entries")
    account = ForeignKey(LedgerAccount, PROTECT, related_name="entries")
    amount = AmountField()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [CheckConstraint(condition=~Q(amount=0), name="ledger_entry_is_not_zero")]

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"


class SettlementStatement(PublicIdModel):
    """What a partner gets for one span, as the sum of its shares of the charges made in it."""

    PREFIX = "stm"

    partner = ForeignKey(Partner, PROTECT, related_name="statements")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    charge_count = models.PositiveBigIntegerField()
    amount = AmountField()
    issued_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["partner", "currency", "period_start"], name="one_statement_a_period"
            ),
            CheckConstraint(
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
        constraints = [CheckConstraint(condition=Q(pk=1), name="one_row_of_bill_numbers")]

    def __str__(self) -> str:
        return str(self.last)
