"""The second device of a line by DHCP, where we choose the addresses (figure 11).

A line's reservation is of its port, so its second device would get nothing, and Kea would not say
of which line it was. Instead it gets a first lease of the walled garden, by which it is seen. Then
ipam is asked for an address for it, as an address server asks, and decides by the plan: an address,
charged or not; the walled garden while somebody is asked; or nothing.

A router in the place of another one is no second device: until the old one's lease has run out it
is in the garden, and then it gets the line's address. So nobody is asked before the server has
heard of both.
"""

from collections.abc import Collection
from datetime import datetime

from ipam import allocation, selection
from ipam.models import OverallocationRequest
from ipam.observed import Beyond
from ipam.servers.base import AddressServerAdapter
from provisioning import dhcp_telling, reservations
from provisioning.models import DhcpReservation, DhcpServer, Service

Outcome = allocation.Outcome
Access = DhcpReservation.Access


def see_to(
    dhcp: DhcpServer, adapter: AddressServerAdapter, device: Beyond, *, at: datetime
) -> None:
    """Decide about a device in the walled garden, and tell the server. Safe to repeat.

    Raises:
        TransientFault, PermanentFault: the server, or its database, is away or refused.
    """
    held = _served(dhcp, device.service_ref)
    if held is None or held.address is None:
        return
    holder = adapter.holder_of(held.address)
    if holder is None or _is_it(holder.device, device.device):
        return
    if holder.heard_at > device.since:
        _decide(dhcp, held.service, device.device, at)


def let_in(*, service: Service, device: str, at: datetime) -> None:
    """Give a device its address at once when it was granted, without waiting for it to be seen."""
    held = DhcpReservation.objects.select_related("dhcp_server__address_server").filter(
        service=service, access=Access.OPEN, address__isnull=False
    ).first()  # fmt: skip
    if held is None:
        return
    answer = allocation.request_addresses(
        service_ref=service.public_id, device=device, server=held.dhcp_server.address_server,
        at=at, lease=reservations.FOR_GOOD,
    )  # fmt: skip
    if answer.outcome == Outcome.GRANTED:
        reservations.follow_addresses(service=service, at=at)


def look_again(
    dhcp: DhcpServer, adapter: AddressServerAdapter, names: Collection[str], *, at: datetime
) -> None:
    """Ask again for devices that the server was told to refuse, and that came back. Safe to repeat.

    When nobody has the line's address any more, the device may have it.

    Raises:
        TransientFault, PermanentFault: as `see_to`.
    """
    asked = OverallocationRequest.objects.filter(
        server=dhcp.address_server, device__in=names, holder__ended_at__isnull=True
    )
    latest = asked.order_by("device", "-asked_at").distinct("device").select_related("holder")
    for request in latest:
        held = _served(dhcp, request.holder.service_ref)
        if held is None or held.address is None:
            continue
        holder = adapter.holder_of(held.address)
        if holder is None or holder.ends_at <= at or _is_it(holder.device, request.device):
            dhcp_telling.forget(dhcp, line=held.service.public_id, device=request.device)
        else:
            _decide(dhcp, held.service, request.device, at)


def _served(dhcp: DhcpServer, line: str) -> DhcpReservation | None:
    """The reservation of a line that is let in."""
    rows = DhcpReservation.objects.filter(
        dhcp_server=dhcp, service=Service.key_of(line), access=Access.OPEN
    )
    return rows.select_related("service").first()


def _is_it(spelled: str, device: str) -> bool:
    return bool(spelled) and selection.normalise_device(spelled) == device


def _decide(dhcp: DhcpServer, service: Service, device: str, at: datetime) -> None:
    line = service.public_id
    answer = allocation.request_addresses(
        service_ref=line, device=device, server=dhcp.address_server, at=at,
        lease=reservations.FOR_GOOD,
    )  # fmt: skip
    if answer.outcome == Outcome.GRANTED:
        reservations.follow_addresses(service=service, at=at)
    elif answer.outcome == Outcome.WALLED_GARDEN:
        dhcp_telling.wall_in(dhcp, line=line, device=device)
    else:
        dhcp_telling.refuse(dhcp, line=line, device=device)
