"""What was promised to whoever asked."""

from typing import Any

from django.db import models
from django.db.models import Q

from ispops.catalog.models import ProductOffering, Technology
from ispops.db import PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner
from qualification.models.places import CoverageArea, Premises


class ServiceQualification(PublicIdModel):
    """The stored answer to *can this place be served?*: a promise until it expires, never edited.

    One that waits for a provider is `pending`; the provider's answer settles it, once. What an
    eligible offer promises stands from the moment it is stored. TM Forum: ServiceQualification
    (TMF645). `confidence` is MEF Sonata's serviceability confidence.
    """

    PREFIX = "qlf"

    class State(models.TextChoices):
        QUALIFIED = "qualified", "Qualified"
        WITH_CONSTRUCTION = "qualified_with_construction", "Qualified, after construction"
        NOT_QUALIFIED = "not_qualified", "Not available"
        CHOOSE = "choose", "Several addresses match"
        OUT_OF_FOOTPRINT = "out_of_footprint", "Outside our area"
        PENDING = "pending", "Waiting for a network's answer"
        FAILED = "failed", "Could not be answered"

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"
        PARTNER = "partner", "Partner API"

    class Confidence(models.TextChoices):
        GREEN = "green", "We know this address"
        YELLOW = "yellow", "Estimated from places nearby"
        RED = "red", "Not confirmed by the network"

    asked_text = models.CharField(max_length=500)
    channel = models.CharField(max_length=8, choices=Channel)
    # Who asked: a user's or partner's id, empty for a visitor.
    asker = models.CharField(max_length=80, blank=True, default="")
    subscriber_kind = models.CharField(max_length=10, default="consumer")
    premises = models.ForeignKey(
        Premises, on_delete=models.PROTECT, null=True, related_name="qualifications"
    )
    # The address of the place as it was written then, for a reprint years later.
    address = models.CharField(max_length=400, blank=True, default="")
    # Its id in the location list then.
    location_id = models.CharField(max_length=40, blank=True, default="")
    # Where the place is, as far as it is known; all empty where nothing is.
    h3_res8 = models.CharField(max_length=15, blank=True, default="")
    city = models.CharField(max_length=100, blank=True, default="")
    region = models.CharField(max_length=2, blank=True, default="")
    postal_code = models.CharField(max_length=10, blank=True, default="")
    # The point, when coordinates were asked for.
    latitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    state = models.CharField(max_length=30, choices=State)
    confidence = models.CharField(max_length=6, choices=Confidence, default=Confidence.GREEN)
    # What the asker should know about the answer as a whole, in words; often empty.
    remark = models.CharField(max_length=300, blank=True, default="")
    # Premises to pick from, as `[{"id": "prm_...", "address": "..."}]`, when the state is choose.
    candidates = models.JSONField(default=list)
    # The lines that the answer rests on, as `eligibility.Line`'s fields in JSON, with the name
    # of the node and its free ports where they are counted: for staff alone.
    lines = models.JSONField(default=list)
    # The answer that a member of staff overrode with this one, who did, and why.
    overrides = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="overridden_by"
    )
    override_reason = models.CharField(max_length=300, blank=True, default="")
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # When it was settled that waited for a provider; None for all others.
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [
            ("override_servicequalification", "Can promise what an answer refused, with a reason")
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(overrides__isnull=True) | ~Q(override_reason=""),
                name="override_has_a_reason",
            )
        ]
        indexes = [
            # Demand: what people asked for lately and could not have.
            models.Index(
                fields=["asked_at"],
                condition=Q(state__in=["not_qualified", "out_of_footprint"]),
                name="answers_not_served",
            )
        ]

    def __str__(self) -> str:
        return f"{self.asked_text}: {self.get_state_display()}"

    @property
    def place_again(self) -> dict[str, Any]:
        """The place of this answer, as `qualify_address` is told of it when it is asked again."""
        if self.premises:
            return {"premises_id": self.premises.public_id}
        if self.latitude is not None:
            return {"latitude": self.latitude, "longitude": self.longitude}
        return {"text": self.asked_text}


class QualifiedOffer(models.Model):
    """One offering in the answer: what was promised of it, or why it is not available."""

    qualification = models.ForeignKey(
        ServiceQualification, on_delete=models.PROTECT, related_name="offers"
    )
    offering = models.ForeignKey(ProductOffering, on_delete=models.PROTECT, related_name="+")
    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, null=True, related_name="+")
    # None too where the provider itself said what it delivers.
    coverage = models.ForeignKey(
        CoverageArea, on_delete=models.PROTECT, null=True, related_name="+"
    )
    # What they were called then, for a reprint years later.
    offering_name = models.CharField(max_length=120, default="")
    provider_name = models.CharField(max_length=200, blank=True, default="")
    description = models.TextField(blank=True, default="")
    # What an aggregated plan was made of, as `[{"code": "...", "name": "..."}]`.
    parts = models.JSONField(default=list)
    # Of a partner product: it runs until it is cancelled, so it can be ordered with the line.
    is_subscription = models.BooleanField(default=False)
    confidence = models.CharField(
        max_length=6,
        choices=ServiceQualification.Confidence,
        default=ServiceQualification.Confidence.GREEN,
    )
    eligible = models.BooleanField()
    # Stable code and words, such as "no_free_port"; empty when eligible.
    reason_code = models.CharField(max_length=40, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    # Refused by the rules, and promised by a member of staff: see the answer's reason.
    overridden = models.BooleanField(default=False)
    # What comes closest to a refused plan and can be had; None where nothing does.
    alternative = models.ForeignKey(
        ProductOffering, on_delete=models.PROTECT, null=True, related_name="+"
    )
    # The day by which the network plans to reach the place, where that is why it was refused.
    planned_date = models.DateField(null=True)
    technology = models.PositiveSmallIntegerField(choices=Technology, null=True)
    download_kbps = models.PositiveBigIntegerField(null=True)
    upload_kbps = models.PositiveBigIntegerField(null=True)
    # Whether the line answers quickly; None for what comes with no line of its own.
    low_latency = models.BooleanField(null=True)
    # From order to use, with the building of the line where one must be built.
    install_days = models.PositiveSmallIntegerField(null=True)
    currency = models.CharField(max_length=3)
    one_off_amount = AmountField(default=0)
    recurring_amount = AmountField(default=0)
    # What building the line costs, beside the prices of the offering.
    construction_fee = AmountField(default=0)
    # The prices by use, in words: "1 TB included, then USD 10.00 for each started 50 GB".
    usage_terms = models.CharField(max_length=300, blank=True, default="")

    # Set on the rows of `queries.offers_of` alone: the offer of the same answer that `alternative`
    # is about, because that one has the name of then.
    closest: "QualifiedOffer | None"

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
