"""Figures 1 and 2: every way in which a visitor may name a place leads to the same answer.

Real processes and real HTTP between them; the program is the command `isp`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from ispops.demo import places
from ispops.parties import limits
from tests.stack import Stack

ISP = str(Path(sys.executable).with_name("isp"))
CALLS = "/api/v1/service_qualifications"

pytestmark = pytest.mark.timeout(300)


class From(HTTPAdapter):
    """Lets requests come from an address of our own, so that no other test is slowed down."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, source_address=(self.address, 0), **kwargs)


@pytest.fixture
def web() -> requests.Session:
    session = requests.Session()
    session.mount("http://", From("127.0.0.2"))
    return session


def by_portal(web: requests.Session, stack: Stack, **place: str) -> dict[str, Any]:
    """Ask on the first page; the answer's id opens it over REST too."""
    answer = web.post(f"{stack.url}/", data=place | token_of(web, f"{stack.url}/"), timeout=30)
    found = re.search(r"/check/(qlf_\w+)/", answer.url)
    assert found, answer.text
    return web.get(f"{stack.url}{CALLS}/{found[1]}", timeout=30).json()


def by_program(stack: Stack, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [ISP, "qualify", "--json", "--server", stack.url, *arguments],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def token_of(web: requests.Session, page: str) -> dict[str, str]:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', web.get(page, timeout=30).text)
    assert found
    return {"csrfmiddlewaretoken": found[1]}


def promised(answer: dict[str, Any]) -> Any:
    """What an answer says of the place, and not of the asking."""
    times = ("_at", "_until")
    offers = [
        {name: value for name, value in offer.items() if not name.endswith(times)}
        for offer in answer["offers"]
    ]
    return answer["state"], answer["confidence"], answer["premises"], offers


def test_all_ways_to_name_the_place_lead_to_it(stack: Stack, web: requests.Session) -> None:
    street, _, rest = places.TWO_NETWORKS.partition(",")
    (row,) = [row for row in places.rows() if row["street"] == street]
    where = {"latitude": row["latitude"], "longitude": row["longitude"]}
    known = by_program(stack, places.TWO_NETWORKS)
    id_of_place = known["premises"]["id"]
    for answer in (
        by_program(stack, f"{street.upper()}, {rest.rpartition(' ')[2]}"),
        by_program(stack, "--premises", id_of_place),
        by_program(stack, "--at", f"{where['latitude']},{where['longitude']}"),
        by_portal(web, stack, premises=id_of_place),
        by_portal(web, stack, **{name: str(value) for name, value in where.items()}),
        web.post(
            f"{stack.url}{CALLS}", json={"coordinates": where},
            headers={"Idempotency-Key": "k1"}, timeout=30,
        ).json(),
    ):  # fmt: skip
        assert promised(answer) == promised(known)
    typed = web.get(
        f"{stack.url}/api/v1/address_suggestions", params={"text": street[:-2]}, timeout=30
    ).json()
    assert id_of_place in [item["premises_id"] for item in typed["items"]]


def test_a_visitors_program_that_asks_too_often_is_told_when_to_go_on(
    stack: Stack, web: requests.Session
) -> None:
    web.mount("http://", From("127.0.0.3"))
    for number in range(2 * limits.QUALIFY.amount + 2):  # The minute may end on the way.
        answer = web.post(
            f"{stack.url}{CALLS}", json={"address": places.OUTSIDE},
            headers={"Idempotency-Key": f"k{number}"}, timeout=30,
        )  # fmt: skip
        if answer.status_code != 201:
            break
    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 0 < int(answer.headers["Retry-After"]) <= limits.QUALIFY.seconds + 1
