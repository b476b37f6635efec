from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "ispops.portal"
    label = "portal"
