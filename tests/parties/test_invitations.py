"""Whom a CSR registered gets one letter with a link that works once, for the right person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client

from ispops.models import EventDelivery
from ispops.notices.models import Notice
from ispops.parties import accounts, invitations, terms
from ispops.parties.models import AuditEntry, Invitation, Subscriber, User
from ispops.parties.terms import Acceptance
from tests import factories
from tests.parties.conftest import NOW
from tests.portal.pages import page

pytestmark = pytest.mark.django_db
PASSWORD = "a-quiet-harbour-1843"


@pytest.fixture
def subscriber(cara: User) -> Subscriber:
    with time_machine.travel(NOW, tick=False):
        return accounts.register_on_behalf(
            name="Nora New",
            email="Nora@Example.com",
            kind="consumer",
            phone="",
            terms_version=terms.FIRST_VERSION,
            acceptance=Acceptance(by=cara, channel="csr", how="voice"),
            at=NOW,
        )


@pytest.fixture
def url(subscriber: Subscriber) -> str:
    return f"/invitation/{invitations.token_of(Invitation.objects.latest('created_at'))}/"


@pytest.fixture(autouse=True)
def today() -> Any:
    with time_machine.travel(NOW):
        yield


def test_an_account_is_opened_without_a_login(subscriber: Subscriber, cara: User) -> None:
    assert (subscriber.email, subscriber.users.count()) == ("nora@example.com", 0)
    accepted = subscriber.terms_acceptances.get()
    assert (accepted.user, accepted.channel, accepted.how) == (cara, "csr", "voice")
    trail = AuditEntry.objects.filter(subscriber=subscriber, actor=cara)
    assert set(trail.values_list("action", flat=True)) == {
        "subscriber.registered", "terms.accepted", "invitation.sent",
    }  # fmt: skip


def test_the_link_makes_the_login_once(url: str, subscriber: Subscriber, client: Client) -> None:
    factories.deliver_events(at=NOW)
    EventDelivery.objects.update(delivered_at=None, next_attempt_at=NOW)
    factories.deliver_events(at=NOW)
    factories.send_notices(at=NOW)
    (letter,) = mail.outbox
    assert letter.to == ["nora@example.com"]
    assert url in letter.body
    shown = page(client.get(url))
    assert "nora@example.com" in shown.text
    assert not User.objects.filter(email="nora@example.com").exists()
    weak = page(client.post(url, {"password": "password"}), status=422)
    assert weak.all("a", href="#id_password")
    assert client.post(url, {"password": PASSWORD})["Location"] == "/account/"
    assert "Hello, Nora New" in page(client.get("/account/")).text
    user = User.objects.get(email="nora@example.com")
    assert user.check_password(PASSWORD)
    assert user.emailaddress_set.get().verified  # type: ignore[attr-defined]
    assert subscriber.users.get() == user
    for method in (client.get, client.post):
        assert "was used" in page(method(url), status=410).text


def test_a_login_that_exists_agrees_itself(url: str, subscriber: Subscriber, ada: User) -> None:
    nora = accounts.create_login(email="nora@example.com", password=PASSWORD, at=NOW)
    client = Client()
    assert "Sign in first" in page(client.get(url)).text
    assert "Sign in first" in page(client.post(url, {"password": "a-new-password-1843"})).text
    nora.refresh_from_db()
    assert nora.check_password(PASSWORD)
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    assert "another login" in page(client.post(url)).text
    assert not subscriber.users.exists()
    client.force_login(nora, backend="django.contrib.auth.backends.ModelBackend")
    assert "Use this login" in page(client.get(url)).text
    assert not subscriber.users.exists()
    assert client.post(url)["Location"] == "/account/"
    assert subscriber.users.get() == nora


def test_it_expires_and_is_sent_again(
    url: str, subscriber: Subscriber, cara: User, client: Client
) -> None:
    later = NOW + timedelta(days=8)
    with time_machine.travel(later):
        assert "has expired" in page(client.post(url, {"password": PASSWORD}), status=410).text
        newer = invitations.invite(subscriber=subscriber, actor=cara, reason="Lost", at=later)
        assert "newer invitation" in page(client.get(url), status=410).text
        fresh = f"/invitation/{invitations.token_of(newer)}/"
        assert client.post(fresh, {"password": PASSWORD}).status_code == 302
    assert AuditEntry.objects.get(action="invitation.sent_again").reason == "Lost"


def test_what_nobody_signed_is_no_page(client: Client, url: str) -> None:
    for token in ("x", url.split("/")[2][:-2] + "xx"):
        assert client.get(f"/invitation/{token}/").status_code == 404


def test_a_link_that_is_over_before_it_was_written_of_is_not_sent(
    subscriber: Subscriber, cara: User
) -> None:
    newer = invitations.invite(subscriber=subscriber, actor=cara, reason="Lost", at=NOW)
    factories.deliver_events(at=NOW)
    assert Notice.objects.get().cause == newer.public_id


def test_the_link_is_kept_for_nobody_elses_eyes(subscriber: Subscriber, url: str) -> None:
    factories.deliver_events(at=NOW)
    factories.send_notices(at=NOW)
    assert url in mail.outbox[0].body
    notice = Notice.objects.get()
    assert (notice.kind, notice.subscriber, notice.secrets) == ("invitation", subscriber, "")
    assert "/invitation/" not in notice.body


def test_one_is_open_for_an_account(subscriber: Subscriber, cara: User) -> None:
    with pytest.raises(IntegrityError, match="one_open_invitation"), transaction.atomic():
        Invitation.objects.create(
            subscriber=subscriber, email="x@example.com", invited_by=cara, created_at=NOW,
            expires_at=NOW,
        )  # fmt: skip
