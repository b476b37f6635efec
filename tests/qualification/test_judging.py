"""What an answer keeps of the lines and offers it rests on."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ispops.catalog.models import Technology
from qualification import coverage, judging, ports, qualify, queries
from qualification.eligibility import Line
from qualification.models import CoverageArea, ServiceQualification
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)
SPRING = date(2027, 3, 31)


@pytest.fixture
def isp(db: None) -> SmallIsp:
    return make_small_isp()


def ask(isp: SmallIsp, at: Any = AT) -> ServiceQualification:
    return qualify.qualify_address(premises_id=isp.oak_1.public_id, channel="portal", at=at)


@given(
    some.builds(
        Line,
        loop_length_m=some.none() | some.integers(0, 10_000),
        construction_fee=some.decimals(0, 10**7, places=6),
        planned_date=some.none() | some.dates(),
        confidence=some.sampled_from(["green", "yellow", "red"]),
    )
)
def test_line_survives_being_kept_as_json(line: Line) -> None:
    assert judging.line_from_json(judging.line_as_json(line) | {"node": "barre-1"}) == line


@pytest.mark.parametrize(
    "kept",
    [{}, {"key": 1}, {"construction_fee": "much"}, {"planned_date": "soon"}, {"planned_date": 7}],
)
def test_what_is_no_line_is_refused(kept: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        judging.line_from_json(kept)


def test_answer_keeps_the_lines_with_node_and_free_ports(isp: SmallIsp) -> None:
    copper, fibre = sorted(ask(isp).lines, key=lambda line: line["technology"])
    assert (fibre["node"], fibre["free_ports"], fibre["is_on_net"]) == ("barre-1", 4, True)
    assert (copper["node"], copper["free_ports"], copper["is_on_net"]) == ("", None, False)
    assert (fibre["provider_name"], copper["loop_length_m"]) == ("Fast Fibre", 900)
    assert not fibre["is_of_the_place"]
    assert judging.line_from_json(fibre).max_download_kbps == 1_000_000


def test_full_node_and_many_ports_are_kept_as_such(isp: SmallIsp) -> None:
    for number in range(4):
        ports.reserve_port(
            premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=f"svc_{number}",
            at=AT,
        )  # fmt: skip
    assert {line["free_ports"] for line in ask(isp).lines} == {0, None}
    more = queries.MOST_PORTS_COUNTED + 10
    coverage.create_node(provider=isp.fibre, name="barre-1", technology=50, ports=more, at=AT)
    assert {line["free_ports"] for line in ask(isp).lines} == {queries.MOST_PORTS_COUNTED, None}


def test_coverage_of_an_area_is_less_sure_than_that_of_the_place(isp: SmallIsp) -> None:
    coverage.import_coverage(
        provider=isp.fibre,
        at=AT,
        rows=[
            {"technology": 50, "premises": isp.oak_1, "max_download_kbps": 1_000_000,
             "max_upload_kbps": 1_000_000, "node": isp.fibre_node}
        ],
    )  # fmt: skip
    answer = ask(isp)
    sure = dict(answer.offers.values_list("offering__code", "confidence"))
    assert (answer.confidence, sure["fibre-500"], sure["dsl-25"]) == ("green", "green", "yellow")
    asked = qualify.qualify_address(text="7 Oak Street, Barre, VT 05641", channel="portal", at=AT)
    assert set(asked.offers.values_list("confidence", flat=True)) == {"yellow"}


def test_planned_line_is_refused_with_its_day_and_an_alternative(isp: SmallIsp) -> None:
    CoverageArea.objects.create(
        provider=isp.fibre, technology=Technology.FIBRE, premises=isp.oak_1,
        max_download_kbps=1_000_000, max_upload_kbps=1_000_000, planned_date=SPRING, valid_from=AT,
    )  # fmt: skip
    answer = ask(isp)
    offer = answer.offers.get(offering=isp.fast)
    assert (offer.reason_code, offer.planned_date) == ("planned", SPRING)
    assert offer.reason == (
        "Fast Fibre has not built its Fiber line here yet. It is planned for March 31, 2027."
    )
    assert offer.alternative == isp.dsl
    assert answer.offers.get(offering=isp.dsl).planned_date is None
    assert answer.state == "qualified"


def test_offer_keeps_what_a_reprint_shows(isp: SmallIsp) -> None:
    offer = ask(isp).offers.get(offering=isp.bundle)
    assert (offer.offering_name, offer.provider_name) == ("Fibre and films", "Fast Fibre")
    assert offer.parts == [
        {"code": "fibre-500", "name": "Fibre 500"},
        {"code": "films-streaming", "name": "Films"},
    ]
    assert (offer.low_latency, offer.recurring_amount) == (True, Decimal(68))


@pytest.mark.parametrize(
    ("one", "other", "weaker"),
    [("green", "yellow", "yellow"), ("red", "green", "red"), ("green", "", "green")],
)
def test_less_sure_of_two(one: str, other: str, weaker: str) -> None:
    assert judging.weaker(one, other) == weaker
