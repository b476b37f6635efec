from django.apps import AppConfig

from ispops.parties import roles


class ProvisioningConfig(AppConfig):
    """Orders, the steps that they cause, the services that come of them."""

    name = "provisioning"
    role_permissions = {
        roles.CSR: ("view_*", "add_productorder", "work_fallout", "close_appointment"),
        roles.OPERATIONS: ("view_*", "add_*", "change_*", "work_fallout", "close_appointment"),
        roles.TECHNICIAN: ("view_installslot", "view_appointment", "close_appointment"),
        roles.FINANCE: ("view_service", "view_serviceperiod", "view_productorder"),
        roles.CATALOGUE_MANAGER: ("view_service", "view_productorder"),
    }

    def ready(self) -> None:
        from ispops import gates
        from provisioning import handlers, outside, sign_of_life  # noqa: F401

        gates.register(outside.Calls())
