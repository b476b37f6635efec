"""A registration that is left and found again, and what is there already when it comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from ispops.parties import terms
from ispops.parties.models import Subscriber, User
from provisioning import registrations, reminders
from provisioning.models import ProductOrder, Registration, Service
from provisioning.tasks import tend_registrations
from qualification.models import AccessPort
from tests import factories
from tests.portal.pages import page
from tests.portal.test_register import choose, order_form, place, walk_to_review
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


@pytest.fixture
def newcomer(db: None, now: datetime) -> Client:
    """Somebody with a verified login and no account."""
    client = Client()
    client.force_login(
        factories.login(at=now, email="new@example.com", name="Nora New"), backend=BACKEND
    )
    return client


def elsewhere(client: Client) -> Client:
    """The same login on another device."""
    other = Client()
    user = User.objects.get(pk=client.session["_auth_user_id"])
    other.force_login(user, backend=BACKEND)
    return other


def test_what_was_begun_is_found_on_another_device(newcomer: Client, isp: SmallIsp) -> None:
    choose(newcomer, isp)
    newcomer.post("/register/extras/", {"extras": [isp.streaming.code]})
    newcomer.post("/register/contact/", {"name": "Nora New", "phone": "802 555 0199"})
    phone = elsewhere(newcomer)
    assert "Continue where you left off" in page(phone.get("/account/none/")).text
    assert "Fibre 500" in page(phone.get("/")).text
    left = page(phone.get("/register/tasks/"))
    assert "4 of 6 parts are done" in left.text
    assert phone.get("/register/")["Location"] == "/register/payment/"
    phone.post("/register/payment/", {"payment_kind": "invoice"})
    order = place(phone)
    assert {item.offering.code for item in order.items.all()} == {"fibre-500", "films-streaming"}
    # The first device learns of it, and cannot order again.
    assert order.public_id in newcomer.get("/register/review/")["Location"]


def test_a_visitors_choice_goes_with_the_login(
    client: Client, isp: SmallIsp, now: datetime
) -> None:
    choose(client, isp)
    begun = Registration.objects.get()
    assert begun.user is None
    user = factories.login(at=now)
    client.force_login(user, backend=BACKEND)
    client.get("/register/")
    begun.refresh_from_db()
    assert begun.user == user
    older = Client()
    older.force_login(user, backend=BACKEND)
    choose(older, isp, "dsl-25")
    begun.refresh_from_db()
    assert begun.state == "abandoned"
    assert Registration.objects.get(state="draft").offering == isp.dsl


def test_a_stranger_finds_nothing_of_it(
    newcomer: Client, stranger: Client, client: Client, isp: SmallIsp
) -> None:
    choose(newcomer, isp)
    ref = Registration.objects.get().public_id
    assert stranger.get(f"/register/continue/{ref}/").status_code == 404
    assert "/accounts/login/" in client.get(f"/register/continue/{ref}/")["Location"]
    session = stranger.session
    session["registration"] = ref
    session.save()
    assert stranger.get("/register/tasks/")["Location"] == "/"


def test_whoever_leaves_is_written_to_once(newcomer: Client, isp: SmallIsp) -> None:
    choose(newcomer, isp)
    tend_registrations()
    assert not mail.outbox
    with time_machine.travel(timezone.now() + timedelta(hours=3)):
        tend_registrations()
        tend_registrations()
        factories.send_notices(at=timezone.now())
        (letter,) = mail.outbox
        assert letter.to == ["new@example.com"]
        ref = Registration.objects.get().public_id
        assert f"/register/continue/{ref}/" in letter.body
        found = page(elsewhere(newcomer).get(f"/register/continue/{ref}/", follow=True))
    assert "Fibre 500 at" in found.text


def test_the_way_back_is_mailed_at_once_when_somebody_asks(newcomer: Client, isp: SmallIsp) -> None:
    choose(newcomer, isp)
    found = page(newcomer.post("/register/leave/", follow=True))
    assert "We mail the way back to new@example.com" in found.text
    assert reminders.remind_next(at=timezone.now())
    factories.send_notices(at=timezone.now())
    assert len(mail.outbox) == 1


def test_the_letter_and_the_page_name_the_same_day(newcomer: Client, isp: SmallIsp) -> None:
    choose(newcomer, isp)
    evening_before = timezone.now().replace(hour=2) + timedelta(days=9)
    Registration.objects.update(expires_at=evening_before)
    shown = page(newcomer.post("/register/leave/", follow=True)).text
    day = evening_before - timedelta(days=1)
    assert f"{day:%b} {day.day}, {day.year}" in shown
    assert reminders.remind_next(at=timezone.now())
    factories.send_notices(at=timezone.now())
    assert f"{day:%B} {day.day}, {day.year}" in mail.outbox[0].body


def test_a_mail_server_that_is_away_loses_no_letter(
    newcomer: Client, isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(newcomer, isp)
    newcomer.post("/register/leave/")

    def away(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    assert reminders.remind_next(at=timezone.now())
    assert not reminders.remind_next(at=timezone.now())
    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.EmailMessage.send", away)
        factories.send_notices(at=timezone.now())
    factories.send_notices(at=timezone.now() + timedelta(hours=1))
    assert len(mail.outbox) == 1


def test_what_nobody_comes_back_to_is_forgotten(
    newcomer: Client, client: Client, isp: SmallIsp
) -> None:
    walk_to_review(newcomer, isp)
    choose(client, isp)
    with time_machine.travel(timezone.now() + timedelta(days=15)):
        tend_registrations()
    kept = Registration.objects.get()
    assert (kept.state, kept.name, kept.phone) == ("abandoned", "", "")
    assert newcomer.get("/register/review/")["Location"] == "/"
    found = page(newcomer.get(f"/register/continue/{kept.public_id}/", follow=True))
    assert "not finished in time" in found.text


def test_it_can_be_given_up(newcomer: Client, isp: SmallIsp) -> None:
    walk_to_review(newcomer, isp)
    assert AccessPort.objects.held(timezone.now()).count() == 1
    page(newcomer.post("/register/give-up/", follow=True))
    assert Registration.objects.get().name == ""
    assert not AccessPort.objects.held(timezone.now())


def test_the_terms_are_accepted_with_the_order(newcomer: Client, isp: SmallIsp) -> None:
    walk_to_review(newcomer, isp)
    form = order_form(newcomer)
    without = {name: value for name, value in form.items() if name != "terms"}
    found = page(newcomer.post("/register/place/", without), status=422)
    assert found.all("a", href="#id_terms")
    assert not Subscriber.objects.exists()
    terms.publish_terms(version="2027-01", text="All new.", actor=None, at=timezone.now())
    found = page(newcomer.post("/register/place/", form), status=409)
    assert "terms have changed" in found.text
    assert found.value("terms_version") == "2027-01"
    assert place(newcomer).subscriber.terms_version == "2027-01"


def test_a_subscriber_is_asked_for_new_terms_only(owner: Client, isp: SmallIsp) -> None:
    walk_to_review(owner, isp)
    assert "terms" not in order_form(owner)
    terms.publish_terms(version="2027-01", text="All new.", actor=None, at=timezone.now())
    assert order_form(owner)["terms_version"] == "2027-01"
    assert place(owner).subscriber.terms_acceptances.count() == 2


def test_the_terms_are_shown_as_they_were_written(client: Client) -> None:
    text = "## Leaving\n\nCall us. <script>alert(1)</script> [x](javascript:alert(1))"
    terms.publish_terms(version="2027-01", text=text, actor=None, at=timezone.now())
    found = page(client.get("/terms/"))
    assert "<h2>Leaving</h2>" in found.html
    assert "<script>alert" not in found.html
    assert not [a for a in found.all("a") if a["href"].startswith("javascript")]


def test_somebody_with_the_same_details_is_asked_about_an_account(
    newcomer: Client, isp: SmallIsp, ada: Subscriber
) -> None:
    choose(newcomer, isp)
    newcomer.post("/register/extras/")
    # A number alone is told to nobody.
    newcomer.post("/register/contact/", {"name": "Nora New", "phone": "802-555-0117"})
    assert newcomer.get("/register/")["Location"] == "/register/payment/"
    newcomer.post("/register/contact/", {"name": "ada  LOVELACE", "phone": "(802) 555 0117"})
    asked = newcomer.get("/register/", follow=True)
    assert asked.request["PATH_INFO"] == "/register/person/"
    found = page(asked)
    assert ada.email not in found.text
    assert page(newcomer.post("/register/person/"), status=422).all(
        "a", href="#id_is_another_person"
    )
    newcomer.post("/register/payment/", {"payment_kind": "invoice"})
    assert newcomer.get("/register/review/")["Location"] == "/register/"
    newcomer.post("/register/person/", {"is_another_person": "on"})
    assert place(newcomer).subscriber != ada


def test_a_line_of_ones_own_is_told_with_what_to_do(
    owner: Client, isp: SmallIsp, line: Service
) -> None:
    walk_to_review(owner, isp)
    found = page(owner.get("/register/", follow=True))
    assert "You have something at this address already" in found.text
    assert "Change it in your account" in found.text
    assert owner.get("/register/review/")["Location"] == "/register/"
    bad = page(owner.post("/register/premises/", {"premises_answer": "moving_in"}), status=422)
    assert bad.all("a", href="#id_premises_answer")
    owner.post("/register/premises/", {"premises_answer": "second_line"})
    assert place(owner)
    assert "is on its way" not in page(owner.get("/account/")).text


def test_an_order_of_ones_own_is_told_with_the_way_to_it(
    owner: Client, isp: SmallIsp, ada: Subscriber, now: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, isp.fast.code, at=now)
    walk_to_review(owner, isp)
    found = page(owner.get("/register/premises/"))
    assert found.all("a", href=f"/orders/{order.public_id}/")


def test_a_stranger_is_told_no_more_than_is_needed(
    newcomer: Client, client: Client, isp: SmallIsp, line: Service, ada: Subscriber
) -> None:
    choose(client, isp)
    client.post("/register/extras/")
    assert "/accounts/signup/" in client.get("/register/")["Location"]
    walk_to_review(newcomer, isp)
    newcomer.post("/register/contact/", {"name": "Nora New"})
    found = page(newcomer.get("/register/", follow=True))
    assert "Is there a line at this address already?" in found.text
    for secret in ("Ada", ada.email, "Active", "Films"):
        assert secret not in found.text, secret
    newcomer.post("/register/premises/", {"premises_answer": "moving_in"})
    assert place(newcomer).registration.premises_answer == "moving_in"


def test_the_verb_asks_too(newcomer: Client, isp: SmallIsp, line: Service, now: datetime) -> None:
    """The line came while the last page was open."""
    walk_to_review(newcomer, isp)
    newcomer.post("/register/contact/", {"name": "Nora New"})
    row = Registration.objects.get(user__email="new@example.com")
    accepted = terms.Acceptance(by=row.user)  # type: ignore[arg-type]
    arguments: dict[str, Any] = {
        "registration_id": row.pk, "placed_by": row.user, "key": row.idempotency_key,
        "terms_version": terms.FIRST_VERSION, "acceptance": accepted, "at": now,
    }  # fmt: skip
    with pytest.raises(registrations.PremisesServed) as refused:
        registrations.place(**arguments)
    assert refused.value.field == "premises_answer"
    with pytest.raises(registrations.RegistrationChanged):
        registrations.place(**arguments | {"key": "another"})
    assert ProductOrder.objects.filter(placed_by=row.user).count() == 0


def test_how_one_pays_can_be_changed(owner: Client, stranger: Client, ada: Subscriber) -> None:
    assert "Invoice by e-mail" in page(owner.get("/account/payment/")).text
    assert page(owner.post("/account/payment/"), status=422).all("a", href="#id_payment_kind")
    owner.post("/account/payment/", {"payment_kind": "bank_transfer"})
    active = ada.payment_methods.get(state="active")
    assert active.label == f"Bank transfer, mandate {active.reference}"
    assert active.reference not in page(stranger.get("/account/payment/")).text
    assert ada.payment_methods.filter(state="ended").count() == 1


def test_an_address_that_has_a_login_is_told_so_by_mail(
    client: Client, isp: SmallIsp, ada: Subscriber
) -> None:
    choose(client, isp)
    form = {"email": ada.email, "password1": "a-quiet-harbour-1843", "next": "/register/"}
    found = page(client.post("/accounts/signup/", form, follow=True))
    assert "Confirm your e-mail address" in found.text
    factories.send_notices(at=timezone.now())
    (told,) = mail.outbox
    assert (told.to, told.subject) == ([ada.email], "You have a login already")
    assert "/accounts/password/reset/" in told.body
    assert "Harbor Broadband" in told.body
