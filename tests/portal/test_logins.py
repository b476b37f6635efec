"""Every page of signing in and up, second factors, programs, and what goes wrong."""

import re
from datetime import datetime
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from ispops.notices.models import Notice
from ispops.parties.models import Subscriber
from ispops.portal.views import errors
from tests import factories
from tests.portal.pages import Page, page

pytestmark = pytest.mark.django_db
OPEN = (
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/1-x/",
    "/accounts/inactive/",
)
OWN = (
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/accounts/2fa/",
    "/accounts/sessions/",
    "/accounts/reauthenticate/",
    "/identity/o/device",
)


@pytest.mark.parametrize("path", OPEN)
def test_pages_for_visitors_look_like_ours(client: Client, path: str) -> None:
    found = page(client.get(path, follow=True))
    assert "Harbor Broadband" in found.text
    assert "Menu:" not in found.text


@pytest.mark.parametrize("path", OWN)
def test_pages_of_a_login_look_like_ours(owner: Client, path: str) -> None:
    found = page(owner.get(path, follow=True))
    assert "Harbor Broadband" in found.text
    assert "Menu:" not in found.text


def test_the_second_factor_can_be_set_up(owner: Client, ada: Subscriber) -> None:
    form = {"password": "lovelace-1843", "next": "/accounts/2fa/totp/activate/"}
    found = page(owner.post("/accounts/reauthenticate/", form, follow=True))
    (picture,) = found.all("img")
    assert picture["src"].startswith("data:image/svg")
    assert found.all("input", name="code")


def test_a_wrong_password_is_said_above_the_form(client: Client, ada: Subscriber) -> None:
    form = {"login": ada.email, "password": "wrong"}
    found = page(client.post("/accounts/login/", form))
    assert found.all("div", id="error-summary")
    assert found.all("title")
    assert "Error: Sign in" in found.text


def test_a_wrong_code_is_said_at_the_field(client: Client) -> None:
    signup = {"email": "eve@example.com", "password1": "a-quiet-harbour-1843"}
    asked = page(client.post("/accounts/signup/", signup, follow=True))
    assert "eve@example.com" in asked.text
    assert asked.all("form", id="resend")
    found = page(client.post("/accounts/confirm-email/", {"code": "ZZZZZZ"}))
    assert found.all("a", href="#id_code")
    assert "Error: Confirm your e-mail address" in found.text


def test_signing_up_does_not_tell_who_has_a_login(ada: Subscriber) -> None:
    """Every page on the way, with the address of somebody who has one and of somebody else."""

    def walk(email: str) -> list[str]:
        client, seen = Client(), []
        steps: list[tuple[str, dict[str, str]]] = [
            ("/accounts/signup/", {"email": email, "password1": "a-quiet-harbour-1843"}),
            ("/accounts/confirm-email/", {"code": "ZZZZZZ"}),
            ("/accounts/confirm-email/", {"action": "resend"}),
            ("/accounts/confirm-email/", {"action": "change", "email": "mary@example.com"}),
            *[("/accounts/confirm-email/", {"code": "ZZZZZZ"})] * 3,
        ]
        for path, form in steps:
            answer = client.post(path, form, follow=True)
            text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
            shown = text.replace(email, "EMAIL")
            seen.append(f"{answer.redirect_chain} {sorted(answer.cookies)} {shown}")
        return seen

    assert walk(ada.email) == walk("nina@example.com")
    factories.send_notices(at=timezone.now())
    assert {tuple(message.to) for message in mail.outbox} == {(ada.email,), ("nina@example.com",)}


def test_buttons_for_an_address_are_shown_where_they_do_something(
    owner: Client, ada: Subscriber
) -> None:
    assert not page(owner.get("/accounts/email/")).all("button", name="action_remove")
    EmailAddress.objects.create(user=ada.users.get(), email="second@example.com")
    assert page(owner.get("/accounts/email/")).all("button", name="action_remove")


def test_a_demonstration_tells_where_its_mail_is(client: Client, settings: Any) -> None:
    settings.DEMO = True
    signup = {"email": "eve@example.com", "password1": "a-quiet-harbour-1843"}
    asked = page(client.post("/accounts/signup/", signup, follow=True))
    assert len(asked.all("a", href="/mail/")) == 2
    settings.DEMO = False
    assert not page(client.get("/accounts/confirm-email/")).all("a", href="/mail/")


def test_a_forgotten_password_is_replaced_by_mail(client: Client, ada: Subscriber) -> None:
    user = ada.users.get()
    sent = page(client.post("/accounts/password/reset/", {"email": user.email}, follow=True))
    assert "Look into your mail" in sent.text
    kept = Notice.objects.get()
    assert "/key/" not in f"{kept.body} {kept.links}"
    factories.send_notices(at=timezone.now())
    (message,) = mail.outbox
    assert "Choose a new password" in message.subject
    assert "Harbor Broadband" in message.body
    (link,) = re.findall(r"/accounts/password/reset/key/\S+", message.body)
    assert link in str(message.alternatives[0])  # type: ignore[attr-defined]
    assert Notice.objects.get().secrets == ""
    found = page(client.get(link, follow=True))
    form = next(attrs["action"] for attrs in found.all("form") if "reset/key" in attrs["action"])
    new = {"password1": "another-harbour-1852", "password2": "another-harbour-1852"}
    done = page(client.post(form, new, follow=True))
    assert "Your password is changed" in done.text
    assert client.login(email=user.email, password="another-harbour-1852")


def test_signing_out_is_one_press(owner: Client) -> None:
    (form,) = page(owner.get("/account/")).all("form", action="/accounts/logout/")
    assert form["method"] == "post"
    assert owner.post("/accounts/logout/")["Location"] == "/"
    assert owner.get("/account/").status_code == 302


def test_a_page_that_does_not_exist_says_what_to_do(client: Client, settings: Any) -> None:
    settings.DEBUG = False
    found = page(client.get("/nowhere/"), status=404)
    assert "There is nothing here" in found.text


def test_a_form_that_was_open_too_long_says_what_to_do(ada: Subscriber) -> None:
    strict = Client(enforce_csrf_checks=True)
    found = page(strict.post("/", {"address": "1 Oak Street"}), status=403)
    assert "open for too long" in found.text


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (errors.bad_request, 400),
        (errors.forbidden, 403),
        (errors.not_found, 404),
        (errors.too_many_requests, 429),
        (errors.server_error, 500),
    ],
)
def test_programs_get_problems_instead_of_pages(rf: Any, handler: Any, status: int) -> None:
    answer = handler(rf.get("/api/v1/nothing"))
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("handler", "status"), [(errors.bad_request, 400), (errors.server_error, 500)]
)
def test_the_worst_pages_need_no_database(
    rf: Any, handler: Any, status: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        found = page(handler(rf.get("/")), status=status)
    assert "+1 800 555 0142" in found.text


def test_a_login_that_may_not_is_told_so(client: Client, rf: Any, now: datetime) -> None:
    request = rf.get("/account/")
    request.user = factories.login(at=now)
    found = Page(errors.forbidden(request).content.decode())
    assert "not for your login" in found.text
