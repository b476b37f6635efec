"""Whether anything was heard of the device behind an address, by the sessions of its line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from ipam import allocation
from ipam.models import AddressServer, Allocation
from ispops.parties.models import Subscriber
from provisioning import sessions, sign_of_life
from provisioning.models import AccessSession
from tests import factories
from tests.provisioning import online
from tests.small_isp import SmallIsp

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(("framed", "is_heard"), [("its own", True), ("100.64.9.9", False)])
def test_a_session_speaks_for_the_address_that_it_has(
    isp: SmallIsp, ada: Subscriber, radius_server: AddressServer, at: datetime, framed: str,
    is_heard: bool,
) -> None:  # fmt: skip
    line = factories.live_line(isp, ada, at=at)
    answer = allocation.request_addresses(
        service_ref=line.public_id, device="aa-bb-cc-00-11-22", server=radius_server, at=at
    )
    told: dict[str, Any] = {"Framed_IP_Address": answer.ipv4 if framed == "its own" else framed}
    online.told(radius_server, line, at=at, **told)
    sessions.follow_accounting(at=at, limit=10)
    online.told(radius_server, line, "Interim-Update", at=at + HOUR, age=3600, **told)
    sessions.follow_accounting(at=at + HOUR, limit=10)
    assert AccessSession.objects.get().last_heard_at == at + HOUR

    rows = list(Allocation.objects.filter(family=4).select_related("holder"))
    heard = sign_of_life.heard_by_accounting(rows)
    assert heard == ({rows[0].pk: at + HOUR} if is_heard else {})
