"""Blocks and pools, who holds or held which address, requests for more, and how pools fill."""

from ipam.models.pools import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    Block,
    ExtraAddress,
    FreeExtent,
    NetworkField,
    OverallocationRequest,
    Pool,
    Stay,
)

__all__ = [
    "AddressHolder",
    "AddressServer",
    "Allocation",
    "AllocationHistory",
    "Block",
    "ExtraAddress",
    "FreeExtent",
    "NetworkField",
    "OverallocationRequest",
    "Pool",
    "Stay",
]
