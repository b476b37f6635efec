"""A provider that speaks TM Forum's service qualification API (TMF645, version 4).

`POST {base_url}/checkServiceQualification` asks; the answer is there at once (state `done`), or
the provider takes the question in and is looked at again under its `id`. Lines are the services
of the qualified items, or of the alternate proposals, by these characteristics: `technology`
(a code of the FCC's broadband data collection, or its name), `downloadSpeed` and `uploadSpeed` in
kbit/s, `lowLatency`, `installationInterval` and `constructionInterval` in days, and
`constructionFee` as TM Forum's money.
"""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.dateparse import parse_datetime

from qualification import addresses
from qualification.providers import base
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
from qualification.providers.transport import call

RESOURCE = "checkServiceQualification"
# The document writes `accepted` in one place and `acknowledged` in another.
_AT_WORK = frozenset({"accepted", "acknowledged", "inProgress"})
ENDED = "terminatedWithError"
_NAMES = {
    "technology": "technology",
    "downloadSpeed": "max_download_kbps",
    "uploadSpeed": "max_upload_kbps",
    "lowLatency": "low_latency",
    "installationInterval": "install_days",
    "constructionInterval": "construction_days",
    "constructionFee": "construction_fee",
}


class Tmf645Provider:
    """One provider's API."""

    def __init__(self, *, base_url: str, token: str, seconds: float) -> None:
        self.address = f"{base_url.rstrip('/')}/{RESOURCE}"
        self.token = token
        self.seconds = seconds

    def ask(self, question: Question) -> Answer | Waiting:
        """Ask, or look after the question under its reference; see `base.Provider`."""
        if question.reference:
            # By the id and not by the href: that could lead anywhere, and the token with it.
            address = f"{self.address}/{quote(question.reference, safe='')}"
            document = call("GET", address, token=self.token, seconds=self.seconds)
        else:
            body = request_body(question)
            document = call("POST", self.address, token=self.token, seconds=self.seconds, body=body)
        return read(document, question, at=datetime.now(UTC))


def request_body(question: Question) -> dict[str, Any]:
    """Write the question: what broadband access can be had at this place?"""
    return {
        "@type": "CheckServiceQualification",
        "externalId": question.inquiry,
        "instantSyncQualification": True,
        "provideAlternative": True,
        "provideUnavailabilityReason": True,
        "serviceQualificationItem": [
            {
                "id": "1",
                "service": {
                    "serviceType": "broadbandAccess",
                    "place": [place_out(question.place)],
                    "serviceCharacteristic": [
                        {"name": "subscriberKind", "value": question.subscriber_kind}
                    ],
                },
            }
        ],
    }


def read(document: Any, question: Question, *, at: datetime) -> Answer | Waiting:
    """Read what the provider said; every part of it is checked.

    Raises:
        Unusable: it is no answer in the form of TMF645, or a value makes no sense.
        WrongAddress: it is about another place.
        QuestionLost: the provider ended the question with an error of its own.
    """
    told = _object(document, "The answer")
    reference = _reference(told)
    if told.get("externalId") not in (None, "", question.inquiry):
        raise WrongAddress("The answer is for another question than ours.")
    state = base.words(told.get("state"), 40)
    if state in _AT_WORK:
        if not reference:
            raise Unusable("It took the question in and gave it no id.")
        return Waiting(reference)
    items = list(_objects(told.get("serviceQualificationItem"), "serviceQualificationItem"))
    if state == ENDED or any(item.get("state") == ENDED for item in items):
        raise QuestionLost(_termination(items))
    if state != "done":
        raise Unusable(f"Its state is {state or 'missing'}.")
    return _answer(told, items, reference, question.place, at)


def _answer(
    told: dict[str, Any], items: list[dict[str, Any]], reference: str, place: Place, at: datetime
) -> Answer:
    if not items:
        raise Unusable("The answer has no item.")
    _check_places(items, place)
    lines = tuple(line for item in items for line in _lines(item, at))
    if len(lines) > base.MOST_LINES:
        raise Unusable(f"The answer has more than {base.MOST_LINES} lines.")
    ends = [_moment(part.get("expirationDate"), "expirationDate") for part in (told, *items)]
    return Answer(
        lines=lines,
        reference=reference[:100],
        reason="" if lines else _why_not(items),
        valid_until=base.earliest(ends, at),
    )


def _lines(item: dict[str, Any], at: datetime) -> Iterator[Deliverable]:
    """Yield what one item says can be had: as asked, or as an alternative."""
    result = item.get("qualificationResult")
    if result == "qualified":
        yield base.deliverable(_characteristics(item.get("service")))
    elif result == "alternate":
        for proposal in _objects(item.get("alternateServiceProposal"), "alternateServiceProposal"):
            facts = _characteristics(proposal.get("alternateService"))
            yield base.deliverable(facts | _later(facts, proposal, at))
    elif result != "unqualified":
        raise Unusable("An item has no qualificationResult that is known.")


def _later(facts: dict[str, Any], proposal: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Count the days until a line can be had that must be built first, where a date is told."""
    day = _moment(
        proposal.get("alternateServiceAvailabilityDate"), "alternateServiceAvailabilityDate"
    )
    if day is None or facts.get("construction_days") is not None:
        return {}
    return {"construction_days": max(0, math.ceil((day - at).total_seconds() / 86_400))}


def _characteristics(service: Any) -> dict[str, Any]:
    """Return the characteristics that we know, by our names; others are the provider's affair."""
    found: dict[str, Any] = {}
    told = _object(service, "A service").get("serviceCharacteristic")
    for entry in _objects(told, "serviceCharacteristic", most=100):
        name = entry.get("name")
        if isinstance(name, str) and name in _NAMES:
            value = entry.get("value")
            found[_NAMES[name]] = _money(value) if name == "constructionFee" else value
    return found


def _money(value: Any) -> Any:
    told = _object(value, "constructionFee")
    if told.get("unit") != settings.CURRENCY:
        raise Unusable(f"constructionFee is not in {settings.CURRENCY}.")
    return told.get("value")


def _check_places(items: Iterable[dict[str, Any]], place: Place) -> None:
    """Make sure that every place in the answer is ours, and that there is one."""
    count = 0
    for item in items:
        service = _object(item.get("service"), "A service")
        for told in _objects(service.get("place"), "place"):
            count += 1
            _check_place(told, place)
    if not count:
        raise Unusable("The answer does not say which address it is for.")


def _check_place(told: dict[str, Any], place: Place) -> None:
    """Compare a place by value; one by reference must be named as we named it."""
    if "streetName" not in told and "postcode" not in told:
        if told.get("id") != _id_of(place):
            raise WrongAddress("The answer is for another place than the one we asked about.")
        return
    base.check_address(
        place,
        street=f"{told.get('streetNr') or ''} {told.get('streetName') or ''}",
        unit=_unit_of(told),
        city=told.get("city"),
        postal_code=told.get("postcode"),
    )


def _id_of(place: Place) -> str:
    return place.location_id or place.id


def _unit_of(told: dict[str, Any]) -> Any:
    parts = list(_objects(told.get("geographicSubAddress"), "geographicSubAddress"))
    return parts[0].get("name") if parts else ""


def place_out(place: Place) -> dict[str, Any]:
    """Write a place as TM Forum's GeographicAddress (TMF673)."""
    number = addresses.leading_part(place.street)
    written: dict[str, Any] = {
        "@type": "GeographicAddress",
        "role": "installationAddress",
        "id": _id_of(place),
        "streetNr": number,
        "streetName": place.street.removeprefix(number).strip(),
        "city": place.city,
        "stateOrProvince": place.region,
        "postcode": place.postal_code,
        "country": settings.ADDRESS_COUNTRY.rpartition(".")[2].upper(),
    }
    if place.unit:
        written["geographicSubAddress"] = [{"name": place.unit}]
    if place.latitude is not None and place.longitude is not None:
        written["geographicLocation"] = {
            "accuracy": "place" if place.is_located else "area",
            "geometry": [{"x": str(place.longitude), "y": str(place.latitude)}],
        }
    return written


def _why_not(items: Iterable[dict[str, Any]]) -> str:
    reasons = [
        base.words(reason.get("label")) or base.words(reason.get("code"))
        for item in items
        for reason in _objects(
            item.get("eligibilityUnavailabilityReason"), "eligibilityUnavailabilityReason"
        )
    ]
    return " ".join(filter(None, reasons))[: base.LONGEST_REASON]


def _termination(items: Iterable[dict[str, Any]]) -> str:
    told = [
        base.words(error.get("value"), 200)
        for item in items
        for error in _objects(item.get("terminationError"), "terminationError")
    ]
    return f"It ended the question with an error: {' '.join(filter(None, told)) or 'no reason'}"


def _reference(told: dict[str, Any]) -> str:
    value = told.get("id")
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > base.LONGEST_REFERENCE or not value.isprintable():
        raise Unusable("The id of the answer is no text of up to 200 characters.")
    return value


def _moment(value: Any, name: str) -> datetime | None:
    """Read a date and time with its zone; None where there is none."""
    if value in (None, ""):
        return None
    try:
        moment = parse_datetime(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Unusable(f"{name} is no time with its zone.")
    return moment


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unusable(f"{name} is no object.")
    return value


def _objects(value: Any, name: str, most: int = 50) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; none where it was left out."""
    if value is None:
        return
    if not isinstance(value, list) or len(value) > most:
        raise Unusable(f"{name} is no list of up to {most}.")
    for entry in value:
        yield _object(entry, f"An entry of {name}")
