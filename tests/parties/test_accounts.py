"""Logins and subscribers: made once, with a trail, and refused in words."""

from datetime import UTC, datetime

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.db import IntegrityError, transaction

from ispops.errors import InvalidInput
from ispops.models import Event
from ispops.parties import accounts, roles, terms
from ispops.parties.models import AuditEntry, Subscriber, User

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def register(user: User, **changes: object) -> Subscriber:
    given = {"name": "Ada Lovelace", "terms_version": terms.FIRST_VERSION, "at": NOW}
    return accounts.register_subscriber(user=user, **{**given, **changes})


def test_registration_opens_an_account(ada: User) -> None:
    subscriber = register(ada, phone=" 555 0100 ")
    kept = Subscriber.objects.get()
    assert kept == subscriber
    assert (kept.name, kept.email, kept.phone) == ("Ada Lovelace", "ada@example.com", "555 0100")
    assert (kept.standing, kept.currency, kept.kind) == ("good", "USD", "consumer")
    assert kept.terms_accepted_at == NOW
    assert list(kept.users.all()) == [ada]
    assert [group.name for group in ada.groups.all()] == [roles.SUBSCRIBER]
    event = Event.objects.get()
    assert (event.kind, event.subject) == ("subscriber.registered", kept.public_id)
    entry = AuditEntry.objects.get(action="subscriber.registered")
    assert (entry.actor, entry.subscriber) == (ada, kept)


def test_registering_again_changes_nothing(ada: User) -> None:
    first = register(ada)
    again = register(ada, name="Somebody Else", terms_version="of last year")
    assert again == first
    assert Subscriber.objects.get().name == "Ada Lovelace"
    assert Event.objects.count() == 1


def test_billing_starts_on_the_local_day(ada: User) -> None:
    late = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)  # still 30 November in New York
    assert register(ada, at=late).billing_anchor_day == 30


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "   "}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"kind": "alien"}, "kind"),
        ({"phone": "5" * 41}, "phone"),
        ({"phone": "555 01"}, "phone"),
    ],
)
def test_bad_values_are_refused_by_field(ada: User, changes: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        register(ada, **changes)
    assert refused.value.field == field
    assert not Subscriber.objects.exists()
    assert not Event.objects.exists()


def test_old_terms_are_refused(ada: User) -> None:
    with pytest.raises(terms.TermsChanged) as refused:
        register(ada, terms_version="2019-01")
    assert refused.value.field == "terms_version"
    assert not Subscriber.objects.exists()


def test_standing_is_set_with_a_reason_and_a_trail(ada: User, cara: User) -> None:
    subscriber = register(ada)
    accounts.set_standing(
        subscriber_id=subscriber.pk, standing="restricted", actor=cara, reason="Unpaid", at=NOW
    )
    subscriber.refresh_from_db()
    assert subscriber.standing == "restricted"
    entry = AuditEntry.objects.get(action="subscriber.standing_set")
    assert entry.detail == {"before": "good", "after": "restricted"}
    assert Event.objects.filter(kind="subscriber.standing").count() == 1
    accounts.set_standing(
        subscriber_id=subscriber.pk, standing="restricted", actor=cara, reason="Again", at=NOW
    )
    assert AuditEntry.objects.filter(action="subscriber.standing_set").count() == 1


@pytest.mark.parametrize(
    ("standing", "reason", "field"),
    [("restricted", " ", "reason"), ("closed", "x", "standing"), ("odd", "x", "standing")],
)
def test_standing_refusals(ada: User, cara: User, standing: str, reason: str, field: str) -> None:
    subscriber = register(ada)
    with pytest.raises(InvalidInput) as refused:
        accounts.set_standing(
            subscriber_id=subscriber.pk, standing=standing, actor=cara, reason=reason, at=NOW
        )
    assert refused.value.field == field
    subscriber.refresh_from_db()
    assert subscriber.standing == "good"


def test_closed_account_stays_closed(ada: User, cara: User) -> None:
    subscriber = register(ada)
    Subscriber.objects.update(standing="closed")
    with pytest.raises(accounts.SubscriberClosed):
        accounts.set_standing(
            subscriber_id=subscriber.pk, standing="good", actor=cara, reason="x", at=NOW
        )


def test_login_is_made_with_its_address_and_roles(cara: User) -> None:
    address = EmailAddress.objects.get(user=cara)
    assert (address.email, address.primary, address.verified) == ("cara@isp.example", True, True)
    assert cara.has_perm("parties.view_subscriber")
    assert not cara.has_perm("parties.change_user")
    assert AuditEntry.objects.get(action="login.created").subject == f"user_{cara.pk}"


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@Example.COM", "  ada@example.com "])
def test_one_login_an_address(ada: User, email: str) -> None:
    with pytest.raises(accounts.EmailTaken) as refused:
        accounts.create_login(email=email, at=NOW)
    assert refused.value.field == "email"
    assert User.objects.count() == 1


def test_the_database_knows_addresses_without_case(ada: User) -> None:
    with pytest.raises(IntegrityError, match="user_email_once"), transaction.atomic():
        User.objects.create(email="Ada@Example.com")


def test_no_address_is_no_login() -> None:
    with pytest.raises(InvalidInput) as refused:
        accounts.create_login(email="not an address", at=NOW)
    assert refused.value.field == "email"


def test_locking_out_is_noted_once(ada: User, cara: User) -> None:
    for _ in range(2):
        accounts.set_login_active(user_id=ada.pk, active=False, actor=cara, at=NOW)
    ada.refresh_from_db()
    assert not ada.is_active
    assert AuditEntry.objects.filter(action="login.locked").count() == 1
    with pytest.raises(InvalidInput):
        accounts.set_login_active(user_id=cara.pk, active=False, actor=cara, at=NOW)


def test_second_factor_is_removed_with_a_trail(ada: User, cara: User) -> None:
    Authenticator.objects.create(user=cara, type="totp", data={"secret": "x"})
    accounts.remove_second_factor(user_id=cara.pk, actor=ada, reason="Lost phone", at=NOW)
    assert not Authenticator.objects.exists()
    assert AuditEntry.objects.get(action="login.second_factor_removed").detail["removed"] == 1
    with pytest.raises(InvalidInput):
        accounts.remove_second_factor(user_id=cara.pk, actor=cara, at=NOW)
