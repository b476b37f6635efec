"""Which gateways there are today, by the settings; the first that knows a kind serves it."""

from django.conf import settings

from ispops.errors import InvalidInput
from ispops.parties.gateways.base import Gateway
from ispops.parties.gateways.offline import OfflineGateway
from ispops.parties.gateways.stripe import StripeGateway


def gateways() -> list[Gateway]:
    """Return the gateways that this ISP uses."""
    found: list[Gateway] = [OfflineGateway()]
    if settings.STRIPE_SECRET_KEY:
        found.append(StripeGateway())
    return found


def kinds() -> list[str]:
    """Return the ways to pay that can be chosen, the simplest first."""
    order = ("invoice", "bank_transfer", "card")
    known = {kind for gateway in gateways() for kind in gateway.kinds}
    return [kind for kind in order if kind in known]


def serving(kind: str) -> Gateway:
    """Return the gateway for a way to pay.

    Raises:
        InvalidInput: there is none.
    """
    for gateway in gateways():
        if kind in gateway.kinds:
            return gateway
    raise InvalidInput(f"Choose how to pay: {', '.join(kinds())}.", field="payment_kind")
