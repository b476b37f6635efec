"""Why a use costs what it costs, in words that a subscriber can follow.

No database, no clock. Each function says one part of the arithmetic of `usage_prices`; what
counts in the tiers is also given as facts, so that a page can show it as a table.
"""

from typing import Any

from rating.amounts import percent_words, words
from rating.usage_prices import Discount, EventPrice, Standing, UsagePrice

Facts = list[dict[str, Any]]
Explained = tuple[str, Facts]
_NOTHING = ("nothing used", "within a block that is charged already")


def explain(price: UsagePrice, quantity: int, before: Standing, after: Standing) -> Explained:
    """Say how much was used after how much, what each part of it costs, and the difference."""
    if price.event_price is not None:
        return _of_event(price, price.event_price, quantity, before, after), []
    if price.counts_events:
        noun, quantity = "event", 1
    else:
        noun = price.unit
    parts, facts = _parts(price, before, after)
    text = (
        f"{quantity:,} {noun}{'' if quantity == 1 else 's'} after {before.totals.units:,} in the "
        f"period: {' + '.join(parts) or _NOTHING[quantity > 0]}; "
    )
    return text + difference(price, before, after), facts


def difference(price: UsagePrice, before: Standing, after: Standing) -> str:
    """Say what the total was and is, and what is between them."""
    text = _minus(after.listed, before.listed)
    old, new = before.totals.net, after.totals.net
    if price.is_adjusted:
        adjusted = adjustments(price)
        text += f"; {adjusted + ': ' if adjusted else ''}{_minus(new, old)}"
    if new < old:
        text += f", so {words(old - new)} is given back"
    return text


def adjustments(price: UsagePrice) -> str:
    """Say what is taken off a period's price, and what holds it."""
    said = []
    if taken := discount_words(price.discount):
        said.append(f"{taken} off")
    if price.most is not None:
        said.append(f"at most {words(price.most)} in the period")
    return ", ".join(said)


def discount_words(discount: Discount) -> str:
    """Say a discount: `10 % and 1.00`; nothing where there is none."""
    parts = [percent_words(discount.percent_milli)] if discount.percent_milli else []
    parts += [words(discount.amount)] if discount.amount else []
    return " and ".join(parts)


def _minus(new: int, old: int) -> str:
    return f"{words(new)} - {words(old)} = {words(new - old)}"


def _of_event(
    price: UsagePrice, event: EventPrice, quantity: int, before: Standing, after: Standing
) -> str:
    value = quantity * event.worth
    text = f"{percent_words(event.percent_milli)} of {words(value)}"
    if event.fee:
        text += f" + {words(event.fee)}"
    cost = event.cost(quantity)
    if cost == event.minimum:
        text += f", at least {words(event.minimum)}"
    elif cost == event.maximum:
        text += f", at most {words(event.maximum)}"
    text += f" = {words(cost)}"
    return f"{text}; {difference(price, before, after)}" if price.is_adjusted else text


def _parts(price: UsagePrice, before: Standing, after: Standing) -> tuple[list[str], Facts]:
    """Say what a step takes of what is free, and of each tier or band that it touches."""
    facts: Facts = []
    said: list[str] = []
    free = after.use.free - before.use.free
    if free > 0:
        facts.append({"allowance": price.allowance, "units": free})
        said.append(f"{free:,} included")
    if price.bands:
        _add_bands(price, before, after, said, facts)
    elif price.model == "graduated":
        _add_tiers(price, before, after, said, facts)
    else:
        _add_whole(price, after, said, facts)
    return said, facts


def _add_tiers(
    price: UsagePrice, before: Standing, after: Standing, said: list[str], facts: Facts
) -> None:
    for tier, was, now in zip(price.tiers, before.counts, after.counts, strict=True):
        if now > was:
            amount = words(tier.amount)
            facts.append({"up_to": tier.up_to, "units": now - was, "amount": amount})
            said.append(_blocks(price, now - was, amount))
            if tier.flat and not was:
                facts[-1]["flat"] = words(tier.flat)
                said.append(f"{words(tier.flat)} for reaching the tier")


def _add_whole(price: UsagePrice, after: Standing, said: list[str], facts: Facts) -> None:
    """Say which tier the total lies in, and that all of it costs what that tier says."""
    charged = after.use.units[0] - after.use.free
    for tier, count in zip(price.tiers, after.counts, strict=True):
        if not count:
            continue
        amount = words(tier.amount)
        facts.append({"up_to": tier.up_to, "units": count, "amount": amount})
        if price.model == "stairstep":
            step = "the last step" if tier.up_to is None else f"the step up to {tier.up_to:,}"
            said.append(f"all {charged:,} so far are in {step}, which costs {amount}")
            continue
        said.append(f"all so far, {_blocks(price, count, amount)}")
        if tier.flat:
            facts[-1]["flat"] = words(tier.flat)
            said.append(f"{words(tier.flat)} for the tier")


def _add_bands(
    price: UsagePrice, before: Standing, after: Standing, said: list[str], facts: Facts
) -> None:
    names = ["", *(band.name for band in price.bands)]
    amounts = [price.tiers[0].amount, *(band.amount for band in price.bands)]
    for name, micros, was, now in zip(names, amounts, before.counts, after.counts, strict=True):
        if now != was:
            amount = words(micros)
            facts.append({"band": name, "units": now - was, "amount": amount})
            where = f" in {name}" if name else ""
            said.append(_blocks(price, now - was, amount) + where)
    if price.tiers[0].flat and after.use.units[0] and not before.use.units[0]:
        said.append(f"{words(price.tiers[0].flat)} for the first use")


def _blocks(price: UsagePrice, count: int, amount: str) -> str:
    if price.counts_started_blocks:
        return f"{count:,} started x {price.block_size:,} at {amount}"
    if price.block_size == 1:
        return f"{count:,} x {amount}"
    return f"{count:,} / {price.block_size:,} x {amount}"
