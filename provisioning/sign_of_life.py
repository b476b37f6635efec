"""When the devices behind addresses were heard of last, by the accounting of their sessions.

A witness of `ipam.reclaiming`: it asks whether a lease is stale, and who is online is known here.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings

from ipam import reclaiming
from ipam.models import Allocation
from provisioning.models import AccessSession, Service


@reclaiming.witness
def heard_by_accounting(rows: Sequence[Allocation]) -> Mapping[int, datetime]:
    """Return, by allocation, the last word of a session that its line had with its address.

    A session whose address is not known may be any of the line's, and so may one with a prefix.
    """
    lines: dict[UUID, list[Allocation]] = {}
    for row in rows:
        if key := Service.key_of(row.holder.service_ref):
            lines.setdefault(key, []).append(row)
    if not lines:
        return {}
    # A lease says itself that its device asked in the last two days, so older words say no more.
    since = min(row.expires_at for row in rows) - 3 * settings.ADDRESS_LEASE
    sessions = AccessSession.objects.filter(service__in=list(lines), last_heard_at__gte=since)
    heard: dict[int, datetime] = {}
    for line, address, moment in sessions.values_list("service", "framed_ip", "last_heard_at"):
        for row in lines[line]:
            if address is None or row.family == 6 or str(row.address) == f"{address}/32":
                heard[row.pk] = max(moment, heard.get(row.pk, moment))
    return heard
