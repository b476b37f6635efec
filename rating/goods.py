"""The shop of a line: every partner product on sale, and whether the line can have it."""

from dataclasses import dataclass
from datetime import datetime

from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.catalog.models import ProductOffering
from provisioning.models import Service
from rating.carriage import offers_on


@dataclass(frozen=True, slots=True)
class Good:
    """A partner's product in the shop of one line: its price, and whether it can be had."""

    sold: SoldOffering
    # Why the line cannot carry it; empty when it can.
    reason: str
    # What the line has of it already, when it is a subscription.
    held: Service | None

    @property
    def offering(self) -> ProductOffering:
        return self.sold.offering

    @property
    def can_be_bought(self) -> bool:
        return not self.reason and self.held is None


def goods(line: Service, currency: str, at: datetime) -> list[Good]:
    """Return every partner product on sale with what it means for a line, those to be had first."""
    on_sale = [
        sold
        for sold in catalogue_at(at, currency)
        if sold.offering.kind == ProductOffering.Kind.BSP
        and sold.has_price
        and sold.offering.provider is not None
        and sold.offering.provider.active
    ]
    verdicts = offers_on(line, [sold.offering for sold in on_sale])
    held = {
        service.offering_id: service
        for service in line.carried.all()
        if service.state != Service.State.CEASED and service.offering.is_subscription
    }
    found = [
        Good(sold, verdicts[sold.offering.pk].reason, held.get(sold.offering.pk))
        for sold in on_sale
    ]
    return sorted(found, key=lambda good: (bool(good.reason), good.held is not None))
