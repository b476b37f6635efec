"""Blocks and pools, who holds or held which address, requests for more, and how pools fill."""

from ipam.models.growth import BlockRequest, BlockReturn, PoolPolicy, PoolReport, PoolSample
from ipam.models.imports import BlockImport
from ipam.models.letters import CsrLetters
from ipam.models.networks import NetworkField
from ipam.models.pools import (
    AddressHolder,
    AddressServer,
    Allocation,
    AllocationHistory,
    Block,
    ExtraAddress,
    FreeExtent,
    OverallocationRequest,
    Pool,
    Span,
    Stay,
)
from ipam.models.renumbering import Renumbering
from ipam.models.servers import KeaServer, RefusedDevice
from ipam.models.static import StaticAddress

__all__ = [
    "AddressHolder",
    "AddressServer",
    "Allocation",
    "AllocationHistory",
    "Block",
    "BlockImport",
    "BlockRequest",
    "BlockReturn",
    "CsrLetters",
    "ExtraAddress",
    "FreeExtent",
    "KeaServer",
    "NetworkField",
    "OverallocationRequest",
    "Pool",
    "PoolPolicy",
    "PoolReport",
    "PoolSample",
    "RefusedDevice",
    "Renumbering",
    "Span",
    "StaticAddress",
    "Stay",
]
