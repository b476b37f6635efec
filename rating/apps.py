from django.apps import AppConfig

from ispops.parties import roles


class RatingConfig(AppConfig):
    name = "rating"
    role_permissions = {
        roles.CSR: (
            "view_*", "add_purchase", "cancel_purchase", "refund_charge", "answer_dispute",
            "release_reservation", "top_up_prepaid",
        ),
        roles.OPERATIONS: (
            "view_usage", "change_usage", "view_usageconflict", "view_usagefile", "add_usagefile",
            "view_meteredsession", "view_meteredinterval",
        ),
        roles.CATALOGUE_MANAGER: ("view_simulation", "add_simulation"),
        roles.FINANCE: (
            "view_*", "add_*", "change_*", "refund_charge", "answer_dispute", "post_simulation",
            "top_up_prepaid",
        ),
    }  # fmt: skip

    def ready(self) -> None:
        from rating import handlers  # noqa: F401
