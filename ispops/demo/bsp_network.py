"""A demo network provider's answers to *do you deliver there?*, in TM Forum's form (TMF645).

The program of a cable company: it knows the areas that it surveyed, and nothing of the product's
tables. Its answers are there at once, or when they are looked for later, as the fault says.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import h3

from ispops.demo import survey

API = "tmf-api/serviceQualificationManagement/v4/checkServiceQualification"
FAULTS = frozenset({"slow", "error", "garbage", "wrong_address", "silent", "later", "refuse"})
GARBAGE = '{"state": "done", "serviceQualificationItem": [{"qualificationResult": 42'
LOOKS_UNTIL_DONE = 2
_MOST_QUESTIONS = 500
_ADDRESS = ("streetName", "city", "stateOrProvince", "postcode")


class NoQuestion(ValueError):
    """What was sent is no question in the form of TMF645."""


@dataclass
class Network:
    """The questions that a network was asked, by its own ids, and what it answers."""

    token: str
    questions: dict[str, dict[str, Any]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, body: Any, fault: str) -> tuple[int, dict[str, Any]]:
        """Take a question in: the status and the document of the answer.

        Raises:
            NoQuestion: it is not in the form of TMF645.
        """
        document: dict[str, Any] = {
            "id": f"csq-{uuid.uuid4().hex}",
            "externalId": body.get("externalId") if isinstance(body, dict) else None,
            "checkServiceQualificationDate": datetime.now(UTC).isoformat(),
            "state": "inProgress" if fault in {"silent", "later"} else "done",
            "serviceQualificationItem": [_item(_asked(body), fault)],
        }
        with self.lock:
            self.questions[document["id"]] = document
            while len(self.questions) > _MOST_QUESTIONS:
                self.questions.pop(next(iter(self.questions)))
        return (200 if document["state"] == "done" else 201), _shown(document)

    def look(self, question: str, fault: str) -> tuple[int, dict[str, Any]]:
        """Return a question as it is now; one that takes its time is done at the second look."""
        with self.lock:
            document = self.questions.get(question)
            if document is None:
                return 404, {"code": "404", "reason": "There is no such question."}
            looks = self.looks[question] = self.looks.get(question, 0) + 1
            if fault != "silent" and looks >= LOOKS_UNTIL_DONE:
                document["state"] = "done"
            return 200, _shown(document)


def _asked(body: Any) -> dict[str, Any]:
    """Return the one place that is asked about."""
    try:
        [item] = body["serviceQualificationItem"]
        [place] = item["service"]["place"]
        lacking = [name for name in _ADDRESS if not isinstance(place[name], str)]
    except (KeyError, TypeError, ValueError) as error:
        raise NoQuestion("Ask one serviceQualificationItem with one place.") from error
    if lacking:
        raise NoQuestion(f"The place has no {lacking[0]}.")
    found: dict[str, Any] = place
    return found


def _item(place: dict[str, Any], fault: str) -> dict[str, Any]:
    facts = None if fault == "refuse" else survey.cable(place["stateOrProvince"], _cell(place))
    if fault == "wrong_address":
        place = place | {"id": "another", "streetNr": "1", "streetName": "Elsewhere Avenue"}
    told: dict[str, Any] = {"id": "1", "state": "done"}
    if facts is None:
        reason = {"code": "notServed", "label": "Our cables do not reach this address."}
        return told | {
            "qualificationResult": "unqualified",
            "eligibilityUnavailabilityReason": [reason],
            "service": {"place": [place]},
        }
    characteristics = {
        "technology": 40,
        "downloadSpeed": facts["max_download_kbps"],
        "uploadSpeed": facts["max_upload_kbps"],
        "lowLatency": True,
        "installationInterval": facts["install_days"],
    }
    return told | {
        "qualificationResult": "qualified",
        "expirationDate": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "service": {
            "serviceType": "broadbandAccess",
            "place": [place],
            "serviceCharacteristic": [
                {"name": name, "value": value} for name, value in characteristics.items()
            ],
        },
    }


def _cell(place: dict[str, Any]) -> str:
    """Return the area of a place by its coordinates; none of ours where there are none."""
    try:
        point = place["geographicLocation"]["geometry"][0]
        return str(h3.latlng_to_cell(float(point["y"]), float(point["x"]), survey.RESOLUTION))
    except (KeyError, IndexError, TypeError, ValueError):
        return ""


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    """Keep the items back for as long as the question is worked on."""
    if document["state"] == "done":
        return dict(document)
    return {name: value for name, value in document.items() if name != "serviceQualificationItem"}
