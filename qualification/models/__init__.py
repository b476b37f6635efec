"""Places and networks, the answers that were given, who waits for more, and files of many."""

from qualification.models.answers import QualifiedOffer, ServiceQualification
from qualification.models.files import BulkQualification, CoverageImport
from qualification.models.inquiries import (
    InquiryAttempt,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
)
from qualification.models.places import AccessNode, AccessPort, CoverageArea, Premises
from qualification.models.waiting import ReachedCell, WaitlistEntry

__all__ = [
    "AccessNode",
    "AccessPort",
    "BulkQualification",
    "CoverageArea",
    "CoverageImport",
    "InquiryAttempt",
    "Premises",
    "ProviderAnswer",
    "ProviderConnection",
    "ProviderInquiry",
    "QualifiedOffer",
    "ReachedCell",
    "ServiceQualification",
    "WaitlistEntry",
]
