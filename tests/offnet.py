"""Ground for asking off-net providers: the demonstration's cable network as a real process.

Knox Street in Manchester, CT is reached by Fast Fibre (on-net) as its lists say, and by Tidewater
Cable, which is asked. The process answers from its own survey and misbehaves as it is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from ispops import embedded, processes
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering, Technology
from ispops.demo import bsp_orders
from ispops.parties.models import Partner
from qualification import connections, coverage, qualify
from qualification.models import Premises, ProviderConnection, ServiceQualification
from tests import databases
from tests.small_isp import SmallIsp, cell_of, make_partner, place, priced

TOKEN = "a-token-of-the-cable-network"
CALLBACK_TOKEN = "the-cable-network-calls-with-this"
API = "tmf-api/serviceQualificationManagement/v4"
# What the survey of `ispops.demo.survey` says of this cell: 1.2 Gbit/s down, 35 Mbit/s up.
KNOX_POINT = (41.774166, -72.527697)
# A place in the same state whose cell the cables pass by.
DRY_POINT = (41.700000, -72.700000)


@dataclass
class DemoNetwork:
    """The process, and the switch of its faults."""

    url: str

    @property
    def base_url(self) -> str:
        return f"{self.url}/tidewater-cable/{API}"

    @property
    def order_url(self) -> str:
        return f"{self.url}/tidewater-cable/{bsp_orders.API}"

    def misbehave(self, fault: str, *, seconds: float = 5) -> None:
        body = {"partner": "tidewater-cable", "fault": fault, "seconds": seconds}
        requests.post(f"{self.url}/demo/faults", json=body, timeout=5).raise_for_status()

    def questions(self) -> list[dict[str, Any]]:
        return list(self._state()["questions"])

    def placed(self) -> list[dict[str, Any]]:
        """The orders that came in by its API."""
        return list(self._state()["placed"])

    def told(self) -> list[tuple[str, int]]:
        """What the ISP answered to its callbacks: the ids of the events, and the statuses."""
        return [(event, status) for event, status in self._state()["told"]]

    def _state(self) -> dict[str, Any]:
        state = requests.get(f"{self.url}/demo/state", timeout=5).json()
        return dict(state["tidewater-cable"])


@contextlib.contextmanager
def demo_network(folder: Path, isp_url: str = "http://127.0.0.1:9") -> Iterator[DemoNetwork]:
    """Run the demo partner server, in a process of its own that sees no database.

    It calls the ISP back at `isp_url`; by default nobody is there.
    """
    port = embedded.free_port()
    known = {
        "name": "Tidewater Cable", "kind": "network_provider", "client_id": "tidewater-cable",
        "client_secret": "x", "webhook_secret": "whsec_eA==", "inquiry_token": TOKEN,
        "order_token": TOKEN, "callback_token": CALLBACK_TOKEN,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo_partners.json").write_text(json.dumps({"tidewater-cable": known}))
    with (folder / "bsp.log").open("wb") as log:
        process = processes.spawn(
            [sys.executable, "-m", "ispops.demo.bsp_server"],
            output=log,
            environment={
                "PATH": os.environ["PATH"],
                "ISPOPS_DATA_DIR": str(folder),
                "DEMO_PARTNER_PORT": str(port),
                "ISPOPS_BASE_URL": isp_url,
            },
            folder=databases.REPOSITORY,
        )
    network = DemoNetwork(f"http://127.0.0.1:{port}")
    try:
        assert processes.wait_until(lambda: _answers(network.url), seconds=30, every=0.05)
        yield network
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/healthz", timeout=1).ok
    return False


@dataclass(frozen=True)
class OffNet:
    """The small ISP, the network that is asked, its plan, and the houses."""

    isp: SmallIsp
    tidewater: Partner
    connection: ProviderConnection
    cable: ProductOffering
    knox: Premises
    knox_unit: Premises
    dry: Premises


def connect(
    isp: SmallIsp, base_url: str, *, at: datetime, is_listed: bool = True, **settings: Any
) -> OffNet:
    """Give the small ISP an off-net cable network that is asked by its API."""
    tidewater = make_partner(
        "tidewater-cable", "Tidewater Cable", Partner.Kind.NETWORK_PROVIDER, at
    )
    here = {"city": "Manchester", "region": "CT", "postal_code": "06040"}
    point = {"latitude": KNOX_POINT[0], "longitude": KNOX_POINT[1]}
    dry = {"latitude": DRY_POINT[0], "longitude": DRY_POINT[1]}
    coverage.import_premises(
        at=at,
        rows=[
            {"street": "12 Knox Street", **here, **point},
            {"street": "14 Knox Street", "unit": "Apt 2", **here, **point},
            {"street": "1 Dry Lane", **here, **dry},
        ],
    )
    cells = [cell_of(KNOX_POINT), cell_of(DRY_POINT)]
    fibre = {"technology": Technology.FIBRE, "max_download_kbps": 1_000_000,
             "max_upload_kbps": 1_000_000, "node": isp.fibre_node}  # fmt: skip
    coverage.import_coverage(
        provider=isp.fibre, at=at, rows=[{"h3_res8": cell_of(KNOX_POINT), **fibre}]
    )
    if is_listed:
        cable = {"technology": Technology.CABLE, "max_download_kbps": 300_000,
                 "max_upload_kbps": 10_000}  # fmt: skip
        coverage.import_coverage(
            provider=tidewater, at=at, rows=[{"h3_res8": cell, **cable} for cell in cells]
        )
    plan = publishing.create_offering(
        code="cable-1000", name="Cable Gig", kind="access", provider=tidewater,
        technology=Technology.CABLE, download_kbps=1_000_000, upload_kbps=35_000, at=at,
    )  # fmt: skip
    small = publishing.create_offering(
        code="cable-200", name="Cable 200", kind="access", provider=tidewater,
        technology=Technology.CABLE, download_kbps=200_000, upload_kbps=10_000, at=at,
    )  # fmt: skip
    priced(plan, "75", at)
    priced(small, "45", at)
    connection = connections.connect_provider(
        partner=tidewater,
        adapter=settings.pop("adapter", "tmf645"),
        base_url=base_url,
        at=at,
        **({"token": TOKEN} | settings),
    )
    return OffNet(
        isp=isp,
        tidewater=tidewater,
        connection=connection,
        cable=plan,
        knox=place("12 KNOX ST"),
        knox_unit=place("14 KNOX ST"),
        dry=place("1 DRY LN"),
    )


def ask(premises: Premises, *, at: datetime, asker: str = "", **facts: Any) -> ServiceQualification:
    return qualify.qualify_address(
        premises_id=premises.public_id, channel="portal", asker=asker, at=at, **facts
    )


def now() -> datetime:
    """A moment of the real clock, which the provider's process has as well."""
    return datetime.now(UTC)


def later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)


def eligible(answer: ServiceQualification) -> set[str]:
    return set(answer.offers.filter(eligible=True).values_list("offering__code", flat=True))
