from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """The face for CSRs and operations staff."""

    name = "ispops.console"
    label = "console"
