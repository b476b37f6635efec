from django.apps import AppConfig


class IspopsConfig(AppConfig):
    """What every department shares: the outbox, repeated writes, the workers' pulse."""

    name = "ispops"
    label = "ispops"
