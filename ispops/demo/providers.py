"""Which of the demonstration's networks are asked and ordered from by an API of their own.

Tidewater Cable has one for questions about addresses and one for orders, which the demo partner
server plays; Copperline sent a list, hears of orders by webhook and answers through our API.
"""

from datetime import datetime

from ispops.demo import bsp_orders, people
from ispops.parties.models import Partner
from provisioning import delivery_connections
from provisioning.models import DeliveryConnection
from qualification import connections
from qualification.models import ProviderConnection

API = "tmf-api/serviceQualificationManagement/v4"
_LOCAL = "http://127.0.0.1:"


def load(*, at: datetime) -> None:
    """Connect the networks that have an API; once, so that what was changed since stays."""
    for planned in people.PARTNERS:
        partner = Partner.objects.filter(code=planned.code).first()
        if partner is None:
            continue
        here = f"{_LOCAL}{people.partner_port()}/{planned.code}"
        if planned.inquiry_token:
            _ask(partner, planned.inquiry_token, f"{here}/{API}", at)
        if planned.order_token:
            _order(partner, planned, f"{here}/{bsp_orders.API}", at)


def _ask(partner: Partner, token: str, base_url: str, at: datetime) -> None:
    known = ProviderConnection.objects.filter(partner=partner).first()
    if known is None:
        connections.connect_provider(
            partner=partner,
            adapter=ProviderConnection.Adapter.TMF645,
            base_url=base_url,
            token=token,
            timeout_seconds=3,
            # Short, so that the faults of the demonstration can be watched.
            give_up_after_seconds=60,
            breaker_pause_seconds=20,
            at=at,
        )
    elif known.base_url != base_url and known.base_url.startswith(_LOCAL):
        connections.change_connection(connection_id=known.pk, base_url=base_url, token=token, at=at)


def _order(partner: Partner, planned: people.DemoPartner, base_url: str, at: datetime) -> None:
    known = DeliveryConnection.objects.filter(partner=partner).first()
    if known is None:
        delivery_connections.connect_delivery(
            partner=partner,
            base_url=base_url,
            token=planned.order_token,
            callback_token=planned.callback_token,
            timeout_seconds=3,
            # Short, so that the faults of the demonstration can be watched.
            look_every_seconds=20,
            breaker_pause_seconds=20,
            at=at,
        )
    elif known.base_url != base_url and known.base_url.startswith(_LOCAL):
        delivery_connections.change_delivery(
            connection_id=known.pk, base_url=base_url, token=planned.order_token, at=at
        )
