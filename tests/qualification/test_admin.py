"""Places, networks and answers in the console: everybody of the staff reads, nobody edits."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import accounts, roles
from qualification import qualify, waitlist
from qualification.models import CoverageArea, Premises, WaitlistEntry
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)
TABLES = ["premises", "accessnode", "accessport", "coveragearea", "servicequalification",
          "waitlistentry"]  # fmt: skip

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp(client: Client, settings: object) -> SmallIsp:
    settings.STAFF_NEED_SECOND_FACTOR = False  # type: ignore[attr-defined]
    otto = accounts.create_login(
        email="otto@isp.example", password="hopper-1906", groups=[roles.OPERATIONS],
        is_staff=True, email_is_verified=True, at=AT,
    )  # fmt: skip
    client.force_login(otto)
    return make_small_isp()


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_listed_searched_and_read(client: Client, isp: SmallIsp, table: str) -> None:
    answer = qualify.qualify_address(text="1 Alpine Rd, Stowe, VT 05672", channel="csr", at=AT)
    waiting = waitlist.join_waitlist(
        qualification=answer, channel="csr", email="ada@example.com", at=AT
    )
    rows = {
        "premises": isp.oak_1, "accessnode": isp.fibre_node,
        "accessport": isp.fibre_node.ports.first(), "coveragearea": CoverageArea.objects.first(),
        "servicequalification": answer, "waitlistentry": waiting,
    }  # fmt: skip
    listing = reverse(f"admin:qualification_{table}_changelist")
    assert client.get(listing).status_code == 200
    assert client.get(listing, {"q": "1 oak"}).status_code == 200
    page = reverse(f"admin:qualification_{table}_change", args=[rows[table].pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {}).status_code == 403
    assert client.get(reverse(f"admin:qualification_{table}_add")).status_code == 403
    delete = reverse(f"admin:qualification_{table}_delete", args=[rows[table].pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403


def test_list_of_nodes_counts_free_ports(client: Client, isp: SmallIsp) -> None:
    isp.fibre_node.ports.filter(number=1).update(service_ref="svc_1", taken_at=AT)
    answer = client.get(reverse("admin:qualification_accessnode_changelist"))
    (node,) = answer.context["cl"].result_list
    assert (node.free_ports, node.total_ports) == (3, 4)


def test_place_is_found_by_how_its_address_begins_and_by_its_id(
    client: Client, isp: SmallIsp
) -> None:
    listing = reverse("admin:qualification_premises_changelist")
    for words in ("1 OAK", isp.oak_1.public_id):
        found = list(client.get(listing, {"q": words}).context["cl"].result_list)
        assert found == [isp.oak_1], words
    assert Premises.objects.count() > 1
    assert not WaitlistEntry.objects.exists()
