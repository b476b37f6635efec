"""Lines that get their addresses by DHCP: the servers that hand them out, and what they hold."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from ipam.models import AddressServer
from ipam.selection import DEVICE_MAX_LENGTH
from ispops.catalog.models import Technology
from ispops.db import EncryptedTextField
from ispops.jobs import LeasedRow
from ispops.parties.models import Partner
from provisioning.models.services import Service


class DhcpServer(models.Model):
    """A subnet of a Kea server, where the lines of an access network get their addresses (IPoE).

    What it hands out are the pools of its address server; which line gets what is written into its
    database of hosts. Lines of all other networks log in by RADIUS.
    """

    address_server = models.OneToOneField(
        AddressServer, on_delete=models.PROTECT, related_name="dhcp"
    )
    provider = models.ForeignKey(Partner, on_delete=models.PROTECT, related_name="dhcp_servers")
    # Only the lines of this technology; None is all of the network's that have none of their own.
    technology = models.PositiveSmallIntegerField(choices=Technology, null=True, blank=True)
    # Where Kea keeps its hosts: postgresql://user:password@host/database.
    hosts_url = EncryptedTextField()
    # What Kea's configuration calls the subnet.
    subnet_id = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    # The circuit id that access nodes write into option 82; empty where they write none.
    circuit_id = models.CharField(max_length=120, blank=True, default="{node}/{port}")

    class Meta:
        verbose_name = "DHCP server"
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "technology"],
                nulls_distinct=False,
                name="one_dhcp_server_a_network",
            ),
            models.CheckConstraint(condition=Q(subnet_id__gte=1), name="dhcp_subnet_has_a_number"),
        ]

    def __str__(self) -> str:
        return str(self.address_server)


class DhcpReservation(LeasedRow):
    """What a line's device is to get from its DHCP server, and what the server was told last.

    It is due while the two differ. `device` is a hardware address, a DUID or a circuit id, as the
    server sees it; empty until it is known.
    """

    class Access(models.TextChoices):
        NONE = "none", "Not served"
        OPEN = "open", "Gets its address"
        WALLED_GARDEN = "walled_garden", "Gets an address of the walled garden"

    service = models.OneToOneField(
        Service, on_delete=models.PROTECT, related_name="dhcp_reservation"
    )
    dhcp_server = models.ForeignKey(
        DhcpServer, on_delete=models.PROTECT, related_name="reservations"
    )
    device = models.CharField(max_length=DEVICE_MAX_LENGTH, blank=True, default="")
    # A person named the device; otherwise it is the circuit of the line's port.
    is_named = models.BooleanField(default=False)
    address = models.GenericIPAddressField(protocol="IPv4", null=True, blank=True)
    access = models.CharField(max_length=14, choices=Access, default=Access.NONE)
    # Raised by whoever changes what the server should have; it has what `written_revision` says.
    revision = models.PositiveIntegerField(default=1)
    written_revision = models.PositiveIntegerField(default=0)
    written_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name = "DHCP reservation"
        constraints = [
            models.UniqueConstraint(
                fields=["dhcp_server", "device"],
                condition=~Q(device=""),
                name="one_reservation_a_device",
            ),
            models.UniqueConstraint(
                fields=["dhcp_server", "address"],
                condition=Q(address__isnull=False),
                name="one_reservation_an_address",
            ),
            models.CheckConstraint(
                # Without an address its server chooses one.
                condition=Q(access="none") | ~Q(device=""),
                name="served_device_is_known",
            ),
            models.CheckConstraint(
                condition=Q(written_revision__lte=F("revision")),
                name="nothing_is_written_before_it_is_wanted",
            ),
            models.CheckConstraint(
                condition=Q(written_revision__lt=F("revision")) | Q(next_attempt_at__isnull=True),
                name="written_reservation_is_not_due",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="dhcp_reservation_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.device or 'unknown device'} at {self.dhcp_server}"
