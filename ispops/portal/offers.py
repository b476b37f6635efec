"""The answer to an address, arranged as it is read: plans by network, extras, what is not there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ispops.catalog.catalogue import catalogue_at, packages_at
from ispops.catalog.models import ProductOffering
from qualification.models import QualifiedOffer
from rating.goods import Good

_KINDS = ProductOffering.Kind
_STATIC = ProductOffering.Addon.STATIC_ADDRESS
# The add-ons that are shown with an address; more speed and more data are for a line that is on.
ADDRESSES = (ProductOffering.Addon.EXTRA_ADDRESS, _STATIC)


@dataclass(slots=True)
class Network:
    """The plans of one provider over one technology, slowest first."""

    provider_name: str
    technology: str
    offers: list[QualifiedOffer] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """The offers of one qualification by what they are; `unavailable` has all that are refused."""

    networks: list[Network] = field(default_factory=list)
    bundles: list[QualifiedOffer] = field(default_factory=list)
    products: list[QualifiedOffer] = field(default_factory=list)
    addons: list[QualifiedOffer] = field(default_factory=list)
    unavailable: list[QualifiedOffer] = field(default_factory=list)

    @property
    def carried(self) -> list[QualifiedOffer]:
        """What a line here can carry beside the plan itself."""
        return [*self.products, *self.addons]

    @property
    def has_static(self) -> bool:
        return any(offer.offering.addon_type == _STATIC for offer in self.addons)

    def orderable(self, code: str) -> QualifiedOffer | None:
        """Return the plan or bundle of this code, when a line can be ordered with it."""
        plans = [offer for network in self.networks for offer in network.offers]
        return next((o for o in [*plans, *self.bundles] if o.offering.code == code), None)

    def extras_for(self, plan: QualifiedOffer) -> list[QualifiedOffer]:
        """Return what may be ordered with a plan and is not in it: our static address, and the
        products of partners."""
        included = {part["code"] for part in plan.parts}
        return [
            offer
            for offer in [*self.addons, *self.products]
            if (offer.offering.is_subscription or offer.offering.addon_type == _STATIC)
            and offer.offering.code not in included
            and _carries(plan, offer.offering)
        ]


def packages_of(answer: Answer, account_kind: str, *, at: datetime, currency: str) -> list[Good]:
    """Return the bundles of partners' products of which a line here carries every part.

    They are bought once the line is on, at what they cost then.
    """
    carried = {offer.offering.pk for offer in answer.products}
    parts = {sold.offering.pk: sold for sold in catalogue_at(at, currency)}
    return [
        Good(sold, "", None, tuple(parts[key] for key in sold.components))
        for sold in packages_at(at, currency)
        if sold.has_price
        and sold.offering.subscriber_kind in ("", account_kind)
        and carried & parts.keys() >= set(sold.components)
    ]


def _carries(plan: QualifiedOffer, product: ProductOffering) -> bool:
    """The answer says that some line here carries a product; this says whether it is this one."""
    is_quick = plan.low_latency is not False
    is_fast = product.needs_download_kbps <= (plan.download_kbps or 0)
    return is_fast and (is_quick or not product.needs_low_latency)


def arrange(offers: Iterable[QualifiedOffer]) -> Answer:
    """Sort the offers of one qualification into an `Answer`."""
    answer = Answer()
    networks: dict[tuple[int | None, int | None], Network] = {}
    for offer in sorted(offers, key=lambda o: (o.download_kbps or 0, o.recurring_amount)):
        if not offer.eligible:
            answer.unavailable.append(offer)
        elif offer.offering.kind == _KINDS.ACCESS:
            key = (offer.provider_id, offer.technology)
            network = networks.setdefault(
                key, Network(offer.provider_name, offer.get_technology_display())
            )
            network.offers.append(offer)
        elif offer.offering.kind == _KINDS.BUNDLE:
            answer.bundles.append(offer)
        elif offer.offering.kind == _KINDS.BSP:
            answer.products.append(offer)
        elif offer.offering.addon_type in ADDRESSES:
            answer.addons.append(offer)
    # The fastest network first: that is what most people came to ask.
    answer.networks = sorted(networks.values(), key=_best_speed, reverse=True)
    return answer


def _best_speed(network: Network) -> tuple[int, int]:
    best = network.offers[-1]
    return best.download_kbps or 0, best.upload_kbps or 0
