"""The verb for broadband labels: the only writer of what a label says beside the catalogue."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from ispops import db
from ispops.catalog import labels
from ispops.catalog.effective import put_in_force
from ispops.catalog.models import BroadbandLabel, ProductOffering
from ispops.catalog.price_checks import checked_amount
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User

LABELLED_KINDS = (ProductOffering.Kind.ACCESS, ProductOffering.Kind.BUNDLE)
_MOST_FEES = 20
_CHECKED = (
    "tier_name", "typical_download_kbps", "typical_upload_kbps", "typical_latency_ms",
    "contract_months", "contract_terms_url", "discounts_url", "data_allowance_url",
)  # fmt: skip
_TERMS = (*_CHECKED, "early_termination_fee", "purchase_fees", "monthly_fees")


class PlanCodeTaken(Refusal):
    code = "plan_code_taken"
    title = "Another plan has this FCC plan code"


class PlanCodeKept(Refusal):
    """A plan is known to the FCC by one identifier, from its first label to its last."""

    code = "plan_code_kept"
    title = "The plan has another FCC plan code already"


@transaction.atomic
def set_label(
    *,
    offering: ProductOffering,
    typical_download_kbps: int,
    typical_upload_kbps: int,
    typical_latency_ms: int,
    at: datetime,
    valid_from: datetime | None = None,
    fcc_plan_code: str = "",
    purchase_fees: Iterable[Mapping[str, Any]] = (),
    monthly_fees: Iterable[Mapping[str, Any]] = (),
    early_termination_fee: Decimal | None = None,
    actor: User | None = None,
    **facts: Any,
) -> BroadbandLabel:
    """Set what a plan's label says, from `valid_from` (or now) on, which ends the label before.

    The first label gives the plan its FCC plan code, made of its code where none is named.
    `facts` are further fields of `BroadbandLabel`.

    Raises:
        InvalidInput: a value cannot be used, or the offering is no plan.
        PlanCodeTaken, PlanCodeKept: see the classes.
        ChangePlanned, InForceAlready: see `effective`.
    """
    if offering.kind not in LABELLED_KINDS:
        raise InvalidInput("Only a plan with a line has a label.", field="offering")
    label = BroadbandLabel(
        offering=offering,
        typical_download_kbps=typical_download_kbps,
        typical_upload_kbps=typical_upload_kbps,
        typical_latency_ms=typical_latency_ms,
        early_termination_fee=early_termination_fee,
        purchase_fees=_checked_fees(purchase_fees, "purchase_fees"),
        monthly_fees=_checked_fees(monthly_fees, "monthly_fees"),
        valid_from=valid_from or at,
        **facts,
    )
    db.check_fields(label, *_CHECKED)
    _check_terms(label)
    row = db.lock(ProductOffering, offering.pk)
    _give_plan_code(row, fcc_plan_code)
    same = BroadbandLabel.objects.filter(offering=offering)
    kept, is_new = put_in_force(same, label, _TERMS, at)
    if is_new:
        audit.record(
            actor=actor,
            actor_name="" if actor else "system",
            action="label.set",
            subject=f"offering_{offering.code}",
            at=at,
            fcc_plan_code=row.fcc_plan_code,
            typical_download_kbps=typical_download_kbps,
            typical_upload_kbps=typical_upload_kbps,
            typical_latency_ms=typical_latency_ms,
        )
    return kept


def _check_terms(label: BroadbandLabel) -> None:
    for name in ("typical_download_kbps", "typical_upload_kbps", "typical_latency_ms"):
        if getattr(label, name) < 1:
            raise InvalidInput("What is typical is more than nothing.", field=name)
    if label.early_termination_fee is not None:
        checked_amount(label.early_termination_fee, "early_termination_fee")
        if not label.contract_months:
            raise InvalidInput(
                "Without a contract, nothing is owed for leaving.", field="early_termination_fee"
            )


def _checked_fees(fees: Iterable[Mapping[str, Any]], field: str) -> list[dict[str, str]]:
    checked = []
    for fee in fees:
        name = str(fee.get("name") or "").strip()
        if not 0 < len(name) <= 80 or "\0" in name:
            raise InvalidInput("Each fee has a name of up to 80 characters.", field=field)
        try:
            amount = checked_amount(Decimal(str(fee.get("amount"))), field)
        except ArithmeticError as error:
            raise InvalidInput("The amount of a fee is a decimal number.", field=field) from error
        checked.append({"name": name, "amount": str(amount)})
    if len(checked) > _MOST_FEES:
        raise InvalidInput(f"A label has room for {_MOST_FEES} fees.", field=field)
    return checked


def _give_plan_code(offering: ProductOffering, wanted: str) -> None:
    """Give the plan the code that is wanted, or one made of its own; what it has, it keeps."""
    if offering.fcc_plan_code:
        if wanted not in ("", offering.fcc_plan_code):
            raise PlanCodeKept(f"It is {offering.fcc_plan_code}.", field="fcc_plan_code")
        return
    code = wanted or labels.plan_code_of(offering.code)
    if not labels.is_plan_code(code):
        raise InvalidInput(
            f"Use {labels.PLAN_CODE_LENGTH} capital letters and digits.", field="fcc_plan_code"
        )
    if ProductOffering.objects.filter(fcc_plan_code=code).exists():
        raise PlanCodeTaken(f"Choose another code than {code}.", field="fcc_plan_code")
    offering.fcc_plan_code = code
    offering.save(update_fields=["fcc_plan_code"])
