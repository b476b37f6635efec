"""Reads of the portal across the other apps' tables, each already cut to what its asker may see."""

from ispops.portal.access import own
from qualification.models import QualifiedOffer, ServiceQualification


def qualification(public_id: str) -> ServiceQualification:
    """Return an answer given earlier to whoever holds its unguessable id.

    Raises:
        Http404: there is no such answer.
    """
    return own(ServiceQualification.objects.select_related("premises"), public_id)


def offers(qualification: ServiceQualification) -> list[QualifiedOffer]:
    """Return all offers of an answer with what a page says of them."""
    return list(
        qualification.offers.select_related("offering", "provider").prefetch_related(
            "offering__components__component"
        )
    )
