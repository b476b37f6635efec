"""Speed boosts that were wanted for a time: each ends at its moment, without anybody's order."""

from datetime import datetime

from django.db import transaction

from ispops import db
from ispops.parties import audit
from provisioning import profiles, services
from provisioning.models import Service

_LIVE = (Service.State.ACTIVE, Service.State.SUSPENDED)


@transaction.atomic
def end_next(*, at: datetime) -> bool:
    """End one add-on whose time is over, and slow its line down; False when there is none.

    It is charged to the moment that was wanted, however late this runs. An order of the line that
    is under way does not matter: it would find the add-on gone, as it does when it ends one twice.
    """
    over = Service.objects.filter(ends_at__lte=at, state__in=_LIVE, line__isnull=False)
    found = over.order_by("ends_at", "pk").values_list("pk", "line").first()
    if found is None:
        return False
    line = db.lock(Service, found[1])
    boost = db.lock(Service, found[0])
    if boost.state not in _LIVE or boost.ends_at is None or boost.line_id != line.pk:
        return True
    services.cease(service=boost, at=boost.ends_at)
    profiles.refresh(service=line, at=at)
    audit.record(
        actor=None,
        actor_name="worker",
        action="boost.ended",
        subject=line.public_id,
        subscriber=line.subscriber,
        at=at,
        offering=boost.offering.code,
        ends_at=boost.ends_at.isoformat(),
    )
    return True
