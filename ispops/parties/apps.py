from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate

from ispops.parties import roles


class PartiesConfig(AppConfig):
    name = "ispops.parties"
    label = "parties"
    role_permissions = {
        roles.CSR: (
            "view_subscriber",
            "change_subscriber",
            "register_on_behalf",
            "view_partner",
            "view_webhookdelivery",
            "view_auditentry",
        ),
        roles.OPERATIONS: (
            "view_subscriber",
            "view_user",
            "view_partner",
            "change_partner",
            "view_webhookdelivery",
            "replay_webhookdelivery",
            "view_auditentry",
            "ispops.view_event",
            "ispops.view_eventdelivery",
            "ispops.change_eventdelivery",
        ),
        roles.FINANCE: ("view_subscriber", "view_partner", "view_auditentry"),
        roles.CATALOGUE_MANAGER: ("view_partner",),
    }

    def ready(self) -> None:
        from ispops.parties import schema  # noqa: F401  (registers how the API is described)

        checks.register(roles.check_declarations)
        post_migrate.connect(roles.grant, dispatch_uid="ispops.parties.roles")
