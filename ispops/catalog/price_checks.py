"""What a price or a settlement term of the catalogue may be: each value checked, and named. Pure.

A price that passes can be rated: the pure rule of rating that is made of it raises nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from ispops.errors import InvalidInput

LARGEST_AMOUNT = Decimal(1_000_000_000)
_MICRO = Decimal("0.000001")
# Counters keep the units of so many bands beside those outside all of them.
MOST_BANDS = 3
MOST_TIERS = 20
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
Rows = Sequence[Mapping[str, Any]]


def checked_amount(amount: Decimal, field: str = "amount") -> Decimal:
    """Return an amount that can be kept and charged.

    Raises:
        InvalidInput: it is no decimal number, negative, too large or too finely divided.
    """
    if not isinstance(amount, Decimal) or not amount.is_finite():
        raise InvalidInput("An amount is a decimal number.", field=field)
    if not 0 <= amount <= LARGEST_AMOUNT:
        raise InvalidInput(f"An amount is from 0 to {LARGEST_AMOUNT:,}.", field=field)
    if amount != amount.quantize(_MICRO):
        raise InvalidInput("An amount has at most six decimals.", field=field)
    return amount


def checked_percent(percent: Decimal, field: str = "percent") -> Decimal:
    """Return a percentage that can be kept.

    Raises:
        InvalidInput: it is no decimal number, not within 0 and 100, or too finely divided.
    """
    if not isinstance(percent, Decimal) or not percent.is_finite() or not 0 <= percent <= 100:
        raise InvalidInput("A percentage is from 0 to 100.", field=field)
    if percent != percent.quantize(Decimal("0.001")):
        raise InvalidInput("A percentage has at most three decimals.", field=field)
    return percent


def checked_tiers(tiers: Rows) -> list[dict[str, Any]]:
    """Check that the steps of a price rise, and that the last one has no end."""
    _few(tiers, MOST_TIERS, "tiers")
    _rising([tier.get("up_to") for tier in tiers], "tiers")
    checked = []
    for number, tier in enumerate(tiers, start=1):
        with _row("Tier", number):
            _known(tier, {"up_to", "amount", "flat"}, "tiers")
            kept = {"up_to": tier.get("up_to"), "amount": _written(tier.get("amount"), "tiers")}
            if tier.get("flat") is not None:
                kept["flat"] = _written(tier["flat"], "tiers")
            checked.append(kept)
    return checked


def checked_share_tiers(tiers: Rows) -> list[dict[str, Any]]:
    """Check that the steps of a partner's percentage rise with the amount they are of."""
    _few(tiers, MOST_TIERS, "tiers")
    checked = []
    for number, tier in enumerate(tiers, start=1):
        with _row("Tier", number):
            _known(tier, {"up_to", "percent"}, "tiers")
            limit = tier.get("up_to")
            percent = checked_percent(_decimal(tier.get("percent"), "tiers"), "tiers")
            upto = None if limit is None else _written(limit, "tiers")
            checked.append({"up_to": upto, "percent": str(percent)})
    limits = [tier["up_to"] and int(Decimal(tier["up_to"]) / _MICRO) for tier in checked]
    _rising(limits, "tiers")
    return checked


def checked_bands(bands: Rows) -> list[dict[str, Any]]:
    """Check the hours that have a price of their own."""
    _few(bands, MOST_BANDS, "bands")
    checked = []
    for number, band in enumerate(bands, start=1):
        with _row("Band", number):
            checked.append(_checked_band(band))
    if len({band["name"] for band in checked}) != len(checked):
        raise InvalidInput("Each band has a name of its own.", field="bands")
    return checked


def _checked_band(band: Mapping[str, Any]) -> dict[str, Any]:
    _known(band, {"name", "days", "start", "end", "amount", "counts"}, "bands")
    name, days = band.get("name"), band.get("days")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 40 or not name.isprintable():
        raise InvalidInput("A band has a name of 1 to 40 characters.", field="bands")
    is_list = isinstance(days, list | tuple) and bool(days)
    if not is_list or any(type(day) is not int or not 0 <= day <= 6 for day in days):  # type: ignore[union-attr]
        raise InvalidInput(
            "The days of a band are a list of 0 (Monday) to 6 (Sunday).", field="bands"
        )
    times = [band.get("start"), band.get("end")]
    if any(not isinstance(at, str) or not _TIME.fullmatch(at) for at in times):
        raise InvalidInput("A band starts and ends at a time such as 22:00.", field="bands")
    counts = band.get("counts", True)
    if not isinstance(counts, bool):
        raise InvalidInput("A band draws upon the allowance or not: true or false.", field="bands")
    return {
        "name": name.strip(),
        "days": sorted(set(days)),  # type: ignore[arg-type]
        "start": times[0],
        "end": times[1],
        "amount": _written(band.get("amount"), "bands"),
        "counts": counts,
    }


def check_together(price: Any) -> None:
    """Check that what a price says goes together; each value was checked by itself before.

    Raises:
        InvalidInput: something is given that does not fit the rest; names the field.
    """
    by_use = price.charge == "usage"
    if price.offering.kind == "package" and (by_use or price.pack_for):
        # What its parts cost by use, and the units that they bring, they say themselves.
        field = "charge" if by_use else "pack_for"
        raise InvalidInput("A bundle of partners' products is paid once, or by month.", field=field)
    if by_use != bool(price.unit):
        raise InvalidInput("A price by use has a unit, and no other price has.", field="unit")
    if not by_use:
        _only_by_use(price)
    _check_model(price)
    _check_limits(price)
    _check_pack(price)


def _only_by_use(price: Any) -> None:
    plain = {
        "model": "graduated",
        "block_size": 1,
        "counts_started_blocks": False,
        "counts_events": False,
        "tiers": [],
        "bands": [],
        "allowance": 0,
        "period_minimum": 0,
        "period_maximum": None,
    }
    for field, value in plain.items():
        if getattr(price, field) != value:
            raise InvalidInput("Only a price by use has this.", field=field)


def _check_model(price: Any) -> None:
    if price.model != "percentage":
        for field in ("percent", "event_fee", "event_minimum", "event_maximum"):
            if getattr(price, field):
                raise InvalidInput("Only a percentage of each event's value has this.", field=field)
    else:
        if not price.percent and not price.event_fee:
            raise InvalidInput("Give the percentage of the value.", field="percent")
        unused = ("tiers", "bands", "allowance", "counts_events", "counts_started_blocks")
        for field in (*unused, "rollover_periods"):
            if getattr(price, field):
                raise InvalidInput("A percentage of each event's value has no such.", field=field)
        if price.block_size != 1:
            raise InvalidInput("A percentage has no blocks.", field="block_size")
    if price.model in ("volume", "stairstep") and not price.tiers:
        raise InvalidInput("This model needs tiers.", field="tiers")
    if price.model == "stairstep" and any(tier.get("flat") for tier in price.tiers):
        raise InvalidInput("The amount of a step is its whole price.", field="tiers")
    if price.bands and (price.tiers or price.counts_events):
        raise InvalidInput("With bands there is one price outside them.", field="bands")


def _check_limits(price: Any) -> None:
    if price.rollover_periods and not price.allowance:
        raise InvalidInput("Without an allowance nothing is carried.", field="rollover_periods")
    if price.rollover_most is not None and not price.rollover_periods:
        raise InvalidInput("Say for how many periods units are kept.", field="rollover_most")
    if price.rollover_periods > 12:
        raise InvalidInput("Units are kept for 12 periods at most.", field="rollover_periods")
    if price.period_maximum is not None and price.period_maximum < price.period_minimum:
        raise InvalidInput("The most is not below the least.", field="period_maximum")
    if price.event_maximum is not None and price.event_maximum < price.event_minimum:
        raise InvalidInput("The most is not below the least.", field="event_maximum")
    has_discount = price.discount_percent or price.discount_amount
    if price.discount_periods is not None and not has_discount:
        raise InvalidInput("Say what is taken off.", field="discount_periods")
    if price.discount_periods is not None and not 0 < price.discount_periods <= 120:
        raise InvalidInput("A discount is for 1 to 120 periods.", field="discount_periods")
    if price.discount_periods is not None and price.charge == "one_off":
        raise InvalidInput("What is paid once has no periods.", field="discount_periods")


def _check_pack(price: Any) -> None:
    if not (price.pack_for_id or price.pack_units or price.pack_unit):
        return
    if price.charge != "one_off":
        raise InvalidInput("A pack is bought once.", field="pack_units")
    for field in ("pack_for", "pack_units", "pack_unit"):
        if not getattr(price, field):
            raise InvalidInput("Say how many of which unit of what the pack gives.", field=field)
    if not 0 < price.pack_periods <= 12:
        raise InvalidInput("A pack is good for 1 to 12 periods.", field="pack_periods")


def checked_parts(bundle: Any, parts: Sequence[tuple[Any, int]]) -> None:
    """Check what an aggregated plan, or a bundle of partners' products, is to be made of.

    Raises:
        InvalidInput: it cannot be made of that.
    """
    kinds = [part.kind for part, _ in parts]
    if bundle.kind == "package":
        _check_products(bundle, [part for part, _ in parts])
    elif bundle.kind != "bundle":
        raise InvalidInput("Only an aggregated plan has parts.", field="bundle")
    elif kinds.count("access") != 1:
        raise InvalidInput("It needs exactly one access plan.", field="components")
    if {"bundle", "package"} & set(kinds):
        raise InvalidInput("It cannot hold another aggregated plan.", field="components")
    if len({part.pk for part, _ in parts}) != len(parts):
        raise InvalidInput("It holds one part twice.", field="components")
    if any(weight < 1 for _, weight in parts):
        raise InvalidInput("Each weight is a whole number of at least 1.", field="components")


def _check_products(bundle: Any, parts: Sequence[Any]) -> None:
    """Check the parts of a bundle of partners' products: its one price is for what lasts alike."""
    if len(parts) < 2 or any(part.kind != "bsp" for part in parts):
        raise InvalidInput("It needs two or more products of partners.", field="components")
    if any(part.is_subscription != bundle.is_subscription for part in parts):
        raise InvalidInput(
            "Its parts must all be subscriptions, as it is, or all be bought once, as it is.",
            field="components",
        )


def _few(rows: Any, most: int, field: str) -> None:
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidInput("This is a list of objects.", field=field)
    if len(rows) > most:
        raise InvalidInput(f"There can be {most} at most.", field=field)


def _known(row: Mapping[str, Any], names: set[str], field: str) -> None:
    unknown = sorted(str(name) for name in row if name not in names)
    if unknown:
        raise InvalidInput(f"There is no such thing as {unknown[0][:40]} here.", field=field)


def _rising(limits: list[Any], field: str) -> None:
    below = 0
    for number, limit in enumerate(limits, start=1):
        with _row("Tier", number):
            if number == len(limits):
                if limit is not None:
                    raise InvalidInput("The last tier has no end.", field=field)
            elif type(limit) is not int or not 0 < limit < 2**60:
                raise InvalidInput("All tiers but the last end at a whole number.", field=field)
            elif limit <= below:
                raise InvalidInput("Each tier ends later than the one before.", field=field)
            else:
                below = limit


@contextmanager
def _row(kind: str, number: int) -> Iterator[None]:
    """Say of which row a value cannot be used."""
    try:
        yield
    except InvalidInput as refused:
        raise InvalidInput(
            f"{kind} {number}: {refused.detail}", field=refused.field, row=number
        ) from refused


def _written(value: Any, field: str) -> str:
    return str(checked_amount(_decimal(value, field), field))


def _decimal(value: Any, field: str) -> Decimal:
    if isinstance(value, bool | float):
        raise InvalidInput("Write a decimal number as a text, such as 0.10.", field=field)
    try:
        return Decimal(str(value))
    except ArithmeticError as error:
        raise InvalidInput("Give a decimal number.", field=field) from error
