"""Which of the demonstration's networks are asked whether they deliver at an address.

Tidewater Cable is asked by its API, which the demo partner server plays; Copperline sent a list.
"""

from datetime import datetime

from ispops.demo import people
from ispops.parties.models import Partner
from qualification import connections
from qualification.models import ProviderConnection

API = "tmf-api/serviceQualificationManagement/v4"


def load(*, at: datetime) -> None:
    """Connect the networks that are asked; once, so that what was changed since stays."""
    for planned in people.PARTNERS:
        partner = Partner.objects.filter(code=planned.code).first()
        if not planned.inquiry_token or partner is None:
            continue
        base_url = f"http://127.0.0.1:{people.partner_port()}/{planned.code}/{API}"
        known = ProviderConnection.objects.filter(partner=partner).first()
        if known is None:
            connections.connect_provider(
                partner=partner,
                adapter=ProviderConnection.Adapter.TMF645,
                base_url=base_url,
                token=planned.inquiry_token,
                timeout_seconds=3,
                # Short, so that the faults of the demonstration can be watched.
                give_up_after_seconds=60,
                breaker_pause_seconds=20,
                at=at,
            )
        elif known.base_url != base_url and known.base_url.startswith("http://127.0.0.1:"):
            connections.change_connection(connection_id=known.pk, base_url=base_url, at=at)
