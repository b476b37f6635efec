"""Sessions and access servers, as the tests of who is online make them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from ipam.models import AddressServer
from provisioning import accounting
from provisioning.models import AaaCredential, AccessServer, AccessSession, Service
from tests.coa_agent import SECRET, Agent

NAS = "192.0.2.7"
_numbers = count(1)


def class_of(line: Service, revision: int | None = None, number: int = 0) -> str:
    """What admission gives a session of this line."""
    now = AaaCredential.objects.get(service=line).revision if revision is None else revision
    return f"{line.public_id}.{number or next(_numbers):016x}.r{now}"


def told(
    server: AddressServer,
    line: Service | None,
    kind: str = "Start",
    *,
    at: datetime,
    age: int = 0,
    session: str = "s-1",
    **values: Any,
) -> None:
    """An accounting message of a session that is `age` seconds old, at the moment it happens."""
    username = line.credential.username if line else "stranger"
    accounting.record_accounting(
        server=server,
        attributes={
            "Acct-Status-Type": kind,
            "Acct-Session-Id": session,
            "Acct-Unique-Session-Id": f"unique-{session}",
            "User-Name": username,
            "NAS-IP-Address": NAS,
            "Calling-Station-Id": "AA-BB-CC-00-11-22",
            "Framed-IP-Address": "100.64.0.10",
            "Acct-Session-Time": age,
        }
        | {name.replace("_", "-"): value for name, value in values.items()},
        received_at=at,
    )


def access_server(agent: Agent | None, *, kind: str = "mikrotik", **facts: Any) -> AccessServer:
    """The access server of the tests; with an agent, it takes changes there."""
    where = {"coa_host": "127.0.0.1", "coa_port": agent.port, "coa_secret": SECRET} if agent else {}
    return AccessServer.objects.create(
        **({"name": "bng-1", "nas_ip": NAS, "kind": kind} | where | facts)
    )


def session(line: Service, *, at: datetime, revision: int | None = None, **facts: Any) -> Any:
    """An open session of a line, which runs with what was in force when it began."""
    login = AaaCredential.objects.get(service=line)
    return AccessSession.objects.create(
        **{
            "service": line,
            "username": login.username,
            "session_id": "s-1",
            "unique_session_id": f"u-{next(_numbers)}",
            "nas_ip": NAS,
            "framed_ip": "100.64.0.10",
            "calling_station_id": "AA-BB-CC-00-11-22",
            "started_at": at - timedelta(minutes=5),
            "last_heard_at": at,
            "applied_revision": login.revision if revision is None else revision,
        }
        | facts
    )
