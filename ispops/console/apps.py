from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "ispops.console"
    label = "console"
