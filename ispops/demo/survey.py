"""What the demonstration's cable network found when it surveyed an area. Imports nothing of Django.

A stable hash of the H3 cell stands for a survey. The ISP's coverage lists are made of it, and the
network's own program answers by it: so both know the same without reading each other's tables.
"""

import zlib
from typing import Any

CABLE_STATES = frozenset({"AL", "CT", "DC", "FL", "GA", "KY", "MA", "MD", "NC", "OK", "SC", "TN"})
RESOLUTION = 8


def chance(cell: str) -> int:
    """Return the number that decides what is true of an H3 cell."""
    return zlib.crc32(cell.encode())


def cable(region: str, cell: str) -> dict[str, Any] | None:
    """Return what the cable network delivers in a cell; None where it does not reach."""
    number = chance(cell)
    if region not in CABLE_STATES or number % 7 == 0:
        return None
    fast = number % 4 != 0
    return {
        "max_download_kbps": 1_200_000 if fast else 300_000,
        "max_upload_kbps": 35_000 if fast else 10_000,
        "install_days": 7,
    }
