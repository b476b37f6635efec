"""Who may do what: roles are groups, and each department says what a role may do with its rows.

A department's `AppConfig` carries `role_permissions`, a mapping from a role to codenames of its
own permissions, or `app.codename` of an earlier department's; `view_*` stands for all that fit.
So no department names a later one, and a role means what the code says: after each migration the
groups are made equal to it. An operator who wants another mix makes a group of their own.
"""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import DEFAULT_DB_ALIAS, router

SUBSCRIBER = "Subscriber"
CSR = "CSR"
CSR_LEAD = "CSR lead"
OPERATIONS = "Operations"
FINANCE = "Finance"
CATALOGUE_MANAGER = "Catalogue manager"
# Goes to people's homes: sees the visits and nothing else.
TECHNICIAN = "Technician"
PARTNER = "Partner"

STAFF_ROLES = (CSR, CSR_LEAD, OPERATIONS, FINANCE, CATALOGUE_MANAGER, TECHNICIAN)
ROLES = (SUBSCRIBER, *STAFF_ROLES, PARTNER)
# Who may do all that others may, and more.
INCLUDES = {CSR_LEAD: CSR}


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
    for role in ROLES:
        names = [name for label, name in _declared(role) if label == sender.label]
        group = groups.get_or_create(name=role)[0]
        wanted = {
            permission
            for permission in own
            if any(fnmatchcase(permission.codename, name) for name in names)
        }
        held = set(group.permissions.using(using).filter(content_type__app_label=sender.label))
        if wanted != held:
            group.permissions.remove(*(held - wanted))
            group.permissions.add(*(wanted - held))


def check_declarations(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Report names in the declarations that fit no permission: they would grant nothing."""
    return [
        Error(
            f"{role} is given {label}.{name}, which no model has.",
            hint="Correct the name in role_permissions of the AppConfig.",
            id="parties.E001",
        )
        for role in ROLES
        for label, name in _own(role)
        if not any(fnmatchcase(codename, name) for codename in _codenames(label))
    ]


def _declared(role: str) -> Iterator[tuple[str, str]]:
    """Yield the app label and the codename of each permission that a role has in the end."""
    yield from _own(role)
    if role in INCLUDES:
        yield from _declared(INCLUDES[role])


def _own(role: str) -> Iterator[tuple[str, str]]:
    """Yield the same of each permission that the apps give to this very role."""
    for app in apps.get_app_configs():
        declared: dict[str, Iterable[str]] = getattr(app, "role_permissions", {})
        for name in declared.get(role, ()):
            label, dot, codename = name.rpartition(".")
            yield (label if dot else app.label, codename)


def _codenames(label: str) -> set[str]:
    return {
        codename
        for model in apps.get_app_config(label).get_models()
        for codename in (
            *(f"{action}_{model._meta.model_name}" for action in model._meta.default_permissions),
            *(codename for codename, _ in model._meta.permissions),
        )
    }
