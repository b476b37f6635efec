"""Which products a line that is in use carries, judged by the rules of qualification."""

from collections.abc import Iterable

from ispops.catalog.models import ProductOffering, Technology
from provisioning.models import ProductOrderItem, Service
from qualification import eligibility


def offers_on(line: Service, offerings: Iterable[ProductOffering]) -> dict[int, eligibility.Offer]:
    """Judge offerings on a line by its plan's speed and by what was promised of its network.

    Returns an offer for each, by the offering's key. One query; the line's offering and its
    subscriber are read with it or cost one each.
    """
    plan = _product(line.offering)
    network = _network(line, plan)
    kind = line.subscriber.kind
    verdicts = {}
    for offering in offerings:
        product = _product(offering)
        if product.subscriber_kind not in ("", kind):
            reason = f"It is not sold to {line.subscriber.get_kind_display().lower()} accounts."
            offer = eligibility.Offer(product, reason_code="subscriber_kind", reason=reason)
        else:
            offer = eligibility.can_carry(plan, network, product)
        verdicts[offering.pk] = offer
    return verdicts


def _product(offering: ProductOffering) -> eligibility.Product:
    return eligibility.Product(
        key=offering.pk,
        name=offering.name,
        kind=offering.kind,
        subscriber_kind=offering.subscriber_kind,
        download_kbps=offering.download_kbps or 0,
        upload_kbps=offering.upload_kbps or 0,
        needs_download_kbps=offering.needs_download_kbps,
        needs_low_latency=offering.needs_low_latency,
    )


def _network(line: Service, plan: eligibility.Product) -> eligibility.Line:
    """Return what was promised of the line; the plan's speed and a short response time where it
    came by no promise."""
    item = (
        ProductOrderItem.objects.filter(service=line)
        .select_related("offer")
        .order_by("-pk")
        .first()
    )
    offer = item.offer if item else None
    technology = line.offering.technology or Technology.OTHER
    return eligibility.Line(
        key=offer.coverage_id or 0 if offer else 0,
        provider=line.offering.provider_id or 0,
        provider_name=str(line.offering.provider or ""),
        technology=technology,
        technology_name=str(Technology(technology).label),
        max_download_kbps=offer.download_kbps or 0 if offer else plan.download_kbps,
        max_upload_kbps=offer.upload_kbps or 0 if offer else plan.upload_kbps,
        low_latency=offer is None or offer.low_latency is not False,
    )
