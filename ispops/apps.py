from django.apps import AppConfig

from ispops import celery


class IspopsConfig(AppConfig):
    """What every department shares: the outbox, repeated writes, the workers' pulse."""

    name = "ispops"
    label = "ispops"
    celery_app = celery.app  # loaded with Django, so that every task finds its application
