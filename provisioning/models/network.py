"""The network side of lines: logins, access servers and what those report."""

from django.db import models
from django.db.models import F, Q

from ipam.models import AddressServer
from ispops.db import EncryptedTextField
from ispops.jobs import LeasedRow
from provisioning.models.services import Service


class AaaCredential(models.Model):
    """The name and secret with which a line's equipment logs in to the network.

    Beside them stands what the line gets when it comes in, ready to be served. Whoever changes that
    raises `revision`, and every session that was let in under an older one is brought up to date.
    """

    class Treatment(models.TextChoices):
        NORMAL = "", "Let in"
        WALLED_GARDEN = "walled_garden", "Sees only the page that says why"
        BLOCK = "block", "Not let in"

    service = models.OneToOneField(Service, on_delete=models.PROTECT, related_name="credential")
    username = models.CharField(max_length=120, unique=True)
    secret = EncryptedTextField()
    enabled = models.BooleanField(default=False)
    treatment = models.CharField(max_length=14, choices=Treatment, blank=True, default="")
    # The speed in force; None is the plan's.
    download_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    upload_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    # A speed that replaces the plan's until it is taken back: a boost, or less for heavy use.
    instead_download_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    instead_upload_kbps = models.PositiveBigIntegerField(null=True, blank=True)
    # How many sessions the line may have at once; None is as many as it has addresses.
    sessions_at_once = models.PositiveSmallIntegerField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(download_kbps__isnull=True, upload_kbps__isnull=True)
                | Q(download_kbps__gt=0, upload_kbps__gt=0),
                name="credential_speed_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(instead_download_kbps__isnull=True, instead_upload_kbps__isnull=True)
                | Q(instead_download_kbps__gt=0, instead_upload_kbps__gt=0),
                name="credential_instead_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.username


class ProfileRevision(models.Model):
    """What a line got on the network from one revision of its profile on; written once.

    A session names the revision that it runs with, so this is what it has.
    """

    credential = models.ForeignKey(
        AaaCredential, on_delete=models.PROTECT, related_name="revisions"
    )
    revision = models.PositiveIntegerField()
    enabled = models.BooleanField()
    treatment = models.CharField(max_length=14, choices=AaaCredential.Treatment, blank=True)
    download_kbps = models.PositiveBigIntegerField()
    upload_kbps = models.PositiveBigIntegerField()
    made_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "revision"], name="one_profile_a_revision"
            )
        ]

    def __str__(self) -> str:
        return f"{self.credential_id}, revision {self.revision}"


class AccessServer(models.Model):
    """A network access server (BNG, CMTS, OLT) whose sessions are accounted.

    With a `radius_secret` it is a client of our RADIUS servers; with a `coa_secret` it also takes
    changes of a live session and disconnects (RFC 5176).
    """

    class Kind(models.TextChoices):
        WISPR = "wispr", "WISPr attributes"
        MIKROTIK = "mikrotik", "MikroTik"
        CISCO = "cisco", "Cisco"
        JUNIPER = "juniper", "Juniper"
        HUAWEI = "huawei", "Huawei"
        NOKIA = "nokia", "Nokia"

    name = models.SlugField(unique=True)
    nas_ip = models.GenericIPAddressField(unique=True)
    # Many devices count the subscriber's download as Acct-Input-Octets, against RFC 2866.
    counters_reversed = models.BooleanField(default=False)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.WISPR)
    # What it shares with FreeRADIUS, and where its packets come from if not from NAS-IP-Address.
    radius_secret = EncryptedTextField(blank=True, default="")
    radius_source = models.GenericIPAddressField(null=True, blank=True)
    # Where it listens for changes; without a host, at its NAS-IP-Address.
    coa_host = models.GenericIPAddressField(null=True, blank=True)
    coa_port = models.PositiveIntegerField(default=3799)
    coa_secret = EncryptedTextField(blank=True, default="")
    # RFC 5176, 3.3: a packet may be thrown away whose Event-Timestamp is not about now. One whose
    # clock is wrong throws all of them away; without the time it takes them.
    coa_says_when = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class AccessSession(LeasedRow):
    """One session of a line on an access server: who is online, since when, where and as what.

    It follows the accounting messages. It is due when the line's profile has a newer revision than
    the session runs with; what was tried is in its commands. Never the base of a charge.
    """

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="access_sessions")
    username = models.CharField(max_length=250)
    unique_session_id = models.CharField(max_length=64)
    session_id = models.CharField(max_length=120)
    session_class = models.CharField(max_length=80, blank=True, default="")
    nas_ip = models.GenericIPAddressField(null=True)
    calling_station_id = models.CharField(max_length=130, blank=True, default="")
    framed_ip = models.GenericIPAddressField(null=True)
    started_at = models.DateTimeField()
    last_heard_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_cause = models.CharField(max_length=40, blank=True, default="")
    # Its address is another's soon: it is ended, whatever it could be changed to.
    must_end = models.BooleanField(default=False)
    applied_revision = models.PositiveIntegerField(default=0)
    # The last revision that its access server was asked for; it may have it, if no answer came.
    asked_revision = models.PositiveIntegerField(default=0)
    # Why a person is needed to bring it up to date.
    trouble = models.CharField(max_length=40, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["unique_session_id"],
                condition=Q(ended_at__isnull=True),
                name="one_open_row_a_session",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(next_attempt_at__isnull=True),
                name="ended_session_is_not_due",
            ),
        ]
        indexes = [
            models.Index(
                fields=["service"], condition=Q(ended_at__isnull=True), name="session_open_of_line"
            ),
            models.Index(fields=["service", "-started_at"], name="session_of_line"),
            # A late message is of a session that has ended.
            models.Index(fields=["unique_session_id", "-started_at"], name="session_by_id"),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="session_due",
            ),
            models.Index(
                fields=["last_heard_at"],
                condition=Q(ended_at__isnull=True),
                name="session_last_heard",
            ),
            models.Index(
                fields=["last_heard_at"],
                condition=Q(ended_at__isnull=True) & ~Q(trouble=""),
                name="session_in_trouble",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} of {self.username}"


class SessionCommand(models.Model):
    """One packet that told an access server to change or end a live session, and what it said.

    `request` and `reply` are attributes by name, secrets masked.
    """

    class Kind(models.TextChoices):
        CHANGE = "change", "Change of authorization"
        DISCONNECT = "disconnect", "Disconnect"

    class Outcome(models.TextChoices):
        ACKNOWLEDGED = "acknowledged", "Done"
        REFUSED = "refused", "Refused"
        GONE = "gone", "The session was not there"
        NO_ANSWER = "no_answer", "No answer"

    session = models.ForeignKey(AccessSession, on_delete=models.PROTECT, related_name="commands")
    kind = models.CharField(max_length=10, choices=Kind)
    revision = models.PositiveIntegerField()
    sent_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=12, choices=Outcome)
    detail = models.CharField(max_length=300, blank=True, default="")
    request = models.JSONField(default=dict)
    reply = models.JSONField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.kind} of {self.session_id}: {self.outcome}"


class AccountingRecord(models.Model):
    """One RADIUS accounting message as it came, kept before it was acknowledged (RFC 2866).

    `status_type` is FreeRADIUS's word: Start, Interim-Update, Stop, Accounting-On, Accounting-Off.
    """

    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="+")
    status_type = models.CharField(max_length=20)
    session_id = models.CharField(max_length=120)
    unique_session_id = models.CharField(max_length=64)
    # The Class that we gave when we let the session in: the service's id and a random part.
    session_class = models.CharField(max_length=80, blank=True, default="")
    username = models.CharField(max_length=250, blank=True, default="")
    nas_ip = models.GenericIPAddressField(null=True)
    calling_station_id = models.CharField(max_length=130, blank=True, default="")
    framed_ip = models.GenericIPAddressField(null=True)
    session_seconds = models.PositiveBigIntegerField(default=0)
    input_octets = models.PositiveBigIntegerField(default=0)
    output_octets = models.PositiveBigIntegerField(default=0)
    # None when the device does not send the wrap words at all.
    input_gigawords = models.PositiveBigIntegerField(null=True)
    output_gigawords = models.PositiveBigIntegerField(null=True)
    terminate_cause = models.CharField(max_length=40, blank=True, default="")
    delay_seconds = models.PositiveIntegerField(default=0)
    event_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["username", "-id"], name="accounting_by_user"),
            models.Index(
                fields=["nas_ip", "event_at"],
                condition=Q(status_type__in=["Accounting-On", "Accounting-Off"]),
                name="accounting_restarts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status_type} {self.session_id}"


class WaitingAccounting(models.Model):
    """The queues of stored messages: those of one INSERT that a reader has not seen yet.

    The database adds them with the messages, so whatever is committed waits, in whatever order the
    ids were given. A row is a range of ids and not one message, because to mark each message costs
    more than reading it. See `provisioning.waiting`.
    """

    class Reader(models.TextChoices):
        METERING = "metering", "Counts what was used"
        SESSIONS = "sessions", "Follows who is online"

    reader = models.CharField(max_length=10, choices=Reader)
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "waiting accounting"
        constraints = [
            models.UniqueConstraint(fields=["reader", "first"], name="waiting_accounting_once"),
            models.CheckConstraint(
                condition=Q(last__gte=F("first")), name="waiting_accounting_is_a_range"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first} to {self.last} for {self.reader}"
