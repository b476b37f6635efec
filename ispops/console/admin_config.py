"""Django's admin on the console's own site; named in INSTALLED_APPS, apart from `apps`, because
Django allows one default configuration a module."""

from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    """So that logins and permissions are the product's."""

    default_site = "ispops.console.sites.ConsoleSite"
