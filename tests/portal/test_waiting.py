"""A pending answer in the portal: what is known at once, who is asked, and what comes of it."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ispops.portal.waiting import LONGEST_MS, MOST_LOOKS, Waiting
from qualification import asking, inquiries
from qualification.models import ProviderConnection, ServiceQualification
from qualification.providers.base import Answer, Deliverable
from tests.offnet import OffNet, ask, connect
from tests.portal.pages import page
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db


@pytest.fixture
def off() -> OffNet:
    return connect(make_small_isp(), "http://127.0.0.1:9/api", at=LAUNCH)


def tell(answer: ServiceQualification, *lines: Deliverable) -> None:
    """Let the provider answer."""
    with transaction.atomic():
        inquiry = inquiries.lock(answer.inquiries.get().pk)
        inquiries.answer(inquiry=inquiry, told=Answer(lines=lines), at=timezone.now())


def give_up(answer: ServiceQualification) -> None:
    inquiry = answer.inquiries.get()
    asking.ask(inquiry_id=inquiry.pk, at=inquiry.give_up_at)


CABLE = Deliverable(40, 1_200_000, 35_000, install_days=7)


def test_what_is_known_is_shown_at_once_and_who_is_still_asked(client: Client, off: OffNet) -> None:
    answer = ask(off.knox, at=timezone.now())
    found = page(client.get(f"/check/{answer.public_id}/"))
    assert "Good news: you can be connected" in found.text
    assert "Tidewater Cable is being asked…" in found.text
    assert "Cable Gig" not in found.text
    assert {button["value"] for button in found.all("button", name="offering")} == {
        "fibre-500", "fibre-and-films",
    }  # fmt: skip
    assert "Put me on the waitlist" not in found.text
    assert answer.public_id in found.text
    [poller] = found.all("div", id="asking")
    assert poller["hx-get"] == f"/check/{answer.public_id}/asking/?looks=0"
    assert poller["hx-trigger"] == "load delay:500ms"
    [status] = found.all("p", id="answer-now")
    assert (status["role"], status["aria-live"]) == ("status", "polite")
    assert "load it again" in found.html
    assert "<noscript>" in found.html


def test_where_nothing_is_known_yet_nobody_is_turned_away(client: Client, off: OffNet) -> None:
    answer = ask(off.dry, at=timezone.now())
    found = page(client.get(f"/check/{answer.public_id}/"))
    assert "One moment, we are asking" in found.text
    for wrong in ("Not yet, sorry", "Put me on the waitlist", "No network that we work with"):
        assert wrong not in found.text


def test_the_page_looks_again_less_and_less_often_until_it_is_settled(
    client: Client, off: OffNet
) -> None:
    answer = ask(off.knox, at=timezone.now())
    url = f"/check/{answer.public_id}/asking/"
    again = page(client.get(f"{url}?looks=3"))
    [poller] = again.all("div", id="asking")
    assert poller["hx-get"] == f"{url}?looks=4"
    assert poller["hx-trigger"] == "load delay:1500ms"
    assert "no-cache" in client.get(url)["Cache-Control"]
    for strange in ("", "x", "-1", "9" * 30):
        assert client.get(url, {"looks": strange}).status_code == 200

    tired = page(client.get(f"{url}?looks={MOST_LOOKS}"))
    [poller] = tired.all("div", id="asking")
    assert "hx-get" not in poller
    assert "Tidewater Cable takes longer than usual." in tired.text

    tell(answer, CABLE)
    done = page(client.get(f"{url}?looks=4"))
    [swap] = done.all("div", id="asking")
    assert swap["hx-get"] == f"/check/{answer.public_id}/"
    assert (swap["hx-target"], swap["hx-select"]) == ("#answer", "#answer")
    assert done.text.strip() == ""


def test_the_settled_page_has_it_all_and_says_so_to_screen_readers(
    client: Client, off: OffNet
) -> None:
    answer = ask(off.knox, at=timezone.now())
    tell(answer, CABLE)
    found = page(client.get(f"/check/{answer.public_id}/"))
    assert "All networks have been asked. 2 networks reach this address." in found.text
    assert "Cable on the network of Tidewater Cable" in found.text
    assert not found.all("div", id="asking")
    assert "is being asked" not in found.text
    assert "How we worked this out" in found.text


def test_what_was_not_confirmed_is_marked_as_such(client: Client, off: OffNet) -> None:
    answer = ask(off.knox, at=timezone.now())
    give_up(answer)
    found = page(client.get(f"/check/{answer.public_id}/"))
    assert "Tidewater Cable did not confirm this address in time." in found.text
    assert found.text.count("Not confirmed by the network yet: we ask before we install") == 1
    assert found.all("button", value="cable-200")


def test_a_failed_answer_says_what_to_do(client: Client) -> None:
    off = connect(
        make_small_isp(), "http://127.0.0.1:9/api", at=LAUNCH, is_listed=False,
        asked_everywhere=True,
    )  # fmt: skip
    answer = ask(off.isp.stowe, at=timezone.now())
    give_up(answer)
    found = page(client.get(f"/check/{answer.public_id}/"))
    assert "We cannot say yet, sorry" in found.text
    assert "Check the address again in a few minutes, or call us." in found.text
    assert "Check again" in found.text
    assert "Put me on the waitlist" not in found.text


def test_looking_again_costs_two_queries(client: Client, off: OffNet) -> None:
    answer = ask(off.knox, at=timezone.now())
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/check/{answer.public_id}/asking/?looks=1")
    assert len(queries) <= 2
    assert ProviderConnection.objects.count() == 1


def test_an_answer_that_is_not_there_cannot_be_looked_at(client: Client) -> None:
    assert client.get("/check/qlf_00/asking/").status_code == 404
    assert client.post("/check/qlf_00/asking/").status_code == 405


def test_the_networks_are_named_in_one_sentence() -> None:
    assert Waiting(["A"], 0).who == "A"
    assert Waiting(["A", "B", "C"], 0).who == "A, B and C"
    assert Waiting([], 0).who == "Another network"
    assert Waiting(["A"], MOST_LOOKS - 1).delay_ms == LONGEST_MS
