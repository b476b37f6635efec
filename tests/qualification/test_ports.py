"""Reserving and giving back ports, one asker at a time; the races are in tests/concurrency."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from ispops.errors import InvalidInput
from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from qualification import coverage, ports, queries
from qualification.models import AccessPort, ServiceQualification
from tests import factories
from tests.small_isp import ELM_POINT, LAUNCH, OAK_POINT, SmallIsp, cell_of, make_small_isp, place

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


HALF_AN_HOUR = timedelta(minutes=30)


def asked(isp: SmallIsp, street: str = "1 OAK ST") -> ServiceQualification:
    return factories.qualified(place(street), at=AT)


def hold(isp: SmallIsp, answer: ServiceQualification, **facts: Any) -> AccessPort | None:
    given = {"provider": isp.fibre, "technology": 50, "until": AT + HALF_AN_HOUR, "at": AT} | facts
    return ports.hold_port(qualification=answer, **given)


def is_fibre_free(at: object = AT, holder: str = "") -> bool:
    areas = queries.coverage_at(place("1 OAK ST"), cell_of(OAK_POINT), at, holder)  # type: ignore[arg-type]
    return next(area for area in areas if area.technology == 50).free_ports != 0


@pytest.fixture
def last(isp: SmallIsp) -> SmallIsp:
    """One port is left."""
    reserve(isp, "svc_first")
    return isp


@pytest.fixture
def csr(db: None) -> User:
    return factories.staff(roles.CSR, at=AT)


def test_held_port_is_taken_for_others_and_free_for_its_answer(last: SmallIsp) -> None:
    answer = asked(last)
    port = hold(last, answer)
    assert port is not None
    assert (port.held_for, port.held_until) == (answer.public_id, AT + HALF_AN_HOUR)
    assert not is_fibre_free()
    assert is_fibre_free(holder=answer.public_id)
    assert dict(asked(last).offers.values_list("offering__code", "reason_code"))["fibre-500"] == (
        "no_free_port"
    )
    with pytest.raises(ports.NoFreePort):
        reserve(last, "svc_other")
    with pytest.raises(ports.NoFreePort):
        reserve(last, "svc_other", qualification=asked(last, "3 OAK ST"))
    assert reserve(last, "svc_own", qualification=answer) == port
    port.refresh_from_db()
    assert (port.service_ref, port.held_for, port.held_until) == ("svc_own", None, None)


def test_hold_that_ran_out_is_free_without_any_sweep(last: SmallIsp) -> None:
    answer = asked(last)
    hold(last, answer)
    assert not is_fibre_free(AT + HALF_AN_HOUR - timedelta(microseconds=1))
    assert is_fibre_free(AT + HALF_AN_HOUR)
    port = reserve(last, "svc_other", at=AT + HALF_AN_HOUR)
    assert (port.service_ref, port.held_for) == ("svc_other", None)  # type: ignore[attr-defined]


def test_own_port_is_found_again_after_the_hold_ran_out(last: SmallIsp) -> None:
    answer = asked(last)
    port = hold(last, answer)
    assert hold(last, answer, at=AT + 2 * HALF_AN_HOUR, until=AT + 3 * HALF_AN_HOUR) == port
    assert reserve(last, "svc_1", at=AT + 4 * HALF_AN_HOUR, qualification=answer) == port


def test_answer_holds_one_port_and_a_visitor_never_shortens_it(isp: SmallIsp, csr: User) -> None:
    answer = asked(isp)
    first = hold(isp, answer, until=AT + timedelta(days=3), actor=csr)
    assert hold(isp, answer) == first
    first.refresh_from_db()  # type: ignore[union-attr]
    assert first.held_until == AT + timedelta(days=3)  # type: ignore[union-attr]
    hold(isp, answer, until=AT + timedelta(days=1), actor=csr)
    assert AccessPort.objects.get(held_for=answer.public_id).held_until == AT + timedelta(days=1)
    assert [entry.action for entry in AuditEntry.objects.filter(subject=answer.public_id)] == (
        ["port.held"] * 2
    )


def test_hold_never_outlives_the_answer(isp: SmallIsp, csr: User) -> None:
    answer = asked(isp)
    late = answer.expires_at - timedelta(hours=1)
    port = hold(isp, answer, at=late, until=late + timedelta(days=2), actor=csr)
    assert port.held_until == answer.expires_at  # type: ignore[union-attr]


def test_only_so_many_are_held_at_once_unless_staff_does(isp: SmallIsp, csr: User) -> None:
    coverage.create_node(provider=isp.fibre, name="barre-1", technology=50, ports=29, at=AT)
    answers = [asked(isp) for _ in range(4)]
    assert hold(isp, answers[0])
    assert hold(isp, answers[1])
    with pytest.raises(ports.TooManyHolds):
        hold(isp, answers[2])
    assert hold(isp, answers[0])  # It has one already, so it takes none from anybody.
    assert hold(isp, answers[2], actor=csr)
    later = AT + HALF_AN_HOUR
    assert hold(isp, answers[3], at=later, until=later + HALF_AN_HOUR)


def test_hold_is_given_up_and_moves_with_the_plan(isp: SmallIsp, csr: User) -> None:
    node = coverage.create_node(provider=isp.copper, name="dslam-1", technology=10, ports=5, at=AT)
    coverage.import_coverage(
        provider=isp.copper,
        at=AT,
        rows=[{"technology": 10, "premises": isp.oak_1, "max_download_kbps": 50_000,
               "max_upload_kbps": 10_000, "node": node}],
    )  # fmt: skip
    answer = asked(isp)
    hold(isp, answer)
    moved = hold(isp, answer, provider=isp.copper, technology=10)
    assert list(AccessPort.objects.held(AT)) == [moved]
    reserve(isp, qualification=answer)  # The order is for fibre after all.
    assert not AccessPort.objects.held(AT).exists()
    hold(isp, answer)
    assert ports.release_hold(qualification=answer, at=AT, actor=csr) is True
    assert ports.release_hold(qualification=answer, at=AT, actor=csr) is False
    said = AuditEntry.objects.filter(subject=answer.public_id)
    assert [entry.action for entry in said] == ["port.hold_released"]


def test_what_staff_keep_stays_whatever_those_do_who_have_the_link(
    isp: SmallIsp, csr: User
) -> None:
    node = coverage.create_node(provider=isp.copper, name="dslam-1", technology=10, ports=5, at=AT)
    coverage.import_coverage(
        provider=isp.copper,
        at=AT,
        rows=[{"technology": 10, "premises": isp.oak_1, "max_download_kbps": 50_000,
               "max_upload_kbps": 10_000, "node": node}],
    )  # fmt: skip
    answer = asked(isp)
    kept = hold(isp, answer, until=AT + timedelta(days=3), actor=csr)
    assert ports.release_hold(qualification=answer, at=AT) is False
    with pytest.raises(ports.TooManyHolds):
        hold(isp, answer, provider=isp.copper, technology=10)
    hold(isp, answer)
    reserve(isp, "svc_dsl", provider=isp.copper, technology=10, qualification=answer)
    assert list(AccessPort.objects.held(AT)) == [kept]
    assert ports.release_hold(qualification=answer, at=AT) is False

    after = AT + timedelta(days=4)
    assert hold(isp, answer, at=after, until=after + HALF_AN_HOUR) == kept
    assert ports.release_hold(qualification=answer, at=after) is True  # Now it is a visitor's.
    hold(isp, answer, until=AT + timedelta(days=3), actor=csr)
    assert ports.release_hold(qualification=answer, at=AT, actor=csr) is True


def test_network_that_counts_no_ports_needs_no_hold(isp: SmallIsp) -> None:
    assert hold(isp, asked(isp), provider=isp.copper, technology=10) is None
    assert not AccessPort.objects.held(AT).exists()


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"until": AT}, "until"),
        ({"until": AT + timedelta(hours=1)}, "until"),
        ({"at": AT + timedelta(days=40), "until": AT + timedelta(days=40, minutes=5)}, "until"),
        ({"technology": 40}, "provider"),
    ],
)
def test_strange_holds_are_refused(isp: SmallIsp, facts: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        hold(isp, asked(isp), **facts)
    assert refusal.value.field == field
    with pytest.raises(InvalidInput):
        hold(isp, asked(isp, "1 ALPINE RD"))
    assert not AccessPort.objects.exclude(held_for=None).exists()


def test_nothing_is_held_where_all_is_taken(last: SmallIsp, csr: User) -> None:
    answer = asked(last)
    reserve(last, "svc_2")
    with pytest.raises(ports.NoFreePort):
        hold(last, answer, actor=csr)
    assert not AuditEntry.objects.filter(subject=answer.public_id).exists()


def test_database_refuses_a_hold_without_end_and_two_for_one_answer(isp: SmallIsp) -> None:
    one, other = AccessPort.objects.order_by("number")[:2]
    rows = AccessPort.objects.filter(pk=one.pk)
    for wrong in (
        {"held_for": "qlf_1"},
        {"held_until": AT},
        {"held_for": "qlf_1", "held_until": AT, "service_ref": "svc_1", "taken_at": AT},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**wrong)
    rows.update(held_for="qlf_1", held_until=AT)
    with pytest.raises(IntegrityError), transaction.atomic():
        AccessPort.objects.filter(pk=other.pk).update(held_for="qlf_1", held_until=AT)
