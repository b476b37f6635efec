"""Places and networks, the answers that were given, whom we asked for them, and files of many."""

from qualification.models.answers import QualifiedOffer, ServiceQualification, WaitlistEntry
from qualification.models.files import BulkQualification, CoverageImport
from qualification.models.inquiries import ProviderAnswer, ProviderConnection, ProviderInquiry
from qualification.models.places import AccessNode, AccessPort, CoverageArea, Premises

__all__ = [
    "AccessNode",
    "AccessPort",
    "BulkQualification",
    "CoverageArea",
    "CoverageImport",
    "Premises",
    "ProviderAnswer",
    "ProviderConnection",
    "ProviderInquiry",
    "QualifiedOffer",
    "ServiceQualification",
    "WaitlistEntry",
]
