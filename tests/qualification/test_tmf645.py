"""TMF645 as we write and read it: what is taken, and what becomes of every kind of nonsense."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from qualification.providers import base, tmf645
from qualification.providers.base import (
    Answer,
    Deliverable,
    Place,
    Question,
    QuestionLost,
    Unusable,
    Waiting,
    WrongAddress,
)

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
PLACE = Place(
    id="prm_1", location_id="", street="5 Oak Street", unit="#2", city="Barre", region="VT",
    postal_code="05641", match_key="5 OAK ST, BARRE, VT 05641", latitude=Decimal("44.197"),
    longitude=Decimal("-72.502"), is_located=True,
)  # fmt: skip
QUESTION = Question(inquiry="inq_1", place=PLACE, subscriber_kind="consumer")
HERE = {
    "id": "prm_1", "streetNr": "5", "streetName": "Oak St", "city": "Barre Town",
    "stateOrProvince": "VT", "postcode": "05641-1234", "geographicSubAddress": [{"name": "Apt 2"}],
}  # fmt: skip


def characteristics(**values: Any) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


GIGABIT = {"technology": 40, "downloadSpeed": 1_000_000, "uploadSpeed": 35_000}


def service(**values: Any) -> dict[str, Any]:
    return {"place": [HERE], "serviceCharacteristic": characteristics(**(GIGABIT | values))}


def document(*items: dict[str, Any], **facts: Any) -> dict[str, Any]:
    good = {"id": "1", "state": "done", "qualificationResult": "qualified", "service": service()}
    return {
        "id": "csq-1", "externalId": "inq_1", "state": "done",
        "serviceQualificationItem": list(items) or [good], **facts,
    }  # fmt: skip


def read(told: Any) -> Answer | Waiting:
    return tmf645.read(told, QUESTION, at=AT)


def test_the_question_is_an_address_by_value() -> None:
    body = tmf645.request_body(QUESTION)
    assert body["externalId"] == "inq_1"
    [item] = body["serviceQualificationItem"]
    [place] = item["service"]["place"]
    assert place == {
        "@type": "GeographicAddress",
        "role": "installationAddress",
        "id": "prm_1",
        "streetNr": "5",
        "streetName": "Oak Street",
        "city": "Barre",
        "stateOrProvince": "VT",
        "postcode": "05641",
        "country": "US",
        "geographicSubAddress": [{"name": "#2"}],
        "geographicLocation": {
            "accuracy": "place",
            "geometry": [{"x": "-72.502", "y": "44.197"}],
        },
    }


def test_an_answer_with_a_line() -> None:
    assert read(document()) == Answer(
        lines=(Deliverable(40, 1_000_000, 35_000),), reference="csq-1"
    )


def test_everything_that_can_be_said_of_a_line() -> None:
    told = service(
        technology="Fiber", lowLatency="no", installationInterval="12", constructionInterval=30,
        constructionFee={"unit": "USD", "value": "350.50"}, colour="red",
    )  # fmt: skip
    item = {"qualificationResult": "qualified", "service": told}
    assert read(document(item, expirationDate="2026-05-03T00:00:00Z")) == Answer(
        lines=(
            Deliverable(
                technology=50, max_download_kbps=1_000_000, max_upload_kbps=35_000,
                low_latency=False, install_days=12, construction_fee=Decimal("350.50"),
                construction_days=30,
            ),
        ),
        reference="csq-1",
        valid_until=datetime(2026, 5, 3, tzinfo=UTC),
    )  # fmt: skip


def test_an_alternative_at_a_later_day_is_a_line_to_be_built() -> None:
    item = {
        "qualificationResult": "alternate",
        "service": {"place": [HERE]},
        "alternateServiceProposal": [
            {
                "alternateService": {"serviceCharacteristic": characteristics(**GIGABIT)},
                "alternateServiceAvailabilityDate": "2026-05-31T12:00:00Z",
            }
        ],
    }
    told = read(document(item))
    assert isinstance(told, Answer)
    assert [line.construction_days for line in told.lines] == [30]


def test_a_no_has_its_reasons() -> None:
    item = {
        "qualificationResult": "unqualified",
        "service": {"place": [HERE]},
        "eligibilityUnavailabilityReason": [{"code": "x", "label": "Too\x00 far."}, {"code": "y"}],
    }
    assert read(document(item)) == Answer(lines=(), reference="csq-1", reason="Too far. y")


@pytest.mark.parametrize("state", ["accepted", "acknowledged", "inProgress"])
def test_a_question_that_is_worked_on_is_looked_at_later(state: str) -> None:
    assert read({"id": "csq-1", "state": state}) == Waiting("csq-1")


def test_a_question_that_the_provider_ended_is_put_anew() -> None:
    item = {"state": "terminatedWithError", "terminationError": [{"value": "Out of order"}]}
    for told in (document(item), document(item, state="terminatedWithError")):
        with pytest.raises(QuestionLost, match="Out of order"):
            read(told)


@pytest.mark.parametrize(
    "change",
    [
        {"streetNr": "7"},
        {"streetName": "Elm Street"},
        {"postcode": "05642"},
        {"geographicSubAddress": [{"name": "#3"}]},
        {"geographicSubAddress": None},
    ],
)
def test_an_answer_about_another_place_is_refused(change: dict[str, Any]) -> None:
    told = document()
    told["serviceQualificationItem"][0]["service"]["place"] = [HERE | change]
    with pytest.raises(WrongAddress):
        read(told)


def test_places_by_reference_must_be_ours() -> None:
    told = document()
    told["serviceQualificationItem"][0]["service"]["place"] = [{"id": "prm_1"}]
    assert isinstance(read(told), Answer)
    told["serviceQualificationItem"][0]["service"]["place"] = [{"id": "prm_2"}]
    with pytest.raises(WrongAddress):
        read(told)


def test_an_answer_to_another_question_is_refused() -> None:
    with pytest.raises(WrongAddress):
        read(document(externalId="inq_2"))


def _with(path: str, value: Any) -> dict[str, Any]:
    """A good document in which one value is replaced; `-` takes it out."""
    told = copy.deepcopy(document())
    part: Any = told
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        part = part[step]
    if value == "-":
        del part[last]
    else:
        part[last] = value
    return told


ITEM = "serviceQualificationItem/0"
VALUES = f"{ITEM}/service/serviceCharacteristic"


@pytest.mark.parametrize(
    "told",
    [
        None, [], "done", 42, {}, {"state": "done"}, {"state": "accepted"},
        _with("id", 7), _with("id", "x" * 201), _with("id", "a\nb"), _with("state", "finished"),
        _with("state", ["done"]),
        _with("serviceQualificationItem", "-"), _with("serviceQualificationItem", []),
        _with("serviceQualificationItem", {}), _with("serviceQualificationItem", ["x"]),
        _with("serviceQualificationItem", [{}] * 51),
        _with(f"{ITEM}/qualificationResult", 42), _with(f"{ITEM}/qualificationResult", "-"),
        _with(f"{ITEM}/service", "-"), _with(f"{ITEM}/service", []),
        _with(f"{ITEM}/service/place", "-"), _with(f"{ITEM}/service/place", []),
        _with(f"{ITEM}/service/place", "here"), _with(f"{ITEM}/service/place/0/postcode", 5641),
        _with(VALUES, "-"), _with(VALUES, []), _with(VALUES, {}), _with(VALUES, [{}] * 101),
        _with(f"{VALUES}/0/value", 41), _with(f"{VALUES}/0/value", "string"),
        _with(f"{VALUES}/0/value", True), _with(f"{VALUES}/0/value", None),
        _with(f"{VALUES}/1/value", 0), _with(f"{VALUES}/1/value", -5),
        _with(f"{VALUES}/1/value", 10**9), _with(f"{VALUES}/1/value", "1e6"),
        _with(f"{VALUES}/1/value", Decimal("1000000.5")), _with(f"{VALUES}/1/value", "٣"),
        _with(f"{VALUES}/1/value", {"amount": 1}), _with(f"{VALUES}/1/value", "9" * 5_000),
        _with(f"{VALUES}/2/value", None),
        _with("expirationDate", "tomorrow"), _with("expirationDate", "2026-06-01T00:00:00"),
        _with("expirationDate", "2026-13-01T00:00:00Z"), _with("expirationDate", 17),
        _with("expirationDate", "2026-04-30T00:00:00Z"),
        document(*[{"qualificationResult": "qualified", "service": service()}] * 21),
        document({"qualificationResult": "alternate", "service": {"place": [HERE]},
                  "alternateServiceProposal": [{"alternateService": 1}]}),
        document({"qualificationResult": "qualified",
                  "service": service(installationInterval=366)}),
        document({"qualificationResult": "qualified", "service": service(lowLatency="perhaps")}),
        document({"qualificationResult": "qualified", "service": service(constructionFee=350)}),
        document({"qualificationResult": "qualified",
                  "service": service(constructionFee={"unit": "EUR", "value": 1})}),
        document({"qualificationResult": "qualified",
                  "service": service(constructionFee={"unit": "USD", "value": "NaN"})}),
        document({"qualificationResult": "qualified",
                  "service": service(constructionFee={"unit": "USD", "value": -1})}),
        document({"qualificationResult": "qualified",
                  "service": service(constructionFee={"unit": "USD", "value": "0.001"})}),
        document({"qualificationResult": "qualified",
                  "service": service(constructionFee={"unit": "USD", "value": True})}),
    ],
)  # fmt: skip
def test_nonsense_is_unusable_and_says_why(told: Any) -> None:
    with pytest.raises(Unusable) as refused:
        read(told)
    assert str(refused.value)


def test_an_answer_that_cannot_be_placed_says_what_is_wrong_with_the_address() -> None:
    with pytest.raises(Unusable, match="postal_code"):
        base.check_address(PLACE, street="5 Oak St", unit="#2", city="Barre", postal_code="")
