from django.apps import AppConfig

from ispops.parties import roles


class RatingConfig(AppConfig):
    name = "rating"
    role_permissions = {
        roles.CSR: ("view_*", "add_purchase"),
        roles.OPERATIONS: ("view_usage", "change_usage", "view_meteredsession"),
        roles.FINANCE: ("view_*", "add_*", "change_*"),
    }

    def ready(self) -> None:
        from rating import handlers  # noqa: F401
