"""Figure 4 up to the order: choosing, registering, checking, ordering once."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from ispops.parties import roles, terms
from ispops.parties.models import Subscriber, User
from provisioning.models import ProductOrder
from qualification import ports
from qualification.models import AccessPort, ServiceQualification
from tests import factories
from tests.portal.pages import page
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
PASSWORD = "a-quiet-harbour-1843"


def choose(client: Client, isp: SmallIsp, code: str = "fibre-500") -> str:
    """Ask for the house and choose a plan; returns the address of the answer."""
    asked = client.post("/", {"address": str(isp.oak_1)})["Location"]
    response = client.post(f"{asked}choose/", {"offering": code})
    assert response["Location"] == "/register/"
    return asked


def code_from_mail() -> str:
    factories.send_notices(at=timezone.now())
    (found,) = re.findall(r"^([A-Z0-9-]{6,9})$", mail.outbox[-1].body, flags=re.MULTILINE)
    return str(found)


def walk_to_review(client: Client, isp: SmallIsp, code: str = "fibre-500") -> None:
    choose(client, isp, code)
    client.post("/register/extras/")
    client.post("/register/contact/", {"name": "Ada Lovelace", "phone": "802 555 0117 ask for Ada"})
    client.post("/register/payment/", {"payment_kind": "invoice"})


def order_form(client: Client) -> dict[str, str]:
    """What the button of the last page sends, with the terms accepted where it asks for that."""
    shown = page(client.get("/register/review/"))
    sent = {"idempotency_key": shown.value("idempotency_key")}
    if shown.all("input", name="terms"):
        sent |= {"terms_version": shown.value("terms_version"), "terms": "on"}
    return sent


def place(client: Client) -> ProductOrder:
    response = client.post("/register/place/", order_form(client))
    assert response.status_code == 302, response.content
    return ProductOrder.objects.get(
        pk=ProductOrder.key_of(response["Location"].strip("/").split("/")[1])
    )


def test_a_visitor_becomes_a_subscriber_with_an_order(client: Client, isp: SmallIsp) -> None:
    choose(client, isp)
    extras = page(client.get("/register/", follow=True))
    (offered,) = extras.all("input", name="extras")
    assert offered["value"] == isp.streaming.code

    response = client.post("/register/extras/", {"extras": [isp.streaming.code]}, follow=True)
    signup = page(response)
    assert response.request["PATH_INFO"] == "/accounts/signup/"
    assert signup.value("next") == "/register/"
    assert signup.all("li", **{"aria-current": "step"})

    response = client.post(
        "/accounts/signup/",
        {"email": "ada@example.com", "password1": PASSWORD, "next": "/register/"},
        follow=True,
    )
    assert "ada@example.com" in page(response).text
    code = code_from_mail()
    assert mail.outbox[-1].to == ["ada@example.com"]
    response = client.post("/accounts/confirm-email/", {"code": code}, follow=True)
    assert response.request["PATH_INFO"] == "/register/contact/"

    contact = {"name": "Ada Lovelace", "phone": "+1 802 555 0117"}
    payment = page(client.post("/register/contact/", contact, follow=True))
    assert [each["value"] for each in payment.all("input", name="payment_kind")] == [
        "invoice", "bank_transfer",
    ]  # fmt: skip
    chosen = {"payment_kind": "bank_transfer"}
    review = page(client.post("/register/payment/", chosen, follow=True))
    for said in (
        "Bank transfer",
        str(isp.oak_1),
        "Fibre 500",
        "Films",
        "Ada Lovelace",
        "USD 72.00",
        "USD 49.00",
    ):
        assert said in review.text, said
    assert not Subscriber.objects.exists()

    order = place(client)
    assert order.subscriber.name == "Ada Lovelace"
    assert order.subscriber.email == "ada@example.com"
    accepted = order.subscriber.terms_acceptances.get()
    assert (accepted.version.version, accepted.channel, accepted.how, accepted.ip) == (
        terms.FIRST_VERSION, "portal", "screen", "127.0.0.1",
    )  # fmt: skip
    assert accepted.user == order.placed_by
    assert order.subscriber.payment_methods.get().label.startswith("Bank transfer, mandate M-")
    assert order.placed_by == User.objects.get(email="ada@example.com")
    assert order.channel == "portal"
    assert {item.offering.code for item in order.items.all()} == {"fibre-500", "films-streaming"}
    assert page(client.get(f"/orders/{order.public_id}/"))


def test_somebody_with_a_login_signs_in_and_keeps_the_choice(
    client: Client, isp: SmallIsp, ada: Subscriber
) -> None:
    choose(client, isp)
    client.post("/register/extras/")
    user = ada.users.get()
    response = client.post(
        "/accounts/login/?next=/register/",
        {"login": user.email, "password": "lovelace-1843", "next": "/register/"},
        follow=True,
    )
    assert response.request["PATH_INFO"] == "/register/review/"
    assert place(client).subscriber == ada


@pytest.mark.parametrize("times", [2, 3])
def test_an_order_sent_again_is_one_order(owner: Client, isp: SmallIsp, times: int) -> None:
    walk_to_review(owner, isp)
    form = order_form(owner)
    answers = {owner.post("/register/place/", form)["Location"] for _ in range(times)}
    assert len(answers) == 1
    assert ProductOrder.objects.count() == 1
    assert AccessPort.objects.filter(service_ref__isnull=False).count() == 1


def test_an_order_whose_answer_was_lost_is_found_again(owner: Client, isp: SmallIsp) -> None:
    """The browser's session may not know that the first try came through: the key does."""
    walk_to_review(owner, isp)
    order = place(owner)
    another = Client()
    another.force_login(order.placed_by, backend="django.contrib.auth.backends.ModelBackend")  # type: ignore[arg-type]
    session = another.session
    session["registration"] = owner.session["registration"]
    session.save()
    response = another.post("/register/place/", {"idempotency_key": order.idempotency_key})
    assert order.public_id in response["Location"]
    assert ProductOrder.objects.count() == 1


def test_what_changed_in_another_window_is_shown_again(owner: Client, isp: SmallIsp) -> None:
    walk_to_review(owner, isp)
    key = page(owner.get("/register/review/")).value("idempotency_key")
    owner.post("/register/extras/", {"extras": [isp.streaming.code]})
    found = page(owner.post("/register/place/", {"idempotency_key": key}), status=409)
    assert "another window" in found.text
    assert "Films" in found.text
    assert not ProductOrder.objects.exists()


def test_a_finished_choice_leads_to_its_order(owner: Client, isp: SmallIsp) -> None:
    walk_to_review(owner, isp)
    order = place(owner)
    for step in ("", "extras/", "contact/", "review/"):
        assert order.public_id in owner.get(f"/register/{step}")["Location"]


def test_without_a_choice_the_steps_lead_to_the_start(owner: Client) -> None:
    for step in ("", "extras/", "contact/", "review/"):
        assert owner.get(f"/register/{step}")["Location"] == "/"
    assert owner.post("/register/place/")["Location"] == "/"


@pytest.mark.parametrize("step", ["contact/", "review/"])
def test_a_visitor_signs_in_before_saying_who_they_are(
    client: Client, isp: SmallIsp, step: str
) -> None:
    choose(client, isp)
    response = client.get(f"/register/{step}")
    assert response["Location"].startswith("/accounts/login/?next=/register/")


def test_a_visitor_cannot_place_an_order(client: Client, isp: SmallIsp) -> None:
    choose(client, isp)
    assert client.post("/register/place/")["Location"].startswith("/accounts/login/")
    assert not ProductOrder.objects.exists()


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ({"name": ""}, "id_name"),
        ({"name": "A" * 201}, "id_name"),
        ({"name": "Ada", "phone": "5" * 41}, "id_phone"),
        ({"name": "Ada", "phone": "call me"}, "id_phone"),
    ],
)
def test_contact_says_what_is_wrong_at_the_field(
    client: Client, isp: SmallIsp, now: object, answers: dict[str, str], field: str
) -> None:
    client.force_login(
        factories.login(at=now),  # type: ignore[arg-type]
        backend="django.contrib.auth.backends.ModelBackend",
    )
    choose(client, isp)
    client.post("/register/extras/")
    found = page(client.post("/register/contact/", answers), status=422)
    assert found.all("a", href=f"#{field}")


def test_a_plan_that_was_not_offered_cannot_be_chosen(client: Client, isp: SmallIsp) -> None:
    asked = client.post("/", {"address": str(isp.oak_1)})["Location"]
    for code in ("fibre-office", "films-streaming", "extra-address", "nothing", ""):
        assert client.post(f"{asked}choose/", {"offering": code}).status_code == 404


def test_an_extra_that_was_not_offered_cannot_be_added(client: Client, isp: SmallIsp) -> None:
    choose(client, isp, "dsl-6")
    found = page(client.post("/register/extras/", {"extras": [isp.streaming.code]}), status=422)
    assert "cannot go with this plan" in found.text


def test_a_bundle_is_not_asked_for_what_it_holds(owner: Client, isp: SmallIsp) -> None:
    choose(owner, isp, "fibre-and-films")
    assert owner.get("/register/", follow=True).request["PATH_INFO"] == "/register/review/"
    order = place(owner)
    assert order.items.count() == 2


def test_whoever_has_the_link_does_not_let_go_what_staff_keep(
    client: Client, isp: SmallIsp
) -> None:
    now = timezone.now()
    asked = choose(client, isp)
    answer = ServiceQualification.objects.get()
    kept = ports.hold_port(
        qualification=answer, provider=isp.fibre, technology=isp.fast.technology,  # type: ignore[arg-type]
        until=now + timedelta(days=3), actor=factories.staff(roles.CSR, at=now), at=now,
    )  # fmt: skip
    for plan in ("dsl-25", "fibre-500"):
        client.post(f"{asked}choose/", {"offering": plan})
        assert list(AccessPort.objects.held(timezone.now())) == [kept]
    client.post("/", {"address": str(isp.elm_1)})
    assert list(AccessPort.objects.held(timezone.now())) == [kept]


def test_a_refused_order_says_why_and_leaves_nothing(owner: Client, isp: SmallIsp) -> None:
    walk_to_review(owner, isp)
    for port in AccessPort.objects.all():
        port.service_ref, port.taken_at = f"svc_{port.number}", isp.fast.sold_from
        port.held_for = port.held_until = None  # It ran out long ago.
        port.save()
    key = page(owner.get("/register/review/")).value("idempotency_key")
    found = page(owner.post("/register/place/", {"idempotency_key": key}), status=409)
    assert "Your order was not placed" in found.text
    assert not ProductOrder.objects.exists()


def test_an_expired_answer_is_refused_with_what_to_do(
    owner: Client, isp: SmallIsp, settings: Any
) -> None:
    settings.QUALIFICATION_VALID_FOR = timedelta(hours=1)
    walk_to_review(owner, isp)
    key = page(owner.get("/register/review/")).value("idempotency_key")
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        found = page(owner.post("/register/place/", {"idempotency_key": key}), status=409)
    assert "check your address again" in found.text
    assert not ProductOrder.objects.exists()


def test_the_terms_can_be_read_without_a_login(client: Client) -> None:
    assert terms.FIRST_VERSION in page(client.get("/terms/")).text


def held() -> list[AccessPort]:
    return list(AccessPort.objects.held(timezone.now()))


def test_a_port_is_kept_for_whoever_registers_and_the_order_takes_it(
    owner: Client, isp: SmallIsp
) -> None:
    walk_to_review(owner, isp)
    (port,) = held()
    assert "kept for you until" in page(owner.get("/register/review/")).text
    order = place(owner)
    port.refresh_from_db()
    assert port.service_ref == order.items.get().service.public_id  # type: ignore[union-attr]
    assert not held()


def test_a_port_is_let_go_with_the_plan_or_the_place(client: Client, isp: SmallIsp) -> None:
    asked = choose(client, isp)
    assert len(held()) == 1
    client.post(f"{asked}choose/", {"offering": "dsl-25"})  # Copper counts no ports.
    client.post("/", {"address": str(isp.elm_1)})
    assert not held()


def test_visitors_cannot_keep_a_node_from_those_who_order(owner: Client, isp: SmallIsp) -> None:
    for _ in range(3):
        choose(Client(), isp)
    assert len(held()) == 1  # A node of four ports: one at a time.
    walk_to_review(owner, isp)
    found = page(owner.get("/register/review/"))
    assert "kept for you" not in found.text
    assert place(owner)


def test_the_last_port_that_is_kept_for_a_visitor_is_not_refused_to_them(
    client: Client, isp: SmallIsp
) -> None:
    for port in AccessPort.objects.order_by("number")[1:]:
        port.service_ref, port.taken_at = f"svc_{port.number}", isp.fast.sold_from
        port.save()
    choose(client, isp)
    asked = Client().post("/", {"address": str(isp.oak_1)})["Location"]
    assert not page(client.get(asked)).all("button", value="fibre-500")
    choose(client, isp)
    assert len(held()) == 1
