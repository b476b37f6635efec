"""Is the process alive, and can it serve? For load balancers, the supervisor and people.

`/healthz` answers while the process runs, whatever else is broken: who restarts processes asks it.
`/readyz` answers 200 only when the database, Redis and a worker are there: who sends traffic asks
it.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ispops.models import WorkerHeartbeat

log = logging.getLogger(__name__)

HEARTBEAT_GOOD_FOR = timedelta(seconds=30)
"""Three intervals of beat: one late heartbeat is no alarm."""

HEARTBEAT_KEPT_FOR = timedelta(days=1)


class NotWell(Exception):
    """A part that the product needs is not there; the text says what is known."""


def record_heartbeat(*, name: str, at: datetime) -> WorkerHeartbeat:
    """Note that a worker was alive, and forget workers that have not been seen for a day."""
    heartbeat, _ = WorkerHeartbeat.objects.update_or_create(name=name, defaults={"beat_at": at})
    WorkerHeartbeat.objects.filter(beat_at__lt=at - HEARTBEAT_KEPT_FOR).delete()
    return heartbeat


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer `{"ready": bool, "checks": {name: {"ok": bool, "detail": text}}}`, 503 if not ready.

    The details tell an operator where to look, and nothing that a stranger could use.
    """
    checks = {
        "database": _examine(_database),
        "redis": _examine(_redis),
        "worker": _examine(_worker),
    }
    ready = all(check["ok"] for check in checks.values())
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)


def _examine(check: Callable[[], str]) -> dict[str, bool | str]:
    try:
        return {"ok": True, "detail": check()}
    except NotWell as problem:
        return {"ok": False, "detail": str(problem)}
    except Exception:  # whatever is wrong, the answer must be an answer
        log.warning("the check of %s failed", check.__name__.strip("_"), exc_info=True)
        return {"ok": False, "detail": "does not answer; the log says why"}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "answers"


def _redis() -> str:
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1
    ) as client:
        client.ping()
    return "answers"


def _worker() -> str:
    latest = WorkerHeartbeat.objects.order_by("-beat_at").first()
    if latest is None:
        raise NotWell("no worker has reported yet")
    age = timezone.now() - latest.beat_at
    if age > HEARTBEAT_GOOD_FOR:
        raise NotWell(f"the last worker reported {age.total_seconds():.0f} seconds ago")
    return "reports"
