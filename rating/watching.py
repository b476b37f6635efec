"""Soon after use was rated: who passed a threshold is told, and who passed fair use is slowed.

A look asks which lines may have passed something by use since the last one, reads many of them at
once, and settles those for which something follows, each in a transaction of its own that holds the
line. So looks may meet, and be repeated: a threshold is a unique row, and a line is slow or it is
not.

Each threshold is told once for a billing period and for the number of packs that were bought in it.
Use that is reported after its period has ended changes its charges and is told to nobody. A line
gets its speed back when its period ends (see `provisioning.slowing`), when a pack makes room, and
when its plan has no such rule any more.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q

from ispops import db
from ispops.catalog import fair_use
from ispops.catalog.models import FairUseRule
from ispops.parties.models import Subscriber
from provisioning import slowing
from provisioning.in_force import Speed
from provisioning.models import Service, Slowdown
from rating import telling
from rating.models import PassedThreshold, UsageLook
from rating.recent_use import limited_accounts, lines_near_a_limit
from rating.standings import Standing, standings
from rating.thresholds import fair_limit, passed

log = logging.getLogger(__name__)
LINES_AT_ONCE = 200
# What was rated by a transaction that is committed only now is looked at once more.
OVERLAP = timedelta(minutes=1)
_FIRST_LOOK = timedelta(days=1)
LEASE = timedelta(minutes=5)
_LIVE = (Service.State.ACTIVE, Service.State.SUSPENDED)


@dataclass(slots=True)
class Found:
    """What follows from the use of one line and of what it carries."""

    passed: list[tuple[Standing, int]] = field(default_factory=list)
    # The rule by which it has to be slow; None when it may be fast.
    slow_by: FairUseRule | None = None
    until: datetime | None = None
    has_rule: bool = False


def look(*, at: datetime) -> int:
    """Look at the lines that may have passed something by use since the last look; returns for how
    many something followed. Lines that are slow are looked at each time: what slowed them may be
    gone.

    While somebody looks, nobody else does: on a busy day looks would only repeat each other.
    """
    UsageLook.objects.get_or_create(pk=1, defaults={"looked_until": at - _FIRST_LOOK})
    free = UsageLook.objects.filter(pk=1).exclude(taken_until__gt=at)
    if not free.update(taken_until=at + LEASE):
        return 0
    try:
        settled = _look_since(UsageLook.objects.get(pk=1).looked_until, at)
        UsageLook.objects.filter(pk=1, looked_until__lt=at).update(looked_until=at)
    finally:
        UsageLook.objects.filter(pk=1, taken_until=at + LEASE).update(taken_until=None)
    return settled


def _look_since(last: datetime, at: datetime) -> int:
    slow = Slowdown.objects.filter(ended_at__isnull=True).values_list("service", flat=True)
    settled = 0
    in_order = sorted(lines_near_a_limit(last - OVERLAP, at) | set(slow))
    for first in range(0, len(in_order), LINES_AT_ONCE):
        for line_id in _in_need(in_order[first : first + LINES_AT_ONCE], at):
            settled += _settle_or_log(line_id, at)
    for subscriber in limited_accounts(last - OVERLAP):
        _tell_or_log(subscriber, at)
    return settled


def _tell_or_log(subscriber: Subscriber, at: datetime) -> None:
    try:
        telling.spending(subscriber=subscriber, at=at)
    except Exception:
        log.exception("what %s spends could not be told", subscriber.public_id)


def _settle_or_log(line_id: UUID, at: datetime) -> bool:
    """Settle a line; one that cannot be does not keep the others from it."""
    try:
        settle(line_id=line_id, at=at)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("line %s could not be settled", line_id)
        return False
    return True


@transaction.atomic
def settle(*, line_id: UUID, at: datetime) -> None:
    """Tell what a line has passed, and slow it or give it its speed back. Safe to repeat."""
    line = db.lock(Service, line_id)
    if line.line_id is not None or line.state not in _LIVE:
        return
    found = _find([line.pk], at)[line.pk]
    for standing, percent in _record(found.passed, at):
        telling.threshold_passed(standing=standing, percent=percent, rule=found.slow_by, at=at)
    if found.slow_by is not None and found.until is not None:
        to = Speed(found.slow_by.download_kbps, found.slow_by.upload_kbps)
        slowing.slow(line=line, to=to, until=found.until, at=at)
    else:
        ended_for = Slowdown.EndedFor
        because = ended_for.ROOM if found.has_rule else ended_for.PLAN
        slowing.restore(line=line, because=because, at=at)


def _in_need(line_ids: Iterable[UUID], at: datetime) -> list[UUID]:
    """Return the lines for which something follows that has not been done, in order."""
    found = _find(line_ids, at)
    services = {s.service.pk for one in found.values() for s, _ in one.passed}
    known = set(
        PassedThreshold.objects.filter(service__in=services).values_list(
            "service", "price", "period_start", "percent", "packs"
        )
    )
    slow = Slowdown.objects.filter(service__in=found, ended_at__isnull=True)
    held = {row.service_id: (row.download_kbps, row.upload_kbps, row.holds_until) for row in slow}
    return [
        line_id
        for line_id, one in found.items()
        if held.get(line_id) != _wanted(one)
        or any(_key(standing, percent) not in known for standing, percent in one.passed)
    ]


def _wanted(found: Found) -> tuple[int, int, datetime | None] | None:
    rule = found.slow_by
    return None if rule is None else (rule.download_kbps, rule.upload_kbps, found.until)


def _find(line_ids: Iterable[UUID], at: datetime) -> dict[UUID, Found]:
    """Work out what follows for some lines; changes nothing."""
    wanted = list(line_ids)
    rows = Service.objects.filter(Q(pk__in=wanted) | Q(line__in=wanted), state__in=_LIVE)
    services = list(rows.select_related("subscriber", "offering", "bundle").order_by("pk"))
    lines = {service.pk: service for service in services if service.line_id is None}
    of_line: defaultdict[UUID, list[Standing]] = defaultdict(list)
    for standing in standings(services, at):
        of_line[standing.service.line_id or standing.service.pk].append(standing)
    keys = chain.from_iterable((line.offering_id, line.bundle_id) for line in lines.values())
    rules = fair_use.fair_use_at(at, (key for key in keys if key))
    return {
        key: _findings(
            line, of_line[key], fair_use.rule_of(line.offering_id, line.bundle_id, rules)
        )
        for key, line in sorted(lines.items())
    }


def _findings(line: Service, used: list[Standing], rule: FairUseRule | None) -> Found:
    found = Found(has_rule=rule is not None)
    for standing in used:
        of_it = passed(standing.drawn, standing.included, standing.bought)
        found.passed += [(standing, percent) for percent in of_it]
        if rule is None or standing.service.pk != line.pk or standing.unit != fair_use.UNIT:
            continue
        limit = fair_limit(rule.threshold_bytes, standing.kept_packs, standing.bought)
        if standing.used >= limit:
            found.slow_by, found.until = rule, standing.period.end
    return found


def _key(standing: Standing, percent: int) -> tuple[Any, ...]:
    return (
        standing.service.pk, standing.price.pk, standing.period.start, percent,
        len(standing.bought),
    )  # fmt: skip


def _record(now: Iterable[tuple[Standing, int]], at: datetime) -> list[tuple[Standing, int]]:
    """Write the thresholds that nobody wrote before; returns the highest new one of each.

    Of several that are passed at once, only the highest is worth a letter.
    """
    highest: dict[tuple[UUID, int], tuple[Standing, int]] = {}
    for standing, percent in now:
        _, is_new = PassedThreshold.objects.get_or_create(
            service=standing.service,
            price=standing.price,
            period_start=standing.period.start,
            percent=percent,
            packs=len(standing.bought),
            defaults={"used": standing.drawn, "included": standing.included, "passed_at": at},
        )
        key = standing.service.pk, standing.price.pk
        if is_new:
            highest[key] = standing, percent
        else:
            highest.pop(key, None)
    return list(highest.values())
