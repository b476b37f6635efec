"""What people ask for and answer about purchases and charges: models of `rating.models`, in a file
of their own."""

from django.conf import settings
from django.db import models
from django.db.models import PROTECT, CheckConstraint, F, ForeignKey, Index, Q, UniqueConstraint

from ispops.catalog.models import ProductOffering
from ispops.db import PublicIdModel
from ispops.money import AmountField
from ispops.parties.models import Partner, Subscriber
from provisioning.models import Service
from rating.charged import charge_key


class Dispute(PublicIdModel):
    """That somebody holds a charge to be wrong: the subscriber who pays it, or a partner its share.

    The charge stays as it is, and stays on the bill, until somebody answers.
    """

    PREFIX = "dsp"

    class State(models.TextChoices):
        OPEN = "open", "Waiting for our answer"
        UPHELD = "upheld", "Upheld"
        REJECTED = "rejected", "Rejected"

    charge = charge_key("disputes")
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="disputes")
    # None where the subscriber disputes what is to be paid.
    partner = ForeignKey(Partner, PROTECT, null=True, blank=True, related_name="disputes")
    words = models.CharField(max_length=1000)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    opened_at = models.DateTimeField()
    opened_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    answer = models.CharField(max_length=300, blank=True, default="")
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    # What was given back to the subscriber, or put right in the partner's share.
    correction = models.OneToOneField(
        "rating.Charge", PROTECT, null=True, blank=True, related_name="upholds", db_constraint=False
    )

    class Meta:
        permissions = [("answer_dispute", "Can answer a dispute")]
        constraints = [
            UniqueConstraint(
                fields=["charge", "partner"],
                condition=Q(state="open"),
                nulls_distinct=False,
                name="one_open_dispute_of_a_charge",
            ),
            CheckConstraint(
                condition=Q(state="open", answered_at__isnull=True, answer="")
                | ~Q(state="open") & Q(answered_at__isnull=False) & ~Q(answer=""),
                name="answered_dispute_says_when_and_why",
            ),
            CheckConstraint(
                condition=Q(state="upheld", correction__isnull=False)
                | ~Q(state="upheld") & Q(correction__isnull=True),
                name="upheld_dispute_has_a_correction",
            ),
        ]
        indexes = [Index(fields=["opened_at"], condition=Q(state="open"), name="dispute_open")]

    def __str__(self) -> str:
        return f"{self.charge} disputed by {self.partner or self.subscriber}"


class PurchaseRequest(PublicIdModel):
    """That a partner would like to sell something to a subscriber, who has to agree first."""

    PREFIX = "prq"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the subscriber"
        AGREED = "agreed", "Agreed"
        DECLINED = "declined", "Declined"
        EXPIRED = "expired", "Not answered in time"
        WITHDRAWN = "withdrawn", "Withdrawn by the partner"

    partner = ForeignKey(Partner, PROTECT, related_name="purchase_requests")
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="purchase_requests")
    line = ForeignKey(Service, PROTECT, related_name="+")
    offering = ForeignKey(ProductOffering, PROTECT, related_name="+")
    # What the partner says to the subscriber about it.
    words = models.CharField(max_length=300, blank=True, default="")
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            UniqueConstraint(fields=["partner", "idempotency_key"], name="purchase_requested_once"),
            CheckConstraint(
                condition=Q(state="waiting", answered_at__isnull=True)
                | ~Q(state="waiting") & Q(answered_at__isnull=False),
                name="answered_request_says_when",
            ),
            CheckConstraint(
                condition=Q(expires_at__gt=F("requested_at")), name="request_can_be_answered"
            ),
        ]
        indexes = [
            Index(fields=["expires_at"], condition=Q(state="waiting"), name="request_waiting")
        ]

    def __str__(self) -> str:
        return f"{self.offering} for {self.subscriber}"


class StandingConsent(PublicIdModel):
    """That a subscriber lets one partner sell single things up to an amount a month, unasked.

    Another amount is another row; the one before ends.
    """

    PREFIX = "stc"

    subscriber = ForeignKey(Subscriber, PROTECT, related_name="standing_consents")
    partner = ForeignKey(Partner, PROTECT, related_name="standing_consents")
    # With tax, in a calendar month of the ISP's time zone.
    monthly_limit = AmountField()
    currency = models.CharField(max_length=3)
    # The words that were agreed to.
    shown = models.CharField(max_length=500)
    given_at = models.DateTimeField()
    given_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["subscriber", "partner"],
                condition=Q(ended_at__isnull=True),
                name="one_standing_consent_a_partner",
            ),
            CheckConstraint(condition=Q(monthly_limit__gt=0), name="standing_consent_is_for_some"),
        ]

    def __str__(self) -> str:
        return f"{self.partner} by {self.subscriber}"


class PurchaseConsent(PublicIdModel):
    """That a subscriber agreed to what a partner asked for: who, when, and what was shown.

    Never changed. Given by a login, or by the standing consent that covers it.
    """

    PREFIX = "con"

    request = models.OneToOneField(PurchaseRequest, PROTECT, related_name="consent")
    subscriber = ForeignKey(Subscriber, PROTECT, related_name="purchase_consents")
    partner = ForeignKey(Partner, PROTECT, related_name="+")
    user = ForeignKey(settings.AUTH_USER_MODEL, PROTECT, null=True, related_name="+")
    standing = ForeignKey(StandingConsent, PROTECT, null=True, related_name="uses")
    channel = models.CharField(max_length=8)
    # What it costs at once, with tax, and the month that counts it.
    amount = AmountField()
    month_start = models.DateTimeField()
    shown = models.JSONField()
    given_at = models.DateTimeField()

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(user__isnull=False, standing__isnull=True)
                | Q(user__isnull=True, standing__isnull=False),
                name="consent_is_given_by_somebody",
            ),
            CheckConstraint(condition=Q(amount__gte=0), name="consent_is_to_an_amount"),
        ]
        indexes = [Index(fields=["subscriber", "partner", "month_start"], name="consent_by_month")]

    def __str__(self) -> str:
        return f"{self.subscriber} to {self.partner}"


class Reservation(PublicIdModel):
    """An amount that is held for a partner, which uses it in parts and gives back the rest.

    It counts against the subscriber's spending limit and the standing consent that it is by, until
    it is released or its time is over. TM Forum: ReserveBalance (TMF654).
    """

    PREFIX = "rsv"

    subscriber = ForeignKey(Subscriber, PROTECT, related_name="reservations", db_index=False)
    partner = ForeignKey(Partner, PROTECT, related_name="reservations", db_index=False)
    offering = ForeignKey(ProductOffering, PROTECT, related_name="+", db_index=False)
    standing = ForeignKey(StandingConsent, PROTECT, related_name="reservations")
    idempotency_key = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    # How much is held before tax, and what of it was used; with tax beside it.
    net = AmountField()
    amount = AmountField()
    used_net = AmountField(default=0)
    used_amount = AmountField(default=0)
    # Where units are held and no amount: what one costs before tax.
    units = models.PositiveBigIntegerField(null=True, blank=True)
    unit_net = AmountField(null=True, blank=True)
    # The billing period whose spending limit it is within, and the month of the consent.
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    month_start = models.DateTimeField()
    held_at = models.DateTimeField()
    held_until = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [("release_reservation", "Can release what is held for a partner")]
        constraints = [
            UniqueConstraint(fields=["partner", "idempotency_key"], name="reserved_once"),
            CheckConstraint(
                condition=Q(net__gt=0, amount__gte=F("net"), used_net__gte=0, used_amount__gte=0)
                & Q(used_net__lte=F("net"), used_amount__lte=F("amount")),
                name="no_more_is_used_than_was_held",
            ),
            CheckConstraint(
                condition=Q(held_until__gt=F("held_at")), name="reservation_lasts_some_time"
            ),
            CheckConstraint(
                condition=Q(units__isnull=True, unit_net__isnull=True)
                | Q(units__gt=0, unit_net__gt=0),
                name="held_units_have_a_price",
            ),
        ]
        indexes = [
            Index(
                fields=["subscriber", "held_until"],
                condition=Q(released_at__isnull=True),
                name="reservation_live",
            ),
            # What a consent has left is added up for each hold: of its month, and no earlier one.
            Index(fields=["subscriber", "partner", "month_start"], name="reservation_of_month"),
        ]

    def __str__(self) -> str:
        return f"{self.offering} for {self.subscriber}"


class ReservationUse(models.Model):
    """A part of a reservation that a partner used, and the charge that it made. Never changed."""

    reservation = ForeignKey(Reservation, PROTECT, related_name="uses", db_index=False)
    idempotency_key = models.CharField(max_length=200)
    net = AmountField()
    charge = models.OneToOneField("rating.Charge", PROTECT, related_name="+", db_constraint=False)
    used_at = models.DateTimeField()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["reservation", "idempotency_key"], name="used_once"),
            CheckConstraint(condition=Q(net__gt=0), name="something_is_used"),
        ]

    def __str__(self) -> str:
        return f"{self.net} of {self.reservation_id}"
