"""What is charged once only, for ever: kept beside the charges, which are kept by the month.

PostgreSQL sees to what is unique within a month by itself; what is unique in all of them needs a
table of its own. A trigger enters each charge here in the statement that writes it.
"""

from typing import Any

from django.db import models


def charge_key(related_name: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    """Return a reference to a charge. A trigger sees that it is there when it is referred to; a
    foreign key would keep its month from being detached."""
    return models.ForeignKey(
        "rating.Charge", models.PROTECT, related_name=related_name, db_constraint=False, **options
    )


class ChargeKey(models.Model):
    """That a cause has been charged for: the digest of its text, see `usage_ids.digest`."""

    digest = models.UUIDField(primary_key=True)
    charge_id = models.UUIDField()

    def __str__(self) -> str:
        return str(self.digest)


class ChargedSpan(models.Model):
    """A span of time for which a service, or an extra address, has been charged; no two overlap."""

    subject = models.UUIDField()
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.subject} {self.period_start}"
