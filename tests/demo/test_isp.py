"""The demonstration's ISP, loaded once for all tests of this file, and taken back after them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import transaction
from django.test import override_settings

if TYPE_CHECKING:
    from qualification.models import ServiceQualification

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def isp(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[float]:
    """Loads people, places, coverage and catalogue, and tells how many seconds it took."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with (
        django_db_blocker.unblock(),
        override_settings(DEMO=True, DATA_DIR=folder),
        transaction.atomic(),
    ):
        began = time.monotonic()
        load_all()
        yield time.monotonic() - began
        transaction.set_rollback(True)


def load_all() -> None:
    from ispops.demo import catalogue, coverage, people, places

    people.load(at=NOW)
    for part in (places, coverage, catalogue):
        part.load(at=OPENED)


def ask(text: str, kind: str = "consumer") -> ServiceQualification:
    from qualification import qualify

    return qualify.qualify_address(text=text, channel="csr", subscriber_kind=kind, at=NOW)


def plans(answer: ServiceQualification) -> set[str]:
    rows = answer.offers.filter(eligible=True, offering__kind__in=["access", "bundle"])
    return set(rows.values_list("offering__code", flat=True))


def reasons(answer: ServiceQualification) -> dict[str, str]:
    rows = answer.offers.filter(eligible=False)
    return dict(rows.values_list("offering__code", "reason_code"))


def test_all_real_addresses_are_there_with_their_cells(isp: float) -> None:
    from qualification.models import Premises

    assert Premises.objects.count() == 3_850
    assert not Premises.objects.filter(h3_res8="").exists()
    assert isp < 60  # Seconds on a quiet machine; a hanging one is caught here.


def test_every_plan_is_sold_with_a_label(isp: float) -> None:
    from ispops.catalog import labelled
    from ispops.demo import catalogue

    labels = {label.code: label for label in labelled.labels_at(NOW)}
    assert set(labels) == {plan.code for plan in catalogue.PLANS} | {"harbor-home"}
    assert not labelled.unlabelled_plans(NOW).exists()
    assert labels["fiber-300"].tax is not None


def test_address_that_two_networks_reach(isp: float) -> None:
    from ispops.demo import places

    answer = ask(places.TWO_NETWORKS)
    assert answer.state == "qualified"
    assert plans(answer) == {"fiber-300", "fiber-1000", "cable-200", "cable-1000", "harbor-home"}
    assert reasons(answer) == {
        "fiber-business": "subscriber_kind",
        "cable-business": "subscriber_kind",
        "dsl-25": "loop_too_long",
        "dsl-70": "loop_too_long",
    }
    assert {"fiber-business", "cable-business"} <= plans(ask(places.TWO_NETWORKS, "business"))


def test_address_that_has_only_dsl(isp: float) -> None:
    from ispops.demo import places

    answer = ask(places.DSL_ONLY)
    assert plans(answer) == {"dsl-25"}
    assert reasons(answer)["dsl-70"] == "loop_too_long"
    assert reasons(answer)["fiber-300"] == "no_coverage"


def test_address_that_nobody_reaches(isp: float) -> None:
    from ispops.demo import places

    answer = ask(places.NOT_COVERED)
    assert (answer.state, plans(answer)) == ("not_qualified", set())
    assert answer.premises is not None


def test_building_whose_units_have_fiber_by_the_location_list(isp: float) -> None:
    from ispops.demo import places
    from qualification import qualify

    answer = ask(places.SEVERAL_UNITS)
    assert answer.state == "choose"
    assert len(answer.candidates) == 2
    picked = qualify.qualify_address(premises_id=answer.candidates[0]["id"], channel="csr", at=NOW)
    assert {"fiber-300", "fiber-1000"} <= plans(picked)


def test_address_where_a_line_must_be_built(isp: float) -> None:
    from ispops.demo import places

    answer = ask(places.WITH_CONSTRUCTION)
    assert answer.state == "qualified_with_construction"
    offer = answer.offers.get(offering__code="fiber-300")
    assert (offer.construction_fee, offer.install_days) == (350, 50)


def test_address_on_a_full_node(isp: float) -> None:
    from ispops.demo import places

    answer = ask(places.FULL_NODE)
    assert answer.state == "qualified"
    assert reasons(answer)["fiber-300"] == "no_free_port"


def test_unlisted_and_outside_addresses(isp: float) -> None:
    from ispops.demo import places

    near = ask(places.UNLISTED)
    assert (near.state, near.confidence) == ("qualified", "yellow")
    assert "near 12 Knox Street" in near.remark
    assert ask(places.OUTSIDE).state == "out_of_footprint"


def test_node_with_two_ports_runs_out(isp: float) -> None:
    from ispops.parties.models import Partner
    from qualification import ports
    from qualification.models import CoverageArea, Premises

    area = CoverageArea.objects.filter(node__name="MD Annapolis").first()
    assert area is not None
    place = Premises.objects.filter(h3_res8=area.h3_res8).first()
    assert place is not None
    line = {"premises": place, "provider": Partner.objects.get(code="harbor-fiber"),
            "technology": 50, "at": NOW}  # fmt: skip
    for number in (1, 2):
        assert ports.reserve_port(service_ref=f"svc_{number}", **line)
    with pytest.raises(ports.NoFreePort):
        ports.reserve_port(service_ref="svc_3", **line)


def test_coverage_differs_by_area_and_by_house(isp: float) -> None:
    from qualification.models import CoverageArea

    rows = CoverageArea.objects.filter(premises__isnull=False)
    assert rows.filter(max_download_kbps=0).count() > 5
    assert rows.filter(max_download_kbps=1_000_000).count() > 5
    by_cell = CoverageArea.objects.exclude(h3_res8="")
    assert by_cell.filter(construction_days__gt=0).exists()
    assert {code for (code,) in by_cell.values_list("provider__code").distinct()} == {
        "harbor-fiber", "tidewater-cable", "copperline",
    }  # fmt: skip


def test_everything_sold_has_a_price_and_every_partner_its_terms(isp: float) -> None:
    from ispops.catalog import queries
    from ispops.catalog.catalogue import catalogue_at
    from ispops.catalog.models import SettlementTerm, TaxRate

    for sold in catalogue_at(NOW, "USD"):
        offering = sold.offering
        assert sold.has_price, offering
        rate = TaxRate.objects.at(NOW).get(category=offering.tax_category)
        assert rate.percent > 0, offering
        terms = SettlementTerm.objects.at(NOW).filter(offering=offering)
        if offering.kind == "bsp":
            assert terms.filter(role="bsp").exists(), offering
        if offering.kind == "access" and not offering.provider.is_on_net:
            term = terms.get(role="network_provider")
            assert term.amount < (sold.recurring_amount or 0), "sold below cost"
    assert queries.price_in_force(_offering("fiber-300"), "usage", NOW, "USD", "byte")
    assert [part.component.code for part in _offering("harbor-home").components.order_by("pk")] == [
        "fiber-1000", "shieldwall-family", "cloudvault-home",
    ]  # fmt: skip


def _offering(code: str) -> Any:
    from ispops.catalog.models import ProductOffering

    return ProductOffering.objects.get(code=code)


def test_loading_again_changes_nothing_even_what_was_changed_since(isp: float) -> None:
    from decimal import Decimal

    from ispops.catalog import publishing
    from ispops.catalog.models import OfferingPrice
    from ispops.parties.models import AuditEntry
    from qualification.models import AccessPort, CoverageArea, Premises

    publishing.set_price(
        offering=_offering("dsl-25"), charge="recurring", amount=Decimal(31), at=NOW
    )
    tables = (OfferingPrice, AuditEntry, AccessPort, CoverageArea, Premises)
    before = [table.objects.count() for table in tables]
    load_all()
    assert [table.objects.count() for table in tables] == before


@pytest.mark.django_db
def test_command_loads_once_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from django.core.management import call_command

    from ipam.models import Pool
    from ispops.models import Event
    from qualification.models import Premises

    with override_settings(DEMO=True, DATA_DIR=tmp_path):
        call_command("load_demo")
        before = (Premises.objects.count(), Pool.objects.count(), Event.objects.count())
        began = time.monotonic()
        call_command("load_demo")
        assert time.monotonic() - began < 5
    assert before == (Premises.objects.count(), Pool.objects.count(), Event.objects.count())
    assert before[0] == 3_850
    assert before[1] > 0
    assert capsys.readouterr() == ("", "")


def test_people_wait_where_nobody_reaches(isp: float) -> None:
    from ispops.demo import coverage, waiting
    from qualification import demand
    from qualification.models import ReachedCell, ServiceQualification, WaitlistEntry

    began = time.monotonic()
    waiting.load(at=NOW)
    assert time.monotonic() - began < 30  # A few seconds on a quiet machine.
    found = demand.by_area(demand.Filters(kind=demand.WAITING), resolution=3, at=NOW)
    assert set(found.by_region) == {"AK", "AZ", "ID", "MN", "NM", "OR", "TX"}
    entries = WaitlistEntry.objects.waiting()
    assert 30 < entries.count() < 100
    assert not entries.exclude(qualification__state="not_qualified").exists()
    assert ReachedCell.objects.values("provider").distinct().count() == 3
    planned = ReachedCell.objects.filter(is_reached=False)
    assert planned.exists()
    assert set(planned.values_list("planned_date", flat=True)) == {coverage.PLANNED_DATE}
    before = ServiceQualification.objects.count()
    waiting.load(at=NOW)
    assert ServiceQualification.objects.count() == before


def test_a_line_of_the_own_network_is_visited_within_the_next_weeks(isp: float) -> None:
    from ispops.demo import places, visits
    from provisioning import visiting
    from provisioning.models import InstallSlot
    from qualification.models import Premises

    visits.load(at=NOW)
    planned = InstallSlot.objects.count()
    visits.load(at=NOW)
    assert InstallSlot.objects.count() == planned
    street, city = places.TWO_NETWORKS.split(", ")[:2]
    house = Premises.objects.filter(street__iexact=street, city=city).first()
    assert visiting.has_calendar(visiting.area_of(house), at=NOW)
    assert not visiting.has_calendar("ANCHORAGE, AK", at=NOW)
