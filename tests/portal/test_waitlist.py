"""Joining the waitlist on the portal, for service or for more of it, and leaving by the letter."""

from __future__ import annotations

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from ispops.parties import limits
from qualification import waitlist
from qualification.models import WaitlistEntry
from tests.portal.pages import page
from tests.portal.test_check import ask
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db


def test_more_can_be_waited_for_where_there_is_something(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, str(isp.oak_1))
    assert asked.state == "qualified"
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert "Hoping for more?" in found.text
    assert waitlist.CONSENT in found.text
    assert not found.all("details", open="")
    url = f"/check/{asked.public_id}/wait/"
    wrong = page(client.post(url, {"email": "nobody"}), status=422)
    assert wrong.all("details", open="")
    assert wrong.all("a", href="#id_email")
    joined = client.post(url, {"email": "eve@example.com"}, follow=True)
    assert "You are on the list" in page(joined).text
    assert WaitlistEntry.objects.get().qualification == asked


def test_an_address_outside_the_footprint_can_be_waited_for(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, "9 Valley View Road, Stowe, VT 05672")
    assert asked.state == "out_of_footprint"
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert "Put me on the waitlist" in found.text
    client.post(f"/check/{asked.public_id}/wait/", {"email": "eve@example.com", "name": "Eve"})
    entry = WaitlistEntry.objects.get()
    assert (entry.postal_code, entry.channel) == ("05672", "portal")


def test_joining_says_the_same_to_whoever_is_on_the_list(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, str(isp.stowe))
    url = f"/check/{asked.public_id}/wait/"
    answers = [client.post(url, {"email": "eve@example.com", "name": name}) for name in ("a", "b")]
    assert len({(answer.status_code, answer["Location"]) for answer in answers}) == 1
    pages = [page(client.get(f"/check/{asked.public_id}/")).text for _ in answers]
    assert pages[0].count("You are on the list") == 2
    assert "eve@example.com" not in pages[1]
    assert WaitlistEntry.objects.get().name == "a"


@pytest.mark.parametrize(
    "data",
    [
        {"email": "a@example.com", "name": "x" * 201},
        {"email": "a@example.com", "name": "Eve\nBcc: all@example.com"},
        {"email": "a@example.com\nBcc: all@example.com"},
        {"email": "<script>alert(1)</script>@example.com"},
        {},
    ],
)
def test_what_cannot_be_used_is_said_at_the_field(
    client: Client, isp: SmallIsp, data: dict[str, str]
) -> None:
    asked = ask(client, str(isp.stowe))
    refused = page(client.post(f"/check/{asked.public_id}/wait/", data), status=422)
    assert refused.all("div", id="error-summary")
    assert "<script>alert" not in refused.html
    assert not WaitlistEntry.objects.exists()


def test_the_list_cannot_be_filled_by_the_thousand(
    client: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAITLIST", limits.Limit("waitlist", amount=2, seconds=3600))
    asked = ask(client, str(isp.stowe))
    url = f"/check/{asked.public_id}/wait/"
    codes = [client.post(url, {"email": f"p{n}@example.com"}).status_code for n in range(3)]
    assert codes == [302, 302, 429]
    assert WaitlistEntry.objects.count() == 2


def waiting(isp: SmallIsp, client: Client, email: str = "eve@example.com") -> WaitlistEntry:
    return waitlist.join_waitlist(
        qualification=ask(client, str(isp.stowe)), email=email, channel="portal", at=timezone.now()
    )


def test_a_look_at_the_way_out_changes_nothing_and_a_press_does(
    client: Client, isp: SmallIsp
) -> None:
    eve, bob = waiting(isp, client), waiting(isp, client, "bob@example.com")
    url = f"/waitlist/{waitlist.leave_token(eve)}/leave/"
    asks = client.get(url)
    assert "Leave the waitlist?" in page(asks).text
    assert "no-store" in asks["Cache-Control"]
    assert client.head(url).status_code == 200
    eve.refresh_from_db()
    assert eve.state == "waiting"
    for _ in range(2):
        assert "You are off the waitlist" in page(client.post(url)).text
    eve.refresh_from_db()
    bob.refresh_from_db()
    assert (eve.state, bob.state) == ("withdrawn", "waiting")


def test_nobody_takes_another_off_the_list(client: Client, isp: SmallIsp) -> None:
    eve, bob = waiting(isp, client), waiting(isp, client, "bob@example.com")
    token = waitlist.leave_token(eve)
    guesses = (
        token.replace(f"{eve.pk}:", f"{bob.pk}:", 1), str(bob.pk), f"{bob.pk}:x", token[:-2], "%00",
    )  # fmt: skip
    for guess in guesses:
        url = f"/waitlist/{guess}/leave/"
        assert (client.get(url).status_code, client.post(url).status_code) == (404, 404), guess
    bob.refresh_from_db()
    assert bob.state == "waiting"


def test_the_link_still_works_years_later(client: Client, isp: SmallIsp) -> None:
    eve = waiting(isp, client)
    url = f"/waitlist/{waitlist.leave_token(eve)}/leave/"
    with time_machine.travel("2030-01-01"):
        assert client.post(url).status_code == 200
    eve.refresh_from_db()
    assert eve.state == "withdrawn"
