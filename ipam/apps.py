from django.apps import AppConfig


class IpamConfig(AppConfig):
    name = "ipam"
