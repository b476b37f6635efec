"""Addresses that are kept for a service until they are released."""

from django.db import models
from django.db.models import F, Q

from ipam.models.pools import AddressHolder, NetworkField, Pool
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
    # The public id of the add-on that pays for it; services belong to a later stage.
    cause_ref = models.CharField(max_length=40)
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
                fields=["cause_ref"],
                condition=Q(released_at__isnull=True),
                name="one_static_address_an_addon",
            ),
            models.CheckConstraint(
                condition=Q(released_at__isnull=True) | Q(released_at__gte=F("assigned_at")),
                name="static_address_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return str(self.address).removesuffix("/32")
