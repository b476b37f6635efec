"""Where the address servers run that are told of their pools, and how far they have been read."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from ipam.models.networks import NetworkField
from ipam.models.pools import AddressServer
from ipam.selection import DEVICE_MAX_LENGTH
from ispops.db import EncryptedTextField


class KeaServer(models.Model):
    """A Kea server of one family (kea-dhcp4 or kea-dhcp6) that an address server stands for.

    The files are on this machine, or mounted here; where one is not named it is not read.
    """

    server = models.ForeignKey(AddressServer, on_delete=models.PROTECT, related_name="kea_servers")
    family = models.PositiveSmallIntegerField(choices=[(4, "DHCPv4"), (6, "DHCPv6")], default=4)
    control_socket = models.CharField(max_length=100)
    # Its configuration backend: postgresql://user:password@host/database. Without one it is given
    # its whole configuration anew for each change.
    config_url = EncryptedTextField(blank=True, default="")
    server_tag = models.CharField(max_length=64, default="all")
    # The subnet of its pools, under the number that Kea knows it by.
    subnet_id = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    subnet = NetworkField()
    # Where ranges outside that subnet become subnets of their own.
    shared_network = models.CharField(max_length=120, blank=True, default="")
    lease_file = models.CharField(max_length=300, blank=True, default="")
    log_file = models.CharField(max_length=300, blank=True, default="")
    # How far the two were read: the number of the file, and the offset in it.
    leases_in = models.BigIntegerField(default=0)
    leases_to = models.BigIntegerField(default=0)
    log_in = models.BigIntegerField(default=0)
    log_to = models.BigIntegerField(default=0)
    # How many requests it gave nothing since it was started, as it said last.
    strangers_refused = models.BigIntegerField(default=0)
    refused_when_full = models.BigIntegerField(default=0)
    heard_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name = "Kea server"
        constraints = [
            models.UniqueConstraint(fields=["server", "family"], name="one_kea_a_family"),
            models.CheckConstraint(condition=Q(family__in=(4, 6)), name="kea_is_of_a_family"),
            models.CheckConstraint(condition=Q(subnet_id__gte=1), name="kea_subnet_has_a_number"),
        ]

    def __str__(self) -> str:
        return f"{self.server} ({self.get_family_display()})"


class RefusedDevice(models.Model):
    """A device that a Kea server gave nothing: one that it does not know, or one too many."""

    kea = models.ForeignKey(KeaServer, on_delete=models.CASCADE, related_name="refused_devices")
    device = models.CharField(max_length=DEVICE_MAX_LENGTH)
    times = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    # Nothing was free; otherwise no pool was for it.
    was_full = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kea", "device"], name="one_row_a_refused_device")
        ]
        indexes = [models.Index(fields=["last_at"], name="refused_by_age")]

    def __str__(self) -> str:
        return self.device
