"""Places, the access networks that reach them, and the files that say where they do."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import StrIndex, Substr

from ispops.catalog.models import Technology
from ispops.db import Effective, PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner
from qualification import countries


def _key_after(mark: str) -> models.GeneratedField:
    """Return a column with what follows a mark in the key, for an index to begin with."""
    start = StrIndex(F("match_key"), Value(mark)) + len(mark)
    return models.GeneratedField(
        expression=Substr(F("match_key"), start),
        output_field=models.CharField(max_length=300, db_collation="C"),
        db_persist=True,
    )


class Premises(PublicIdModel):
    """A place that can be served: a house, or one unit of a building."""

    PREFIX = "prm"

    class Source(models.TextChoices):
        IMPORTED = "imported", "From a location list"
        ASKED = "asked", "From a request, to be reviewed"

    # The location id of the FCC's fabric, or of the operator's own list.
    location_id = models.CharField(max_length=40, null=True, blank=True, unique=True)
    street = models.CharField(max_length=200)
    unit = models.CharField(max_length=40, blank=True, default="")
    city = models.CharField(max_length=100)
    region = models.CharField(max_length=2)
    postal_code = models.CharField(max_length=10, db_collation="C")
    # The address in its country's standard form without the unit; see `addresses.Address`.
    # In the collation in which an index serves both its beginnings and its order.
    match_key = models.CharField(max_length=300, db_collation="C")
    # The key without the street number, and without the street.
    street_key = _key_after(" ")
    locality_key = _key_after(", ")
    latitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    h3_res8 = models.CharField(max_length=15, blank=True, default="")
    source = models.CharField(max_length=10, choices=Source, default=Source.IMPORTED)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "premises"
        constraints = [
            models.UniqueConstraint(fields=["match_key", "unit"], name="premises_address_once"),
            models.CheckConstraint(
                condition=Q(latitude__isnull=True, longitude__isnull=True)
                | Q(
                    # A comparison with NULL is no violation, so both must be there.
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__range=(-90, 90),
                    longitude__range=(-180, 180),
                ),
                name="premises_on_earth",
            ),
        ]
        indexes = [
            # The key itself is served by the index of `premises_address_once`.
            models.Index(fields=["postal_code", "street_key"], name="premises_by_postal_code"),
            models.Index(
                fields=["street_key"], condition=Q(source="imported"), name="premises_by_street"
            ),
            models.Index(
                fields=["locality_key"], condition=Q(source="imported"), name="premises_by_locality"
            ),
            models.Index(fields=["h3_res8", "latitude"], name="premises_by_place"),
        ]

    def __str__(self) -> str:
        return countries.here().one_line(
            street=self.street, unit=self.unit, city=self.city, region=self.region,
            postal_code=self.postal_code,
        )  # fmt: skip


class AccessNode(models.Model):
    """Where lines end in a network: a fibre splitter, a cable node, a DSLAM; with its ports."""

    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=80)
    technology = models.PositiveSmallIntegerField(choices=Technology)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="node_name_once")]

    def __str__(self) -> str:
        return self.name


def is_free(at: datetime, holder: str = "", *, through: str = "") -> Q:
    """Say of a port, in a query, that it can be had now.

    `holder` is the public id of the answer for which one may be held; `through` is the way from
    the table that is queried, such as `ports__`.
    """
    unheld = Q((f"{through}held_until__isnull", True)) | Q((f"{through}held_until__lte", at))
    if holder:
        unheld |= Q((f"{through}held_for", holder))
    return Q((f"{through}service_ref__isnull", True)) & unheld


class PortSet(models.QuerySet["AccessPort"]):
    """Ports, which a hold keeps from others only until it runs out."""

    def free(self, at: datetime, holder: str = "") -> Self:
        """Keep the ports that can be had now; `holder` is the answer for which one may be held."""
        return self.filter(is_free(at, holder))

    def held(self, at: datetime) -> Self:
        """Keep the ports that are held for an answer now."""
        return self.filter(held_until__gt=at)


class AccessPort(models.Model):
    """One port of an access node: free, held for a qualification for a time, or taken by one
    service."""

    node = models.ForeignKey(AccessNode, on_delete=models.PROTECT, related_name="ports")
    number = models.PositiveIntegerField()
    # The public id of the service that has it; services belong to a later stage.
    service_ref = models.CharField(max_length=40, null=True, blank=True, unique=True)
    taken_at = models.DateTimeField(null=True, blank=True)
    # The public id of the qualification it is kept for, and until when; then it is free again.
    held_for = models.CharField(max_length=40, null=True, blank=True, unique=True)
    held_until = models.DateTimeField(null=True, blank=True)
    # Kept by one of us: whoever knows the answer's address cannot let others have it.
    held_by_staff = models.BooleanField(default=False, db_default=False)

    objects = PortSet.as_manager()

    class Meta:
        permissions = [("hold_accessport", "Can hold a port for an answer, for some days")]
        constraints = [
            models.UniqueConstraint(fields=["node", "number"], name="port_number_once"),
            models.CheckConstraint(
                condition=Q(held_for__isnull=True, held_until__isnull=True)
                | Q(held_for__isnull=False, held_until__isnull=False, service_ref__isnull=True),
                name="held_port_is_not_taken",
            ),
            models.CheckConstraint(
                condition=Q(held_by_staff=False) | Q(held_for__isnull=False),
                name="staff_hold_is_for_an_answer",
            ),
            models.CheckConstraint(
                condition=Q(service_ref__isnull=True, taken_at__isnull=True)
                | Q(service_ref__isnull=False, taken_at__isnull=False),
                name="taken_port_names_its_service",
            ),
        ]
        indexes = [
            models.Index(
                fields=["node", "number"],
                condition=Q(service_ref__isnull=True),
                name="free_port_by_node",
            )
        ]

    def __str__(self) -> str:
        return f"{self.node} port {self.number}"

    def is_held(self, at: datetime) -> bool:
        return self.held_until is not None and self.held_until > at


class CoverageArea(models.Model):
    """Where a network provider can deliver what: one premises, or one H3 cell of resolution 8.

    A row for the premises wins over the row for its cell; with a speed of zero it says that the
    network passes this one by. Speeds are the technology's maximum there, in kilobits a second.
    `node` is set where ports are counted. A row is never edited or deleted, because answers rest
    on it: a change ends it and adds another.
    """

    # Lists have a million rows, and PostgreSQL would look up and lock what each refers to, one by
    # one. So triggers check the keys of this table for all rows of a statement at once, which is
    # enough because partners, places, nodes and files are never deleted: others see to that.
    provider = models.ForeignKey(
        Partner,
        on_delete=models.PROTECT,
        related_name="coverage",
        db_constraint=False,
        db_index=False,
    )
    technology = models.PositiveSmallIntegerField(choices=Technology)
    premises = models.ForeignKey(
        Premises,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="coverage",
        db_constraint=False,
        db_index=False,
    )
    h3_res8 = models.CharField(max_length=15, blank=True, default="")
    max_download_kbps = models.PositiveBigIntegerField()
    max_upload_kbps = models.PositiveBigIntegerField()
    low_latency = models.BooleanField(default=True)
    install_days = models.PositiveSmallIntegerField(default=7)
    # Copper length from the node, which limits DSL speed; None where it does not matter.
    loop_length_m = models.PositiveIntegerField(null=True, blank=True)
    construction_fee = AmountField(default=0)
    construction_days = models.PositiveSmallIntegerField(default=0)
    node = models.ForeignKey(
        AccessNode,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="coverage",
        db_constraint=False,
        db_index=False,
    )
    # The network is to be built by this day; until another row replaces this one, it is not there.
    planned_date = models.DateField(null=True, blank=True)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    # The files that added and ended it, so that an import can be rolled back.
    added_by = models.ForeignKey(
        "CoverageImport",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="rows_added",
        db_constraint=False,
        db_index=False,
    )
    ended_by = models.ForeignKey(
        "CoverageImport",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="rows_ended",
        db_constraint=False,
        db_index=False,
    )

    # Set on the rows of `queries.coverage_at` alone: how many ports are free, as far as they are
    # counted; None where the network counts none. And whether any provider can be asked.
    free_ports: int | None
    some_can_be_asked: bool

    objects = Effective.as_manager()

    class Meta:
        verbose_name_plural = "coverage"
        # A place has one open row, by the two indexes, and an open row begins after all that ended,
        # by a trigger of the migration; so no two are in force at once. Another refuses changes.
        constraints = [
            models.CheckConstraint(
                condition=Q(premises__isnull=False, h3_res8="")
                | Q(premises__isnull=True) & ~Q(h3_res8=""),
                name="coverage_is_of_a_place_or_a_cell",
            ),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_to__gt=F("valid_from")),
                name="coverage_ends_after_it_starts",
            ),
            models.UniqueConstraint(
                fields=["premises", "provider", "technology", "valid_to"],
                condition=Q(premises__isnull=False),
                nulls_distinct=False,
                name="one_coverage_of_a_place_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["h3_res8", "provider", "technology", "valid_to"],
                condition=~Q(h3_res8=""),
                nulls_distinct=False,
                name="one_coverage_of_a_cell_at_a_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["provider", "valid_to"],
                condition=Q(valid_to__isnull=False),
                name="coverage_that_ended",
            ),
            models.Index(fields=["node"], condition=Q(node__isnull=False), name="coverage_by_node"),
            # What one file added stands together, so that a few bytes for many rows find it.
            BrinIndex(fields=["added_by"], name="coverage_by_file_that_added"),
            models.Index(
                fields=["ended_by"],
                condition=Q(ended_by__isnull=False),
                name="coverage_by_file_that_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.get_technology_display()}"
