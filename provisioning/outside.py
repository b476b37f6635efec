"""How much the systems outside are asked at a time, and what happens while one of them is ill.

A step that calls the outside is let through by `admit`, in the transaction that takes it, and
what came of the call is told to `report`. A system that fails several times in a row is left
alone: its steps are parked, which counts as no attempt, until one of them has tried and got
through. So an outage of a day costs nobody a failed order. Locks are taken in the order: task,
system; whoever holds a system waits for no task.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from ispops import db, jobs
from ispops.breaker import HALF_OPEN, OPEN, Breaker
from ispops.errors import PermanentFault, Refusal, TransientFault
from ispops.gates import Gate
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import pacing, plan, progress, reservations
from provisioning.models import OrderTask, OutsideSystem

# Who has been waiting for a system is let through in this measure, so that it is not overrun.
RELEASED_A_SECOND = 20.0
# How soon to look again when as many workers as may are calling.
BUSY_PAUSE = timedelta(seconds=1)
State = OrderTask.State


class SystemIsWell(Refusal):
    code = "system_is_well"
    title = "The system is being asked already"


def system_of(task: OrderTask) -> tuple[str, str]:
    """Return the key and the name of the system that a step calls."""
    if task.kind in {plan.RESERVE_IN_DHCP, plan.RELEASE_IN_DHCP}:
        server = reservations.server_of_step(task)
        return f"dhcp:{server}", f"DHCP server {server}"
    if task.kind in {plan.CONFIGURE_EQUIPMENT, plan.CLEAR_EQUIPMENT}:
        return "acs", "ACS of the subscribers' equipment"
    return task.kind, task.kind.replace("_", " ").capitalize()


def admit(task: OrderTask, *, at: datetime) -> bool:
    """Say whether a locked step may call its system now; if not, it is told when to come again.

    Writes `system`, and `next_attempt_at` of a step that has to wait.
    """
    system = _lock(task)
    again_at = _wait_until(system, at)
    if again_at is not None:
        task.next_attempt_at = again_at
    else:
        _note_call(system, at)
    if again_at is not None or task.system != system.key:
        task.system = system.key
        task.save(update_fields=["system", "next_attempt_at"])
    return again_at is None


def _lock(task: OrderTask) -> OutsideSystem:
    """Hold the row of a step's system against other workers; made when there is none yet."""
    return _hold(*system_of(task))


def _hold(key: str, name: str, **defaults: int) -> OutsideSystem:
    rows = OutsideSystem.objects.select_for_update(of=("self",), no_key=True)
    found = rows.filter(key=key).first()
    if found is None:
        OutsideSystem.objects.get_or_create(key=key, defaults={"name": name[:200], **defaults})
        found = rows.get(key=key)
    return found


def _wait_until(system: OutsideSystem, at: datetime) -> datetime | None:
    """Return when to come again; None to call now."""
    if breaker_of(system).state(at) == OPEN:
        _keep_waiting(system, at)
        return system.open_until
    apart = pacing.every(system.per_minute)
    if not pacing.is_free(system.next_free_at, at, apart):
        # Behind those who wait already, so that each of them comes when its turn is.
        last = waiting_for(system).order_by("-next_attempt_at").first()
        turn = max(system.next_free_at or at, (last and last.next_attempt_at) or at)
        return turn + apart
    if _callers(system, at) >= system.at_once:
        return at + jobs.backoff(0, base=BUSY_PAUSE, most=BUSY_PAUSE)
    return None


def _keep_waiting(system: OutsideSystem, at: datetime) -> None:
    """Let all who are due wait on, so that not each of thousands has to be told by itself."""
    due = waiting_for(system).filter(next_attempt_at__lte=at)
    held = due.select_for_update(skip_locked=True, of=("self",)).values("pk")
    OrderTask.objects.filter(pk__in=held).update(next_attempt_at=system.open_until)


def _callers(system: OutsideSystem, at: datetime) -> int:
    return OrderTask.objects.filter(
        system=system.key, state=State.READY, leased_until__gt=at
    ).count()


def _note_call(system: OutsideSystem, at: datetime) -> None:
    """Write down that the system is called, and that it is a probe when it had failed."""
    changed = []
    if system.per_minute:
        system.next_free_at = pacing.after_call(
            system.next_free_at, at, pacing.every(system.per_minute)
        )
        changed.append("next_free_at")
    breaker = breaker_of(system)
    if breaker.state(at) == HALF_OPEN:
        system.open_until = breaker.probing(at + settings.TASK_LEASE).open_until
        changed.append("open_until")
    if changed:
        system.save(update_fields=changed)


def report(task: OrderTask, fault: Exception | None, *, at: datetime) -> datetime | None:
    """Note whether a call got through, in the transaction that records it.

    Returns until when the system is left alone, if it is. A system that refuses is there; a fault
    of ours says nothing about it.
    """
    answered = isinstance(fault, TransientFault) and fault.system_answered
    is_away = isinstance(fault, TransientFault | OSError) and not answered
    is_there = fault is None or answered or isinstance(fault, PermanentFault)
    return _note_outcome(task.system, str(fault) if is_away else "", is_there, at)


def _note_outcome(key: str, fault: str, is_there: bool, at: datetime) -> datetime | None:
    system = OutsideSystem.objects.filter(key=key).first()
    if system is None or (not fault and not system.failures):
        return None
    system = db.lock(OutsideSystem, system.pk)
    breaker = breaker_of(system)
    if fault:
        breaker = breaker.after_failure(at)
        system.failing_from = system.failing_from or at
        system.last_error = fault[:300]
    elif is_there:
        breaker = breaker.after_success()
    elif breaker.open_until is not None:
        breaker = breaker.probing(at)
    was_open = system.open_until is not None
    system.failures, system.open_until = breaker.failures, breaker.open_until
    if not system.failures:
        system.failing_from, system.last_error = None, ""
        if was_open:
            _release(system, at)
    system.save()
    return system.open_until


class Calls:
    """The keeper of `ispops.gates`: the calls that no step of an order makes by itself."""

    def admit(self, gate: Gate, *, running: int, at: datetime) -> datetime | None:
        system = _hold(gate.key, gate.name, at_once=gate.at_once)
        if breaker_of(system).state(at) == OPEN:
            return system.open_until
        apart = pacing.every(system.per_minute)
        if not pacing.is_free(system.next_free_at, at, apart):
            return pacing.free_from(system.next_free_at, at, apart)
        if running >= system.at_once:
            return at + BUSY_PAUSE
        _note_call(system, at)
        return None

    def report(self, gate: Gate, *, fault: str, at: datetime) -> None:
        with transaction.atomic():
            _note_outcome(gate.key, fault, True, at)

    def shut(self, prefix: str, *, at: datetime) -> list[str]:
        rows = OutsideSystem.objects.filter(key__startswith=prefix, open_until__gt=at)
        return [key.removeprefix(prefix) for key in rows.values_list("key", flat=True)]


def _release(system: OutsideSystem, at: datetime) -> None:
    """Let those who waited for a system come, one after the other.

    A step that another worker holds just now is passed over; it comes when it meant to.
    """
    rows = waiting_for(system).filter(next_attempt_at__gt=at)
    rows = rows.select_for_update(skip_locked=True, of=("self",)).order_by("next_attempt_at", "pk")
    per_second = RELEASED_A_SECOND
    if system.per_minute:
        per_second = min(per_second, system.per_minute / 60)
    let_come(list(rows), at, per_second=per_second)


def let_come(tasks: Sequence[OrderTask], at: datetime, *, per_second: float) -> None:
    """Write when locked steps are due: evenly one after the other, the first at once."""
    for task, turn in zip(tasks, pacing.spread(len(tasks), at, per_second), strict=True):
        task.next_attempt_at = max(turn, task.begins_at or turn)
    OrderTask.objects.bulk_update(tasks, ["next_attempt_at"], batch_size=500)


def waiting_for(system: OutsideSystem) -> QuerySet[OrderTask]:
    """Return the steps that nobody runs and that need a system which they met before."""
    return OrderTask.objects.filter(
        system=system.key,
        state=State.READY,
        next_attempt_at__isnull=False,
        leased_until__isnull=True,
    )


@transaction.atomic
def try_now(*, system_id: UUID, actor: User, at: datetime) -> OutsideSystem:
    """Let a step that waits for a failing system try at once, because it may work again.

    When it gets through, all others follow.

    Raises:
        SystemIsWell: the system is not left alone.
    """
    system = OutsideSystem.objects.get(pk=system_id)
    rows = waiting_for(system).select_for_update(skip_locked=True, of=("self",))
    first = rows.order_by("next_attempt_at", "pk").first()
    system = db.lock(OutsideSystem, system_id)
    if system.open_until is None:
        raise SystemIsWell(f"{system} is not being left alone.")
    system.open_until = min(system.open_until, at)
    system.save(update_fields=["open_until"])
    if first is not None:
        first.next_attempt_at = at
        first.save(update_fields=["next_attempt_at"])
        progress.send_task(first.pk)
    audit.record(
        actor=actor, action="outside_system.tried", subject=system.public_id, at=at, key=system.key
    )
    return system


@transaction.atomic
def set_limits(
    *, system_id: UUID, actor: User, at: datetime, **limits: int | None
) -> OutsideSystem:
    """Change how much a system is asked: at_once, per_minute, breaker_threshold and
    breaker_pause_seconds.

    Raises:
        InvalidInput: a limit is missing or less than one.
    """
    system = db.lock(OutsideSystem, system_id)
    before: dict[str, Any] = {name: getattr(system, name) for name in limits}
    for name, value in limits.items():
        setattr(system, name, value)
    db.check_fields(system, *limits)
    if system.per_minute is None:
        system.next_free_at = None
    system.save(update_fields=[*limits, "next_free_at"])
    audit.record(
        actor=actor,
        action="outside_system.limited",
        subject=system.public_id,
        at=at,
        key=system.key,
        was=before,
        now=limits,
    )
    return system


def breaker_of(system: OutsideSystem) -> Breaker:
    return Breaker(
        failures=system.failures,
        open_until=system.open_until,
        threshold=system.breaker_threshold,
        pause=timedelta(seconds=system.breaker_pause_seconds),
    )
