"""Bills: the running one, the issued one, and what is paid.

A bill is of one account for one billing period, in arrears. It takes every charge that begins in
the period and is on no bill yet, and charges of earlier periods that came after their own bill.
Charges of one offering (or aggregated plan), kind and unit make one line; what is for an earlier
period makes lines of its own, which say for which. A line's net amount and
its tax are each rounded once to the currency's minor unit, half away from zero; `rounding` is what
that added, so the exact charges can always be found again. The preview is made by the same code.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet, prefetch_related_objects

from ispops import db, events
from ispops.catalog.models import ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.money import round_to_minor_unit
from ispops.parties.models import Partner, Subscriber
from ispops.periods import Period, days_in_words
from rating import accrual, closing, ledger, posting, prepaid, spending
from rating.models import BillLine, Charge, CustomerBill, LedgerTransaction

PAID_WITHIN = timedelta(days=14)
ZERO = Decimal(0)
_MOMENT = timedelta(microseconds=1)


class PeriodNotOver(Refusal):
    code = "period_not_over"
    title = "The billing period is not over"


class NothingToBill(Refusal):
    code = "nothing_to_bill"
    title = "There is nothing to bill"


@dataclass(slots=True)
class Line:
    """One line of a bill: exact sums of its charges, and the rounded amounts that are billed."""

    offering: ProductOffering
    charge_kind: str
    unit: str
    currency: str
    # The period that it is for, where its own bill was out already.
    earlier: Period | None = None
    quantity: int = 0
    exact_net: Decimal = ZERO
    exact_tax: Decimal = ZERO
    charge_ids: list[UUID] = field(default_factory=list)

    @property
    def amount_net(self) -> Decimal:
        return round_to_minor_unit(self.exact_net, self.currency)

    @property
    def amount_tax(self) -> Decimal:
        return round_to_minor_unit(self.exact_tax, self.currency)

    @property
    def rounding(self) -> Decimal:
        return self.amount_net + self.amount_tax - self.exact_net - self.exact_tax

    @property
    def description(self) -> str:
        of_kind: dict[str, str] = {
            Charge.Kind.ONE_OFF: ", once",
            Charge.Kind.USAGE: ", use",
            Charge.Kind.ADJUSTMENT: ", put right" if self.exact_net > 0 else ", given back",
        }
        said = self.offering.name + of_kind.get(self.charge_kind, "")
        if self.earlier is None:
            return said
        said += f", for {days_in_words(self.earlier, zone=settings.BILLING_TIME_ZONE)}"
        return said + (", reported late" if self.charge_kind == Charge.Kind.USAGE else "")


@dataclass(frozen=True, slots=True)
class BillPreview:
    """What the bill of a running period comes to if nothing changes until its end."""

    period: Period
    currency: str
    lines: list[Line]
    # What use came to that is not charged yet; among the lines, too.
    uses: list[Charge] = field(default_factory=list)
    # What of it partners' products will come to that is not charged yet, with tax.
    coming: Decimal = ZERO

    @property
    def amount_net(self) -> Decimal:
        return sum((line.amount_net for line in self.lines), ZERO)

    @property
    def amount_tax(self) -> Decimal:
        return sum((line.amount_tax for line in self.lines), ZERO)

    @property
    def amount_due(self) -> Decimal:
        return self.amount_net + self.amount_tax


def running_bill(*, subscriber: Subscriber, at: datetime) -> BillPreview:
    """Return the bill of the period that holds `at`, as it stands. Saves nothing.

    What is active is taken to last until the period's end; use is counted as far as it is rated.
    """
    period = accrual.period_at(subscriber, at)
    due = accrual.due(subscriber=subscriber, period=period, at=at)
    posted = unbilled(subscriber, period)
    used = [row for row in posting.due(subscriber=subscriber) if row.period_start < period.end]
    lines = _lines(subscriber, period, [*posted, *due, *used])
    coming = spending.of_partners(due, used, period)
    return BillPreview(period, subscriber.currency, lines, used, coming)


def bill_of(
    *, subscriber: Subscriber, period: Period, at: datetime
) -> Sequence[Line] | Sequence[BillLine]:
    """Return what the bill of a period has for that period: as it was issued, or as it stands at
    `at`. Lines for earlier periods are left out."""
    bill = CustomerBill.objects.filter(subscriber=subscriber, period_start=period.start).first()
    if bill is None:
        preview = running_bill(subscriber=subscriber, at=min(at, period.end - _MOMENT))
        return [line for line in preview.lines if line.earlier is None]
    own = Charge.objects.filter(bill_line=OuterRef("pk"), period_start__gte=period.start)
    return list(bill.lines.filter(Exists(own)).select_related("offering").order_by("position"))


@transaction.atomic
def issue_bill(*, subscriber: Subscriber, period: Period, at: datetime) -> CustomerBill:
    """Charge what was active in a period, and issue its numbered bill. Publishes `bill.issued`.

    A bill that was issued already is returned and nothing changes. The ledger is posted in the
    same transaction; numbers have no gaps, because the number is taken with the bill or not at all.

    Raises:
        InvalidInput: `period` is no billing period of this account.
        PeriodNotOver: it has not ended at `at`.
        NothingToBill: there are no charges.
    """
    account = db.lock(Subscriber, subscriber.pk)
    issued = CustomerBill.objects.filter(subscriber=account, period_start=period.start).first()
    if issued is not None:
        return issued
    if accrual.period_at(account, period.start) != period:
        raise InvalidInput("This is no billing period of the account.", field="period")
    if at < period.end:
        raise PeriodNotOver(
            f"The period ends on {period.end:%Y-%m-%d}; its bill is issued after that."
        )
    closing.close_use(subscriber=account, period=period, at=at)
    Charge.objects.bulk_create(accrual.due(subscriber=account, period=period, at=at))
    posting.save(posting.due(subscriber=account))
    charged = list(unbilled(account, period))
    if not charged:
        raise NothingToBill("There are no charges in this period.")
    return _issue(account, period, charged, at)


def unbilled(subscriber: Subscriber, period: Period) -> QuerySet[Charge]:
    """Return the posted charges that the bill of a period takes.

    A charge of an earlier period waits for that period's bill, or comes here when it is out.
    """
    billed_until = CustomerBill.objects.filter(
        subscriber=subscriber, period_end__lte=period.start
    ).aggregate(last=Max("period_end"))["last"]
    in_time = Q(period_start__gte=period.start)
    if billed_until is not None:
        in_time |= Q(period_start__lt=billed_until)
    return (
        Charge.objects.filter(in_time, subscriber=subscriber, bill_line__isnull=True)
        .filter(period_start__lt=period.end)
        .select_related("offering", "bundle")
        .defer("explanation")
        .order_by("pk")
    )


def _lines(subscriber: Subscriber, period: Period, charges: Iterable[Charge]) -> list[Line]:
    """Gather charges into lines: plans first, then one-off, use and what is given back."""
    bundles = _bundles(charges := list(charges))
    # Charges that are not saved yet know their offering by its key alone.
    prefetch_related_objects(charges, "offering")
    lines: dict[tuple[int, str, str, Period | None], Line] = {}
    for charge in charges:
        sold = bundles[charge.bundle_id] if charge.bundle_id else charge.offering
        earlier = None
        if charge.period_start < period.start:
            earlier = accrual.period_at(subscriber, charge.period_start)
        key = (sold.pk, charge.kind, charge.unit, earlier)
        line = lines.get(key)
        if line is None:
            line = Line(sold, charge.kind, charge.unit, subscriber.currency, earlier)
            lines[key] = line
        line.quantity += charge.quantity
        line.exact_net += charge.amount_net
        line.exact_tax += charge.amount_tax
        line.charge_ids.append(charge.pk)
    for line in lines.values():
        if line.charge_kind == Charge.Kind.RECURRING:
            line.quantity = 1
    order = [Charge.Kind.RECURRING, Charge.Kind.ONE_OFF, Charge.Kind.USAGE, Charge.Kind.ADJUSTMENT]
    return sorted(
        lines.values(),
        key=lambda line: (
            order.index(Charge.Kind(line.charge_kind)),
            line.offering.pk,
            line.unit,
            line.earlier.start if line.earlier else period.start,
        ),
    )


def _bundles(charges: Iterable[Charge]) -> dict[int, ProductOffering]:
    return ProductOffering.objects.in_bulk({c.bundle_id for c in charges if c.bundle_id})


def _issue(
    account: Subscriber, period: Period, charged: list[Charge], at: datetime
) -> CustomerBill:
    lines = _lines(account, period, charged)
    net = sum((line.amount_net for line in lines), ZERO)
    tax = sum((line.amount_tax for line in lines), ZERO)
    bill = CustomerBill.objects.create(
        number=_next_number(),
        subscriber=account,
        period_start=period.start,
        period_end=period.end,
        currency=account.currency,
        amount_net=net,
        amount_tax=tax,
        amount_due=net + tax,
        issued_at=at,
        due_date=_due_date(at),
    )
    for position, line in enumerate(lines, start=1):
        row = BillLine.objects.create(
            bill=bill,
            position=position,
            description=line.description,
            offering=line.offering,
            charge_kind=line.charge_kind,
            quantity=line.quantity,
            unit=line.unit,
            amount_net=line.amount_net,
            amount_tax=line.amount_tax,
            rounding=line.rounding,
        )
        Charge.objects.filter(pk__in=line.charge_ids).update(bill_line=row)
    _post(bill, charged, sum((line.rounding for line in lines), ZERO), at)
    if account.is_prepaid:
        prepaid.pay_bill(bill=bill, wanted=_of_partners(lines, charged), at=at)
    events.publish(
        "bill.issued",
        subject=bill.public_id,
        at=at,
        subscriber=account.public_id,
        number=bill.number,
        amount_due=str(bill.amount_due),
    )
    return bill


def _post(bill: CustomerBill, charged: list[Charge], rounding: Decimal, at: datetime) -> None:
    """Enter the bill in the ledger; a bill on which everything is free leaves no trace there."""
    payable: defaultdict[int, Decimal] = defaultdict(Decimal)
    revenue = tax = ZERO
    for charge in charged:
        revenue += charge.isp_share
        tax += charge.amount_tax
        if charge.bsp_id:
            payable[charge.bsp_id] += charge.bsp_share
        if charge.network_provider_id:
            payable[charge.network_provider_id] += charge.network_provider_share
    kind, currency = ledger.Kind, bill.currency
    entries = [
        (ledger.account(kind.RECEIVABLE, currency, subscriber=bill.subscriber), bill.amount_due),
        (ledger.account(kind.REVENUE, currency), -revenue),
        (ledger.account(kind.TAX, currency), -tax),
        (ledger.account(kind.ROUNDING, currency), -rounding),
    ]
    for key, partner in sorted(Partner.objects.in_bulk(payable).items()):
        to = ledger.account(kind.PAYABLE, currency, partner=partner)
        entries.append((to, -payable[key]))
    if any(amount for _, amount in entries):
        ledger.post(cause=f"bill:{bill.public_id}", description=str(bill), entries=entries, at=at)


def _of_partners(lines: list[Line], charged: list[Charge]) -> Decimal:
    """Return what partners' products come to on a bill, rounded as its lines are."""
    theirs = {charge.pk: charge for charge in charged if charge.bsp_id}
    total = ZERO
    for line in lines:
        own = [theirs[key] for key in line.charge_ids if key in theirs]
        total += round_to_minor_unit(sum((c.amount_net for c in own), ZERO), line.currency)
        total += round_to_minor_unit(sum((c.amount_tax for c in own), ZERO), line.currency)
    return total


def _next_number() -> int:
    """Take the next bill number and hold the row until this transaction ends, so none is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rating_billnumber (id, last) VALUES (1, 1) "
            "ON CONFLICT (id) DO UPDATE SET last = rating_billnumber.last + 1 RETURNING last"
        )
        return int(cursor.fetchone()[0])


def _due_date(issued_at: datetime) -> date:
    return issued_at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).date() + PAID_WITHIN


@transaction.atomic
def record_payment(
    *, subscriber: Subscriber, amount: Decimal, reference: str, at: datetime
) -> LedgerTransaction:
    """Enter a payment. The same reference and amount again change nothing.

    Raises:
        InvalidInput: the amount is not above zero, or there is no reference.
        AlreadyPosted: the reference was used for another payment.
    """
    if not amount.is_finite() or amount <= 0 or amount >= Decimal(10) ** 12:
        raise InvalidInput("Give an amount above zero.", field="amount")
    if not 0 < len(reference) <= 100:
        raise InvalidInput("Give a reference of 1 to 100 characters.", field="reference")
    currency = subscriber.currency
    owed = ledger.account(ledger.Kind.RECEIVABLE, currency, subscriber=subscriber)
    return ledger.post(
        cause=f"payment:{reference}",
        description=f"Payment {reference}",
        entries=[(ledger.account(ledger.Kind.CASH, currency), amount), (owed, -amount)],
        at=at,
    )
