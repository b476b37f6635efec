"""Health: what an operator and a load balancer are told, when all is well and when it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from ispops import embedded, health
from ispops.models import WorkerHeartbeat

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_alive_needs_nothing(client: Client) -> None:
    """No database fixture here: touching the database would fail the test."""
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert client.post("/healthz").status_code == 405


@pytest.mark.django_db
def test_ready_when_a_worker_reported_just_now(client: Client, time_machine: object) -> None:
    time_machine.move_to(NOW, tick=False)  # type: ignore[attr-defined]
    health.record_heartbeat(name="worker@a", at=NOW - timedelta(seconds=30))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"].startswith("max-age=0")
    assert answer.json() == {
        "ready": True,
        "checks": {
            "database": {"ok": True, "detail": "answers"},
            "redis": {"ok": True, "detail": "answers"},
            "worker": {"ok": True, "detail": "reports"},
        },
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("beat_at", "detail"),
    [
        (None, "no worker has reported yet"),
        (NOW - timedelta(seconds=31), "the last worker reported 31 seconds ago"),
    ],
)
def test_not_ready_without_a_worker(
    client: Client, time_machine: object, beat_at: datetime | None, detail: str
) -> None:
    time_machine.move_to(NOW, tick=False)  # type: ignore[attr-defined]
    if beat_at:
        health.record_heartbeat(name="worker@a", at=beat_at)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["checks"]["worker"] == {"ok": False, "detail": detail}
    assert answer.json()["checks"]["redis"]["ok"] is True


@pytest.mark.django_db
def test_not_ready_without_redis(client: Client, settings: object) -> None:
    settings.REDIS_URL = f"redis://:hidden@127.0.0.1:{embedded.free_port()}/0"  # type: ignore[attr-defined]
    health.record_heartbeat(name="worker@a", at=datetime.now(UTC))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["redis"]["ok"] is False
    assert b"hidden" not in answer.content


@pytest.mark.django_db
def test_a_heartbeat_is_one_row_and_old_ones_go() -> None:
    health.record_heartbeat(name="worker@gone", at=NOW - timedelta(days=1, seconds=1))
    health.record_heartbeat(name="worker@a", at=NOW - timedelta(seconds=10))
    health.record_heartbeat(name="worker@a", at=NOW)
    assert list(WorkerHeartbeat.objects.values_list("name", "beat_at")) == [("worker@a", NOW)]
