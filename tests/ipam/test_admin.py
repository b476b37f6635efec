"""The console's lists of addresses: they show what is there and never save."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.test import RequestFactory

from ipam import block_steps, growing, overallocation, returning, sampling
from ipam.models import (
    BlockImport,
    CsrLetters,
    ExtraAddress,
    KeaServer,
    Pool,
    PoolReport,
    RefusedDevice,
    Renumbering,
    StaticAddress,
)
from tests.ipam.ground import Isp, a_pool, a_user, after, mac
from tests.ipam.growing import a_town

pytestmark = pytest.mark.django_db
# Made in their own tests.
ELSEWHERE = (
    BlockImport, CsrLetters, KeaServer, PoolReport, RefusedDevice, Renumbering, StaticAddress,
)  # fmt: skip


def lists() -> Iterator[ModelAdmin]:
    for model, its_admin in admin.site._registry.items():
        if model._meta.app_label == "ipam":
            yield its_admin


@pytest.fixture
def request_of_staff(rf: RequestFactory) -> Any:
    request = rf.get("/")
    request.user = a_user("root@example.com", is_staff=True, is_superuser=True)
    return request


@pytest.fixture
def busy(db: None) -> Isp:
    """An ISP with something in every table."""
    town = a_town()
    isp = town.isp
    isp.ask(mac(1))
    asked = isp.ask(mac(2)).request
    assert asked is not None
    overallocation.accept(request_id=asked.pk, actor=isp.user, at=after(minutes=1))
    town.fill(0.9)
    growing.watch(at=after())
    block_steps.go_on_due(at=after())
    further = Pool.objects.get(grown_from=town.pool)
    returning.begin(pool=further, cause="by hand", at=after(minutes=1))
    sampling.sample(at=after(minutes=2))
    return isp


def test_every_table_shows_its_rows(busy: Isp, request_of_staff: Any) -> None:
    shown = 0
    for its_admin in lists():
        rows = list(its_admin.get_queryset(request_of_staff))
        if its_admin.model not in ELSEWHERE:
            assert rows, its_admin
            shown += 1
        for row in rows:
            for column in its_admin.list_display:
                value = getattr(its_admin, column)(row) if hasattr(its_admin, column) else ""
                assert value is not None
    assert shown == 12


def test_nobody_saves_in_a_form_but_what_a_server_is(busy: Isp, request_of_staff: Any) -> None:
    for its_admin in lists():
        if its_admin.model is KeaServer:
            continue
        assert its_admin.has_view_permission(request_of_staff)
        assert not its_admin.has_add_permission(request_of_staff)
        assert not its_admin.has_change_permission(request_of_staff)
        assert not its_admin.has_delete_permission(request_of_staff)


def test_a_pool_says_how_full_it_is(
    isp: Isp, request_of_staff: Any, django_assert_num_queries: Any
) -> None:
    isp.ask(mac(1))
    for number in range(3):
        a_pool(f"10.{number}.0.0/16", server=isp.server, name=f"more-{number}")
    its_admin: Any = admin.site._registry[Pool]
    with django_assert_num_queries(1):
        taken = {
            pool.name: its_admin.taken(pool) for pool in its_admin.get_queryset(request_of_staff)
        }
    assert taken["dynamic-192-0-2-0"] == "1 of 254 (0.4 %)"
    assert taken["more-0"] == "0 of 65,534 (0.0 %)"


def test_the_page_of_a_pool_and_of_an_extra_open(busy: Isp, admin_client: Any) -> None:
    for path in (
        f"ipam/pool/{busy.dynamic.pk}",
        f"ipam/extraaddress/{ExtraAddress.objects.get().pk}",
    ):
        answer = admin_client.get(f"/console/{path}/change/", follow=True)
        assert answer.status_code == 200
