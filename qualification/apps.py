from django.apps import AppConfig

from ispops.parties import roles


class QualificationConfig(AppConfig):
    name = "qualification"
    role_permissions = {
        roles.CSR: ("view_*", "add_servicequalification"),
        roles.OPERATIONS: ("view_*", "add_*", "change_*"),
        roles.CATALOGUE_MANAGER: ("view_*", "add_servicequalification"),
    }
