"""Figure 11 for the subscriber: devices, addresses, and the device beyond the plan."""

from datetime import datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ipam import allocation
from ipam.models import AddressServer, ExtraAddress, OverallocationRequest, StaticAddress
from ispops.catalog import publishing
from ispops.catalog.models import AddressEntitlement
from ispops.parties.models import AuditEntry
from provisioning.models import AaaCredential, Service
from tests import factories
from tests.portal.pages import page
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
DEVICES = "/account/devices/"
FIRST, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def server(db: None, now: datetime) -> AddressServer:
    return factories.address_server(at=now)


def connect(line: Service, server: AddressServer, device: str, now: datetime) -> str:
    return str(
        allocation.request_addresses(
            service_ref=line.public_id, device=device, server=server, at=now
        ).outcome
    )


@pytest.fixture
def asked(line: Service, server: AddressServer, now: datetime) -> OverallocationRequest:
    """The first device has the plan's address; the second one asks for more."""
    assert connect(line, server, FIRST, now) == "granted"
    assert connect(line, server, SECOND, now) == "walled_garden"
    return OverallocationRequest.objects.get()


def answer_url(asked: OverallocationRequest) -> str:
    return f"/account/devices/requests/{asked.public_id}/"


def test_a_static_address_of_the_plan_is_shown_and_can_be_taken(
    owner: Client, line: Service, server: AddressServer, now: datetime
) -> None:
    factories.static_pool(server, at=now)
    AddressEntitlement.objects.filter(offering=line.offering).update(static_addresses=1)
    assert "includes 1 static address that you have not taken" in page(owner.get(DEVICES)).text
    for _ in range(2):
        said = page(owner.post(f"{DEVICES}{line.public_id}/static/", follow=True)).text
    static = StaticAddress.objects.get()
    assert f"Static address, part of your plan: {static}" in said
    assert "not taken" not in said


def test_devices_are_shown_with_their_addresses(
    owner: Client, line: Service, server: AddressServer, now: datetime
) -> None:
    connect(line, server, FIRST, now)
    found = page(owner.get("/account/devices/"))
    assert FIRST in found.text
    assert "100.64.0." in found.text
    assert "2001:db8:" in found.text
    assert "/32" not in found.text
    assert "Your plan" in found.text


def test_in_the_walled_garden_two_clicks_free_another_device(
    owner: Client, line: Service, asked: OverallocationRequest, server: AddressServer,
    now: datetime,
) -> None:  # fmt: skip
    free = f"{DEVICES}{line.public_id}/{FIRST}/free/"
    shown = page(owner.get("/suspended/"))
    assert "A device waits for an address" in shown.text
    assert shown.all("a", href=free)
    assert not shown.all("a", href=f"{DEVICES}{line.public_id}/{SECOND}/free/")
    assert "Free the address" in page(owner.get(free)).text
    owner.post(free)
    assert connect(line, server, SECOND, now) == "granted"
    assert not ExtraAddress.objects.exists()


class TestNetworkLogin:
    def url(self, line: Service) -> str:
        return f"/account/devices/{line.public_id}/login/"

    def test_it_is_shown_to_whoever_says_the_password_again_and_that_is_noted(
        self, owner: Client, line: Service
    ) -> None:
        login = AaaCredential.objects.get(service=line)
        listed = page(owner.get("/account/devices/"))
        assert login.secret not in listed.html
        assert listed.all("a", href=self.url(line))

        asked = owner.get(self.url(line), follow=True)
        assert "Confirm that it is you" in page(asked).text
        assert login.secret not in asked.content.decode()
        assert not AuditEntry.objects.filter(action="line.login_shown").exists()

        form = {"password": "wrong", "next": self.url(line)}
        assert login.secret not in owner.post("/accounts/reauthenticate/", form).content.decode()
        form["password"] = "lovelace-1843"
        shown = page(owner.post("/accounts/reauthenticate/", form, follow=True))
        assert login.secret in shown.text
        assert login.username in shown.text
        noted = AuditEntry.objects.get(action="line.login_shown")
        assert (noted.subject, noted.actor) == (line.public_id, line.subscriber.users.get())
        assert login.secret not in str(noted.detail)

        with time_machine.travel(timezone.now() + timedelta(minutes=6)):
            assert "Confirm that it is you" in page(owner.get(self.url(line), follow=True)).text

    def test_another_s_is_not_there(self, line: Service, stranger: Client) -> None:
        form = {"password": "lovelace-1843", "next": self.url(line)}
        answer = stranger.post("/accounts/reauthenticate/", form, follow=True)
        assert answer.redirect_chain[-1][0] == self.url(line)
        assert answer.status_code == 404
        assert not AuditEntry.objects.filter(action="line.login_shown").exists()


def test_without_a_device_the_page_says_what_will_come(owner: Client, line: Service) -> None:
    assert "No device is online" in page(owner.get("/account/devices/")).text


@pytest.mark.parametrize("where", ["/account/", "/account/devices/"])
def test_a_request_shows_price_start_and_end(
    owner: Client, asked: OverallocationRequest, where: str
) -> None:
    found = page(owner.get(where))
    for said in (SECOND, "USD 5.00 a month", "from the moment you accept", "until you stop it"):
        assert said in found.text, said
    assert {b["value"] for b in found.all("button", name="answer")} == {"accept", "decline"}


def test_accepting_lets_the_device_in_and_can_be_stopped(
    owner: Client,
    line: Service,
    server: AddressServer,
    asked: OverallocationRequest,
    now: datetime,
) -> None:
    for _ in range(2):
        said = page(owner.post(answer_url(asked), {"answer": "accept"}, follow=True))
        assert "gets its address as soon as it asks again" in said.text
    extra = ExtraAddress.objects.get()
    assert (extra.device, extra.ended_at) == (SECOND, None)
    asked.refresh_from_db()
    assert (asked.state, asked.decided_by) == ("granted", "subscriber")
    waits = page(owner.get("/account/devices/"))
    assert "Extra address, once it asks again" in waits.text
    assert "Waiting for an answer" not in waits.text
    assert connect(line, server, SECOND, now) == "granted"

    found = page(owner.get("/account/devices/"))
    assert "Extra address, since" in found.text
    stop = f"/account/devices/extras/{extra.public_id}/stop/"
    assert found.all("a", href=stop)
    before = page(owner.get(stop))
    assert "loses its address at once" in before.text
    extra.refresh_from_db()
    assert extra.ended_at is None
    assert "has ended" in page(owner.post(stop, follow=True)).text
    extra.refresh_from_db()
    assert extra.ended_at is not None
    assert "It ended" in page(owner.get(stop)).text


def test_declining_charges_nothing(owner: Client, asked: OverallocationRequest) -> None:
    assert "Waiting for an answer" in page(owner.get("/account/devices/")).text
    said = page(owner.post(answer_url(asked), {"answer": "decline"}, follow=True))
    assert "nothing is charged" in said.text
    assert "Not let in: the plan's addresses are in use" in said.text
    assert "Waiting for an answer" not in said.text
    assert not ExtraAddress.objects.exists()
    asked.refresh_from_db()
    assert asked.state == "denied"
    assert "Declined" in said.text


def test_an_answer_that_comes_too_late_is_explained(
    owner: Client, asked: OverallocationRequest
) -> None:
    owner.post(answer_url(asked), {"answer": "decline"})
    said = page(owner.post(answer_url(asked), {"answer": "accept"}, follow=True))
    assert said.all("div", **{"class": "note bad", "role": "status"})
    assert not ExtraAddress.objects.exists()


@pytest.mark.parametrize("answer", ["", "maybe"])
def test_an_answer_is_yes_or_no(owner: Client, asked: OverallocationRequest, answer: str) -> None:
    assert owner.post(answer_url(asked), {"answer": answer}).status_code == 404


def test_where_customer_service_decides_there_is_nothing_to_press(
    owner: Client, isp: SmallIsp, line: Service, server: AddressServer, now: datetime
) -> None:
    publishing.set_entitlement(
        offering=isp.fast, policy="ask_csr", extra_address=isp.extra_address, at=now
    )
    connect(line, server, FIRST, now)
    connect(line, server, SECOND, now)
    found = page(owner.get("/account/devices/"))
    assert "our customer service decides" in found.text
    assert not found.all("button", name="answer")
    asked = OverallocationRequest.objects.get()
    said = page(owner.post(answer_url(asked), {"answer": "accept"}, follow=True))
    assert "customer service decides" in said.text
    assert not ExtraAddress.objects.exists()


def test_freeing_a_device_makes_room(
    owner: Client, line: Service, server: AddressServer, now: datetime
) -> None:
    connect(line, server, FIRST, now)
    free = f"/account/devices/{line.public_id}/{FIRST}/free/"
    assert "loses its address at once" in page(owner.get(free)).text
    assert connect(line, server, SECOND, now) == "walled_garden"
    assert f"The address of {FIRST} is free." in page(owner.post(free, follow=True)).text
    assert connect(line, server, SECOND, timezone.now()) == "granted"
    assert owner.get(free).status_code == 404
    shown = page(owner.get(DEVICES)).text
    assert "No longer needed" in shown
    assert "Nobody had to" in shown
    assert "Declined" not in shown


def test_freeing_one_of_too_many_says_who_has_the_place(
    owner: Client, line: Service, server: AddressServer, now: datetime
) -> None:
    entitlement = AddressEntitlement.objects.filter(offering=line.offering)
    entitlement.update(ipv4_addresses=2, ipv6_prefixes=2)
    connect(line, server, FIRST, now)
    connect(line, server, SECOND, now)
    entitlement.update(ipv4_addresses=1, ipv6_prefixes=1)
    third = "02:00:00:00:00:03"
    assert connect(line, server, third, now) == "walled_garden"
    free = f"/account/devices/{line.public_id}/{FIRST}/free/"
    said = page(owner.post(free, follow=True)).text
    assert f"no place for another device yet: {SECOND} took" in said
    assert connect(line, server, third, timezone.now()) == "walled_garden"


def test_devices_are_their_owners_alone(
    client: Client,
    stranger: Client,
    owner: Client,
    line: Service,
    asked: OverallocationRequest,
) -> None:
    free = f"/account/devices/{line.public_id}/{FIRST}/free/"
    for address in (free, answer_url(asked)):
        assert stranger.post(address, {"answer": "accept"}).status_code == 404
        assert client.post(address, {"answer": "accept"})["Location"].startswith("/accounts/login/")
    assert not ExtraAddress.objects.exists()
    owner.post(answer_url(asked), {"answer": "accept"})
    stop = f"/account/devices/extras/{ExtraAddress.objects.get().public_id}/stop/"
    for method in ("get", "post"):
        assert getattr(stranger, method)(stop).status_code == 404
        assert getattr(client, method)(stop).status_code == 302
    assert ExtraAddress.objects.get().ended_at is None
    assert SECOND not in page(stranger.get("/account/devices/")).text


def test_the_page_of_the_walled_garden_sells_the_address_or_leads_to_freeing_another(
    owner: Client, asked: OverallocationRequest
) -> None:
    page = owner.get(reverse("portal:suspended")).content.decode()
    assert "A device waits for an address" in page
    assert asked.device in page
    assert reverse("portal:answer_request", args=[asked.public_id]) in page
    assert reverse("portal:devices") in page
    owner.post(reverse("portal:answer_request", args=[asked.public_id]), {"answer": "decline"})
    assert (
        "None of your lines is suspended" in owner.get(reverse("portal:suspended")).content.decode()
    )
