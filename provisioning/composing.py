"""What an order is made of: which offerings make a line, and what a line with a plan carries.

Nothing is written here. A refusal says which offering and why.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ispops.catalog import queries as catalog
from ispops.catalog.models import BundleComponent, ProductOffering
from ispops.errors import InvalidInput, Refusal
from ispops.parties.models import Subscriber
from provisioning import plan
from qualification import qualify
from qualification.eligibility import in_mbits, usable_kbps
from qualification.judging import line_from_json
from qualification.models import QualifiedOffer, ServiceQualification

Kind = ProductOffering.Kind
BOOST = ProductOffering.Addon.SPEED_BOOST
# The add-ons of our own that are ordered; others come when a device asks, or are bought.
ORDERED = (BOOST, ProductOffering.Addon.STATIC_ADDRESS)


class OfferingWithdrawn(Refusal):
    code = "offering_withdrawn"
    title = "The offering is no longer sold"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order to be: the offering, the promise it rests on, the plan it is part of."""

    offering: ProductOffering
    # None for what a line has already and keeps.
    offer: QualifiedOffer | None
    bundle: ProductOffering | None


def lines_of(
    qualification: ServiceQualification, codes: Sequence[str], subscriber: Subscriber, at: datetime
) -> list[Line]:
    """Check every offering of the order and return its lines, aggregated plans taken apart."""
    chosen = {offering.code: offering for offering in offerings(codes, at)}
    _require_one_plan(list(chosen.values()), len(codes))
    components = components_of(list(chosen.values()))
    offers = {
        code: offer_of(qualification, offering, subscriber, at) for code, offering in chosen.items()
    }
    names = {bundle: [part.code for part in parts] for bundle, parts in components.items()}
    known = chosen | {part.code: part for parts in components.values() for part in parts}
    lines = [
        Line(known[code], offers[bundle or code], chosen[bundle] if bundle else None)
        for code, bundle in plan.expand_bundles(codes, names)
    ]
    _require_each_once(lines)
    require_carried(lines, qualification=qualification)
    return lines


def offer_of(
    qualification: ServiceQualification,
    offering: ProductOffering,
    subscriber: Subscriber,
    at: datetime,
    *,
    lifted: Collection[str] = (),
) -> QualifiedOffer:
    """Return what an answer promises of an offering to a subscriber.

    Raises:
        QualificationExpired, OfferNotQualified: it promises nothing, or no longer.
    """
    offer = qualify.require_live_offer(
        qualification=qualification, offering=offering, at=at, lifted=lifted
    )
    if offering.subscriber_kind not in {"", subscriber.kind}:
        raise qualify.OfferNotQualified(
            f"{offering} is for {offering.get_subscriber_kind_display().lower()} accounts.",
            field="offering_codes",
        )
    return offer


def offerings(codes: Sequence[str], at: datetime) -> list[ProductOffering]:
    """Find the offerings by their codes, in the order of the codes."""
    sold = catalog.sold_at(at).select_related("provider").filter(code__in=codes)
    found = {offering.code: offering for offering in sold}
    for code in codes:
        if code not in found:
            raise _not_sold(code)
    return [found[code] for code in codes]


def _not_sold(code: str) -> Refusal:
    known = ProductOffering.objects.filter(code=code).first()
    if known is None:
        return InvalidInput(f"There is no offering {code}.", field="offering_codes")
    return OfferingWithdrawn(
        f"{known} is no longer sold. Check the address again to see what is.",
        field="offering_codes",
    )


def _require_one_plan(offerings: Sequence[ProductOffering], asked: int) -> None:
    """See that the offerings are one line and products that it can carry from the first day."""
    if len(offerings) != asked:
        raise InvalidInput("Name each offering once.", field="offering_codes")
    plans = [offering for offering in offerings if offering.kind in {Kind.ACCESS, Kind.BUNDLE}]
    if len(plans) != 1:
        raise InvalidInput(
            "Choose exactly one internet plan or one aggregated plan.", field="offering_codes"
        )
    for offering in offerings:
        require_lasting(offering)


def require_lasting(offering: ProductOffering) -> None:
    """See that a product stays with its line, so that it is ordered and not bought."""
    if offering.kind == Kind.BSP and not offering.is_subscription:
        raise InvalidInput(
            f"{offering} is bought once the line is live. Leave it out of the order.",
            field="offering_codes",
        )
    if offering.kind == Kind.ADDON and offering.addon_type not in ORDERED:
        raise InvalidInput(
            f"{offering} is added when a device asks for it, once the line is live.",
            field="offering_codes",
        )


def components_of(offerings: Sequence[ProductOffering]) -> dict[str, list[ProductOffering]]:
    """Return what each aggregated plan of an order is made of."""
    rows = BundleComponent.objects.filter(bundle__in=list(offerings)).order_by("pk")
    components: dict[str, list[ProductOffering]] = {}
    for row in rows.select_related("bundle", "component__provider"):
        components.setdefault(row.bundle.code, []).append(row.component)
    return components


def _require_each_once(lines: Sequence[Line]) -> None:
    seen: set[str] = set()
    for line in lines:
        if line.offering.code in seen:
            raise InvalidInput(
                f"{line.offering} is part of the aggregated plan already. Leave it out.",
                field="offering_codes",
            )
        seen.add(line.offering.code)


def require_carried(
    lines: Sequence[Line], *, qualification: ServiceQualification | None = None
) -> None:
    """See that the plan which was chosen carries the products that were chosen beside it.

    The qualification judged them by the best line at the address, and an aggregated plan as one.
    A product that staff promised by hand is theirs to answer for.
    """
    access = next(line for line in lines if line.offering.kind == Kind.ACCESS)
    for line in lines:
        judged_with_plan = line.bundle is not None and line.offer is not None
        if line is access or judged_with_plan or (line.offer and line.offer.overridden):
            continue
        if lacking := _lacking(line.offering, access):
            raise qualify.OfferNotQualified(
                f"{line.offering} {lacking}, which {access.offering} does not give here. "
                "Leave it out or choose another plan.",
                field="offering_codes",
                offering=line.offering.code,
            )
    boosts = [line.offering for line in lines if line.offering.addon_type == BOOST]
    if boosts and qualification:
        _require_headroom(access.offering, boosts, qualification)


def _lacking(product: ProductOffering, access: Line) -> str:
    """Say what a product needs that a plan does not give; empty when it needs nothing more."""
    promised = access.offer.download_kbps if access.offer else None
    if product.needs_download_kbps > (promised or access.offering.download_kbps or 0):
        return f"needs {in_mbits(product.needs_download_kbps)}"
    if product.needs_low_latency and access.offer and access.offer.low_latency is False:
        return "needs a line with a short response time"
    return ""


def _require_headroom(
    access: ProductOffering, boosts: Iterable[ProductOffering], qualification: ServiceQualification
) -> None:
    """See that the line at the place has the speed of the plan and of its boosts together."""
    wanted_down = (access.download_kbps or 0) + sum(boost.download_kbps or 0 for boost in boosts)
    wanted_up = (access.upload_kbps or 0) + sum(boost.upload_kbps or 0 for boost in boosts)
    known = (line_from_json(kept) for kept in qualification.lines)
    reaches = [
        usable_kbps(line)
        for line in known
        if line.provider == access.provider_id and line.technology == access.technology
    ]
    if reaches and not any(down >= wanted_down and up >= wanted_up for down, up in reaches):
        down, up = max(reaches)
        raise qualify.OfferNotQualified(
            f"{access} with the speed boost needs {in_mbits(wanted_down)} down and "
            f"{in_mbits(wanted_up)} up; the line here has {in_mbits(down)} down and "
            f"{in_mbits(up)} up. Leave the boost out or choose another plan.",
            field="offering_codes",
        )
