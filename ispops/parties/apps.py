from django.apps import AppConfig


class PartiesConfig(AppConfig):
    name = "ispops.parties"
    label = "parties"
