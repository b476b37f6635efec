"""How an answer came about, in the order in which it is read: the networks, then every offer.

Made of what the answer itself keeps, so that it reads the same years later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ispops.catalog.models import ProductOffering
from ispops.portal.offers import ADDRESSES
from qualification.eligibility import Line
from qualification.judging import line_from_json
from qualification.models import QualifiedOffer, ServiceQualification

_PLANS = (ProductOffering.Kind.ACCESS, ProductOffering.Kind.BUNDLE)


@dataclass(frozen=True, slots=True)
class Reach:
    """What one network can do at the place, with the speeds that its line really has there."""

    line: Line
    download_kbps: int
    upload_kbps: int

    @property
    def copper(self) -> str:
        return f"{self.line.loop_length_m or 0:,} m of copper"

    @property
    def passes_by(self) -> bool:
        """The network is in the area, and its list says that it does not reach this place."""
        return not self.line.max_download_kbps


@dataclass(frozen=True, slots=True)
class Explanation:
    """The networks, the fastest first; the plans and what goes with them, those to be had first."""

    networks: Sequence[Reach]
    plans: Sequence[QualifiedOffer]
    extras: Sequence[QualifiedOffer]
    currency: str

    @property
    def planned(self) -> QualifiedOffer | None:
        """The plan that is to come first, of those that a network has yet to build for."""
        to_come = [(offer.planned_date, offer) for offer in self.plans if offer.planned_date]
        return min(to_come, key=lambda entry: entry[0])[1] if to_come else None


def explain(qualification: ServiceQualification, offers: Sequence[QualifiedOffer]) -> Explanation:
    reaches = [_reach(kept) for kept in qualification.lines]
    ordered = sorted(offers, key=lambda offer: (not offer.eligible, -(offer.download_kbps or 0)))
    return Explanation(
        networks=sorted(reaches, key=lambda reach: reach.download_kbps, reverse=True),
        plans=[offer for offer in ordered if offer.offering.kind in _PLANS],
        extras=[offer for offer in ordered if _goes_with_a_line(offer)],
        currency=offers[0].currency if offers else "",
    )


def _goes_with_a_line(offer: QualifiedOffer) -> bool:
    """Leave out what a subscriber has no way to get: see `offers.arrange`."""
    is_product = offer.offering.kind == ProductOffering.Kind.BSP
    return is_product or offer.offering.addon_type in ADDRESSES


def _reach(kept: dict[str, Any]) -> Reach:
    return Reach(line_from_json(kept), kept["usable_download_kbps"], kept["usable_upload_kbps"])
