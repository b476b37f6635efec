"""The FCC's availability filing (Broadband Data Collection): which places are filed, and how.

Pure: no Django, no clock, no I/O. What is filed is what the ISP could connect by a standard
installation (47 U.S.C. 641(14)): nothing to be built, and done within ten business days.
"""

import csv
import io
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from qualification.eligibility import Line, usable_kbps

# The columns of the FCC's list of locations, in its order.
COLUMNS = (
    "provider_id", "brand_name", "location_id", "technology", "max_advertised_download_speed",
    "max_advertised_upload_speed", "low_latency", "business_residential_code",
)  # fmt: skip
# A location id of the fabric: a whole number from one billion; those with a 9 were preliminary.
FABRIC_ID = "[1-8][0-9]{9}"
# Ten business days are two weeks.
MOST_INSTALL_DAYS = 14
FILED = "filed"
# Why a place that coverage names is not in the file, from the farthest to the nearest to it.
REASONS = {
    "not_served": "The network does not reach them, or too slowly to count",
    "planned": "The network is not built there yet",
    "needs_construction": "A line would have to be built first",
    "installed_late": "Setting up a line takes more than ten business days",
    "no_location_id": "They have no location id",
    "foreign_location_id": "Their location id is not one of the FCC's fabric",
}
_LEAST_KBPS = 200
_is_fabric_id = re.compile(FABRIC_ID).fullmatch


@dataclass(frozen=True, slots=True)
class Reach:
    """What a network can deliver at a place; `location_id` is empty where it has none."""

    location_id: str
    technology: int
    max_download_kbps: int
    max_upload_kbps: int
    loop_length_m: int | None = None
    low_latency: bool = True
    install_days: int = 0
    needs_construction: bool = False
    is_planned: bool = False


def outcome(reach: Reach) -> str:
    """Return `filed`, or the code of the reason why a place is not filed."""
    if _speeds(reach) is None:
        return "not_served"
    if reach.is_planned:
        return "planned"
    if reach.needs_construction:
        return "needs_construction"
    if reach.install_days > MOST_INSTALL_DAYS:
        return "installed_late"
    if not reach.location_id:
        return "no_location_id"
    return FILED if _is_fabric_id(reach.location_id) else "foreign_location_id"


@lru_cache(maxsize=4096)
def filed_mbits(
    technology: int, download_kbps: int, upload_kbps: int, loop_length_m: int | None = None
) -> tuple[int, int] | None:
    """Return the speeds that are filed, down and up, in whole megabits a second.

    Below 25 down and 3 up there are two steps and no speeds: 10 and 1, and below that 0 and 0.
    Nothing is filed where neither direction has 200 kilobits a second. Copper has what its length
    leaves of it.
    """
    line = Line(
        key=0, provider=0, provider_name="", technology=technology, technology_name="",
        max_download_kbps=download_kbps, max_upload_kbps=upload_kbps, loop_length_m=loop_length_m,
    )  # fmt: skip
    download, upload = usable_kbps(line)
    if download < _LEAST_KBPS and upload < _LEAST_KBPS:
        return None
    if download >= 25_000 and upload >= 3_000:
        return download // 1_000, upload // 1_000
    return (10, 1) if download >= 10_000 and upload >= 1_000 else (0, 0)


def kind_code(kinds: Collection[str]) -> str:
    """Return whom a technology is sold to: R private customers, B businesses, X both.

    `kinds` are the subscriber kinds of what is sold, where an empty one is anybody.
    """
    if set(kinds) == {"consumer"}:
        return "R"
    return "B" if set(kinds) == {"business"} else "X"


def header() -> str:
    """Return the first line of the file."""
    return ",".join(COLUMNS) + "\r\n"


def as_lines(
    reached: Iterable[Reach], *, provider_id: str, brand_name: str, kinds: dict[int, str]
) -> str:
    """Write the places that are filed as lines of the file; leaves the others out.

    `kinds` has the code of `kind_code` for each technology; X where it has none.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    for reach in reached:
        speeds = _speeds(reach)
        if speeds is None or outcome(reach) != FILED:
            continue
        writer.writerow(
            (
                provider_id,
                brand_name,
                reach.location_id,
                reach.technology,
                *speeds,
                int(reach.low_latency),
                kinds.get(reach.technology, "X"),
            )
        )
    return text.getvalue()


def _speeds(reach: Reach) -> tuple[int, int] | None:
    return filed_mbits(
        reach.technology, reach.max_download_kbps, reach.max_upload_kbps, reach.loop_length_m
    )
