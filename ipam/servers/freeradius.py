"""FreeRADIUS: it asks us for each address, so what it may hand out is what our pools have.

A further range is live as soon as its pool is in the database, and what is in use is what our own
rows say; there is nothing to tell it, and nothing to read from it.
"""

from collections.abc import Sequence
from typing import Any

from ipam import queries
from ipam.models import Pool
from ipam.servers.base import Holder, Lease, Position, Range, Refusal, Refused, Use


class FreeRadius:
    """An `ipam.servers.base.AddressServerAdapter`."""

    def add_range(self, wanted: Range) -> Any:
        return {}

    def remove_range(self, unwanted: Range) -> Any:
        return {}

    def confirm(self, wanted: Range, *, present: bool = True, seconds: float = 3.0) -> float:
        return 0.0

    def missing(self, ranges: Sequence[Range]) -> list[Range]:
        return []

    def utilisation(self, ranges: Sequence[Range]) -> list[Use]:
        mine = {each.number: each for each in ranges}
        pools = queries.with_free_slots(Pool.objects.filter(pk__in=mine))
        return [
            Use(mine[use.pool.pk], total=use.total, assigned=use.taken)
            for use in map(queries.use_of, pools)
        ]

    def leases(self, since: Position, *, limit: int) -> tuple[list[Lease], Position]:
        return [], since

    def holder_of(self, address: str) -> Holder | None:
        return None

    def refusals(self, since: Position, *, limit: int) -> tuple[list[Refusal], Position]:
        return [], since

    def refused(self) -> Refused:
        return Refused(strangers=0, full=0)
