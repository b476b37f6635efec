"""Who may do what: roles are groups, and each department says what a role may do with its rows.

A department's `AppConfig` carries `role_permissions`, a mapping from a role to codenames of its
own permissions, where `view_*` stands for all that fit. So no department names a later one, and a
role means what the code says: after each migration the groups are made equal to it. An operator
who wants another mix makes a group of their own.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import DEFAULT_DB_ALIAS, router

SUBSCRIBER = "Subscriber"
CSR = "CSR"
OPERATIONS = "Operations"
FINANCE = "Finance"
CATALOGUE_MANAGER = "Catalogue manager"
PARTNER = "Partner"

ROLES = (SUBSCRIBER, CSR, OPERATIONS, FINANCE, CATALOGUE_MANAGER, PARTNER)
STAFF_ROLES = (CSR, OPERATIONS, FINANCE, CATALOGUE_MANAGER)


def grant(sender: AppConfig, using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Make the groups, and give them exactly what one app declares for its own permissions.

    A receiver of `post_migrate`, which Django sends for each app after making its permissions.
    """
    from django.contrib.auth.models import Group, Permission

    if not router.allow_migrate_model(using, Group):
        return
    groups = Group.objects.using(using)
    permissions = Permission.objects.using(using)
    own = list(permissions.filter(content_type__app_label=sender.label))
    declared: dict[str, Iterable[str]] = getattr(sender, "role_permissions", {})
    for role in ROLES:
        group, _ = groups.get_or_create(name=role)
        wanted = {
            permission
            for permission in own
            if any(fnmatchcase(permission.codename, name) for name in declared.get(role, ()))
        }
        held = set(group.permissions.using(using).filter(content_type__app_label=sender.label))
        if wanted != held:
            group.permissions.remove(*(held - wanted))
            group.permissions.add(*(wanted - held))


def check_declarations(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report names in the declarations that fit no permission: they would grant nothing."""
    return [
        Error(
            f"{app.name} gives {role} the permission {name}, which none of its models has.",
            hint="Correct the name in role_permissions.",
            id="parties.E001",
        )
        for app in app_configs or apps.get_app_configs()
        for role, names in getattr(app, "role_permissions", {}).items()
        for name in names
        if not any(fnmatchcase(codename, name) for codename in _codenames(app))
    ]


def _codenames(app: AppConfig) -> set[str]:
    return {
        codename
        for model in app.get_models()
        for codename in (
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        )
    }
