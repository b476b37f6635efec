"""How a row takes effect: at a moment, in place of the one before, and for good.

Prices, settlement terms, tax rates, labels and fair-use rules are in force from a moment on and are
never edited afterwards: a new one ends the one before.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import QuerySet

from ispops.catalog.models import (
    BroadbandLabel,
    FairUseRule,
    OfferingPrice,
    SettlementTerm,
    TaxRate,
)
from ispops.errors import Refusal

Row = TypeVar("Row", OfferingPrice, SettlementTerm, TaxRate, BroadbandLabel, FairUseRule)


class ChangePlanned(Refusal):
    """What is in force ends at a moment that was fixed before; until then it stays."""

    code = "change_planned"
    title = "A change is planned already"


class InForceAlready(Refusal):
    """Something else came into force at exactly this moment, and cannot be undone."""

    code = "in_force_already"
    title = "Another value is in force from this moment"


def put_in_force(
    same: QuerySet[Row], row: Row, terms: Iterable[str], at: datetime
) -> tuple[Row, bool]:
    """Let a row take effect among those for the same thing: end the one before it, if any.

    Returns the row that is in force, and whether it is new.

    Raises:
        ChangePlanned, InForceAlready: see the classes.
    """
    before = same.filter(valid_from__lte=row.valid_from).order_by("-valid_from").first()
    after = same.filter(valid_from__gt=row.valid_from).order_by("valid_from").first()
    if before and before.valid_to is None and _agree(before, row, terms):
        return before, False
    if before and before.valid_from == row.valid_from:
        if before.valid_from <= at:
            raise InForceAlready(f"Since {before.valid_from:%Y-%m-%d %H:%M} UTC: {before}.")
        before.delete()  # A plan that was not in force yet is replaced.
    elif before and before.valid_to and before.valid_to > row.valid_from:
        raise ChangePlanned(
            f"A change is fixed for {before.valid_to:%Y-%m-%d %H:%M} UTC; set a value from then on."
        )
    elif before and before.valid_to is None:
        before.valid_to = row.valid_from
        before.save(update_fields=["valid_to"])
    row.valid_to = after.valid_from if after else None
    row.save(force_insert=True)
    return row, True


def _agree(one: Any, other: Any, terms: Iterable[str]) -> bool:
    return all(getattr(one, term) == getattr(other, term) for term in terms)
