"""The end of a period whose terms changed within it: each counts for its own part of it.

No database, no clock. What the period costs at least is divided by time among the parts, each is
taxed and shared by its own terms, and each guarantees its part of a partner's minimum, against what
the partner got of the use in that part. So it is when use of the part is reported later: what was
made up for already is not paid again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from ispops.periods import Period
from rating import pricing
from rating.amounts import portion, words
from rating.pricing import Priced, Proration, Terms, UsagePrice, Use
from rating.sharing import Share, Totals, take_step


class Part(NamedTuple):
    """A part of a period with terms of its own, and what its partners got of the use in it."""

    terms: Terms
    part: int
    bsp: int = 0
    network_provider: int = 0


class Ended(NamedTuple):
    """What is due for a part when its period ends, None where that is nothing.

    Where there are several, `guaranteed` is what the service provider and the network provider get
    of the part at least, and `got` is what they got of it without that.
    """

    due: Priced | None
    guaranteed: tuple[int, int] = (0, 0)
    got: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Guaranteed:
    """What a partner gets of a part of a closed period at least, and what it got without that."""

    partner_id: int | None
    least: int
    got: int

    def take(self, partner_id: int | None, more: int) -> int:
        """Count more that a partner gets; returns what is to be paid of it."""
        if partner_id != self.partner_id:
            return more
        paid = max(self.got, self.least)
        self.got += more
        return max(self.got, self.least) - paid


@dataclass(slots=True)
class ClosedPart:
    """A part of a period that was closed, in which some terms held."""

    number: int
    start: datetime
    bsp: Guaranteed
    network_provider: Guaranteed

    @classmethod
    def read(cls, number: int, kept: dict[str, Any]) -> "ClosedPart":
        """Return a part as `kept` wrote it."""
        sides = (Guaranteed(*kept[side]) for side in ("bsp", "network_provider"))
        return cls(number, datetime.fromisoformat(kept["start"]), *sides)

    def take(self, late: Priced, bsp_id: int | None, network_provider_id: int | None) -> Priced:
        """Return a late use as it is paid for; its explanation keeps what it would be alone."""
        alone = {"part": self.number, "bsp": late.bsp, "network_provider": late.network_provider}
        bsp = self.bsp.take(bsp_id, late.bsp)
        network = self.network_provider.take(network_provider_id, late.network_provider)
        return late._replace(
            bsp=bsp,
            network_provider=network,
            isp=late.net - bsp - network,
            explanation=late.explanation | {"late": alone},
        )


def kept(
    start: datetime, ended: Ended, bsp_id: int | None, network_provider_id: int | None
) -> dict[str, Any]:
    """Return what is kept of a part of a closed period, as JSON."""
    sides = zip((bsp_id, network_provider_id), ended.guaranteed, ended.got, strict=True)
    bsp, network = map(list, sides)
    return {"start": start.isoformat(), "bsp": bsp, "network_provider": network}


def without_minimum(terms: Terms) -> Terms:
    """Return terms as they are for use whose guarantees are counted beside it."""
    bsp, network = (
        share and replace(share, minimum=0) for share in (terms.bsp, terms.network_provider)
    )
    return replace(terms, bsp=bsp, network_provider=network)


def length(period: Period, spans: Iterable[Period], by: Proration, zone: str) -> int:
    """Return how much of a period some spans are, by what its price is prorated by."""

    def gone(span: Period) -> int:
        start, _ = pricing.elapsed(period, span.start, by, zone)
        return pricing.elapsed(period, span.end, by, zone)[0] - start

    return sum(map(gone, spans))


def close_period(*, price: UsagePrice, use: Use, parts: Sequence[Part], whole: int) -> list[Ended]:
    """Price what is still due when a period ends, part by part.

    With one part it is `pricing.close_period`.
    """
    if len(parts) == 1:
        [only] = parts
        closing = pricing.close_period(
            price=price, use=use, part=only.part, whole=whole, terms=only.terms
        )
        return [Ended(closing)]
    active = sum(part.part for part in parts)
    if not active:
        # By the day, what began and ended on one day was active on none.
        return [Ended(None)] * len(parts)
    before = price.standing(use).totals
    after = price.standing(use._replace(part=active, whole=whole)).totals
    found = []
    gone = 0
    for part in parts:
        start, end = (_upto(before, after, at, active) for at in (gone, gone + part.part))
        gone += part.part
        step = take_step(start, end, part.terms.of_use(), _why(price, before, after, part, active))
        shares = part.terms.bsp, part.terms.network_provider
        least = _guaranteed(shares[0], part.part, whole), _guaranteed(shares[1], part.part, whole)
        got = part.bsp + step.bsp, part.network_provider + step.network_provider
        bsp = max(got[0], least[0]) - part.bsp
        network = max(got[1], least[1]) - part.network_provider
        step = step._replace(bsp=bsp, network_provider=network, isp=step.net - bsp - network)
        found.append(Ended(step if step.net or bsp or network else None, least, got))
    return found


def _upto(before: Totals, after: Totals, gone: int, active: int) -> Totals:
    """Return the totals when what is due is charged for a part of the time."""
    net = portion(after.net - before.net, gone, active)
    retail = portion(after.retail - before.retail, gone, active)
    return before._replace(net=before.net + net, retail=before.retail + retail)


def _guaranteed(share: Share | None, part: int, whole: int) -> int:
    return portion(share.minimum, part, whole) if share else 0


def _why(
    price: UsagePrice, before: Totals, after: Totals, part: Part, active: int
) -> dict[str, str]:
    of_time = f"for {part.part:,} / {active:,} of the time, in which these terms held"
    if after.net == before.net:
        text = f"nothing more is due; a partner is paid what it is guaranteed {of_time}"
    else:
        text = f"{words(after.net - before.net)} more is due for the period; {of_time}"
    return {"rule": "minimum", "price_version": price.version, "arithmetic": text}
