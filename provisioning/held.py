"""Whose addresses somebody may see: those of its own lines, and what is true of such a line.

What holds addresses names its service by public id only, because ipam knows nothing of services.
"""

from django.db.models import Exists, OuterRef, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat, Replace

from ispops.parties.models import Partner, User
from provisioning.models import DhcpReservation, Service


def lines_on(partner: Partner) -> QuerySet[Service]:
    """Return the lines of subscribers that a partner's network carries, or carried."""
    return Service.objects.filter(line__isnull=True, offering__provider=partner)


def lines_of_login(user: User) -> QuerySet[Service]:
    """Return the lines of the accounts that a login belongs to, those that ended too."""
    return Service.objects.filter(line__isnull=True, subscriber__users=user)


def belongs_to(lines: QuerySet[Service], *, subscriber: str, service_ref: str) -> Exists:
    """Say of rows that name a subscriber and a service whether the service is one of these lines.

    By the subscriber first, who has few, so that each row costs a probe of an index.
    """
    written = TextField()
    hexadecimal = Replace(Cast("pk", written), Value("-"), Value(""), output_field=written)
    prefix = Value(f"{Service.PREFIX}_", output_field=written)
    named = lines.alias(ref=Concat(prefix, hexadecimal, output_field=written))
    return Exists(named.filter(subscriber=OuterRef(subscriber), ref=OuterRef(service_ref)))


def why_not_served(line: Service) -> str:
    """Say in words why a line gets no address now; empty when it does.

    A server that is told of addresses alone cannot keep a line in the walled garden, so a suspended
    one gets none from it.
    """
    return {
        Service.State.RESERVED: "This line is not switched on yet.",
        Service.State.SUSPENDED: "This line is suspended.",
        Service.State.CEASED: "This line has been ended.",
    }.get(Service.State(line.state), "")


def is_reserved(line: Service) -> bool:
    """Say whether a DHCP server is told to keep an address for a line until the line ends."""
    return DhcpReservation.objects.filter(service=line, address__isnull=False).exists()
