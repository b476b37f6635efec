"""The FCC's labels: each on a page, all in a list and a file, and beside the plans on sale."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client

from ispops.catalog import labelling, publishing
from ispops.catalog.labels import COLUMNS
from ispops.catalog.models import ProductOffering
from qualification.models import Premises
from tests.portal.pages import page
from tests.portal.test_check import ask
from tests.small_isp import LAUNCH, SmallIsp

pytestmark = pytest.mark.django_db
Publish = Callable[..., None]
ORDER = (
    "Broadband Facts",
    "Fixed Broadband Consumer Disclosure",
    "Monthly Price",
    "Additional Charges &amp; Terms",
    "Provider Monthly Fees",
    "One-Time Fees at the Time of Purchase",
    "Early Termination Fee",
    "Government Taxes",
    "Discounts &amp; Bundles",
    "Speeds Provided with Plan",
    "Typical Download Speed",
    "Typical Upload Speed",
    "Typical Latency",
    "Data Included with Monthly Price",
    "Charges for Additional Data Usage",
    "Network Management",
    "Privacy",
    "Customer Support",
    "fcc.gov/consumer",
    "F00000000000000000FIBRE500",
)


@pytest.fixture
def publish(isp: SmallIsp) -> Publish:
    def label(offering: ProductOffering, at: datetime = LAUNCH, **facts: Any) -> None:
        given: dict[str, Any] = {"typical_download_kbps": 480_000,
                 "typical_upload_kbps": 470_500, "typical_latency_ms": 9}  # fmt: skip
        labelling.set_label(offering=offering, at=at, **(given | facts))

    return label


def test_a_label_has_the_sections_of_the_fcc_in_their_order(
    client: Client, isp: SmallIsp, publish: Publish
) -> None:
    publish(isp.fast)
    found = page(client.get("/labels/fibre-500/"))
    places = [found.text.index(words, found.text.index("Broadband Facts")) for words in ORDER]
    assert places == sorted(places)
    for said in (
        "Fibre 500",
        "This Monthly Price is not an introductory rate.",
        "This Monthly Price does not require a contract.",
        "Activation $49.00",
        "Government Taxes Varies by Location",
        "480 Mbps",
        "470.50 Mbps",
        "9 ms",
        "1000 GB",
        "$10.00 / 50 GB",
    ):
        assert said in found.text, said
    assert [attrs["aria-level"] for attrs in found.all("p", role="heading")] == ["2", *"33333"][:5]
    assert {attrs["href"] for attrs in found.all("a")} >= {
        "http://127.0.0.1:8000/policies/#network", "http://127.0.0.1:8000/policies/#privacy",
        "http://127.0.0.1:8000/policies/#discounts", "http://127.0.0.1:8000/policies/#support",
    }  # fmt: skip


def test_a_contract_and_an_introduction_are_told(
    client: Client, isp: SmallIsp, publish: Publish
) -> None:
    publish(
        isp.office, contract_months=24, early_termination_fee=Decimal("120.5"),
        contract_terms_url="https://isp.example/contract",
        monthly_fees=[{"name": "Router rental", "amount": "5"}], tier_name="Gold",
    )  # fmt: skip
    publishing.set_price(
        offering=isp.office, charge="recurring", amount=Decimal(180),
        valid_from=datetime(2030, 1, 1, 12, tzinfo=UTC), at=LAUNCH,
    )  # fmt: skip
    publishing.set_tax_rate(category="telecom", percent=Decimal(10), at=LAUNCH)
    with time_machine.travel(datetime(2029, 10, 1, 12, tzinfo=UTC), tick=False):
        found = page(client.get("/labels/fibre-office/"))
    for said in (
        "Fibre Office , Gold",
        "Monthly Price $150.00",
        "introductory rate. It ends on Jan 1, 2030 , in 3 months; after that, the Monthly Price "
        "is $180.00.",
        "requires a 24 month contract.",
        "Router rental $5.00",
        "Early Termination Fee $120.50",
        "Government Taxes $15.00",
        "Unlimited",
    ):
        assert said in found.text, said
    assert found.all("a", href="https://isp.example/contract")


def test_a_plan_without_a_label_has_no_page(client: Client, isp: SmallIsp) -> None:
    for code in ("fibre-500", "films-streaming", "nothing"):
        assert client.get(f"/labels/{code}/").status_code == 404


def test_the_list_and_the_file_have_every_label(
    client: Client, isp: SmallIsp, publish: Publish, django_assert_max_num_queries: Any
) -> None:
    for offering in (isp.fast, isp.office, isp.dsl, isp.bundle):
        publish(offering)
    with django_assert_max_num_queries(5):
        found = page(client.get("/labels/"))
    assert [a["href"] for a in found.all("a") if a["href"].startswith("/labels/")][:4] == [
        "/labels/dsl-25/", "/labels/fibre-500/", "/labels/fibre-and-films/",
        "/labels/fibre-office/",
    ]  # fmt: skip
    with django_assert_max_num_queries(4):
        answer = client.get("/labels.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    earlier = client.get("/labels.csv", {"on": "2026-01-05"})
    assert 'filename="broadband-labels-2026-01-05.csv"' in earlier["Content-Disposition"]
    rows = csv.DictReader(io.StringIO(answer.content.decode(), newline=""))
    assert tuple(rows.fieldnames or ()) == COLUMNS
    assert [row["service_plan_name"] for row in rows] == [
        "Dsl 25", "Fibre 500", "Fibre and films", "Fibre Office",
    ]  # fmt: skip


def test_labels_of_an_earlier_day_are_kept(client: Client, isp: SmallIsp, publish: Publish) -> None:
    publish(isp.fast)
    publish(isp.fast, LAUNCH + timedelta(days=10), typical_latency_ms=7)
    publishing.withdraw_offering(offering=isp.fast, at=LAUNCH + timedelta(days=20))
    with time_machine.travel(LAUNCH + timedelta(days=30), tick=False):
        now = page(client.get("/labels/"))
        assert "No plan had a label" in now.text
        assert now.all("a", href="/labels/fibre-500/")
        last = page(client.get("/labels/fibre-500/"))
        assert "This plan is no longer sold." in last.text
        assert "7 ms" in last.text
        earlier = page(client.get("/labels/", {"on": "2026-01-05"}))
        assert earlier.all("a", href="/labels/fibre-500/?on=2026-01-05")
        assert "9 ms" in page(client.get("/labels/fibre-500/", {"on": "2026-01-05"})).text
        file = client.get("/labels.csv", {"on": "2026-01-05"}).content.decode()
        assert len(file.splitlines()) == 2
        assert len(client.get("/labels.csv").content.decode().splitlines()) == 1


@pytest.mark.parametrize(
    "on", ["tomorrow", "2999-01-01", "0001-01-01", "9999-12-31", "\0", "1" * 9]
)
def test_a_day_that_cannot_be_used_is_told_at_the_field(
    client: Client, isp: SmallIsp, publish: Publish, on: str
) -> None:
    publish(isp.fast)
    for path in ("/labels/", "/labels/fibre-500/"):
        found = page(client.get(path, {"on": on}), status=422)
        assert found.all("a", href="#id_on")
    refused = client.get("/labels.csv", {"on": on})
    assert refused.status_code == 422
    assert refused.content.startswith(b"on: ")


def test_the_label_is_beside_the_plan_in_the_answer_and_before_the_order(
    client: Client, house: Premises, isp: SmallIsp, owner: Client, publish: Publish
) -> None:
    publish(isp.fast)
    asked = ask(client, str(house))
    found = page(client.get(f"/check/{asked.public_id}/"))
    (beside,) = found.all("details", **{"class": "label-beside"})
    assert found.all("a", href=beside["hx-get"])
    part = page(client.get(beside["hx-get"], headers={"HX-Request": "true"}))
    assert part.html.lstrip().startswith('<div class="broadband-label"')
    assert "Monthly Price $60.00" in part.text
    mine = ask(owner, str(house))
    owner.post(f"/check/{mine.public_id}/choose/", {"offering": "fibre-500"})
    owner.post("/register/extras/", {})
    review = page(owner.get("/register/review/"))
    assert review.all("details", **{"class": "label-beside"}) == [beside]


def test_the_label_beside_an_old_answer_is_of_its_day(
    client: Client, house: Premises, isp: SmallIsp, publish: Publish
) -> None:
    publish(isp.fast)
    asked = ask(client, str(house))
    publishing.set_price(
        offering=isp.fast, charge="recurring", amount=Decimal(99),
        at=asked.asked_at + timedelta(days=1),
    )  # fmt: skip
    with time_machine.travel(asked.asked_at + timedelta(days=2), tick=False):
        found = page(client.get(f"/check/{asked.public_id}/"))
        (beside,) = found.all("details", **{"class": "label-beside"})
        then = client.get(beside["hx-get"], headers={"HX-Request": "true"})
        assert "Monthly Price $60.00" in page(then).text
        assert "Monthly Price $99.00" in page(client.get("/labels/fibre-500/")).text


def test_the_account_leads_to_the_label_of_its_line(
    owner: Client, line: object, isp: SmallIsp, publish: Publish
) -> None:
    assert not page(owner.get("/account/")).all("a", href="/labels/fibre-500/")
    publish(isp.fast)
    assert page(owner.get("/account/")).all("a", href="/labels/fibre-500/")


def test_what_the_labels_lead_to_is_there(client: Client) -> None:
    found = page(client.get("/policies/"))
    ids = {attrs.get("id") for attrs in found.all("section")}
    assert ids == {"network", "data-allowance", "discounts", "privacy", "support"}
