"""Addresses that are kept for a service until they are released."""

from django.db import models
from django.db.models import F, Q

from ipam.models.networks import NetworkField
from ipam.models.pools import AddressHolder, Pool
from ispops.db import PublicIdModel


class StaticAddress(PublicIdModel):
    """One address of a pool of static addresses, kept for a line whether it is online or not.

    Whichever of the line's devices asks first has it while it is online; the history tells of that.
    """

    PREFIX = "sta"

    holder = models.ForeignKey(
        AddressHolder, on_delete=models.PROTECT, related_name="static_addresses"
    )
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="static_addresses")
    slot = models.BigIntegerField()
    address = NetworkField()
    # What it is kept for: the line itself, whose plan includes it, or the add-on that pays for it.
    # The public id of a service; services belong to a later stage.
    cause_ref = models.CharField(max_length=40)
    # Which one of those that are kept for it, from 1.
    place = models.PositiveSmallIntegerField(default=1)
    assigned_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "static addresses"
        constraints = [
            models.UniqueConstraint(
                fields=["pool", "slot"],
                condition=Q(released_at__isnull=True),
                name="one_line_a_static_address",
            ),
            models.UniqueConstraint(
                fields=["cause_ref", "place"],
                condition=Q(released_at__isnull=True),
                name="one_static_address_a_place",
            ),
            models.CheckConstraint(condition=Q(place__gte=1), name="places_are_from_one"),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True) | Q(released_at__gte=F("assigned_at")),
                name="static_address_ends_after_it_starts",
            ),
        ]

    @property
    def is_of_plan(self) -> bool:
        """It is part of the plan, and nothing is charged for it beside."""
        return self.cause_ref == self.holder.service_ref

    def __str__(self) -> str:
        return str(self.address).removesuffix("/32")
