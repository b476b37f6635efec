"""A group of pools that fills: a parent with room, and a server that runs short of addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ipam import blocks, growing, policies, sampling
from ipam.models import Block, BlockRequest, Pool
from tests.ipam.ground import NOON, Isp, Tier, a_server, an_isp

DAY = timedelta(days=1)
__all__ = ["Town", "a_town", "a_week"]


@dataclass
class Town:
    """A parent, and a pool of it that has a policy."""

    isp: Isp
    parent: Block
    pool: Pool

    def fill(self, share: float, *, at: datetime = NOON) -> None:
        """Have the server count so many of the pool's addresses as in use."""
        total = blocks.selection.usable_slots(self.pool.block.network, 32)[1]
        sampling.report_use(
            server=self.pool.server, pool=self.pool, assigned=round(total * share), at=at
        )

    def ask(self, *, at: datetime = NOON, **changes: Any) -> BlockRequest:
        return growing.ask_for_block(pool=self.pool, cause="It fills.", at=at, **changes)


def a_town(parent: str = "10.9.0.0/24", network: str = "10.9.0.0/28", **policy: Any) -> Town:
    """A pool of 14 addresses in a parent of 256, which grows by itself unless said otherwise."""
    isp = an_isp(dynamic="192.0.2.0/29")
    top = blocks.create_block(network=parent, tier=Tier.ALLOCATION, at=NOON)
    region = blocks.create_block(network=parent, tier=Tier.REGION, parent=top, at=NOON)
    block = blocks.create_block(network=network, tier=Tier.POOL, parent=region, at=NOON)
    pool = blocks.create_pool(
        name="town", server=a_server("town"), block=block, purpose="dynamic", at=NOON
    )
    values = {"decision": "automatic", "least_days": None, "threshold_percent": 80} | policy
    policies.set_policy(pool=pool, at=NOON, **values)
    return Town(isp, region, pool)


def a_week(pool: Pool, *, first: int, a_day: int, total: int = 14, days: int = 10) -> None:
    """Write down days before noon's, on which use grew by so many units each."""
    today = NOON.replace(hour=0)
    for number in range(days):
        sampling.keep_day(
            pool=pool,
            day=today - (days - number) * DAY,
            total=total,
            peak=first + a_day * number,
        )
