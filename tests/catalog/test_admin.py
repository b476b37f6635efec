"""The catalogue in the console: published by verbs, refused beside the field, never edited."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from ispops.catalog.models import BroadbandLabel, OfferingPrice, ProductOffering, TaxRate
from ispops.parties import accounts, roles
from ispops.parties.models import AuditEntry, User
from tests.small_isp import SmallIsp, make_small_isp

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings: object) -> object:
    settings.STAFF_NEED_SECOND_FACTOR = False  # type: ignore[attr-defined]
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def staff(role: str) -> User:
    return accounts.create_login(
        email=f"{role.split()[0].lower()}@isp.example", password="hopper-1906", groups=[role],
        is_staff=True, email_is_verified=True, at=NOW,
    )  # fmt: skip


@pytest.fixture
def manager(client: Client) -> User:
    user = staff(roles.CATALOGUE_MANAGER)
    client.force_login(user)
    return user


def price_form(offering: ProductOffering, **change: object) -> dict[str, object]:
    return {
        "offering": offering.pk, "charge": "recurring", "name": "New", "currency": "USD",
        "amount": "65.50", "unit": "", "block_size": "1", "allowance": "0", "tiers": "[]",
        "valid_from_0": "", "valid_from_1": "",
    } | change  # fmt: skip


TABLES = [
    "productoffering", "offeringprice", "settlementterm", "taxrate", "addressentitlement",
    "broadbandlabel",
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_manager_sees_each_table_and_its_form(
    client: Client, isp: SmallIsp, manager: User, table: str
) -> None:
    assert client.get(reverse(f"admin:catalog_{table}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:catalog_{table}_add")).status_code == 200


def test_new_price_is_set_by_the_verb_in_the_managers_name(
    client: Client, isp: SmallIsp, manager: User
) -> None:
    answer = client.post(reverse("admin:catalog_offeringprice_add"), price_form(isp.fast))
    assert answer.status_code == 302, answer.content
    rows = OfferingPrice.objects.filter(offering=isp.fast, charge="recurring")
    assert list(rows.order_by("pk").values_list("amount", "valid_to")) == [
        (Decimal(60), NOW), (Decimal("65.5"), None),
    ]  # fmt: skip
    entry = AuditEntry.objects.filter(action="price.set").latest("pk")
    assert (entry.actor, entry.subject) == (manager, "offering_fibre-500")


def test_refusal_of_the_verb_stands_beside_the_field(
    client: Client, isp: SmallIsp, manager: User
) -> None:
    form = price_form(isp.fast, unit="minute")
    answer = client.post(reverse("admin:catalog_offeringprice_add"), form)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors == {
        "unit": ["A price by use has a unit, and no other price has."]
    }
    assert OfferingPrice.objects.filter(offering=isp.fast, charge="recurring").count() == 1


def test_price_in_force_is_read_and_never_edited(
    client: Client, isp: SmallIsp, manager: User
) -> None:
    price = OfferingPrice.objects.get(offering=isp.fast, charge="recurring")
    page = reverse("admin:catalog_offeringprice_change", args=[price.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, price_form(isp.fast, amount="1")).status_code == 403
    delete = reverse("admin:catalog_offeringprice_delete", args=[price.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    price.refresh_from_db()
    assert price.amount == 60


def test_tax_offering_and_withdrawal(client: Client, isp: SmallIsp, manager: User) -> None:
    tax = {"category": "telecom", "percent": "6.35", "valid_from_0": "", "valid_from_1": ""}
    assert client.post(reverse("admin:catalog_taxrate_add"), tax).status_code == 302
    assert TaxRate.objects.get().valid_from == NOW
    new = {
        "code": "games", "name": "Games", "kind": "bsp", "provider": isp.films.pk,
        "tax_category": "digital", "needs_download_kbps": "5000", "sold_from_0": "",
        "sold_from_1": "",
    }  # fmt: skip
    answer = client.post(reverse("admin:catalog_productoffering_add"), new)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert ProductOffering.objects.get(code="games").needs_download_kbps == 5_000
    action = {"action": "withdraw", "_selected_action": [isp.dsl.pk]}
    client.post(reverse("admin:catalog_productoffering_changelist"), action)
    isp.dsl.refresh_from_db()
    assert isp.dsl.sold_to == NOW


def test_csr_reads_the_catalogue_and_adds_nothing(client: Client, isp: SmallIsp) -> None:
    client.force_login(staff(roles.CSR))
    assert client.get(reverse("admin:catalog_offeringprice_changelist")).status_code == 200
    assert client.get(reverse("admin:catalog_offeringprice_add")).status_code == 403
    answer = client.post(reverse("admin:catalog_offeringprice_add"), price_form(isp.fast))
    assert answer.status_code == 403
    action = {"action": "withdraw", "_selected_action": [isp.dsl.pk]}
    client.post(reverse("admin:catalog_productoffering_changelist"), action)
    isp.dsl.refresh_from_db()
    assert isp.dsl.sold_to is None


def label_form(offering: ProductOffering, **change: object) -> dict[str, object]:
    return {
        "offering": offering.pk, "fcc_plan_code": "", "tier_name": "",
        "typical_download_kbps": "480000", "typical_upload_kbps": "470000",
        "typical_latency_ms": "9", "contract_months": "0", "contract_terms_url": "",
        "early_termination_fee": "", "purchase_fees": "", "monthly_fees": "",
        "discounts_url": "", "data_allowance_url": "", "valid_from_0": "", "valid_from_1": "",
    } | change  # fmt: skip


def test_label_is_published_with_its_fees(client: Client, isp: SmallIsp, manager: User) -> None:
    add = reverse("admin:catalog_broadbandlabel_add")
    fees = "Router rental: 5.00\r\nWeb: mail: 1.50\n"
    answer = client.post(
        add, label_form(isp.fast, monthly_fees=fees, discounts_url="isp.example/x")
    )
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    label = BroadbandLabel.objects.get()
    assert label.monthly_fees == [
        {"name": "Router rental", "amount": "5.00"}, {"name": "Web: mail", "amount": "1.50"},
    ]  # fmt: skip
    assert (label.valid_from, label.discounts_url) == (NOW, "https://isp.example/x")
    entry = AuditEntry.objects.get(action="label.set")
    assert (entry.actor, entry.subject) == (manager, "offering_fibre-500")
    page = client.get(reverse("admin:catalog_broadbandlabel_change", args=[label.pk]))
    assert page.status_code == 200
    assert b"Router rental" in page.content


def test_label_that_is_refused_says_so_at_its_field(
    client: Client, isp: SmallIsp, manager: User
) -> None:
    for field, wrong in {
        "monthly_fees": {"monthly_fees": "Router rental five"},
        "fcc_plan_code": {"fcc_plan_code": "short"},
        "early_termination_fee": {"early_termination_fee": "90"},
        "typical_latency_ms": {"typical_latency_ms": "0"},
    }.items():
        answer = client.post(
            reverse("admin:catalog_broadbandlabel_add"), label_form(isp.fast, **wrong)
        )
        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [field]
    assert not BroadbandLabel.objects.exists()


def test_plans_without_a_label_are_found(client: Client, isp: SmallIsp, manager: User) -> None:
    client.post(reverse("admin:catalog_broadbandlabel_add"), label_form(isp.fast))
    page = client.get(reverse("admin:catalog_productoffering_changelist"), {"label": "missing"})
    assert {row.code for row in page.context["cl"].queryset} == {
        "fibre-office", "dsl-25", "dsl-6",
    }  # fmt: skip


def test_csr_publishes_no_label(client: Client, isp: SmallIsp) -> None:
    client.force_login(staff(roles.CSR))
    assert client.get(reverse("admin:catalog_broadbandlabel_changelist")).status_code == 200
    answer = client.post(reverse("admin:catalog_broadbandlabel_add"), label_form(isp.fast))
    assert answer.status_code == 403
    assert not BroadbandLabel.objects.exists()
