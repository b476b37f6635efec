"""An address server that is away, late, mad or unwilling: what is told to it waits, is tried again
and parked with the reason; a person lets it go on; and no other server is kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ipam import (
    allocation,
    block_steps,
    blocks,
    growing,
    kea_servers,
    live,
    policies,
    sampling,
    stepping,
)
from ipam.models import AddressServer, BlockRequest, KeaServer, Pool
from ipam.servers import kea_control
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from provisioning import lease_following
from provisioning.models import OutsideSystem
from tests import factories
from tests.ipam.ground import NOON, SECRET, Tier, after
from tests.ipam.growing import Town, a_town
from tests.ipam.kea_stand_in import MOODS, SUBNET, WELL, StandIn

pytestmark = pytest.mark.django_db
PATIENCE = 0.15


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kea_control, "SECONDS", PATIENCE)
    monkeypatch.setattr(kea_control, "WHOLE_SECONDS", PATIENCE)
    with time_machine.travel(NOON, tick=True):
        yield


def by_dhcp(town: Town, kea: StandIn) -> Pool:
    """Let the town's pool be handed out by a Kea, which is the stand-in."""
    town.pool.server.kind = "dhcp"
    town.pool.server.save()
    kea_servers.connect_kea(
        server=town.pool.server, control_socket=kea.path, subnet_id=1, subnet=SUBNET, at=NOON
    )
    return town.pool


def a_kea(name: str, kea: StandIn) -> AddressServer:
    server = allocation.create_server(name=name, kind="dhcp", secret=SECRET)
    kea_servers.connect_kea(
        server=server, control_socket=kea.path, subnet_id=1, subnet=SUBNET, at=NOON
    )
    return server


def another(server: AddressServer, number: int) -> Pool:
    """A pool with room to grow."""
    network = f"10.9.{number}.0/24"
    top = blocks.create_block(network=network, tier=Tier.ALLOCATION, at=NOON)
    region = blocks.create_block(network=network, tier=Tier.REGION, parent=top, at=NOON)
    block = blocks.create_block(
        network=network.replace("/24", "/28"), tier=Tier.POOL, parent=region, at=NOON
    )
    pool = blocks.create_pool(
        name=f"town-{number}", server=server, block=block, purpose="dynamic", at=NOON
    )
    policies.set_policy(
        pool=pool, at=NOON, decision="automatic", least_days=None, threshold_percent=80
    )
    return pool


def ask(pool: Pool) -> BlockRequest:
    row = growing.ask_for_block(pool=pool, cause="It fills", reference=f"r-{pool.pk}",
                                server=pool.server, at=NOON)  # fmt: skip
    BlockRequest.objects.filter(pk=row.pk).update(state="granted")
    return BlockRequest.objects.get(pk=row.pk)


def work(request: BlockRequest, at: datetime) -> BlockRequest:
    block_steps.go_on_due(at=at)
    request.refresh_from_db()
    return request


def until_over(request: BlockRequest, *, tries: int) -> datetime:
    """Go on whenever it is due, so many times; returns when that was last."""
    at = NOON
    for _ in range(tries):
        at = max(at, request.next_attempt_at or at)
        work(request, at)
        if request.state in ("parked", "confirmed"):
            break
    return at


@pytest.fixture
def kea(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


REASONS = {
    "gone": "No such file",
    "hangs": "timed out",
    "drips": "no whole answer",
    "garbage": "Expecting value",
    "halves": "Expecting",
    "shapeless": "in no form of Kea's",
    "wordless": "in no form of Kea's",
    "refuses": "the pool overlaps another one",
}


@contextmanager
def ill(kea: StandIn, mood: str) -> Iterator[None]:
    if mood == "gone":
        yield
        return
    with kea.running():
        kea.mood = mood
        yield


@pytest.mark.parametrize("mood", ["gone", *MOODS])
def test_what_cannot_be_told_is_tried_again_and_parked_with_the_reason(
    db: None, kea: StandIn, mood: str, client: Client, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(stepping, "MOST_ATTEMPTS", 4)
    request = ask(by_dhcp(a_town(), kea))
    with ill(kea, mood):
        first = work(request, NOON)
        assert first.made is not None
        assert first.made.state == "pending", "nobody gets an address of it yet"
        first_attempts = first.attempts
        at = until_over(request, tries=20)
    assert request.state == "parked"
    assert REASONS[mood] in request.last_error
    # A refusal is looked at by a person at once; all else was tried again.
    assert (request.attempts > first_attempts) == (mood != "refuses")
    assert kea.pools == []

    settings.STAFF_NEED_SECOND_FACTOR = False
    client.force_login(
        factories.staff(roles.CSR, at=NOON), backend="django.contrib.auth.backends.ModelBackend"
    )
    page = client.get(reverse("admin:console_block_requests") + "?show=trouble").content.decode()
    assert REASONS[mood].replace("'", "&#x27;") in page
    assert "Try again" in page
    with ill(kea, WELL):
        told = client.post(
            reverse("admin:console_block_again", args=[request.public_id]),
            {"reason": "It is back"}, follow=True,
        )  # fmt: skip
        assert told.status_code == 200
        at = max(at, NOON) + timedelta(hours=1)
        request.refresh_from_db()
        BlockRequest.objects.update(next_attempt_at=at)
        assert work(request, at).state == "confirmed"
        assert work(request, at + timedelta(hours=1)).made is not None
    assert kea.pools == ["10.9.0.17-10.9.0.30"]
    assert AuditEntry.objects.get(action="block_request.taken_up_again").reason == "It is back"


def test_a_fault_of_our_own_is_parked_at_last_too(
    db: None, kea: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    request = ask(by_dhcp(a_town(), kea))
    monkeypatch.setattr(live, "add", wrong)
    for hour in range(stepping.MOST_ATTEMPTS):
        work(request, after(hours=hour))
    assert request.state == "parked"
    assert "A fault of ours" in request.last_error


def test_a_server_that_hangs_keeps_no_other_waiting(db: None, tmp_path: Path) -> None:
    """Ten blocks wait for a server that never answers, and one for a server that does."""
    folders = [tmp_path / name for name in ("ill", "well")]
    for folder in folders:
        folder.mkdir()
    sick, sound = map(StandIn, folders)
    with ExitStack() as running:
        for each in (sick, sound):
            running.enter_context(each.running())
        sick.mood = "hangs"
        server = a_kea("kea-ill", sick)
        waiting = [ask(another(server, number)) for number in range(100, 110)]
        good = ask(another(a_kea("kea-well", sound), 200))
        block_steps.go_on_due(at=after(seconds=1))
        system = OutsideSystem.objects.get(key="kea:kea-ill:4")
        calls = len(sick.asked)
        assert calls == system.breaker_threshold == system.failures
        good.refresh_from_db()
        assert good.state == "confirmed"
        rows = BlockRequest.objects.filter(pk__in=[row.pk for row in waiting])
        assert set(rows.values_list("state", flat=True)) == {"carved"}
        assert sorted(rows.values_list("attempts", flat=True)) == [1] * 5 + [2] * 5

        # Whoever looks at all servers passes it over, too, as long as it is left alone.
        assert sampling.hear(at=after(seconds=2)) == 1
        lease_following.follow_due(at=after(seconds=2))
        assert len(sick.asked) == calls
        heard = dict(KeaServer.objects.values_list("server__name", "heard_at"))
        assert heard == {"kea-ill": None, "kea-well": after(seconds=2)}

        sick.mood = WELL
        for minute in range(2, 12):
            block_steps.go_on_due(at=after(minutes=minute))
        assert set(rows.values_list("state", flat=True)) == {"confirmed"}
        assert OutsideSystem.objects.get(key="kea:kea-ill:4").failures == 0
