"""Who gets which part of a charge: tax, partners' shares, and the remainder, which is the ISP's.

No database, no clock, no floats. Like the price itself, tax and each share are functions of the
running totals alone, and a charge takes the difference of two of their values. So the parts of
many charges add up to the parts of their sum, whatever the order and the batches.

**Who gets the remainder.** A partner's part is rounded down to a whole micro-unit; the ISP gets
what is left. With one partner that gets a percentage no part is ever below zero. With two, rounding
can make the ISP's part of a single step one micro-unit less than nothing, never its sum. A
wholesale price or a guaranteed minimum above what the subscriber pays is the ISP's loss.

**Tax** is a percentage of the net amount, on top of it, half a micro-unit rounded up.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rating.amounts import WHOLE, percent_words, portion, words


@dataclass(frozen=True, slots=True)
class ShareTier:
    """A percentage of the net amount up to a running sum; `up_to` None is all the rest."""

    up_to: int | None
    percent_milli: int


@dataclass(frozen=True, slots=True)
class Share:
    """What a partner gets. Mostly one of these is set; what is set is added up.

    - `percent_milli`: a part of the net amount, after discounts and within the cap.
    - `retail_percent_milli`: a part of the price before discounts, within the cap.
    - `fixed`: an amount for a whole one-off or recurring charge.
    - `wholesale`: an amount for every `wholesale_block` units of use, also for those that cost the
      subscriber nothing. An amount for part of a block is in proportion.
    - `tiers`: a percentage of the net amount that changes as the period's net amount grows.
    - `minimum`: what the partner gets at least of a whole one-off or recurring charge; of use, in
      a whole period, made up for when the period ends.
    """

    percent_milli: int = 0
    fixed: int = 0
    retail_percent_milli: int = 0
    wholesale: int = 0
    wholesale_block: int = 1
    tiers: tuple[ShareTier, ...] = ()
    minimum: int = 0
    # Nothing but a percentage of the net amount, as most are.
    is_plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        others = (self.fixed, self.retail_percent_milli, self.wholesale, self.tiers, self.minimum)
        object.__setattr__(self, "is_plain", not any(others))


@dataclass(frozen=True, slots=True)
class Terms:
    """The tax on a charge, and the partners' shares of it; None where there is no partner."""

    tax_milli: int = 0
    bsp: Share | None = None
    network_provider: Share | None = None

    def of_use(self) -> "Terms":
        """Return the terms without fixed shares, which are for one-off and recurring charges."""
        bsp, network = (
            share and replace(share, fixed=0) for share in (self.bsp, self.network_provider)
        )
        return replace(self, bsp=bsp, network_provider=network)


NO_TERMS = Terms()


class Totals(NamedTuple):
    """How far the running totals that shares depend on have come.

    `part` of `whole` says how much of a whole charge is behind us. Of use it is nothing until the
    period is closed.
    """

    net: int
    retail: int
    units: int = 0
    part: int = 0
    whole: int = 1


class Priced(NamedTuple):
    """The parts of one charge in micro-units: `bsp + network_provider + isp == net`."""

    net: int
    tax: int
    bsp: int
    network_provider: int
    isp: int
    explanation: dict[str, Any]


def share_of(share: Share, totals: Totals) -> int:
    """Return what a partner gets of running totals, in whole micro-units."""
    got = portion(totals.net, share.percent_milli, WHOLE)
    if share.is_plain:
        return got
    if share.retail_percent_milli:
        got += portion(totals.retail, share.retail_percent_milli, WHOLE)
    if share.fixed:
        got += portion(share.fixed, totals.part, totals.whole)
    if share.wholesale:
        got += portion(share.wholesale, totals.units, share.wholesale_block)
    if share.tiers:
        got += _tiered(share.tiers, totals.net)
    if share.minimum:
        got = max(got, portion(share.minimum, totals.part, totals.whole))
    return got


def _tiered(tiers: tuple[ShareTier, ...], net: int) -> int:
    weighted = below = 0
    for tier in tiers:
        upto = net if tier.up_to is None else min(net, tier.up_to)
        weighted += max(upto - below, 0) * tier.percent_milli
        below = max(upto, below)
    return portion(weighted, 1, WHOLE)


def take_step(before: Totals, after: Totals, terms: Terms, explanation: dict[str, Any]) -> Priced:
    """Take one step of the running totals of price, tax and shares."""
    net = after.net - before.net
    tax = tax_of(after.net, terms.tax_milli) - tax_of(before.net, terms.tax_milli)
    bsp = network_provider = 0
    if terms.bsp is not None:
        bsp = share_of(terms.bsp, after) - share_of(terms.bsp, before)
    if terms.network_provider is not None:
        share = terms.network_provider
        network_provider = share_of(share, after) - share_of(share, before)
    _say_tax(explanation, terms, net, tax)
    return Priced(net, tax, bsp, network_provider, net - bsp - network_provider, explanation)


def add(steps: list[Priced], terms: Terms, explanation: dict[str, Any]) -> Priced:
    """Add up the steps that one charge takes in several periods."""
    net, tax = sum(step.net for step in steps), sum(step.tax for step in steps)
    _say_tax(explanation, terms, net, tax)
    return Priced(
        net,
        tax,
        sum(step.bsp for step in steps),
        sum(step.network_provider for step in steps),
        sum(step.isp for step in steps),
        explanation,
    )


def _say_tax(explanation: dict[str, Any], terms: Terms, net: int, tax: int) -> None:
    if terms.tax_milli:
        explanation["tax"] = f"{percent_words(terms.tax_milli)} of {words(net)} = {words(tax)}"


def tax_of(net: int, tax_milli: int) -> int:
    """Return the tax on a running net amount."""
    return portion(net, tax_milli, WHOLE, half_up=True)
