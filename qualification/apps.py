from django.apps import AppConfig

from ispops.parties import roles
from qualification import countries


class QualificationConfig(AppConfig):
    name = "qualification"
    role_permissions = {
        roles.CSR: (
            "view_*",
            "add_servicequalification",
            "add_bulkqualification",
            "add_waitlistentry",
            "change_waitlistentry",
            "hold_accessport",
            "change_providerinquiry",
        ),
        roles.CSR_LEAD: ("override_servicequalification",),
        roles.OPERATIONS: (
            "view_*",
            "add_*",
            "change_*",
            "hold_accessport",
            "override_servicequalification",
        ),
        roles.CATALOGUE_MANAGER: (
            "view_*",
            "add_servicequalification",
            "add_providerconnection",
            "change_providerconnection",
        ),
    }

    def ready(self) -> None:
        """Stop at once, and not at the first address, when the country is not known; and listen
        to events."""
        countries.here()
        from qualification import handlers  # noqa: F401
