"""What a partner hears of the services that it delivers: switched on, paused, ended.

By webhook, and only of what it was asked for; it knows the subscriber by its own name for them.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from ispops.parties import webhooks
from ispops.parties.models import WebhookDelivery
from provisioning.models import Service, ServiceOrder


@transaction.atomic
def tell_of_service(*, service_id: UUID, kind: str, at: datetime) -> WebhookDelivery | None:
    """Tell the partner that delivers a service what has become of it; `kind` names the event.

    Returns None where there is nobody to tell. Told again, the partner hears it again.
    """
    service = Service.objects.select_related("offering").get(pk=service_id)
    orders = ServiceOrder.objects.filter(
        service=service, action=ServiceOrder.Action.ADD
    ).select_related("partner")
    asked = orders.order_by("-requested_at", "-pk").first()
    if asked is None:
        return None
    return webhooks.queue_webhook(
        partner=asked.partner,
        kind=kind,
        subject=service.public_id,
        data={
            "state": kind.rpartition(".")[2],
            "service_ref": service.public_id,
            "subscriber_ref": asked.subscriber_ref,
            "offering": service.offering.code,
        },
        at=at,
    )
