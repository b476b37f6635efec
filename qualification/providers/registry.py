"""Which adapter speaks for a connection, and how a premises is put to it."""

from decimal import Decimal

import h3

from qualification.models import Premises, ProviderConnection, ProviderInquiry
from qualification.providers.base import Place, Provider, Question
from qualification.providers.files import FileProvider
from qualification.providers.tmf645 import Tmf645Provider

Adapter = ProviderConnection.Adapter


def provider_of(connection: ProviderConnection) -> Provider:
    """Return the adapter of a connection, set up as the connection says.

    Raises:
        PermanentFault: the folder of a file exchange leads elsewhere.
    """
    if connection.adapter == Adapter.FILES:
        return FileProvider(folder=connection.folder)
    return Tmf645Provider(
        base_url=connection.base_url,
        token=connection.token,
        seconds=float(connection.timeout_seconds),
    )


def question_of(inquiry: ProviderInquiry) -> Question:
    """Write an inquiry as the question that an adapter asks."""
    return Question(
        inquiry=inquiry.public_id,
        place=place_of(premises_of(inquiry)),
        subscriber_kind=inquiry.qualification.subscriber_kind,
        reference=inquiry.reference,
    )


def premises_of(inquiry: ProviderInquiry) -> Premises:
    """Return what a provider is asked about; only an answer about a premises has inquiries."""
    premises = inquiry.qualification.premises
    if premises is None:
        raise ValueError("a provider is asked about a premises")
    return premises


def place_of(premises: Premises) -> Place:
    """Describe a premises; where nobody has measured it, by the middle of its area."""
    latitude, longitude = premises.latitude, premises.longitude
    is_located = latitude is not None and longitude is not None
    if not is_located and premises.h3_res8:
        latitude, longitude = (
            Decimal(f"{degrees:.6f}") for degrees in h3.cell_to_latlng(premises.h3_res8)
        )
    return Place(
        id=premises.public_id,
        location_id=premises.location_id or "",
        street=premises.street,
        unit=premises.unit,
        city=premises.city,
        region=premises.region,
        postal_code=premises.postal_code,
        match_key=premises.match_key,
        latitude=latitude,
        longitude=longitude,
        is_located=is_located,
    )
