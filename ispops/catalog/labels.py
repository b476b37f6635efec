"""The FCC's broadband consumer label (47 CFR 8.1): its facts, its identifier, its row in the file.

Pure: no Django, no clock, no I/O. Amounts come in as they are paid, in whole cents.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

# The columns of the file that the FCC asks for, in its order. What does not apply is empty there.
COLUMNS = (
    "unique_plan_id",
    "provider_name",
    "service_plan_name",
    "tier_plan_name",
    "connection_type",
    "monthly_price",
    "intro_rate",
    "intro_rate_price",
    "intro_rate_time",
    "contract_req",
    "contract_time",
    "contract_terms_url",
    "early_termination_fee",
    "single_purchase_fee_descr",
    "single_purchase_fees",
    "monthly_provider_fee_descr",
    "monthly_provider_fee",
    "tax",
    "bundle_discounts_url",
    "typical_download_speed",
    "typical_upload_speed",
    "typical_latency",
    "monthly_data_allow",
    "over_usage_data_price",
    "additional_data_increment",
    "data_allowance_policy_url",
    "network_management_policy_url",
    "privacy_policy_url",
    "customer_support_phone",
    "customer_support_web",
)
PLAN_CODE_LENGTH = 15
# Every technology of the catalogue ends at a place; an "M" would be a plan for phones.
FIXED = "F"
CONNECTION_WORDS = {FIXED: "Fixed", "M": "Mobile"}
_GIGABYTE = 10**9


@dataclass(frozen=True, slots=True)
class Fee:
    """What is paid beside the monthly price, once or every month."""

    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Introduction:
    """A monthly price that is fixed to rise: what it is until then, and how long that is."""

    price: Decimal
    ends_at: datetime
    months: int


@dataclass(frozen=True, slots=True)
class Overage:
    """The price of each further portion of data, in gigabytes, when the allowance is used up."""

    price: Decimal
    gigabytes: Decimal


@dataclass(frozen=True, slots=True)
class Links:
    """Where the label leads to."""

    contract_terms: str
    discounts: str
    data_allowance: str
    network_management: str
    privacy: str
    support: str


@dataclass(frozen=True, slots=True)
class Label:
    """One label: what a plan costs and delivers, as at one moment.

    `monthly_price` is what is paid in the end, after an introduction. `tax` is what is added to
    the price of a month now; None where it depends on the place. `allowance_bytes` is None where
    data is not limited. `withdrawn_at` is set when the plan is no longer sold.
    """

    code: str
    unique_plan_id: str
    provider_name: str
    plan_name: str
    tier_name: str
    connection: str
    currency: str
    monthly_price: Decimal
    introduction: Introduction | None
    contract_months: int
    early_termination_fee: Decimal | None
    purchase_fees: tuple[Fee, ...]
    monthly_fees: tuple[Fee, ...]
    tax: Decimal | None
    download_kbps: int
    upload_kbps: int
    latency_ms: int
    allowance_bytes: int | None
    overage: Overage | None
    links: Links
    support_phone: str
    withdrawn_at: datetime | None = None

    @property
    def price_now(self) -> Decimal:
        """What a month costs whoever subscribes at the moment of the label."""
        return self.introduction.price if self.introduction else self.monthly_price

    @property
    def connection_words(self) -> str:
        return CONNECTION_WORDS[self.connection]

    @property
    def download_mbits(self) -> Decimal:
        return megabits(self.download_kbps)

    @property
    def upload_mbits(self) -> Decimal:
        return megabits(self.upload_kbps)

    @property
    def allowance_gigabytes(self) -> Decimal | None:
        return None if self.allowance_bytes is None else gigabytes(self.allowance_bytes)


def unique_plan_id(*, connection: str, frn: str, plan_code: str) -> str:
    """Return the FCC's identifier of a plan: F or M, the seller's FRN, the plan's own code."""
    return f"{connection}{frn}{plan_code}"


def plan_code_of(code: str) -> str:
    """Make a plan's own code, of 15 capital letters and digits, of its code in the catalogue.

    It is filled up from the left, so that `fiber-300` and `fiber-3000` stay apart. Two codes can
    still come out alike; then somebody has to choose.
    """
    letters = re.sub(r"[^A-Z0-9]", "", code.upper())
    return letters[-PLAN_CODE_LENGTH:].rjust(PLAN_CODE_LENGTH, "0")


def is_plan_code(text: str) -> bool:
    """Say whether a text can be a plan's own part of its identifier."""
    return re.fullmatch(rf"[A-Z0-9]{{{PLAN_CODE_LENGTH}}}", text) is not None


def megabits(kbps: int) -> Decimal:
    """Return a speed in megabits a second, with two decimals at most."""
    return _short(Decimal(kbps) / 1_000)


def gigabytes(count: int) -> Decimal:
    """Return a volume of bytes in gigabytes, with two decimals at most."""
    return _short(Decimal(count) / _GIGABYTE)


def overage(*, amount: Decimal, block_bytes: int) -> Overage:
    """Return the price of further data by the portion that is charged, of a gigabyte or more."""
    if block_bytes >= _GIGABYTE:
        return Overage(amount, gigabytes(block_bytes))
    return Overage(amount * _GIGABYTE / block_bytes, Decimal(1))


def whole_months(start: date, end: date) -> int:
    """Count the whole months from one day to another; a promise is never rounded up."""
    months = (end.year - start.year) * 12 + end.month - start.month
    return max(months - (end.day < start.day), 0)


def as_csv(labels: Iterable[Label]) -> str:
    """Write labels as the FCC's file, with a header, one label a line (RFC 4180)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for label in labels:
        writer.writerow(row_of(label))
    return text.getvalue()


def row_of(label: Label) -> dict[str, str]:
    """Return the row of the file for a label; every value as text, empty where nothing applies."""
    intro, more = label.introduction, label.overage
    return {
        "unique_plan_id": label.unique_plan_id,
        "provider_name": label.provider_name,
        "service_plan_name": label.plan_name,
        "tier_plan_name": label.tier_name,
        "connection_type": label.connection_words,
        "monthly_price": _money(label.monthly_price),
        "intro_rate": _yes(intro is not None),
        "intro_rate_price": _money(intro.price) if intro else "",
        "intro_rate_time": str(intro.months) if intro else "",
        "contract_req": _yes(label.contract_months > 0),
        "contract_time": str(label.contract_months or ""),
        "contract_terms_url": label.links.contract_terms if label.contract_months else "",
        "early_termination_fee": _money(label.early_termination_fee),
        "single_purchase_fee_descr": _names(label.purchase_fees),
        "single_purchase_fees": _amounts(label.purchase_fees),
        "monthly_provider_fee_descr": _names(label.monthly_fees),
        "monthly_provider_fee": _amounts(label.monthly_fees),
        "tax": "Varies" if label.tax is None else _money(label.tax),
        "bundle_discounts_url": label.links.discounts,
        "typical_download_speed": f"{label.download_mbits:f}",
        "typical_upload_speed": f"{label.upload_mbits:f}",
        "typical_latency": str(label.latency_ms),
        "monthly_data_allow": _number(label.allowance_gigabytes),
        "over_usage_data_price": _money(more.price) if more else "",
        "additional_data_increment": _number(more.gigabytes) if more else "",
        "data_allowance_policy_url": label.links.data_allowance if more else "",
        "network_management_policy_url": label.links.network_management,
        "privacy_policy_url": label.links.privacy,
        "customer_support_phone": label.support_phone,
        "customer_support_web": label.links.support,
    }


def _money(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:.2f}"


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


def _yes(applies: bool) -> str:
    return "Yes" if applies else "No"


def _names(fees: Iterable[Fee]) -> str:
    """List names between semicolons; one inside a name would count as two fees."""
    return "; ".join(fee.name.replace(";", ",") for fee in fees)


def _amounts(fees: Iterable[Fee]) -> str:
    return "; ".join(_money(fee.amount) for fee in fees)


def _short(value: Decimal) -> Decimal:
    """Round to two decimals, and leave out those that say nothing."""
    rounded = value.quantize(Decimal("0.01"))
    return rounded.quantize(Decimal(1)) if rounded == rounded.to_integral_value() else rounded
