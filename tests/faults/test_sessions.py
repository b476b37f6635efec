"""A change reaches a live session through real processes, though a worker dies on the way."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
from django.utils import timezone

from ispops.models import WorkerHeartbeat
from ispops.parties import roles
from ispops.parties.models import Subscriber
from provisioning import profiles, services
from provisioning.in_force import Speed
from provisioning.models import AaaCredential, AccessServer, AccessSession, SessionCommand
from tests import coa_agent, databases, factories
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults
NAS = "192.0.2.7"


class AgentProcess:
    """An access server's listener in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.coa_agent", "--change", "late"],
            cwd=databases.REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.put(json.loads(line))

    def next(self, seconds: float = 60) -> dict[str, Any]:
        return self.heard.get(timeout=seconds)


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    started = AgentProcess()
    yield started
    started.process.kill()
    started.process.wait()


def test_a_change_reaches_the_session_though_its_worker_is_killed(
    live: Stack, agent: AgentProcess, isp: SmallIsp, ada: Subscriber
) -> None:
    line = factories.live_line(isp, ada, at=timezone.now())
    factories.address_server(at=timezone.now())
    AccessServer.objects.create(
        name="bng-1", nas_ip=NAS, kind="mikrotik", coa_host="127.0.0.1", coa_port=agent.port,
        coa_secret=coa_agent.SECRET,
    )  # fmt: skip
    live.start("web", "worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    come_online(live, AaaCredential.objects.get(service=line).username)
    live.until(_is_settled, "the session is listed, and runs with what is in force")

    profiles.set_profile(
        service=line, speed=Speed(900_000, 900_000), sessions_at_once=None,
        actor=factories.staff(roles.OPERATIONS, at=timezone.now()), reason="Test",
        at=timezone.now(),
    )  # fmt: skip
    assert agent.next()["Mikrotik-Rate-Limit"] == ["900000k/900000k"]
    live.kill("worker")
    assert not SessionCommand.objects.exists(), "it died while it waited for the answer"
    live.start("worker")
    assert agent.next()["Mikrotik-Rate-Limit"] == ["900000k/900000k"]
    live.until(_is_settled, "the session has its new speed")
    assert SessionCommand.objects.get().outcome == "acknowledged"

    began = timezone.now()
    services.open_suspension(line=line, reason="abuse", treatment="block", note="", at=began)
    assert agent.next()["kind"] == "disconnect"
    live.until(lambda: _session().ended_at is not None, "the session is over")
    refused = ask(live, AaaCredential.objects.get(service=line).username)
    assert refused.status_code == 401, "it does not come straight back"


def come_online(live: Stack, username: str) -> None:
    """Log in and tell of it, as FreeRADIUS does."""
    let_in = ask(live, username)
    assert let_in.status_code == 200, let_in.text
    told = call(
        live,
        "accounting",
        Acct_Status_Type="Start",
        Acct_Session_Id="s-1",
        User_Name=username,
        NAS_IP_Address=NAS,
        Class="0x" + let_in.json()["reply:Class"]["value"][0].encode().hex(),
    )
    assert told.status_code == 204, told.text


def ask(live: Stack, username: str) -> requests.Response:
    return call(live, "authorize", User_Name=username, NAS_IP_Address=NAS)


def call(live: Stack, path: str, **values: str) -> requests.Response:
    body = {
        name.replace("_", "-"): {"type": "string", "value": [value]}
        for name, value in values.items()
    }
    return requests.post(
        f"{live.url}/aaa/{path}", json=body, auth=("north", factories.SECRET), timeout=20
    )


def _session() -> AccessSession:
    return AccessSession.objects.get()


def _is_settled() -> bool:
    row = AccessSession.objects.first()
    revision = AaaCredential.objects.get().revision
    return row is not None and row.next_attempt_at is None and row.applied_revision == revision
