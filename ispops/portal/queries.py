"""Reads of the portal across the other apps' tables, each already cut to what its asker may see."""

from django.db.models import QuerySet

from ipam.models import OverallocationRequest
from ispops.parties.models import Subscriber
from ispops.portal.access import own
from qualification.models import QualifiedOffer, ServiceQualification
from qualification.queries import offers_of


def qualification(public_id: str) -> ServiceQualification:
    """Return an answer given earlier to whoever holds its unguessable id.

    Raises:
        Http404: there is no such answer.
    """
    return own(ServiceQualification.objects.select_related("premises"), public_id)


def offers(qualification: ServiceQualification) -> list[QualifiedOffer]:
    """Return all offers of an answer with what a page says of them."""
    rows = offers_of(qualification).select_related("offering", "provider", "coverage")
    return list(rows.prefetch_related("offering__components__component"))


def answered_requests(subscriber: Subscriber) -> QuerySet[OverallocationRequest]:
    """Return the requests for more addresses that have been answered, latest first."""
    answered = OverallocationRequest.objects.filter(holder__subscriber=subscriber)
    return answered.exclude(state=OverallocationRequest.State.PENDING).order_by("-decided_at")
