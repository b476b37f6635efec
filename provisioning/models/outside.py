"""The systems outside that steps of orders call, and how each of them is treated."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from ispops.db import PublicIdModel


class OutsideSystem(PublicIdModel):
    """A system that steps of orders call, such as the access network.

    Made when it is first called. While `open_until` is set it has failed too often in a row, and
    the steps that need it wait without being tried; see `ispops.breaker`.
    """

    PREFIX = "sys"

    # What the code calls it: the kind of the steps that call it.
    key = models.CharField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    # How many workers may call it at a time, and how many calls a minute; None is any number.
    at_once = models.PositiveSmallIntegerField(default=4, validators=[MinValueValidator(1)])
    per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    next_free_at = models.DateTimeField(null=True, blank=True)
    # So many failures in a row open the breaker, for so long each time.
    breaker_threshold = models.PositiveSmallIntegerField(
        default=5, validators=[MinValueValidator(1)]
    )
    breaker_pause_seconds = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1)]
    )
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    # Since when it has been failing, while it does, and what it said last.
    failing_from = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(at_once__gte=1, breaker_threshold__gte=1, breaker_pause_seconds__gte=1)
                & (Q(per_minute__isnull=True) | Q(per_minute__gte=1)),
                name="outside_system_may_be_called",
            ),
            models.CheckConstraint(
                condition=Q(failures=0, open_until__isnull=True, failing_from__isnull=True)
                | Q(failures__gt=0, failing_from__isnull=False),
                name="failing_system_says_since_when",
            ),
        ]

    def __str__(self) -> str:
        return self.name
