"""Addresses: blocks, pools, who holds what now and who held it then, and requests for more.

A pool hands out *slots*: slot n of a pool is the n-th address, or the n-th delegated prefix, of
its block. Free slots are kept as extents and held slots as rows, so that a /8 or an IPv6 /32
costs no more than what is in use, and finding a free slot does not depend on the fill.
"""

import hashlib
import hmac
from datetime import timedelta

from django.contrib.postgres.fields import DateTimeRangeField
from django.contrib.postgres.indexes import GistIndex
from django.db import models
from django.db.models import F, Func, Q, Value

from ipam.models.networks import IsSingle, NetworkField
from ipam.selection import DEVICE_MAX_LENGTH
from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.parties.models import Subscriber, User


class AddressServer(models.Model):
    """An IP address server: the RADIUS or DHCP server that hands addresses to devices."""

    class Kind(models.TextChoices):
        RADIUS = "radius", "RADIUS"
        DHCP = "dhcp", "DHCP"

    name = models.SlugField(unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    # SHA-256 of the long random secret with which the server calls us.
    secret_digest = models.CharField(max_length=64)
    active = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name

    def has_secret(self, secret: str) -> bool:
        """Say whether this is its secret; one without any takes as long to say no."""
        kept = self.secret_digest or self.digest_of("")
        return hmac.compare_digest(kept, self.digest_of(secret)) and bool(self.secret_digest)

    @staticmethod
    def digest_of(secret: str) -> str:
        """Return what is kept of a secret: it is long and random, so one hash is enough."""
        return hashlib.sha256(secret.encode()).hexdigest()


class Block(models.Model):
    """A range of addresses: from the registry's allocation down to what backs a pool.

    A region may be cut from a region. Allocations and pools of one VRF never overlap, nor do blocks
    that are cut from one block (GiST exclusions in the migrations); so two blocks share addresses
    only where one is cut from the other.
    """

    class Tier(models.IntegerChoices):
        ALLOCATION = 0, "Registry allocation"
        REGION = 1, "Region"
        POOL = 2, "Pool"

    vrf = models.PositiveBigIntegerField(default=0)
    tier = models.PositiveSmallIntegerField(choices=Tier)
    network = NetworkField()
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    name = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        # The migration also refuses a block outside its parent, and any change of its extent.
        constraints = [
            models.CheckConstraint(
                condition=Q(tier=0, parent__isnull=True) | Q(tier__gt=0, parent__isnull=False),
                name="only_an_allocation_has_no_parent",
            )
        ]

    def __str__(self) -> str:
        return str(self.network)


class Pool(models.Model):
    """What an address server hands out of one block: single addresses, or prefixes of a length."""

    class Purpose(models.TextChoices):
        DYNAMIC = "dynamic", "Dynamic addresses"
        LEASED = "leased", "Dynamic addresses that the server chooses"
        STATIC = "static", "Static addresses"
        PREFIX = "prefix", "Delegated prefixes"
        WALLED_GARDEN = "walled_garden", "Walled garden"

    class State(models.TextChoices):
        PENDING = "pending", "Not yet at the server"
        ACTIVE = "active", "In use"
        DRAINING = "draining", "Gives no new leases"
        RETURNED = "returned", "Given back"

    name = models.SlugField(unique=True)
    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="pools")
    # None of a pool that was given back, which stays for the history; no other has none.
    block: "models.OneToOneField[Block | None, Block]" = models.OneToOneField(  # type: ignore[misc]
        Block, on_delete=models.PROTECT, null=True, related_name="pool"
    )
    # The pool for which this one was cut later; None of the first one, which has the policy.
    grown_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="further"
    )
    state = models.CharField(max_length=8, choices=State, default=State.ACTIVE)
    purpose = models.CharField(max_length=14, choices=Purpose)
    family = models.PositiveSmallIntegerField(choices=[(4, "IPv4"), (6, "IPv6")])
    # The length of one handed-out unit: 32 for an IPv4 address, 56 for a /56.
    unit_length = models.PositiveSmallIntegerField()
    # How long an address rests before somebody else gets it.
    quarantine = models.DurationField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # A request that waited for a lock carries a slightly older time; its stay must not
            # begin before the stay of the holder before it has ended.
            models.CheckConstraint(
                condition=Q(quarantine__gte=timedelta(seconds=10)),
                name="quarantine_outlasts_a_request",
            ),
            models.CheckConstraint(
                condition=Q(family=4, unit_length__lte=32) | Q(family=6, unit_length__lte=128),
                name="pool_unit_fits_its_family",
            ),
            models.CheckConstraint(
                condition=Q(state="returned", block__isnull=True)
                | ~Q(state="returned") & Q(block__isnull=False),
                name="only_a_returned_pool_has_no_block",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FreeExtent(models.Model):
    """A run of free slots of a pool, both ends included. Sharded, so that askers do not queue."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="free_extents")
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        # A GiST exclusion in the migration refuses overlapping extents of one pool.
        constraints = [
            models.CheckConstraint(
                condition=Q(first__gte=0, last__gte=F("first")), name="extent_is_not_empty"
            )
        ]
        indexes = [models.Index(fields=["pool", "first"], name="extent_by_pool")]

    def __str__(self) -> str:
        return f"{self.pool} {self.first} to {self.last}"


class AddressHolder(models.Model):
    """What one access service may hold: the plan's addresses and the extras that were granted.

    The row is the lock under which a service's addresses are counted.
    """

    # The public id of the service; services belong to a later stage.
    service_ref = models.CharField(max_length=40, unique=True)
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, related_name="address_holders"
    )
    plan = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    # The first pool of the group where it was seen last; written by the sweep that counts lines.
    pool = models.ForeignKey(
        Pool, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    opened_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    # Devices beyond the hourly limit leave no row each, or a flood would fill the table.
    refused_by_limit = models.PositiveBigIntegerField(default=0)
    last_refused_by_limit_at = models.DateTimeField(null=True, blank=True)

    # No column: `ipam.statements.lock_holder` says False where there is nothing to look for.
    keeps_static = True

    def __str__(self) -> str:
        return self.service_ref


class Stay(Func):
    """The span of an `AllocationHistory` row, written as its exclusion constraint writes it."""

    function = "tstzrange"
    output_field = DateTimeRangeField()

    def __init__(self) -> None:
        super().__init__(F("held_from"), F("held_to"))


class Span(Func):
    """The same span, written so that only the index of spans alone fits it.

    The planner takes the index behind the exclusion for as good, though without an address it would
    have to read all of it.
    """

    function = "tstzrange"
    output_field = DateTimeRangeField()

    def __init__(self) -> None:
        super().__init__(F("held_from"), F("held_to"), Value("[)"))


class AllocationHistory(models.Model):
    """Who had this address at that moment: one row a stay, open while it lasts."""

    vrf = models.PositiveBigIntegerField(default=0)
    address = NetworkField()
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="+")
    service_ref = models.CharField(max_length=40)
    # The index of a subscriber's stays, below, serves the key too.
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    device = models.CharField(max_length=DEVICE_MAX_LENGTH)
    held_from = models.DateTimeField()
    held_to = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001

    class Meta:
        verbose_name_plural = "allocation history"
        # A GiST exclusion in the migration refuses two holders of one address at one moment, and
        # is the index of `ipam.queries.who_had`.
        constraints = [
            models.CheckConstraint(
                condition=Q(held_to__isnull=True, ended_because__isnull=True)
                | Q(
                    held_to__isnull=False,
                    held_to__gte=F("held_from"),
                    ended_because__isnull=False,
                ),
                name="ended_stay_says_why",
            )
        ]
        indexes = [
            models.Index(fields=["service_ref", "device", "-held_from"], name="stays_of_a_device"),
            models.Index(fields=["subscriber", "-held_from", "-id"], name="stays_of_a_subscriber"),
            models.Index(fields=["device", "-held_from", "-id"], name="stays_by_device"),
            models.Index(fields=["-held_from", "-id"], name="stays_by_time"),
            # Of all addresses at once, those that were held at a moment.
            GistIndex(Span(), name="stays_by_span"),
        ]
        permissions = [("disclose_history", "Can give the history out for a lawful request")]

    def __str__(self) -> str:
        return f"{self.address} from {self.held_from:%Y-%m-%d}"


class Allocation(models.Model):
    """A slot of a pool that is held now, or that rests in quarantine before it is used again."""

    class State(models.TextChoices):
        ACTIVE = "active", "Held"
        QUARANTINED = "quarantined", "In quarantine"

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="allocations")
    slot = models.BigIntegerField()
    # The address or prefix itself, in text, as the server is told.
    address = NetworkField()
    holder = models.ForeignKey(AddressHolder, on_delete=models.PROTECT, related_name="allocations")
    # The device's one name, from `ipam.selection.normalise_device`.
    device = models.CharField(max_length=DEVICE_MAX_LENGTH)
    family = models.PositiveSmallIntegerField()
    # A short stay in the walled garden does not count against the entitlement.
    counts = models.BooleanField(default=True)
    state = models.CharField(max_length=12, choices=State, default=State.ACTIVE)
    # The row of the history that tells of the present stay, or of the last one.
    stay = models.OneToOneField(AllocationHistory, on_delete=models.PROTECT, related_name="+")
    allocated_at = models.DateTimeField()
    # When the lease ends while it is held, when the quarantine ends after that.
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pool", "slot"], name="one_live_allocation_a_slot"),
            # One address or prefix of each family; of IPv6 it may have both.
            models.UniqueConstraint(
                "holder",
                "device",
                "family",
                IsSingle(F("address")),
                condition=Q(state="active"),
                name="one_address_a_device",
            ),
        ]
        indexes = [models.Index(fields=["state", "expires_at"], name="allocation_expiry")]

    def __str__(self) -> str:
        return str(self.address)


class OverallocationRequest(PublicIdModel):
    """A device asked for an address that the plan does not include; who decided, when and why."""

    PREFIX = "oar"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting for an answer"
        GRANTED = "granted", "Granted"
        DENIED = "denied", "Denied"
        EXPIRED = "expired", "Expired"

    class Decider(models.TextChoices):
        POLICY = "policy", "The plan's policy"
        SUBSCRIBER = "subscriber", "The subscriber"
        CSR = "csr", "A CSR"
        CLOCK = "clock", "Nobody in time"
        # The plan has a place by now, or the service has ended: there is nothing to decide.
        NOT_NEEDED = "not_needed", "Nobody had to"

    holder = models.ForeignKey(AddressHolder, on_delete=models.PROTECT, related_name="requests")
    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="+")
    device = models.CharField(max_length=DEVICE_MAX_LENGTH)
    policy = models.CharField(max_length=16)
    addon = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, related_name="+"
    )
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    asked_at = models.DateTimeField()
    last_asked_at = models.DateTimeField()
    answer_by = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=10, choices=Decider, blank=True, default="")
    decided_by_user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["holder", "device"],
                condition=Q(state="pending"),
                name="one_open_request_a_device",
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True, decided_by="")
                | ~Q(state="pending") & Q(decided_at__isnull=False) & ~Q(decided_by=""),
                name="decided_request_names_its_decider",
            ),
        ]
        # The migration keeps a decision as it was made, and the states on their table.
        indexes = [models.Index(fields=["holder", "asked_at"], name="requests_of_a_holder")]

    def __str__(self) -> str:
        return f"{self.device} of {self.holder}"

    @property
    def shown_state(self) -> str:
        """The state as people are shown it: nobody said no to what was needed no longer."""
        is_moot = self.decided_by == self.Decider.NOT_NEEDED
        return self.Decider.NOT_NEEDED.value if is_moot else str(self.state)

    def get_shown_state_display(self) -> str:
        is_moot = self.shown_state == self.Decider.NOT_NEEDED
        return "No longer needed" if is_moot else self.State(self.state).label


class ExtraAddress(PublicIdModel):
    """An address beyond the plan that was granted to a device; charged from then until it ends."""

    PREFIX = "xad"

    holder = models.ForeignKey(
        AddressHolder, on_delete=models.PROTECT, related_name="extra_addresses"
    )
    request = models.OneToOneField(
        OverallocationRequest, on_delete=models.PROTECT, related_name="extra_address"
    )
    addon = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    device = models.CharField(max_length=DEVICE_MAX_LENGTH)
    granted_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "extra addresses"
        constraints = [
            models.UniqueConstraint(
                fields=["holder", "device"],
                condition=Q(ended_at__isnull=True),
                name="one_open_extra_a_device",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("granted_at")),
                name="extra_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.addon} for {self.device}"
