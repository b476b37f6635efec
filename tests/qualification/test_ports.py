"""Reserving and giving back ports, one asker at a time; the races are in tests/concurrency."""

from datetime import timedelta

import pytest

from qualification import coverage, ports
from qualification.models import AccessPort
from tests.small_isp import ELM_POINT, LAUNCH, SmallIsp, cell_of, make_small_isp

AT = LAUNCH + timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp(fibre_ports=2)


def reserve(isp: SmallIsp, ref: str = "svc_1", at: object = AT, **facts: object) -> object:
    given = {"premises": isp.oak_1, "provider": isp.fibre, "technology": 50} | facts
    return ports.reserve_port(service_ref=ref, at=at, **given)  # type: ignore[arg-type]


def test_port_is_taken_once_for_a_service(isp: SmallIsp) -> None:
    first = reserve(isp)
    again = reserve(isp, at=AT + timedelta(hours=1))
    assert isinstance(first, AccessPort)
    assert again == first
    assert (first.number, first.service_ref, first.taken_at) == (1, "svc_1", AT)
    assert isp.fibre_node.ports.free(AT).count() == 1


def test_full_node_is_refused_with_what_to_do(isp: SmallIsp) -> None:
    reserve(isp, "svc_1")
    reserve(isp, "svc_2")
    with pytest.raises(ports.NoFreePort) as refusal:
        reserve(isp, "svc_3")
    assert "Fast Fibre" in refusal.value.detail
    assert "Check the address again" in refusal.value.detail
    assert refusal.value.field == "offering"


def test_network_that_counts_no_ports_gives_none(isp: SmallIsp) -> None:
    assert reserve(isp, provider=isp.copper, technology=10) is None


def test_network_that_never_reached_the_place_has_no_port(isp: SmallIsp) -> None:
    with pytest.raises(ports.NoFreePort, match="no connection at this address"):
        reserve(isp, premises=isp.stowe)
    with pytest.raises(ports.NoFreePort):
        reserve(isp, technology=40)


def test_promise_stands_after_the_coverage_has_ended(isp: SmallIsp) -> None:
    coverage.end_coverage(provider=isp.fibre, technology=50, h3_res8=isp.oak_cell, at=AT)
    port = reserve(isp, at=AT + timedelta(days=1))
    assert isinstance(port, AccessPort)
    assert port.node == isp.fibre_node


def test_port_comes_from_the_node_of_the_premises_itself(isp: SmallIsp) -> None:
    own = coverage.create_node(provider=isp.fibre, name="own", technology=50, ports=1, at=LAUNCH)
    rows = [{"technology": 50, "premises": isp.oak_1, "max_download_kbps": 1_000,
             "max_upload_kbps": 1_000, "node": own}]  # fmt: skip
    coverage.import_coverage(rows=rows, provider=isp.fibre, at=LAUNCH)
    port = reserve(isp)
    assert isinstance(port, AccessPort)
    assert port.node == own


def test_port_comes_from_the_newest_node_after_a_change(isp: SmallIsp) -> None:
    new = coverage.create_node(provider=isp.copper, name="d1", technology=10, ports=1, at=LAUNCH)
    rows = [{"technology": 10, "h3_res8": cell_of(ELM_POINT), "max_download_kbps": 1_000,
             "max_upload_kbps": 1_000, "node": "d1"}]  # fmt: skip
    coverage.import_coverage(rows=rows, provider=isp.copper, at=AT)
    elm = {"premises": isp.elm_1, "provider": isp.copper, "technology": 10}
    assert reserve(isp, "svc_before", at=AT - timedelta(hours=1), **elm) is None
    port = reserve(isp, "svc_after", **elm)
    assert isinstance(port, AccessPort)
    assert port.node == new


def test_port_that_is_given_back_is_free_once(isp: SmallIsp) -> None:
    reserve(isp)
    assert ports.release_port(service_ref="svc_1", at=AT) is True
    assert ports.release_port(service_ref="svc_1", at=AT) is False
    assert isp.fibre_node.ports.free(AT).count() == 2
    assert not AccessPort.objects.exclude(taken_at=None).exists()
