from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "ispops.catalog"
    label = "catalog"
