"""Roles are groups with exactly the permissions that the departments declare."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from ispops.parties import roles

pytestmark = pytest.mark.django_db


def held(role: str) -> set[str]:
    group = Group.objects.get(name=role)
    return {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in group.permissions.select_related("content_type")
    }


def test_every_role_exists_after_migrating() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(roles.ROLES)


def test_roles_hold_what_departments_declare() -> None:
    assert "parties.register_on_behalf" in held(roles.CSR)
    assert "provisioning.work_fallout" in held(roles.OPERATIONS)
    assert "ispops.change_eventdelivery" in held(roles.OPERATIONS)
    assert "catalog.change_offeringprice" in held(roles.CATALOGUE_MANAGER)
    assert "rating.view_customerbill" in held(roles.FINANCE)
    assert held(roles.SUBSCRIBER) == held(roles.PARTNER) == set()


def test_a_lead_may_do_what_others_may_and_more() -> None:
    more = held(roles.CSR_LEAD) - held(roles.CSR)
    assert held(roles.CSR) < held(roles.CSR_LEAD)
    assert more == {
        "qualification.override_servicequalification",
        "parties.publish_termsversion",
    }


def test_no_role_may_make_logins_or_see_tokens() -> None:
    for role in roles.ROLES:
        assert not {name for name in held(role) if "_token" in name or name.endswith("d_user")}
        assert "parties.change_user" not in held(role)


def test_migrating_again_mends_a_role_and_keeps_own_groups() -> None:
    before = held(roles.CSR)
    csr = Group.objects.get(name=roles.CSR)
    csr.permissions.remove(Permission.objects.get(codename="view_subscriber"))
    csr.permissions.add(Permission.objects.get(codename="delete_subscriber"))
    own = Group.objects.create(name="Night shift")
    own.permissions.add(Permission.objects.get(codename="delete_subscriber"))
    call_command("migrate", verbosity=0)
    assert held(roles.CSR) == before
    assert held("Night shift") == {"parties.delete_subscriber"}


def test_a_typing_error_in_a_declaration_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert roles.check_declarations(None) == []
    wrong = {roles.CSR: ("view_subscribers",)}
    monkeypatch.setattr(apps.get_app_config("parties"), "role_permissions", wrong)
    [error] = roles.check_declarations(None)
    assert "parties.view_subscribers" in error.msg
