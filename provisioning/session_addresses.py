"""The addresses of sessions that began and ended, of which ipam hears after each batch of messages.

It is a transaction of its own, because whoever changes a line locks its addresses before its
sessions. A worker that dies between the two leaves an address to the end of its lease.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from ipam import sessions as ipam
from provisioning import steering
from provisioning.models import AccessSession, Service

# What PostgreSQL's advisory lock of those who tell is called: so that the end of a session that
# was followed in one batch and the beginning of the next one in another cannot cross.
_TELLER = 0x5E5512


@transaction.atomic
def follow(
    *, stopped: Iterable[AccessSession], begun: Iterable[AccessSession], at: datetime
) -> None:
    """Tell which sessions have stopped, unless their lines are online with the same address still.

    A session that began with an address that was taken back meanwhile is ended.
    """
    ends = [row for row in stopped if row.framed_ip and row.ended_at]
    begins = [row for row in begun if row.framed_ip and row.ended_at is None]
    if not ends and not begins:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TELLER])
    if ends:
        online = _online({row.service_id for row in ends})
        ipam.end_sessions(
            [
                _told(row, row.ended_at)
                for row in ends
                if row.ended_at
                and not online & {(row.service_id, row.framed_ip), (row.service_id, None)}
            ],
            at=at,
        )
    if begins:
        told = {_told(row, row.started_at): row.pk for row in begins}
        _end([told[each] for each in ipam.begin_sessions(list(told), at=at)], at)


def _online(lines: set[UUID]) -> set[tuple[UUID, str | None]]:
    """Return the open sessions of lines, by address; one whose address is not known may be any."""
    rows = AccessSession.objects.filter(service__in=lines, ended_at__isnull=True)
    return set(rows.values_list("service", "framed_ip"))


def _told(session: AccessSession, moment: datetime) -> ipam.Session:
    """Say what ipam hears of a session; equipment that sends no name is known by its login."""
    return ipam.Session(
        service_ref=f"{Service.PREFIX}_{session.service_id.hex}",
        device=session.calling_station_id or session.username,
        address=str(session.framed_ip),
        at=moment,
    )


def _end(keys: list[int], at: datetime) -> None:
    rows = AccessSession.objects.filter(pk__in=keys, ended_at__isnull=True)
    if keys and rows.update(must_end=True, next_attempt_at=at, attempts=0, trouble=""):
        steering.steer_soon()
