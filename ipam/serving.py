"""What an address server says of itself about a device: that it is gone.

Addresses are given by `ipam.allocation`, whoever asks; here is what another server may not say.
"""

from datetime import datetime

from django.db import transaction

from ipam import allocation, selection, statements
from ipam.models import AddressServer, Allocation
from ipam.sampling import NotYourPool
from ispops.errors import InvalidInput


def release_by_server(*, server: AddressServer, service_ref: str, device: str, at: datetime) -> int:
    """Take back what a device holds, because the server that gave it says that it is gone.

    Returns how many addresses were taken back: zero where it holds nothing (any more).

    Raises:
        NotYourPool: another server gave the device what it holds.
        InvalidInput: this cannot be the name of a device.
    """
    try:
        name = selection.normalise_device(device)
    except selection.UnusableDevice as error:
        raise InvalidInput(f"The device cannot be told: {error}.", field="device") from error
    with transaction.atomic():
        found = statements.lock_holder(service_ref)
        if found is not None:
            held = Allocation.objects.filter(
                holder=found[0], device=name, state=Allocation.State.ACTIVE
            )
            if held.exclude(pool__server=server).exists():
                raise NotYourPool(f"Another server gave {name} its address.", field="device")
        return allocation.release_address(
            service_ref=service_ref, device=name, at=at, because="released_by_server"
        )
