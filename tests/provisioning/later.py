"""What the tests of later orders share: more plans of the small ISP, and short ways to order."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering, Technology
from provisioning import changing, moving, suspending
from provisioning.models import AaaCredential, ProductOrder, Service
from qualification.models import Premises
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, priced

_numbers = itertools.count(1)


def faster(isp: SmallIsp, at: datetime = LAUNCH) -> ProductOffering:
    """A fibre plan above the usual one, as fast as the line at Oak Street can be."""
    plan = publishing.create_offering(
        code="fibre-1000", name="Fibre 1000", kind="access", provider=isp.fibre,
        technology=Technology.FIBRE, download_kbps=1_000_000, upload_kbps=1_000_000, at=at,
    )  # fmt: skip
    return priced(plan, "90", at)


def boost(at: datetime = LAUNCH) -> ProductOffering:
    addon = publishing.create_offering(
        code="boost", name="Boost", kind="addon", addon_type="speed_boost",
        download_kbps=200_000, upload_kbps=100_000, at=at,
    )  # fmt: skip
    return priced(addon, "10", at)


def asked(line: Service, at: datetime, **changes: object) -> dict[str, Any]:
    usual: dict[str, object] = {
        "line": line,
        "channel": "portal",
        "placed_by": line.subscriber.users.first(),
        "idempotency_key": f"later-{next(_numbers)}",
        "at": at,
    }
    return usual | changes


def change(line: Service, at: datetime, **wanted: object) -> ProductOrder:
    """Order a change of a line as its subscriber, with a fresh answer for its premises."""
    if "qualification" not in wanted:
        wanted["qualification"] = factories.qualified(line.premises, at=at)
    return changing.change_line(**asked(line, at, **wanted))


def move(line: Service, to: Premises, at: datetime, **wanted: object) -> ProductOrder:
    """Order that a line moves, with a fresh answer for the new premises."""
    answer = factories.qualified(to, at=at)
    return moving.move_line(**asked(line, at, qualification=answer, **wanted))


def change_provider(line: Service, plan_code: str, at: datetime, **wanted: object) -> ProductOrder:
    answer = factories.qualified(line.premises, at=at)
    return moving.change_provider(
        **asked(line, at, qualification=answer, plan_code=plan_code, **wanted)
    )


def suspend(line: Service, at: datetime, reason: str = "requested", **wanted: object) -> Any:
    if reason != "requested":
        wanted.setdefault("placed_by", None)
    return suspending.suspend_line(**asked(line, at, reason=reason, **wanted))


def resume(line: Service, at: datetime, reason: str = "requested", **wanted: object) -> Any:
    if reason != "requested":
        wanted.setdefault("placed_by", None)
    return suspending.resume_line(**asked(line, at, reason=reason, **wanted))


def cease(line: Service, at: datetime, **wanted: object) -> ProductOrder:
    return suspending.cease_line(**asked(line, at, **wanted))


def speed(line: Service) -> tuple[int | None, int | None]:
    """What the network lets the line do at the moment."""
    login = AaaCredential.objects.get(service=line)
    return login.download_kbps, login.upload_kbps


def periods(service: Service) -> list[tuple[str, str, datetime, datetime | None]]:
    """The spans that charging reads: offering, state, from, to."""
    rows = service.periods.select_related("offering").order_by("started_at")
    return [(row.offering.code, row.state, row.started_at, row.ended_at) for row in rows]
