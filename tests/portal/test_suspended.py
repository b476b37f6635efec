"""The page that a suspended line sees: public, and personal for whoever is signed in."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties.models import Subscriber
from provisioning import services
from provisioning.models import ProductOrder, Service, ServiceSuspension
from tests import factories
from tests.portal.pages import page

URL = "/suspended/"


def suspend(
    line: Service, reason: str, now: datetime, treatment: str = "walled_garden", note: str = ""
) -> ServiceSuspension:
    return services.open_suspension(
        line=line, reason=reason, treatment=treatment, note=note, at=now
    )


def test_a_visitor_learns_what_it_may_be_and_where_to_go(client: Client) -> None:
    found = page(client.get(URL))
    assert "Sign in to see why" in found.text
    assert "+1 800 555 0142" in found.text
    assert found.all("a", href=f"{reverse('account_login')}?next={URL}")


@pytest.mark.parametrize(
    ("reason", "said", "link"),
    [
        ("non_payment", "A bill is not paid", "portal:bill"),
        ("abuse", "does harm", None),
        ("requested", "You paused it", None),
    ],
)
def test_whoever_is_signed_in_learns_why_and_what_to_do(
    owner: Client, line: Service, now: datetime, reason: str, said: str, link: str | None
) -> None:
    suspend(line, reason, now, note="Letter 17 of May says more.")
    found = page(owner.get(URL))
    for words in (said, "Your line is suspended", str(line.premises), "Letter 17 of May"):
        assert words in found.text, words
    if link:
        assert found.all("a", href=reverse(link))


def test_what_the_line_can_reach_meanwhile(owner: Client, line: Service, now: datetime) -> None:
    row = suspend(line, "abuse", now)
    assert "all that you can reach" in page(owner.get(URL)).text
    ServiceSuspension.objects.filter(pk=row.pk).update(treatment="block")
    assert "the line is off" in page(owner.get(URL)).text


def test_every_reason_is_named(owner: Client, line: Service, now: datetime) -> None:
    suspend(line, "non_payment", now)
    suspend(line, "abuse", now, "block")
    text = page(owner.get(URL)).text
    assert "A bill is not paid" in text
    assert "does harm" in text


def test_what_is_over_or_somebody_elses_is_not_shown(
    owner: Client, line: Service, now: datetime
) -> None:
    suspend(line, "non_payment", now)
    services.close_suspension(line=line, reason="non_payment", at=now)
    assert "None of your lines is suspended" in page(owner.get(URL)).text
    bob = Client()
    bob.force_login(factories.subscriber(at=now, name="Bob").users.get())
    suspend(line, "abuse", now)
    assert "None of your lines is suspended" in page(bob.get(URL)).text


def test_the_overview_leads_to_it(owner: Client, line: Service, now: datetime) -> None:
    suspend(line, "abuse", now)
    assert page(owner.get("/account/")).all("a", href=URL)


class TestLettingItWorkAgain:
    def press(self, client: Client, row: ServiceSuspension) -> str:
        response = client.post(reverse("portal:resume_line", args=[row.pk]))
        assert response.status_code == 302
        return str(response["Location"])

    def test_the_subscriber_ends_the_own_pause(
        self, owner: Client, line: Service, now: datetime
    ) -> None:
        row = suspend(line, "requested", now)
        address = self.press(owner, row)
        order = ProductOrder.objects.get(intent="resume")
        assert address == reverse("portal:order", args=[order.public_id])
        factories.work(at=now + timedelta(minutes=1))
        line.refresh_from_db()
        assert line.state == "active"

    def test_pressed_twice_it_is_one_order(
        self, owner: Client, line: Service, now: datetime
    ) -> None:
        row = suspend(line, "requested", now)
        assert self.press(owner, row) == self.press(owner, row)
        assert ProductOrder.objects.filter(intent="resume").count() == 1

    def test_pressed_again_after_it_was_taken_back(
        self, owner: Client, line: Service, now: datetime
    ) -> None:
        row = suspend(line, "requested", now)
        first = self.press(owner, row)
        owner.post(f"{first}cancel/")
        assert self.press(owner, row) != first
        factories.work(at=now + timedelta(minutes=1))
        line.refresh_from_db()
        assert line.state == "active"

    @pytest.mark.parametrize("reason", ["non_payment", "abuse"])
    def test_nobody_lifts_what_was_not_the_own_wish(
        self, owner: Client, line: Service, now: datetime, reason: str
    ) -> None:
        row = suspend(line, reason, now)
        assert self.press(owner, row) == URL
        assert not ProductOrder.objects.filter(intent="resume").exists()
        line.refresh_from_db()
        assert line.state == "suspended"

    def test_nobody_lifts_a_stranger_s(
        self, owner: Client, line: Service, ada: Subscriber, now: datetime
    ) -> None:
        row = suspend(line, "requested", now)
        bob = Client()
        bob.force_login(factories.subscriber(at=now, name="Bob").users.get())
        assert bob.post(reverse("portal:resume_line", args=[row.pk])).status_code == 404
        assert not ProductOrder.objects.filter(intent="resume").exists()

    def test_a_visitor_is_asked_to_sign_in(
        self, client: Client, line: Service, now: datetime
    ) -> None:
        row = suspend(line, "requested", now)
        assert self.press(client, row).startswith(reverse("account_login"))
