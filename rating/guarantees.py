"""The end of a period whose terms changed within it: each counts for its own part of it.

No database, no clock. What the period costs at least is divided by time among the parts, each is
taxed and shared by its own terms, and each guarantees its part of a partner's minimum, against what
the partner got of the use in that part.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


def length(period: Period, spans: Iterable[Period], by: Proration, zone: str) -> int:
    """Return how much of a period some spans are, by what its price is prorated by."""

    def gone(span: Period) -> int:
        start, _ = pricing.elapsed(period, span.start, by, zone)
        return pricing.elapsed(period, span.end, by, zone)[0] - start

    return sum(map(gone, spans))


def close_period(
    *, price: UsagePrice, use: Use, parts: Sequence[Part], whole: int
) -> list[Priced | None]:
    """Price what is still due when a period ends, part by part; None where that is nothing.

    With one part it is `pricing.close_period`.
    """
    if len(parts) == 1:
        [only] = parts
        closing = pricing.close_period(
            price=price, use=use, part=only.part, whole=whole, terms=only.terms
        )
        return [closing]
    active = sum(part.part for part in parts)
    if not active:
        # By the day, what began and ended on one day was active on none.
        return [None] * len(parts)
    before = price.standing(use).totals
    after = price.standing(use._replace(part=active, whole=whole)).totals
    found = []
    gone = 0
    for part in parts:
        start, end = (_upto(before, after, at, active) for at in (gone, gone + part.part))
        gone += part.part
        step = take_step(start, end, part.terms.of_use(), _why(price, before, after, part, active))
        bsp = _at_least(part.terms.bsp, step.bsp, part.bsp, part.part, whole)
        network = _at_least(
            part.terms.network_provider,
            step.network_provider,
            part.network_provider,
            part.part,
            whole,
        )
        step = step._replace(bsp=bsp, network_provider=network, isp=step.net - bsp - network)
        found.append(step if step.net or bsp or network else None)
    return found


def _upto(before: Totals, after: Totals, gone: int, active: int) -> Totals:
    """Return the totals when what is due is charged for a part of the time."""
    net = portion(after.net - before.net, gone, active)
    retail = portion(after.retail - before.retail, gone, active)
    return before._replace(net=before.net + net, retail=before.retail + retail)


def _at_least(share: Share | None, of_it: int, got: int, part: int, whole: int) -> int:
    guaranteed = portion(share.minimum, part, whole) if share else 0
    return max(of_it, guaranteed - got)


def _why(
    price: UsagePrice, before: Totals, after: Totals, part: Part, active: int
) -> dict[str, str]:
    of_time = f"for {part.part:,} / {active:,} of the time, in which these terms held"
    if after.net == before.net:
        text = f"nothing more is due; a partner is paid what it is guaranteed {of_time}"
    else:
        text = f"{words(after.net - before.net)} more is due for the period; {of_time}"
    return {"rule": "minimum", "price_version": price.version, "arithmetic": text}
