"""The network side of lines: logins, access servers and what those report."""

from django.db import models
from django.db.models import Q

from ipam.models import AddressServer
from ispops.db import EncryptedTextField
from provisioning.models.services import Service


class AaaCredential(models.Model):
    """The name and secret with which a line's equipment logs in to the network."""

    service = models.OneToOneField(Service, on_delete=models.PROTECT, related_name="credential")
    username = models.CharField(max_length=120, unique=True)
    secret = EncryptedTextField()
    enabled = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.username


class AccessServer(models.Model):
    """A network access server (BNG, CMTS, OLT) whose sessions are accounted."""

    name = models.SlugField(unique=True)
    nas_ip = models.GenericIPAddressField(unique=True)
    # Many devices count the subscriber's download as Acct-Input-Octets, against RFC 2866.
    counters_reversed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


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
    # Written once, by metering, in the transaction that turns the record into usage.
    metered_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"], condition=Q(metered_at__isnull=True), name="accounting_to_meter"
            ),
            models.Index(fields=["username", "-id"], name="accounting_by_user"),
        ]

    def __str__(self) -> str:
        return f"{self.status_type} {self.session_id}"
