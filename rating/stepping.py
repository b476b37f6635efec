"""Steps of counters by the hundred thousand, for prices that are a running total.

Uses come as columns of numbers, in any order; they leave as steps, in the order of their counters,
each raised from where its newest step ended.
"""

from datetime import datetime
from typing import NamedTuple

import numpy as np
from django.db import connection

from ispops import binary
from ispops.binary import INT4, INT8, Column
from ispops.catalog.models import OfferingPrice
from rating import kernel, pricing
from rating.amounts import LARGEST
from rating.kernel import Amounts, Kernel, Steps
from rating.taking import Uses
from rating.tariff import Parties
from rating.usage_ids import AHEAD, first_id

_BEFORE = """
SELECT COALESCE(newest.step, 0), COALESCE(newest.units_after, 0)
  FROM rating_counters asked LEFT JOIN LATERAL (
    SELECT step.step, step.units_after FROM rating_ratedusage step
     WHERE step.service_id = asked.service AND step.price_id = asked.price
       AND step.period_start = asked.period AND step.usage_id >= {since}
     ORDER BY step.step DESC LIMIT 1) newest ON true
 ORDER BY asked.place
"""


class _TooMuch(Exception):
    """Uses that make a counter pass what can be stored, by their ids."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__("uses pass what can be stored")
        self.ids = ids


class Found(NamedTuple):
    """What uses of one offering, unit and currency between two changes of the catalogue follow."""

    price: OfferingPrice
    rule: pricing.UsagePrice
    parties: Parties
    is_shared: bool

    @property
    def is_plain(self) -> bool:
        return kernel.takes(self.rule, self.parties.terms)


def rate_plain(uses: Uses, rules: list[Found], at: datetime) -> list[int]:
    """Write what uses come to; returns the ids of those that pass what can be stored."""
    refused: list[int] = []
    while len(uses.id):
        try:
            _take_steps(uses, rules, at)
            break
        except _TooMuch as too_much:
            refused += too_much.ids
            uses = uses.take(~np.isin(uses.id, too_much.ids))
    return refused


def _take_steps(uses: Uses, found: list[Found], at: datetime) -> None:
    """Raise the counters and write the steps.

    Raises:
        _TooMuch: some uses have to be left out.
    """
    halves = halves_of(uses.service)
    uses = uses.take(np.lexsort((uses.id, uses.period, uses.price, halves[:, 1], halves[:, 0])))
    halves = halves_of(uses.service)
    begins = np.ones(len(uses.id), dtype=bool)
    begins[1:] = (
        (halves[1:] != halves[:-1]).any(axis=1)
        | (uses.price[1:] != uses.price[:-1])
        | (uses.period[1:] != uses.period[:-1])
    )
    step, before = _counters(uses.take(begins))
    group = np.cumsum(begins) - 1
    after = _running(uses, begins, group, before)
    step = step[group] + np.arange(len(group)) - np.flatnonzero(begins)[group] + 1
    steps = Steps(uses.rule, after - uses.quantity, after)
    rules = [(one.rule, one.parties.terms) if one.is_plain else kernel.NOTHING for one in found]
    amounts = Kernel(rules).price(steps)
    _mend(amounts, steps, found, uses, group)
    _write(uses, step, after, amounts, found, at)


def _counters(heads: Uses) -> list[Column]:
    """Return where the counters of some uses stand: their newest steps and the units of these."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE IF NOT EXISTS rating_counters "
            "(place int, service uuid, price bigint, period timestamptz) ON COMMIT DELETE ROWS"
        )
        cursor.execute("TRUNCATE rating_counters")
    binary.write(
        "rating_counters",
        {
            "place": (np.arange(len(heads.id)), INT4),
            "service": (heads.service, binary.UUID),
            "price": (heads.price, INT8),
            "period": (heads.period, INT8),
        },
    )
    since = first_id(binary.moment(int(heads.period.min())) - AHEAD)
    return binary.read(_BEFORE.format(since=since), (INT8, INT8))


def _running(uses: Uses, begins: Column, group: Column, before: Column) -> Column:
    """Return the running total after each use.

    Raises:
        _TooMuch: a total is more than can be stored.
    """
    largest = before.astype(np.float64) + np.bincount(group, weights=uses.quantity)
    if (largest > LARGEST).any():
        raise _TooMuch(_culprits(uses, (largest > LARGEST)[group], group))
    if uses.quantity.sum(dtype=np.float64) > LARGEST:
        raise _TooMuch(_culprits(uses, np.ones(len(group), dtype=bool), np.zeros_like(group)))
    total = np.cumsum(uses.quantity)
    starts = total[begins] - uses.quantity[begins]
    after: Column = total - starts[group] + before[group]
    return after


def _culprits(uses: Uses, of: Column, group: Column) -> list[int]:
    """Return the largest uses of the groups that some uses are of: those that are at least half
    as large as the largest of their group."""
    most = np.zeros(int(group.max()) + 1, dtype=np.int64)
    np.maximum.at(most, group, uses.quantity)
    ids: list[int] = uses.id[of & (uses.quantity >= most[group] // 2)].tolist()
    return ids


def _mend(amounts: Amounts, steps: Steps, rules: list[Found], uses: Uses, group: Column) -> None:
    """Price by itself what 64 bits may be too few for.

    Raises:
        _TooMuch: it cannot be stored either.
    """
    for place in np.flatnonzero(~amounts.is_safe):
        found = rules[steps.rule[place]]
        try:
            priced = pricing.price_usage(
                price=found.rule,
                before=int(steps.before[place]),
                quantity=int(steps.after[place] - steps.before[place]),
                terms=found.parties.terms,
            )
        except pricing.AmountTooLarge:
            raise _TooMuch(_culprits(uses, group == group[place], group)) from None
        for name in ("net", "tax", "bsp", "network_provider", "isp"):
            getattr(amounts, name)[place] = getattr(priced, name)


def _write(
    uses: Uses,
    step: Column,
    after: Column,
    amounts: Amounts,
    rules: list[Found],
    at: datetime,
) -> None:
    bsp, network = (
        np.array([getattr(found.parties, name) or 0 for found in rules])[uses.rule]
        for name in ("bsp_id", "network_provider_id")
    )
    columns = {
        "usage_id": (uses.id, INT8),
        "subscriber_id": (uses.subscriber, binary.UUID),
        "service_id": (uses.service, binary.UUID),
        "offering_id": (uses.offering, INT8),
        "price_id": (uses.price, INT8),
        "period_start": (uses.period, INT8),
        "step": (step, INT8),
        "started_at": (uses.started, INT8),
        "quantity": (uses.quantity, INT8),
        "units_after": (after, INT8),
        "amount_net": (amounts.net, INT8),
        "isp_share": (amounts.isp, INT8),
        "bsp_share": (amounts.bsp, INT8),
        "network_provider_share": (amounts.network_provider, INT8),
        "amount_tax": (amounts.tax, INT8),
        "rated_at": (np.full(len(uses.id), binary.instant(at)), INT8),
    }
    partners = {"bsp_id": (bsp, INT8), "network_provider_id": (network, INT8)}
    # A partner that there is not is no number, so those rows go without its column.
    which = (bsp > 0) + 2 * (network > 0)
    for pattern in np.unique(which):
        those = which == pattern
        names = [name for bit, name in ((1, "bsp_id"), (2, "network_provider_id")) if pattern & bit]
        chosen = columns | {name: partners[name] for name in names}
        binary.write(
            "rating_ratedusage",
            {name: (values[those], kind) for name, (values, kind) in chosen.items()},
        )


def halves_of(keys: Column) -> Column:
    """Return UUIDs as two numbers each, which can be sorted and compared."""
    return np.frombuffer(keys.tobytes(), dtype=">u8").astype(np.uint64).reshape(-1, 2)
