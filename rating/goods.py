"""The shop of a line: every partner product on sale, and whether the line can have it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ispops.catalog.catalogue import SoldOffering, catalogue_at, packages_at
from ispops.catalog.models import ProductOffering
from provisioning.models import Service
from rating.carriage import offers_on


@dataclass(frozen=True, slots=True)
class Good:
    """A partner's product in the shop of one line: its price, and whether it can be had.

    `parts` are the products in a bundle of several partners' products, which costs its own price.
    """

    sold: SoldOffering
    # Why the line cannot carry it; empty when it can.
    reason: str
    # What the line has of it already, when it is a subscription.
    held: Service | None
    parts: tuple[SoldOffering, ...] = ()

    @property
    def offering(self) -> ProductOffering:
        return self.sold.offering

    @property
    def sellers(self) -> str:
        """Who makes it: the partner, or those of the parts."""
        of_it = [part.offering.provider for part in self.parts] or [self.offering.provider]
        names = list(dict.fromkeys(str(partner) for partner in of_it))
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

    @property
    def saves(self) -> Decimal | None:
        """What a bundle costs less than its parts do a month, or once; None where it does not."""
        apart = sum((_plain(part) for part in self.parts), Decimal(0))
        less = apart - _plain(self.sold)
        return less if self.parts and less > 0 else None


def goods(line: Service, currency: str, at: datetime) -> list[Good]:
    """Return every partner product on sale with what it means for a line, those to be had first."""
    singles = {
        sold.offering.pk: sold
        for sold in catalogue_at(at, currency)
        if sold.offering.kind == ProductOffering.Kind.BSP
        and sold.offering.provider is not None
        and sold.offering.provider.active
    }
    verdicts = offers_on(line, [sold.offering for sold in singles.values()])
    held = {
        service.offering_id: service
        for service in line.carried.all()
        if service.state != Service.State.CEASED and service.offering.is_subscription
    }
    found = [
        Good(sold, verdicts[sold.offering.pk].reason, held.get(sold.offering.pk))
        for sold in singles.values()
        if sold.has_price
    ]
    for package, parts in _packages(line, singles, at):
        reasons = (verdicts[part.offering.pk].reason for part in parts)
        has = (held.get(part.offering.pk) for part in parts)
        reason = next(filter(None, reasons), "")
        found.append(Good(package, reason, next(filter(None, has), None), parts))
    return sorted(found, key=lambda good: (bool(good.reason), good.held is not None))


def _packages(
    line: Service, singles: dict[int, SoldOffering], at: datetime
) -> Iterator[tuple[SoldOffering, tuple[SoldOffering, ...]]]:
    """Give the bundles that this account may buy and all partners of which sell, with the parts."""
    account = line.subscriber
    for package in packages_at(at, account.currency):
        is_for_it = package.offering.subscriber_kind in ("", account.kind)
        if package.has_price and is_for_it and all(key in singles for key in package.components):
            yield package, tuple(singles[key] for key in package.components)


def _plain(sold: SoldOffering) -> Decimal:
    amount = sold.recurring_amount if sold.offering.is_subscription else sold.one_off_amount
    return amount or Decimal(0)
