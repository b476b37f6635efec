from django.apps import AppConfig

from ispops.parties import roles


class NoticesConfig(AppConfig):
    """What is written to subscribers: the kinds, the operator's wording, the letters themselves."""

    name = "ispops.notices"
    label = "notices"
    role_permissions = {
        roles.CSR: ("view_notice", "view_noticetemplate", "retry_notice"),
        roles.OPERATIONS: (
            "view_notice",
            "view_noticetemplate",
            "change_noticetemplate",
            "retry_notice",
        ),
        roles.CATALOGUE_MANAGER: ("view_noticetemplate", "change_noticetemplate"),
    }

    def ready(self) -> None:
        from ispops.notices import handlers, kinds  # noqa: F401  (both register themselves)
