from django.apps import AppConfig

from ispops.parties import roles


class IpamConfig(AppConfig):
    name = "ipam"
    role_permissions = {
        roles.CSR: ("view_*", "change_overallocationrequest", "change_blockrequest"),
        roles.OPERATIONS: ("view_*", "add_*", "change_*", "disclose_history"),
        roles.FINANCE: ("view_extraaddress",),
    }

    def ready(self) -> None:
        from ipam import handlers  # noqa: F401  (registers itself)
