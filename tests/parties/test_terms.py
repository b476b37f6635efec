"""Terms are versions that nobody changes, and each acceptance says who, when, where and how."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ispops.errors import InvalidInput
from ispops.parties import accounts, payments, roles, terms
from ispops.parties.models import (
    AuditEntry,
    PaymentMethod,
    Subscriber,
    TermsAcceptance,
    TermsVersion,
    User,
)
from ispops.parties.terms import Acceptance
from tests.parties.conftest import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def subscriber(ada: User) -> Subscriber:
    return accounts.register_subscriber(
        user=ada, name="Ada", terms_version=terms.FIRST_VERSION, at=NOW
    )


def test_a_new_database_has_terms(db: None) -> None:
    first = TermsVersion.objects.get()
    assert (first.version, first.published_by) == (terms.FIRST_VERSION, None)
    assert "## Leaving" in first.text
    terms.publish_first()
    assert TermsVersion.objects.count() == 1


def test_registering_notes_who_accepted_what(subscriber: Subscriber, ada: User) -> None:
    accepted = TermsAcceptance.objects.get(subscriber=subscriber)
    assert (accepted.version.version, accepted.user) == (terms.FIRST_VERSION, ada)
    assert (accepted.accepted_at, accepted.channel, accepted.how) == (NOW, "portal", "screen")


def test_new_terms_are_in_force_at_once(subscriber: Subscriber, ada: User, cara: User) -> None:
    newer = terms.publish_terms(version=" 2027-01 ", text="Be kind.", actor=cara, at=NOW)
    assert terms.in_force() == newer
    assert not terms.has_accepted(subscriber, newer)
    with pytest.raises(terms.TermsChanged):
        terms.accept(
            subscriber=subscriber,
            version=terms.FIRST_VERSION,
            acceptance=Acceptance(by=ada),
            at=NOW,
        )
    by_voice = Acceptance(by=cara, channel="csr", how="voice")
    for _ in range(2):
        terms.accept(subscriber=subscriber, version="2027-01", acceptance=by_voice, at=NOW)
    assert terms.has_accepted(subscriber, newer)
    subscriber.refresh_from_db()
    assert subscriber.terms_version == "2027-01"
    assert AuditEntry.objects.filter(action="terms.accepted", actor=cara).count() == 1


@pytest.mark.parametrize(
    ("channel", "how"), [("csr", "screen"), ("portal", "voice"), ("client", "paper"), ("csr", "x")]
)
def test_how_fits_the_channel(subscriber: Subscriber, cara: User, channel: str, how: str) -> None:
    terms.publish_terms(version="2027-01", text="Be kind.", actor=cara, at=NOW)
    said = Acceptance(by=cara, channel=channel, how=how)
    with pytest.raises(InvalidInput) as refused:
        terms.accept(subscriber=subscriber, version="2027-01", acceptance=said, at=NOW)
    assert refused.value.field == "how"


def test_published_terms_are_not_published_otherwise(cara: User) -> None:
    given = {"version": "2027-01", "actor": cara, "at": NOW}
    first = terms.publish_terms(text="Be kind.", **given)
    assert terms.publish_terms(text=" Be kind. ", **given) == first
    with pytest.raises(terms.TermsVersionTaken):
        terms.publish_terms(text="Be rude.", **given)
    for wrong in ({"version": ""}, {"text": " "}, {"version": "v" * 21}):
        with pytest.raises(InvalidInput):
            terms.publish_terms(**{"text": "Be kind."} | given | wrong)


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE parties_termsversion SET text = 'other'",
        "DELETE FROM parties_termsversion",
        "UPDATE parties_termsacceptance SET accepted_at = now()",
        "DELETE FROM parties_termsacceptance",
    ],
)
def test_the_database_keeps_them_as_they_were(subscriber: Subscriber, attack: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(attack)


def test_a_lead_publishes_terms_in_the_console(settings: Settings) -> None:
    settings.STAFF_NEED_SECOND_FACTOR = False
    add = reverse("admin:parties_termsversion_add")
    sent = {"version": "2027-01", "text": "Be kind."}
    for role, may in ((roles.CSR, False), (roles.CSR_LEAD, True)):
        user = accounts.create_login(
            email=f"{role[:4].strip()}{may}@isp.example", groups=[role], is_staff=True, at=NOW
        )
        web = Client()
        web.force_login(user)
        answer = web.post(add, sent)
        assert answer.status_code == (302 if may else 403), answer.content
    made = TermsVersion.objects.get(version="2027-01")
    assert made.published_by == user
    shown = web.get(reverse("admin:parties_termsversion_change", args=[made.pk]))
    assert b"Be kind." in shown.content
    assert b'name="_save"' not in shown.content
    taken = web.post(add, sent | {"text": "Be rude."})
    assert b"cannot be changed" in taken.content


class TestPayment:
    def test_a_new_choice_ends_the_one_before(self, subscriber: Subscriber, ada: User) -> None:
        first = payments.choose_payment(subscriber=subscriber, kind="invoice", actor=ada, at=NOW)
        again = payments.choose_payment(subscriber=subscriber, kind="invoice", actor=ada, at=NOW)
        assert first == again == payments.in_use(subscriber)
        bank = payments.choose_payment(
            subscriber=subscriber, kind="bank_transfer", actor=ada, at=NOW
        )
        first.refresh_from_db()
        assert (first.state, first.ended_at) == ("ended", NOW)
        assert payments.in_use(subscriber) == bank
        assert bank.reference in bank.label

    @pytest.mark.parametrize("kind", ["", "gold", "card"])
    def test_what_nobody_takes_is_refused(self, subscriber: Subscriber, kind: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            payments.choose_payment(subscriber=subscriber, kind=kind, actor=None, at=NOW)
        assert refused.value.field == "payment_kind"

    def test_the_database_allows_one_in_use(self, subscriber: Subscriber) -> None:
        payments.choose_payment(subscriber=subscriber, kind="invoice", actor=None, at=NOW)
        with pytest.raises(IntegrityError, match="one_way_to_pay"), transaction.atomic():
            PaymentMethod.objects.create(
                subscriber=subscriber, kind="invoice", gateway="offline", label="x",
                state="active", created_at=NOW,
            )  # fmt: skip
