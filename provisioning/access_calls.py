"""How much each access server is called about its sessions; the operator's limits, see `gates`."""

from datetime import datetime

from django.conf import settings
from django.db import transaction

from ispops import gates, jobs
from provisioning.models import AccessServer, AccessSession

# What access servers are called among the systems outside.
GATE = "coa:"


def gate_of(nas_ip: str | None) -> gates.Gate | None:
    """Return the gate of an access server that takes changes; None for one that is not called."""
    server = AccessServer.objects.filter(nas_ip=nas_ip).exclude(coa_secret="").first()
    if server is None:
        return None
    name = f"Changes at {server}"
    return gates.Gate(f"{GATE}{server.nas_ip}", name, at_once=settings.COA_CALLS_AT_ONCE)


def wait_until(session: AccessSession, at: datetime) -> datetime | None:
    """Return when the access server of a claimed session may be called; None is now."""
    gate = gate_of(session.nas_ip)
    if gate is None:
        return None
    running = AccessSession.objects.filter(nas_ip=session.nas_ip, leased_until__gt=at)
    return gates.admit(gate, running=running.exclude(pk=session.pk).count(), at=at)


def note(nas_ip: str | None, *, fault: str, at: datetime) -> None:
    """Note that an access server answered, or the fault for which it did not."""
    if gate := gate_of(nas_ip):
        gates.report(gate, fault=fault, at=at)


def let_rest(nas_ip: str | None, *, at: datetime, until: datetime) -> None:
    """Leave an access server alone for a moment: its other sessions wait."""
    with transaction.atomic():
        waiting = jobs.due(AccessSession.objects.filter(nas_ip=nas_ip), at=at)
        held = waiting.select_for_update(of=("self",), skip_locked=True).order_by("pk")
        keys = [session.pk for session in held]
        AccessSession.objects.filter(pk__in=keys).update(next_attempt_at=until)
