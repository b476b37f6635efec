"""What a billing period comes to if use goes on as it did so far. No database, no clock.

It is the simplest forecast there is, so that everybody can check it: what was used, divided by the
time that is gone, times the whole period. What it costs is priced like use itself, with what is
included; it is before tax.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ispops.periods import Period
from rating.pricing import UsagePrice, Use

# Before that, one evening would speak for a month.
SHORTEST = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The units that draw upon what is included at the period's end, and what all use costs then,
    in micro-units; `a_day` is the pace it rests on."""

    gone: timedelta
    a_day: int
    used: int
    beyond: int
    net: int


def forecast(
    *, rule: UsagePrice, use: Use, included: int, period: Period, at: datetime
) -> Forecast | None:
    """Say what a period comes to at the pace of the time gone; None where it is too early to say,
    and when the period is over."""
    gone, whole = at - period.start, period.end - period.start
    if not SHORTEST <= gone < whole:
        return None
    units = tuple(_scaled(n, whole, gone) for n in use.units)
    used = rule.counting(units)
    # What was charged already stays charged, also where a pack was bought after it.
    charged = rule.counting(use.units) - use.free
    free = min(used - charged, included)
    then = Use(
        units=units,
        free=free,
        events=_scaled(use.events, whole, gone),
        # What it costs at least is due at the end.
        part=1,
    )
    return Forecast(
        gone=gone,
        a_day=_scaled(rule.counting(use.units), timedelta(days=1), gone),
        used=used,
        beyond=used - free if included else 0,
        net=rule.standing(then).totals.net,
    )


def _scaled(amount: int, to: timedelta, gone: timedelta) -> int:
    micro = timedelta(microseconds=1)
    return amount * (to // micro) // (gone // micro)
