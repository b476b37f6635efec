from django.apps import AppConfig

from ispops.parties import roles


class CatalogConfig(AppConfig):
    name = "ispops.catalog"
    label = "catalog"
    role_permissions = {
        roles.CSR: ("view_*",),
        roles.OPERATIONS: ("view_*",),
        roles.FINANCE: ("view_*",),
        roles.CATALOGUE_MANAGER: ("view_*", "add_*", "change_*"),
    }
