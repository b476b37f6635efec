"""Places, the access networks that reach them, and what was promised to whoever asked."""

from django.db import models
from django.db.models import F, Q

from ispops.catalog.models import ProductOffering, Technology
from ispops.db import Effective, PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner


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
    postal_code = models.CharField(max_length=10)
    # The address in USPS Publication 28 form without the unit; see `addresses.normalise`.
    match_key = models.CharField(max_length=300)
    latitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    h3_res8 = models.CharField(max_length=15, blank=True, default="", db_index=True)
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
            models.Index(
                fields=["match_key"],
                opclasses=["varchar_pattern_ops"],
                name="premises_by_address_prefix",
            ),
            models.Index(
                fields=["postal_code", "match_key"],
                opclasses=["varchar_pattern_ops", "varchar_pattern_ops"],
                name="premises_by_postal_code",
            ),
        ]

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.street}{unit}, {self.city}, {self.region} {self.postal_code}"


class AccessNode(models.Model):
    """Where lines end in a network: a fibre splitter, a cable node, a DSLAM; with its ports."""

    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=80)
    technology = models.PositiveSmallIntegerField(choices=Technology)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="node_name_once")]

    def __str__(self) -> str:
        return self.name


class AccessPort(models.Model):
    """One port of an access node: free, or taken by one service."""

    node = models.ForeignKey(AccessNode, on_delete=models.PROTECT, related_name="ports")
    number = models.PositiveIntegerField()
    # The public id of the service that has it; services belong to a later stage.
    service_ref = models.CharField(max_length=40, null=True, blank=True, unique=True)
    taken_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "number"], name="port_number_once"),
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


class CoverageArea(models.Model):
    """Where a network provider can deliver what: one premises, or one H3 cell of resolution 8.

    A row for the premises wins over the row for its cell; with a speed of zero it says that the
    network passes this one by. Speeds are the technology's maximum there, in kilobits a second.
    `node` is set where ports are counted. A row is never edited or deleted, because answers rest
    on it: a change ends it and adds another.
    """

    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="coverage")
    technology = models.PositiveSmallIntegerField(choices=Technology)
    premises = models.ForeignKey(
        Premises, on_delete=models.PROTECT, null=True, blank=True, related_name="coverage"
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
        AccessNode, on_delete=models.PROTECT, null=True, blank=True, related_name="coverage"
    )
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)

    # Set on the rows of `queries.coverage_at` alone.
    has_free_port: bool

    objects = Effective.as_manager()

    class Meta:
        verbose_name_plural = "coverage"
        # A GiST exclusion in the migration refuses two rows of one (provider, technology, place)
        # that are in force at the same moment; a trigger refuses changes.
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
        ]
        indexes = [
            models.Index(fields=["h3_res8"], condition=~Q(h3_res8=""), name="coverage_by_cell")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.get_technology_display()}"


class ServiceQualification(PublicIdModel):
    """The stored answer to *can this place be served?*: a promise until it expires, never edited.

    TM Forum: ServiceQualification (TMF645). `confidence` is MEF Sonata's serviceability
    confidence.
    """

    PREFIX = "qlf"

    class State(models.TextChoices):
        QUALIFIED = "qualified", "Qualified"
        WITH_CONSTRUCTION = "qualified_with_construction", "Qualified, after construction"
        NOT_QUALIFIED = "not_qualified", "Not available"
        CHOOSE = "choose", "Several addresses match"
        OUT_OF_FOOTPRINT = "out_of_footprint", "Outside our area"

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"
        PARTNER = "partner", "Partner API"

    class Confidence(models.TextChoices):
        GREEN = "green", "We know this address"
        YELLOW = "yellow", "Estimated from places nearby"

    asked_text = models.CharField(max_length=500)
    channel = models.CharField(max_length=8, choices=Channel)
    # Who asked: a user's or partner's id, empty for a visitor.
    asker = models.CharField(max_length=80, blank=True, default="")
    subscriber_kind = models.CharField(max_length=10, default="consumer")
    premises = models.ForeignKey(
        Premises, on_delete=models.PROTECT, null=True, related_name="qualifications"
    )
    state = models.CharField(max_length=30, choices=State)
    confidence = models.CharField(max_length=6, choices=Confidence, default=Confidence.GREEN)
    # What the asker should know about the answer as a whole, in words; often empty.
    remark = models.CharField(max_length=300, blank=True, default="")
    # Premises to pick from, as `[{"id": "prm_...", "address": "..."}]`, when the state is choose.
    candidates = models.JSONField(default=list)
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.asked_text}: {self.get_state_display()}"


class QualifiedOffer(models.Model):
    """One offering in the answer: what was promised of it, or why it is not available."""

    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="offers"
    )
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, null=True, related_name="+")
    coverage = models.ForeignKey(
        CoverageArea, on_delete=models.PROTECT, null=True, related_name="+"
    )
    eligible = models.BooleanField()
    # Stable code and words, such as "no_free_port"; empty when eligible.
    reason_code = models.CharField(max_length=40, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    technology = models.PositiveSmallIntegerField(choices=Technology, null=True)
    download_kbps = models.PositiveBigIntegerField(null=True)
    upload_kbps = models.PositiveBigIntegerField(null=True)
    # From order to use, with the building of the line where one must be built.
    install_days = models.PositiveSmallIntegerField(null=True)
    currency = models.CharField(max_length=3)
    one_off_amount = AmountField(default=0)
    recurring_amount = AmountField(default=0)
    # What building the line costs, beside the prices of the offering.
    construction_fee = AmountField(default=0)
    # The prices by use, in words: "1 TB included, then USD 10.00 for each started 50 GB".
    usage_terms = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["qualification", "offering"], name="offer_once_in_an_answer"
            ),
            models.CheckConstraint(
                condition=Q(eligible=True, reason_code="")
                | Q(eligible=False) & ~Q(reason_code="") & ~Q(reason=""),
                name="refused_offer_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.offering} in {self.qualification_id}"


class WaitlistEntry(models.Model):
    """Somebody who wants service where there is none yet."""

    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="waitlist"
    )
    name = models.CharField(max_length=200, blank=True, default="")
    email = models.EmailField()
    h3_res8 = models.CharField(max_length=15, blank=True, default="", db_index=True)
    created_at = models.DateTimeField()
    notified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "waitlist entries"
        constraints = [
            models.UniqueConstraint(
                fields=["qualification", "email"], name="waits_once_for_an_address"
            )
        ]

    def __str__(self) -> str:
        return self.email
