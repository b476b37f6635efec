"""The demo network's API for questions about addresses: its survey, its token and its faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from ispops.demo import bsp_network, bsp_server, survey
from ispops.demo.bsp_network import Network
from ispops.demo.bsp_partner import Isp, Partner

TOKEN = "a-token"
KNOX = {
    "role": "installationAddress", "id": "prm_1", "streetNr": "12", "streetName": "Knox Street",
    "city": "Manchester", "stateOrProvince": "CT", "postcode": "06040",
    "geographicLocation": {"geometry": [{"x": "-72.527697", "y": "41.774166"}]},
}  # fmt: skip


@pytest.fixture
def url() -> Iterator[str]:
    def partner(code: str, network: Network | None) -> Partner:
        return Partner(
            code=code, name=code.title(), kind="network_provider", webhook_secret="whsec_eA==",
            isp=Isp("http://127.0.0.1:9", code, "s"), network=network,
        )  # fmt: skip

    partners = {"cable": partner("cable", Network(TOKEN)), "copper": partner("copper", None)}
    server = bsp_server.make_server(partners, 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def body(place: dict[str, Any] = KNOX) -> dict[str, Any]:
    return {"externalId": "inq_1", "serviceQualificationItem": [{"service": {"place": [place]}}]}


def ask(url: str, told: Any = None, token: str = TOKEN, code: str = "cable") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    target = f"{url}/{code}/{bsp_network.API}"
    told = body() if told is None else told
    return requests.post(target, json=told, headers=headers, timeout=5)


def look(url: str, question: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return requests.get(f"{url}/cable/{bsp_network.API}/{question}", headers=headers, timeout=5)


def misbehave(url: str, fault: str, **fields: Any) -> requests.Response:
    told = {"partner": "cable", "fault": fault, **fields}
    return requests.post(f"{url}/demo/faults", json=told, timeout=5)


def result(document: dict[str, Any]) -> str:
    [item] = document["serviceQualificationItem"]
    return str(item["qualificationResult"])


def test_it_answers_from_its_survey(url: str) -> None:
    answer = ask(url)
    assert answer.status_code == 200
    document = answer.json()
    assert (document["state"], document["externalId"], result(document)) == (
        "done", "inq_1", "qualified",
    )  # fmt: skip
    [item] = document["serviceQualificationItem"]
    told = {entry["name"]: entry["value"] for entry in item["service"]["serviceCharacteristic"]}
    assert told["downloadSpeed"] == 1_200_000
    assert item["service"]["place"] == [KNOX]
    assert result(ask(url, body(KNOX | {"stateOrProvince": "VT"})).json()) == "unqualified"
    nowhere = {name: value for name, value in KNOX.items() if name != "geographicLocation"}
    assert result(ask(url, body(nowhere)).json()) == "unqualified"


def test_it_wants_its_token_and_a_question(url: str) -> None:
    assert ask(url, token="another").status_code == 401
    assert (
        requests.post(f"{url}/cable/{bsp_network.API}", json=body(), timeout=5).status_code == 401
    )
    for wrong in ({"x": 1}, [], body(KNOX | {"city": 5}), {"serviceQualificationItem": [1, 2]}):
        refused = ask(url, wrong)
        assert (refused.status_code, bool(refused.json()["reason"])) == (400, True)
    assert ask(url, code="copper").status_code == 404
    assert look(url, "csq-nothing").status_code == 404


def test_each_fault_can_be_switched_on_at_run_time(url: str) -> None:
    misbehave(url, "error")
    assert ask(url).status_code == 500
    misbehave(url, "garbage")
    with pytest.raises(ValueError, match="Expecting"):
        ask(url).json()
    misbehave(url, "wrong_address")
    [item] = ask(url).json()["serviceQualificationItem"]
    assert item["service"]["place"][0]["streetName"] == "Elsewhere Avenue"
    misbehave(url, "refuse")
    assert result(ask(url).json()) == "unqualified"
    misbehave(url, "slow", seconds=0.3)
    started = time.monotonic()
    assert ask(url).ok
    assert time.monotonic() - started > 0.3


def test_a_question_that_takes_its_time_is_done_at_the_second_look(url: str) -> None:
    misbehave(url, "later")
    accepted = ask(url)
    assert (accepted.status_code, accepted.json()["state"]) == (201, "inProgress")
    question = accepted.json()["id"]
    assert look(url, question).json()["state"] == "inProgress"
    assert result(look(url, question).json()) == "qualified"

    misbehave(url, "silent")
    question = ask(url).json()["id"]
    for _ in range(3):
        assert look(url, question).json()["state"] == "inProgress"


def test_the_page_shows_the_questions_and_the_switch(url: str) -> None:
    ask(url, body(KNOX | {"streetName": "<b>Knox</b>"}))
    page = requests.get(url, timeout=5).text
    assert "12 &lt;b&gt;Knox&lt;/b&gt; Manchester" in page
    assert page.count('<option value="wrong_address"') == 1, "only the network has this fault"
    pressed = requests.post(
        f"{url}/demo/faults", data={"partner": "cable", "fault": "garbage"},
        headers={"Accept": "text/html", "Origin": url}, timeout=5, allow_redirects=False,
    )  # fmt: skip
    assert pressed.status_code == 303
    assert "(fault: garbage)" in requests.get(url, timeout=5).text
    assert misbehave(url, "wrong_address", partner="copper").status_code == 422


def test_the_survey_is_the_same_for_all_who_read_it() -> None:
    assert survey.cable("CT", "882a14bad1fffff") == {
        "max_download_kbps": 1_200_000, "max_upload_kbps": 35_000, "install_days": 7,
    }  # fmt: skip
    assert survey.cable("VT", "882a14bad1fffff") is None
