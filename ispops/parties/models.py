"""The people and companies the ISP deals with, and what they were told and did."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.functions import Lower, Right

from ispops.db import EncryptedTextField, PublicIdModel
from ispops.jobs import LeasedRow
from ispops.money import AmountField


class UserManager(BaseUserManager["User"]):
    """Makes users that log in by e-mail."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractUser):
    """A login: of a subscriber's household, of the ISP's staff, or of a partner's program."""

    username = None  # type: ignore[assignment]  # people log in by e-mail
    email = models.EmailField("e-mail address", unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_once")]

    def __str__(self) -> str:
        return self.email


# What makes two ways to write a telephone number one: its last ten digits.
PHONE_DIGITS = Right(
    Func("phone", Value(r"\D"), Value(""), Value("g"), function="regexp_replace"), 10
)


class Subscriber(PublicIdModel):
    """The account that pays: a household or a business, with users, premises and services."""

    PREFIX = "sub"

    class Kind(models.TextChoices):
        CONSUMER = "consumer", "Consumer"
        BUSINESS = "business", "Business"

    class Standing(models.TextChoices):
        GOOD = "good", "In good standing"
        RESTRICTED = "restricted", "Restricted"
        CLOSED = "closed", "Closed"

    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.CONSUMER)
    email = models.EmailField()
    phone = models.CharField(max_length=40, blank=True, default="")
    standing = models.CharField(max_length=12, choices=Standing, default=Standing.GOOD)
    currency = models.CharField(max_length=3)
    billing_anchor_day = models.PositiveSmallIntegerField(default=1)
    # The version accepted last; `TermsAcceptance` keeps who accepted each, when and how.
    terms_version = models.CharField(max_length=20)
    terms_accepted_at = models.DateTimeField()
    # What may be bought from third parties in one billing period; None is no limit.
    spending_limit = AmountField(null=True, blank=True)
    # What the subscriber sets for itself below that; see `ispops.parties.own_limits`.
    own_limit = AmountField(null=True, blank=True)
    # Partners' products are paid ahead: what is paid in has to cover them; see `rating.prepaid`.
    is_prepaid = models.BooleanField(default=False)
    users = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="subscribers", blank=True)
    created_at = models.DateTimeField()

    class Meta:
        permissions = [("register_on_behalf", "Can register a subscriber on their behalf")]
        constraints = [
            models.CheckConstraint(
                condition=Q(billing_anchor_day__range=(1, 31)), name="subscriber_anchor_is_a_day"
            ),
            models.CheckConstraint(
                condition=Q(own_limit__isnull=True) | Q(own_limit__gte=0),
                name="own_limit_is_not_below_zero",
            ),
        ]
        # To find an account that its owner has forgotten: see `ispops.parties.people`.
        indexes = [
            models.Index(PHONE_DIGITS, name="subscriber_by_phone"),
            models.Index(Lower("email"), name="subscriber_by_email"),
            models.Index(Lower("name"), name="subscriber_by_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def may_spend(self) -> Decimal | None:
        """What may be bought from third parties in a billing period: the lower of both limits."""
        limits = [one for one in (self.spending_limit, self.own_limit) if one is not None]
        return min(limits, default=None)


class TermsVersion(models.Model):
    """The terms of service as they were published once; a change of them is a new version.

    The newest row is in force. No row is ever changed, because people have accepted it.
    """

    version = models.CharField(max_length=20, unique=True)
    # Markdown, without HTML.
    text = models.TextField()
    published_at = models.DateTimeField()
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        permissions = [("publish_termsversion", "Can publish new terms of service")]

    def __str__(self) -> str:
        return self.version


class TermsAcceptance(models.Model):
    """That a subscriber agreed to a version of the terms: who said so, when, where and how."""

    class Channel(models.TextChoices):
        PORTAL = "portal", "Portal"
        CLIENT = "client", "Client software"
        CSR = "csr", "CSR"

    class How(models.TextChoices):
        SCREEN = "screen", "On a screen"
        VOICE = "voice", "By voice"
        PAPER = "paper", "On paper"

    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, related_name="terms_acceptances"
    )
    version = models.ForeignKey(TermsVersion, on_delete=models.PROTECT, related_name="+")
    accepted_at = models.DateTimeField()
    channel = models.CharField(max_length=8, choices=Channel)
    how = models.CharField(max_length=8, choices=How, default=How.SCREEN)
    # Whose login accepted them, or which member of staff heard or read it.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    ip = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subscriber", "version"], name="terms_accepted_once"),
            models.CheckConstraint(
                condition=Q(channel="csr") | Q(how="screen"), name="only_a_csr_takes_terms_down"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} by {self.subscriber}"


class SubscriberCheck(PublicIdModel, LeasedRow):
    """That somebody looked, or has to look, into who a subscriber is, or whether they pay.

    One for which a checker outside is asked is due until that has answered; what it refers, and
    what it does not answer, staff decide.
    """

    PREFIX = "chk"

    class Kind(models.TextChoices):
        IDENTITY = "identity", "Identity"
        CREDIT = "credit", "Credit"

    class State(models.TextChoices):
        ASKING = "asking", "Being asked"
        PENDING = "pending", "To be decided"
        PASSED = "passed", "Passed"
        REFUSED = "refused", "Refused"

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="checks")
    kind = models.CharField(max_length=8, choices=Kind)
    state = models.CharField(max_length=7, choices=State, default=State.PENDING)
    asked_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    # None where it was no person who decided.
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.CharField(max_length=300, blank=True, default="")
    # Why staff have to decide where a checker was asked, and the checker's own name of the case.
    referral = models.CharField(max_length=300, blank=True, default="")
    reference = models.CharField(max_length=100, blank=True, default="")

    class Meta:
        permissions = [("decide_subscribercheck", "Can pass or refuse a check")]
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber", "kind"],
                condition=~Q(state="refused"),
                name="one_standing_check_a_kind",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["asking", "pending"], decided_at__isnull=True)
                | ~Q(state__in=["asking", "pending"]) & Q(decided_at__isnull=False) & ~Q(reason=""),
                name="decided_check_says_when_and_why",
            ),
            models.CheckConstraint(
                condition=Q(state="asking", next_attempt_at__isnull=False)
                | ~Q(state="asking") & Q(next_attempt_at__isnull=True, leased_until__isnull=True),
                name="check_is_due_while_asked",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="subscriber_check_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.subscriber}"


class CheckInquiry(models.Model):
    """One time that a checker outside was asked: what was said, what came back, and what of it.

    Names, addresses and secrets are masked in both.
    """

    class Outcome(models.TextChoices):
        PASSED = "passed", "Passed"
        REFERRED = "referred", "Left to staff"
        REFUSED = "refused", "Refused"
        RETRY = "retry", "Will be asked again"
        PARKED = "parked", "Given up"

    subscriber_check = models.ForeignKey(
        SubscriberCheck, on_delete=models.PROTECT, related_name="inquiries"
    )
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=Outcome)
    detail = models.CharField(max_length=300)
    request = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    reply = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name_plural = "check inquiries"

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: {self.detail}"


class CheckProvider(models.Model):
    """The checker outside that is asked for one kind of check, and whether it answers."""

    kind = models.CharField(max_length=8, choices=SubscriberCheck.Kind, unique=True)
    # While `open_until` is set it has failed too often in a row; see `ispops.breaker`.
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} checks"


class PaymentMethod(PublicIdModel):
    """How a subscriber pays, by a name that the payment gateway knows; never a card's number."""

    PREFIX = "pay"

    class Kind(models.TextChoices):
        INVOICE = "invoice", "Invoice"
        BANK_TRANSFER = "bank_transfer", "Bank transfer"
        CARD = "card", "Card"

    class State(models.TextChoices):
        PENDING = "pending", "Not confirmed yet"
        ACTIVE = "active", "In use"
        ENDED = "ended", "No longer used"

    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, related_name="payment_methods"
    )
    kind = models.CharField(max_length=13, choices=Kind)
    # A name from `ispops.parties.gateways.registry`.
    gateway = models.CharField(max_length=20)
    # What the gateway calls it: a mandate's number, a Stripe payment method.
    reference = models.CharField(max_length=100, blank=True, default="")
    # For people: "Visa ending 4242".
    label = models.CharField(max_length=100)
    state = models.CharField(max_length=7, choices=State)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber"], condition=Q(state="active"), name="one_way_to_pay"
            ),
            models.UniqueConstraint(
                fields=["gateway", "reference"],
                condition=~Q(reference=""),
                name="payment_reference_once",
            ),
            models.CheckConstraint(
                condition=Q(state="ended", ended_at__isnull=False)
                | ~Q(state="ended") & Q(ended_at__isnull=True),
                name="ended_payment_method_says_when",
            ),
        ]

    def __str__(self) -> str:
        return self.label


class Invitation(PublicIdModel):
    """A letter with which somebody makes the login of an account that was opened for them.

    One is open for an account at a time; a new one ends the one before.
    """

    PREFIX = "inv"

    subscriber = models.ForeignKey(Subscriber, on_delete=models.PROTECT, related_name="invitations")
    email = models.EmailField()
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subscriber"],
                condition=Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="one_open_invitation_an_account",
            ),
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True, accepted_by__isnull=True)
                | Q(accepted_at__isnull=False, accepted_by__isnull=False),
                name="accepted_invitation_says_by_whom",
            ),
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True) | Q(withdrawn_at__isnull=True),
                name="withdrawn_invitation_is_not_accepted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.subscriber}"

    def state_at(self, at: datetime) -> str:
        """Say in a word what has become of it: open, accepted, withdrawn or expired."""
        if self.accepted_at is not None:
            return "accepted"
        if self.withdrawn_at is not None:
            return "withdrawn"
        return "expired" if self.expires_at <= at else "open"


class Partner(models.Model):
    """A network provider or a BSP, as a party with API credentials and a settlement account."""

    class Kind(models.TextChoices):
        NETWORK_PROVIDER = "network_provider", "Network provider"
        BSP = "bsp", "Broadband service provider"

    code = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=Kind)
    # The ISP's own access network is a network provider too.
    is_on_net = models.BooleanField(default=False)
    contact_email = models.EmailField(blank=True, default="")
    webhook_url = models.URLField(blank=True, default="")
    webhook_secret = EncryptedTextField(blank=True, default="")
    # While a secret is being changed, messages are signed by both.
    old_webhook_secret = EncryptedTextField(blank=True, default="")
    old_webhook_secret_until = models.DateTimeField(null=True, blank=True)
    # What the FCC knows a network by: a number that it gives, kept as text, and the name on sale.
    fcc_provider_id = models.CharField(
        "FCC provider id",
        max_length=6,
        blank=True,
        default="",
        validators=[RegexValidator(r"^[0-9]{6}\Z", "It has six digits.")],
    )
    brand_name = models.CharField(max_length=100, blank=True, default="")
    # The login that owns the partner's API clients.
    service_user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="partner", null=True
    )
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_on_net=False) | Q(kind="network_provider"),
                name="only_a_network_is_on_net",
            ),
            models.CheckConstraint(
                condition=Q(webhook_url="") | ~Q(webhook_secret=""),
                name="webhooks_are_signed",
            ),
            models.CheckConstraint(
                condition=Q(fcc_provider_id="")
                | Q(fcc_provider_id__regex=r"^[0-9]{6}$", kind="network_provider"),
                name="fcc_provider_id_has_its_form",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(PublicIdModel, LeasedRow):
    """One signed message to a partner, at least once, in order for each object."""

    PREFIX = "msg"

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        DELIVERED = "delivered", "Delivered"
        PARKED = "parked", "Needs a person"

    partner = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="webhooks")
    kind = models.CharField(max_length=80)
    subject = models.CharField(max_length=80)
    sequence = models.PositiveIntegerField()
    body = models.JSONField(encoder=DjangoJSONEncoder)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    response_status = models.PositiveSmallIntegerField(null=True)
    # How the last answer began.
    response_text = models.CharField(max_length=1_000, blank=True, default="")
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        permissions = [("replay_webhookdelivery", "Can send a webhook again")]
        constraints = [
            models.UniqueConstraint(
                fields=["partner", "subject", "sequence"], name="webhook_sequence_once"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", next_attempt_at__isnull=False)
                | Q(state="delivered", delivered_at__isnull=False, next_attempt_at__isnull=True)
                | Q(state="parked", next_attempt_at__isnull=True),
                name="only_a_waiting_webhook_is_due",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(state="pending"), name="webhook_due"
            ),
            models.Index(fields=["partner", "-created_at"], name="webhook_of_partner"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} to {self.partner}"


class AuditEntry(models.Model):
    """What a member of staff, a subscriber or a program did, when, to what, and why."""

    at = models.DateTimeField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    # Words for who acted when it was no login: "worker", "aaa server north".
    actor_name = models.CharField(max_length=200)
    action = models.CharField(max_length=80)
    subject = models.CharField(max_length=80)
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.PROTECT, null=True, related_name="audit_entries"
    )
    reason = models.TextField(blank=True, default="")
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["subscriber", "-at"], name="audit_by_subscriber")]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.subject}"
