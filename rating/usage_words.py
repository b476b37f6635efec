"""Why a use costs what it costs, in words that a subscriber can follow.

No database, no clock. Each function says one part of the arithmetic of `usage_prices`; what
counts in the tiers is also given as facts, so that a page can show it as a table.
"""

from typing import Any

from rating.amounts import percent_words, words
from rating.usage_prices import Discount, EventPrice, UsagePrice, Use

Facts = list[dict[str, Any]]
_NOTHING = ("nothing used", "within a block that is charged already")


def explain(price: UsagePrice, quantity: int, before: Use, after: Use) -> tuple[str, Facts]:
    """Say how much was used after how much, what each part of it costs, and the difference."""
    if price.event_price is not None:
        return _of_event(price, price.event_price, quantity, before, after), []
    if price.counts_events:
        noun, quantity = "event", 1
    else:
        noun = price.unit
    so_far = sum(before.units)
    parts, facts = _parts(price, before, after)
    text = (
        f"{quantity:,} {noun}{'' if quantity == 1 else 's'} after {so_far:,} in the period: "
        f"{' + '.join(parts) or _NOTHING[quantity > 0]}"
    )
    return f"{text}; {difference(price, before, after)}", facts


def difference(price: UsagePrice, before: Use, after: Use) -> str:
    """Say what the total was and is, and what is between them."""
    old, new = price.listed(before), price.listed(after)
    text = _minus(new, old)
    if price.is_adjusted:
        was, now = price.net(old, before), price.net(new, after)
        adjusted = adjustments(price)
        text += f"; {adjusted + ': ' if adjusted else ''}{_minus(now, was)}"
        old, new = was, now
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


def _of_event(price: UsagePrice, event: EventPrice, quantity: int, before: Use, after: Use) -> str:
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


def _parts(price: UsagePrice, before: Use, after: Use) -> tuple[list[str], Facts]:
    """Say what a step takes of what is free, and of each tier or band that it touches."""
    facts: Facts = []
    said: list[str] = []
    free = after.free - before.free
    if free > 0:
        facts.append({"allowance": price.allowance, "units": free})
        said.append(f"{free:,} included")
    if price.bands:
        more, more_facts = _in_bands(price, before, after)
    elif price.model == "graduated":
        more, more_facts = _in_tiers(price, before, after)
    else:
        more, more_facts = _as_a_whole(price, after)
    return said + more, facts + more_facts


def _in_tiers(price: UsagePrice, before: Use, after: Use) -> tuple[list[str], Facts]:
    old = price.spread(before.units[0] - before.free)
    new = price.spread(after.units[0] - after.free)
    said, facts = [], []
    for tier, was, now in zip(price.tiers, old, new, strict=True):
        if now > was:
            amount = words(tier.amount)
            facts.append({"up_to": tier.up_to, "units": now - was, "amount": amount})
            said.append(_blocks(price, now - was, amount))
            if tier.flat and not was:
                facts[-1]["flat"] = words(tier.flat)
                said.append(f"{words(tier.flat)} for reaching the tier")
    return said, facts


def _as_a_whole(price: UsagePrice, after: Use) -> tuple[list[str], Facts]:
    """Say which tier the total lies in, and that all of it costs what that tier says."""
    charged = after.units[0] - after.free
    if not charged:
        return [], []
    count = price.counted(charged)
    tier = price.tiers[price.tier_of(count)]
    amount = words(tier.amount)
    facts: Facts = [{"up_to": tier.up_to, "units": count, "amount": amount}]
    if price.model == "stairstep":
        step = "the last step" if tier.up_to is None else f"the step up to {tier.up_to:,}"
        return [f"all {charged:,} so far are in {step}, which costs {amount}"], facts
    said = [f"all so far, {_blocks(price, count, amount)}"]
    if tier.flat:
        facts[0]["flat"] = words(tier.flat)
        said.append(f"{words(tier.flat)} for the tier")
    return said, facts


def _in_bands(price: UsagePrice, before: Use, after: Use) -> tuple[list[str], Facts]:
    names = ["", *(band.name for band in price.bands)]
    amounts = [price.tiers[0].amount, *(band.amount for band in price.bands)]
    said, facts = [], []
    old, new = price.charged(before), price.charged(after)
    for name, micros, was, now in zip(names, amounts, old, new, strict=True):
        if now != was:
            amount = words(micros)
            facts.append({"band": name, "units": now - was, "amount": amount})
            where = f" in {name}" if name else ""
            said.append(_blocks(price, now - was, amount) + where)
    if price.tiers[0].flat and after.units[0] and not before.units[0]:
        said.append(f"{words(price.tiers[0].flat)} for the first use")
    return said, facts


def _blocks(price: UsagePrice, count: int, amount: str) -> str:
    if price.counts_started_blocks:
        return f"{count:,} started x {price.block_size:,} at {amount}"
    if price.block_size == 1:
        return f"{count:,} x {amount}"
    return f"{count:,} / {price.block_size:,} x {amount}"
