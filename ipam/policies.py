"""What the operator has decided about how a pool grows, noted who said so."""

from datetime import datetime
from typing import Any

from django.db import transaction

from ipam.models import Pool, PoolPolicy
from ispops import db
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import User

CHANGEABLE = (
    "threshold_percent", "least_days", "decision", "largest_automatic", "horizon_days",
    "low_water_percent", "unused_days", "stale_hours", "lines_per_address",
)  # fmt: skip


@transaction.atomic
def set_policy(
    *, pool: Pool, actor: User | None = None, reason: str = "", at: datetime, **values: Any
) -> PoolPolicy:
    """Say how a pool grows, and those that are cut for it; what is not named stays as it was.

    Raises:
        InvalidInput: a value cannot be used, or the pool was itself cut for another one.
    """
    unknown = set(values) - set(CHANGEABLE)
    if unknown:
        raise TypeError(f"not values of a policy: {', '.join(sorted(unknown))}")
    first = db.lock(Pool, pool.pk)
    if first.grown_from_id is not None or first.state == Pool.State.RETURNED:
        raise InvalidInput("The policy is that of the group's first pool.", field="pool")
    policy = PoolPolicy.objects.filter(pool=first).first() or PoolPolicy(pool=first)
    is_new = policy.pk is None
    for name, value in values.items():
        setattr(policy, name, value)
    db.check_fields(policy, *CHANGEABLE)
    if policy.low_water_percent >= policy.threshold_percent:
        raise InvalidInput(
            "A block would be given back and asked for again: choose a low water under the "
            "threshold.",
            field="low_water_percent",
        )
    policy.save()
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="pool_policy.made" if is_new else "pool_policy.changed",
        subject=first.name,
        reason=reason,
        at=at,
        **{name: values[name] for name in values},
    )
    return policy
