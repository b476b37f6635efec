"""The verb of figures 1 to 3: every outcome, its rows, and what it costs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ispops.catalog import publishing
from ispops.errors import InvalidInput, NotFound
from qualification import coverage, ports, qualify
from qualification.addresses import AddressUnparseable
from qualification.models import Premises, ServiceQualification
from tests.small_isp import ELM_POINT, LAUNCH, OAK, SmallIsp, make_small_isp, priced

State = ServiceQualification.State
AT = LAUNCH + timedelta(days=10)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def ask(text: str | None = None, at: datetime = AT, **facts: Any) -> ServiceQualification:
    return qualify.qualify_address(text=text, channel="portal", at=at, **facts)


def eligible(answer: ServiceQualification) -> set[str]:
    return set(answer.offers.filter(eligible=True).values_list("offering__code", flat=True))


def refused(answer: ServiceQualification) -> dict[str, str]:
    return dict(answer.offers.filter(eligible=False).values_list("offering__code", "reason_code"))


def test_known_address_gets_offers_of_two_networks(isp: SmallIsp) -> None:
    answer = ask("1 Oak St, Barre, VT 05641")
    assert (answer.state, answer.premises) == (State.QUALIFIED, isp.oak_1)
    assert (answer.confidence, answer.remark, answer.candidates) == ("green", "", [])
    assert answer.expires_at == AT + timedelta(days=30)
    assert eligible(answer) == {
        "fibre-500", "dsl-25", "dsl-6", "films-streaming", "extra-address", "fibre-and-films",
    }  # fmt: skip
    assert refused(answer) == {"fibre-office": "subscriber_kind"}


def test_offer_says_who_delivers_how_fast_when_and_for_how_much(isp: SmallIsp) -> None:
    answer = ask("1 Oak St, Barre, VT 05641")
    offer = answer.offers.get(offering=isp.fast)
    assert (offer.provider, offer.coverage.node) == (isp.fibre, isp.fibre_node)
    assert (offer.technology, offer.download_kbps, offer.upload_kbps) == (50, 500_000, 500_000)
    assert (offer.install_days, offer.currency) == (5, "USD")
    assert (offer.one_off_amount, offer.recurring_amount) == (Decimal(49), Decimal(60))
    assert offer.usage_terms == "1 TB included, then USD 10.00 for each started 50 GB"
    bundle = answer.offers.get(offering=isp.bundle)
    assert (bundle.provider, bundle.download_kbps) == (isp.fibre, 500_000)
    assert (bundle.one_off_amount, bundle.recurring_amount) == (Decimal(0), Decimal(68))


def test_place_with_a_long_copper_line_is_told_why_not_more(isp: SmallIsp) -> None:
    answer = ask("1 Elm Street, Barre, VT 05641")
    assert answer.state == State.QUALIFIED
    assert eligible(answer) == {"dsl-6", "extra-address"}
    assert refused(answer) == {
        "fibre-500": "no_coverage",
        "fibre-office": "subscriber_kind",
        "dsl-25": "loop_too_long",
        "films-streaming": "line_too_slow",
        "fibre-and-films": "no_coverage",
    }
    reasons = dict(answer.offers.values_list("offering__code", "reason"))
    assert reasons["fibre-500"] == "Fast Fibre does not reach this address with Fiber."
    assert reasons["dsl-25"].startswith("The copper line is 3,000 m long and has 8 Mbit/s down")


def test_business_gets_business_plans(isp: SmallIsp) -> None:
    answer = ask("1 Oak St, Barre, VT 05641", subscriber_kind="business")
    assert "fibre-office" in eligible(answer)
    assert answer.subscriber_kind == "business"


def test_known_place_without_coverage_is_not_qualified(isp: SmallIsp) -> None:
    answer = ask("1 Alpine Rd, Stowe, VT 05672")
    assert (answer.state, answer.premises) == (State.NOT_QUALIFIED, isp.stowe)
    assert eligible(answer) == set()
    assert refused(answer)["extra-address"] == "no_line"


def test_building_with_units_offers_them_to_pick_from(isp: SmallIsp) -> None:
    answer = ask("5 Oak Street, Barre, VT 05641")
    assert (answer.state, answer.premises) == (State.CHOOSE, None)
    assert [entry["address"] for entry in answer.candidates] == [
        "5 Oak Street #1, Barre, VT 05641",
        "5 Oak Street #2, Barre, VT 05641",
    ]
    assert not answer.offers.exists()
    picked = ask(premises_id=answer.candidates[1]["id"])
    assert (picked.state, picked.premises.unit) == (State.QUALIFIED, "#2")
    assert picked.asked_text == "5 Oak Street #2, Barre, VT 05641"


@pytest.mark.parametrize(
    "text",
    [
        "5 Oak Street Apt 2, Barre, VT 05641",
        "5 oak st #2 barre vt 05641",
        "5 Oak Street, Unit 002, Barre, Vermont 05641-1234",
        "Jane Doe\n5 Oak Street #2\nBarre VT 05641\nUSA",
        "5 Oak Street #2, 05641",
        "5 Oak Street #2, Barre, VT",
        "5 Oak Street 2, Barre, VT 05641",
        "5 Oak Street #2, Barre Town, VT 05641",
    ],
)
def test_unit_is_found_however_it_is_written(isp: SmallIsp, text: str) -> None:
    answer = ask(text)
    assert answer.state == State.QUALIFIED
    assert answer.premises.unit == "#2"


def test_unlisted_unit_of_a_known_building_is_accepted_for_review(isp: SmallIsp) -> None:
    answer = ask("5 Oak Street #9, Barre, VT 05641")
    assert answer.state == State.QUALIFIED
    assert (answer.premises.source, answer.premises.unit) == (Premises.Source.ASKED, "#9")
    assert answer.confidence == "yellow"
    assert answer.remark.startswith("We know the building, but not #9 in it.")


def test_wrong_zip_code_asks_whether_the_known_one_is_meant(isp: SmallIsp) -> None:
    answer = ask("1 Oak Street, Barre, VT 05602")
    assert answer.state == State.CHOOSE
    assert [entry["id"] for entry in answer.candidates] == [isp.oak_1.public_id]
    assert answer.remark == "The ZIP code is another one. Did you mean one of these?"


def test_misspelt_street_asks_whether_the_known_one_is_meant(isp: SmallIsp) -> None:
    answer = ask("1 Alpin Road, Stowe, VT 05672")
    assert answer.state == State.CHOOSE
    assert [entry["id"] for entry in answer.candidates] == [isp.stowe.public_id]
    assert Premises.objects.filter(source=Premises.Source.ASKED).count() == 0


def test_unlisted_address_among_covered_neighbours_becomes_a_premises(isp: SmallIsp) -> None:
    answer = ask("7 Oak Street, Barre, VT 05641")
    place = answer.premises
    assert answer.state == State.QUALIFIED
    assert (place.source, place.h3_res8) == (Premises.Source.ASKED, isp.oak_cell)
    assert str(place) == "7 Oak St, Barre, VT 05641"
    assert (place.latitude, place.longitude) == (None, None)
    assert answer.confidence == "yellow"
    assert "We took the coverage near 5 Oak Street" in answer.remark
    again = ask("7 Oak St., Barre VT 05641")
    assert (again.premises, again.confidence) == (place, "yellow")
    assert Premises.objects.filter(source=Premises.Source.ASKED).count() == 1


def test_unlisted_street_of_a_covered_zip_code_says_that_it_is_an_estimate(isp: SmallIsp) -> None:
    answer = ask("10 Quarry Hill Road, Barre, VT 05641")
    assert answer.state == State.QUALIFIED
    assert "in the middle of 05641" in answer.remark


@pytest.mark.parametrize("text", ["9 Alpine Road, Stowe, VT 05672", "1 Main St, Miami, FL 33101"])
def test_unlisted_address_without_covered_neighbours_is_outside(isp: SmallIsp, text: str) -> None:
    answer = ask(text)
    assert (answer.state, answer.premises) == (State.OUT_OF_FOOTPRINT, None)
    assert not answer.offers.exists()
    assert Premises.objects.filter(source=Premises.Source.ASKED).count() == 0


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", "street"),
        ("Oak Street, Barre, VT 05641", "house_number"),
        ("1 Oak Street", "city"),
        ("1 Nowhere Street, Barre, VT", "postal_code"),
        ("PO Box 12, Barre, VT 05641", "street"),
        ("x" * 10_000, None),
        ("1 Oak\x00 Street, Barre, VT 05641", None),
        ("улица Ленина 1, Москва", None),
    ],
)
def test_unusable_address_says_what_is_wrong_and_stores_nothing(
    isp: SmallIsp, text: str, missing: str | None
) -> None:
    with pytest.raises(AddressUnparseable) as refusal:
        ask(text)
    assert refusal.value.field == "address"
    assert refusal.value.facts.get("missing") == missing
    assert not ServiceQualification.objects.exists()


@pytest.mark.parametrize(
    ("point", "field"),
    [
        ((91, 0), "latitude"),
        ((-90.000001, 0), "latitude"),
        ((float("nan"), 0), "latitude"),
        ((Decimal("NaN"), 0), "latitude"),
        ((float("inf"), 0), "latitude"),
        (("44.2", -72.5), "latitude"),
        ((True, 0), "latitude"),
        ((None, -72.5), "latitude"),
        ((44.2, None), "longitude"),
        ((44.2, 180.5), "longitude"),
        ((44.2, -(10**400)), "longitude"),
        ((44.2, [1]), "longitude"),
    ],
)
def test_impossible_coordinates_name_the_field(
    isp: SmallIsp, point: tuple[Any, Any], field: str
) -> None:
    with pytest.raises(InvalidInput, match="in degrees from") as refusal:
        ask(latitude=point[0], longitude=point[1])
    assert refusal.value.field == field
    assert not ServiceQualification.objects.exists()


def metres_north(point: tuple[float, float], metres: float) -> dict[str, float]:
    return {"latitude": point[0] + metres / 111_195, "longitude": point[1]}


def test_the_one_place_close_to_a_point_is_meant(isp: SmallIsp) -> None:
    answer = ask(**metres_north(ELM_POINT, 0))
    assert (answer.premises, answer.state, answer.remark) == (isp.elm_1, State.QUALIFIED, "")
    assert (float(answer.latitude), float(answer.longitude)) == ELM_POINT
    near = ask(**metres_north(ELM_POINT, 30))
    assert (near.premises, near.confidence) == (isp.elm_1, "green")
    assert near.remark == "This is the one address close to the point, 30 m from it."
    assert refused(near) == refused(answer)


def test_of_two_places_close_to_a_point_that_on_it_is_meant(isp: SmallIsp) -> None:
    other = metres_north(ELM_POINT, 20)
    coverage.import_premises(rows=[{"street": "2 Elm Street", **OAK, **other}], at=AT)
    assert ask(**metres_north(ELM_POINT, 1)).premises == isp.elm_1
    between = ask(**metres_north(ELM_POINT, 8))
    assert (between.state, between.premises, between.confidence) == (State.CHOOSE, None, "yellow")
    assert [(entry["address"], entry["distance_m"]) for entry in between.candidates] == [
        ("1 Elm Street, Barre, VT 05641", 8),
        ("2 Elm Street, Barre, VT 05641", 12),
    ]


@pytest.mark.parametrize("metres", [100, 600])
def test_places_further_away_are_offered(isp: SmallIsp, metres: int) -> None:
    answer = ask(**metres_north(ELM_POINT, metres))
    assert answer.state == State.CHOOSE
    assert answer.candidates[0]["id"] == isp.elm_1.public_id
    assert abs(answer.candidates[0]["distance_m"] - metres) <= 1


def test_point_without_any_place_around_is_outside(isp: SmallIsp) -> None:
    answer = ask(**metres_north(ELM_POINT, 50_000))
    assert (answer.state, answer.premises, answer.candidates) == (
        State.OUT_OF_FOOTPRINT, None, [],
    )  # fmt: skip
    assert answer.latitude is not None


def test_location_id_is_looked_up(isp: SmallIsp) -> None:
    Premises.objects.filter(pk=isp.oak_1.pk).update(location_id="1037392925")
    answer = ask(location_id=" 1037392925 ")
    assert (answer.premises, answer.asked_text) == (isp.oak_1, "Location 1037392925")
    for unknown in ("", "1", "x" * 500, "1\x00", "улица"):
        with pytest.raises(NotFound) as refusal:
            ask(location_id=unknown)
        assert refusal.value.field == "location_id"


def test_unknown_premises_channel_and_kind_are_refused(isp: SmallIsp) -> None:
    with pytest.raises(NotFound):
        ask(premises_id="prm_" + "0" * 32)
    with pytest.raises(NotFound):
        ask(premises_id="nonsense")
    with pytest.raises(InvalidInput, match="consumer or business"):
        ask("1 Oak St, Barre, VT 05641", subscriber_kind="robot")
    with pytest.raises(InvalidInput, match="channel"):
        qualify.qualify_address(text="1 Oak St, Barre, VT 05641", channel="fax", at=AT)


@pytest.mark.parametrize(
    "ways",
    [
        {},
        {"text": "1 Oak St, Barre, VT 05641", "premises_id": "prm_1"},
        {"location_id": "1", "latitude": 44.2, "longitude": -72.5},
        {"text": "1 Oak St, Barre, VT 05641", "latitude": 44.2},
    ],
)
def test_place_is_named_in_exactly_one_way(isp: SmallIsp, ways: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Give one of these") as refusal:
        ask(**ways)
    assert refusal.value.field == "address"
    assert not ServiceQualification.objects.exists()


def test_full_node_refuses_with_the_reason(isp: SmallIsp) -> None:
    for number in range(4):
        ports.reserve_port(
            premises=isp.oak_1, provider=isp.fibre, technology=50, service_ref=f"svc_{number}",
            at=AT,
        )  # fmt: skip
    answer = ask("1 Oak St, Barre, VT 05641")
    assert refused(answer)["fibre-500"] == "no_free_port"
    assert refused(answer)["fibre-and-films"] == "no_free_port"
    assert answer.state == State.QUALIFIED


def test_construction_is_told_with_its_fee_and_time(isp: SmallIsp) -> None:
    coverage.import_coverage(
        provider=isp.fibre,
        at=AT,
        rows=[
            {
                "technology": 50, "premises": isp.stowe, "max_download_kbps": 1_000_000,
                "max_upload_kbps": 1_000_000, "install_days": 5, "construction_days": 60,
                "construction_fee": "750",
            }
        ],
    )  # fmt: skip
    answer = ask("1 Alpine Rd, Stowe, VT 05672")
    offer = answer.offers.get(offering=isp.fast)
    assert answer.state == State.WITH_CONSTRUCTION
    assert (offer.install_days, offer.construction_fee) == (65, Decimal(750))


def test_row_of_the_premises_wins_over_its_cell(isp: SmallIsp) -> None:
    passed_by = {"technology": 50, "max_download_kbps": 0, "max_upload_kbps": 0}
    coverage.import_coverage(
        provider=isp.fibre, at=AT, rows=[passed_by | {"premises": isp.oak_1.public_id}]
    )
    assert refused(ask("1 Oak St, Barre, VT 05641"))["fibre-500"] == "no_coverage"
    assert "fibre-500" in eligible(ask("3 Oak St, Barre, VT 05641"))


def test_provider_that_is_no_longer_active_delivers_nothing(isp: SmallIsp) -> None:
    isp.fibre.active = False
    isp.fibre.save()
    assert refused(ask("1 Oak St, Barre, VT 05641"))["fibre-500"] == "no_coverage"


def test_promise_outlives_changes_of_price_and_coverage(isp: SmallIsp) -> None:
    answer = ask("1 Oak St, Barre, VT 05641")
    later = AT + timedelta(days=1)
    priced(isp.fast, "99", later)
    coverage.end_coverage(provider=isp.fibre, technology=50, h3_res8=isp.oak_cell, at=later)
    offer = qualify.require_live_offer(qualification=answer, offering=isp.fast, at=later)
    assert offer.recurring_amount == Decimal(60)
    assert "fibre-500" in refused(ask("1 Oak St, Barre, VT 05641", at=later))


def test_withdrawn_offering_is_not_in_the_answer(isp: SmallIsp) -> None:
    publishing.withdraw_offering(offering=isp.dsl, at=AT)
    answer = ask("1 Oak St, Barre, VT 05641")
    assert not answer.offers.filter(offering=isp.dsl).exists()
    with pytest.raises(qualify.OfferNotQualified, match="not sold when"):
        qualify.require_live_offer(qualification=answer, offering=isp.dsl, at=AT)


def test_live_offer_expires_and_refusals_carry_their_reason(isp: SmallIsp) -> None:
    answer = ask("1 Elm Street, Barre, VT 05641")
    almost = answer.expires_at - timedelta(microseconds=1)
    offer = qualify.require_live_offer(qualification=answer, offering=isp.slow_dsl, at=almost)
    assert offer.eligible
    with pytest.raises(qualify.QualificationExpired) as expired:
        qualify.require_live_offer(
            qualification=answer, offering=isp.slow_dsl, at=answer.expires_at
        )
    assert expired.value.field == "qualification"
    with pytest.raises(qualify.OfferNotQualified) as refusal:
        qualify.require_live_offer(qualification=answer, offering=isp.dsl, at=AT)
    assert refusal.value.facts == {"offering": "dsl-25", "reason_code": "loop_too_long"}


def test_answer_is_never_edited(isp: SmallIsp) -> None:
    answer = ask("1 Oak St, Barre, VT 05641")

    def attack(change: Callable[[], object]) -> None:
        refused = "append-only|never edited"
        with pytest.raises(DatabaseError, match=refused), transaction.atomic():
            change()

    attack(lambda: ServiceQualification.objects.update(state="not_qualified"))
    attack(lambda: ServiceQualification.objects.update(state="pending"))
    attack(lambda: answer.offers.update(recurring_amount=Decimal(1)))
    attack(lambda: answer.offers.all()._raw_delete("default"))
    attack(lambda: ServiceQualification.objects.all()._raw_delete("default"))


def test_a_pending_answer_is_settled_once_and_changes_in_nothing_else(isp: SmallIsp) -> None:
    answer = ServiceQualification.objects.create(
        asked_text="1 Oak St", channel="csr", state="pending", asked_at=AT, expires_at=AT
    )
    own = ServiceQualification.objects.filter(pk=answer.pk)

    def attack(**change: object) -> None:
        with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
            own.update(**change)

    attack(remark="While it waits")
    attack(state="qualified")
    attack(state="qualified", settled_at=AT, asked_text="2 Oak St")
    own.update(state="qualified", settled_at=AT, lines=[{"provider": 1}])
    attack(state="not_qualified")
    attack(settled_at=None)


QUERIES_OF_A_KNOWN_ADDRESS = 5


def test_number_of_queries_is_small_and_does_not_grow(isp: SmallIsp) -> None:
    def cost(text: str) -> int:
        ask(text)  # so that the catalogue is in memory
        with CaptureQueriesContext(connection, ) as queries:  # fmt: skip
            ask(text)
        statements = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
        return len(statements)

    assert cost("1 Oak St, Barre, VT 05641") == QUERIES_OF_A_KNOWN_ADDRESS
    for number in range(30):
        more = publishing.create_offering(
            code=f"more-{number}", name="More", kind="access", provider=isp.copper, technology=10,
            download_kbps=1_000, upload_kbps=1_000, at=LAUNCH,
        )  # fmt: skip
        priced(more, "1", LAUNCH)
    assert cost("1 Oak St, Barre, VT 05641") == QUERIES_OF_A_KNOWN_ADDRESS
    assert cost("7 Oak St, Barre, VT 05641") <= QUERIES_OF_A_KNOWN_ADDRESS + 5


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ({"text": "1 Oak St, Barre, VT 05641"}, (True, "Barre", "VT", "05641")),
        ({"text": "9 Valley View Rd, Stowe, VT 05672"}, (False, "Stowe", "VT", "05672")),
        ({"latitude": 61.2, "longitude": -149.9}, (True, "", "", "")),
    ],
)
def test_answer_says_where_the_place_is_as_far_as_it_is_known(
    isp: SmallIsp, place: dict[str, Any], where: tuple[Any, ...]
) -> None:
    answer = qualify.qualify_address(**place, channel="portal", at=AT)
    found = (bool(answer.h3_res8), answer.city, answer.region, answer.postal_code)
    assert found == where
