"""Plans with fair use and packs of data, and use of them, as the tests of thresholds need it."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ispops.catalog import fair_use, publishing
from ispops.catalog.models import ProductOffering
from provisioning.models import Service
from rating import topping_up, usage, watching
from rating.models import Purchase
from tests import factories
from tests.rating.ground import NOON
from tests.rating.test_sessions import told
from tests.small_isp import LAUNCH

GB, TB = 10**9, 10**12
SLOW = (8_000, 2_000)
_numbers = itertools.count(1)


def moderate(
    plan: ProductOffering, threshold: int = TB, at: datetime = LAUNCH, **other: Any
) -> Any:
    """Give a plan a fair-use rule, from a terabyte on."""
    facts = {"download_kbps": SLOW[0], "upload_kbps": SLOW[1]} | other
    return fair_use.set_fair_use(offering=plan, threshold_bytes=threshold, at=at, **facts)


def data_pack(plan: ProductOffering, units: int = 100 * GB, **other: Any) -> ProductOffering:
    """Sell more data for a plan, for 5.00 before tax."""
    pack = publishing.create_offering(
        code=f"data-{next(_numbers)}", name="100 GB more", kind="addon", addon_type="data_pack",
        at=LAUNCH,
    )  # fmt: skip
    publishing.set_price(
        offering=pack, charge="one_off", amount=Decimal(5), pack_for=plan, pack_unit="byte",
        pack_units=units, at=LAUNCH, **other,
    )  # fmt: skip
    return pack


def use(line: Service, volume: int, *, at: datetime = NOON) -> None:
    """Have a session of its own carry a volume within a minute, metered and rated."""
    key = f"use-{next(_numbers)}"
    server = line_server()
    told(
        server, line, "Stop", age=60, down=volume, start=at - timedelta(minutes=1),
        session_id=key, unique_session_id=key,
    )  # fmt: skip
    usage.meter_accounting(at=at)
    while usage.rate_usage(at=at, limit=1000):
        pass


def line_server() -> Any:
    from ipam.models import AddressServer

    known = AddressServer.objects.filter(name="north").first()
    return known or factories.address_server(at=NOON)


def look(at: datetime = NOON) -> int:
    return watching.look(at=at)


def top_up(line: Service, pack: ProductOffering, *, at: datetime = NOON, key: str = "") -> Purchase:
    return topping_up.top_up(
        subscriber=line.subscriber, line=line, offering=pack, channel="portal", placed_by=None,
        idempotency_key=key or f"top-up-{next(_numbers)}", at=at,
    )  # fmt: skip
