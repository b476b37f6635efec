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
            "view_termsversion",
            "view_termsacceptance",
            "view_paymentmethod",
            "view_invitation",
            "view_subscribercheck",
            "view_checkinquiry",
            "view_checkprovider",
            "decide_subscribercheck",
        ),
        # Terms are a contract with every subscriber.
        roles.CSR_LEAD: ("publish_termsversion",),
        roles.OPERATIONS: (
            "view_termsversion",
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
        roles.FINANCE: (
            "view_subscriber",
            "view_partner",
            "view_auditentry",
            "view_paymentmethod",
        ),
        roles.CATALOGUE_MANAGER: ("view_partner",),
    }

    def ready(self) -> None:
        from ispops.parties import programs, schema, terms  # noqa: F401  (schema: how the API looks)

        checks.register(roles.check_declarations)
        post_migrate.connect(roles.grant, dispatch_uid="ispops.parties.roles")
        post_migrate.connect(
            programs.make_client_software, sender=self, dispatch_uid="ispops.parties.programs"
        )
        post_migrate.connect(terms.publish_first, sender=self, dispatch_uid="ispops.parties.terms")
