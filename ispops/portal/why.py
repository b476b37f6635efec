"""*Why this amount?* The stored explanation of a charge, said for the person who pays it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ispops.money import format_money
from ispops.portal.wording import quantity
from rating.models import Charge


@dataclass(frozen=True, slots=True)
class Share:
    """Who gets how much of a charge, and what for."""

    who: str
    role: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Why:
    """The rule in a sentence, the steps that lead to the amount, and where the money goes."""

    rule: str
    steps: list[str]
    arithmetic: str
    shares: list[Share]
    tax: str


_RULES = {
    "one_off": "It is charged once, at the price on the day you bought it.",
    "recurring": "It has a price for each billing period, charged for the time you had it.",
    "usage": "It is charged by use, step by step as your use is reported.",
    "reversal": "It takes back an earlier charge, in full.",
}


def explain(charge: Charge) -> Why:
    """Turn a charge's explanation into words; what we do not know how to say is left as stored."""
    stored: dict[str, Any] = charge.explanation
    return Why(
        rule=_RULES.get(stored.get("rule", ""), charge.get_kind_display()),
        steps=_steps(charge, stored),
        arithmetic=str(stored.get("arithmetic", "")),
        shares=_shares(charge),
        tax=str(stored.get("tax", "")),
    )


def _steps(charge: Charge, stored: dict[str, Any]) -> list[str]:
    steps = []
    if stored.get("because"):
        steps.append(str(stored["because"]))
    if stored.get("bundle"):
        steps.append(str(stored["bundle"]))
    return [*steps, *(_tier(charge, tier) for tier in stored.get("tiers", []))]


def _tier(charge: Charge, tier: dict[str, Any]) -> str:
    if "allowance" in tier:
        used = quantity(tier["units"], charge.unit)
        return f"{used} are included: nothing to pay for them."
    price = format_money(Decimal(str(tier["amount"])), charge.currency)
    return f"{tier['units']:,} charged at {price} each."


def _shares(charge: Charge) -> list[Share]:
    parts = [
        (charge.bsp, "makes the product", charge.bsp_share),
        (charge.network_provider, "owns the network", charge.network_provider_share),
    ]
    shares = [Share(str(who), role, amount) for who, role, amount in parts if who and amount]
    return [*shares, Share("", "looks after your line, your bill and you", charge.isp_share)]
