"""A telephone number is written to when its owner has entered the code that was sent to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from ispops.errors import InvalidInput
from ispops.notices import contacts, queries
from ispops.notices.models import ContactChoice, Notice
from ispops.parties.models import AuditEntry, Subscriber
from tests import factories

pytestmark = pytest.mark.django_db
AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
NUMBER = "+18025550117"


@pytest.fixture
def ada() -> Subscriber:
    return factories.subscriber(at=AT, email="ada@example.com")


def agree(ada: Subscriber, at: datetime = AT, number: str = NUMBER) -> ContactChoice:
    return contacts.agree_to_sms(subscriber=ada, number=number, actor=ada.users.get(), at=at)


def confirm(ada: Subscriber, code: str, at: datetime = AT) -> str:
    return contacts.confirm_sms(subscriber=ada, code=code, actor=ada.users.get(), at=at)


def another(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def test_nothing_goes_there_before_the_code_was_entered(ada: Subscriber) -> None:
    assert agree(ada).confirmed_at is None
    assert queries.sms_number_of(ada) == ""
    (sent,) = Notice.objects.all()
    assert (sent.channel, sent.address) == ("sms", NUMBER)
    code = factories.code_of(ada)
    # It is readable nowhere but in the telephone.
    assert len(code) == 6
    assert code not in sent.body
    assert code not in ContactChoice.objects.get().code_digest

    assert confirm(ada, f" {code[:3]} {code[3:]} ") == NUMBER

    assert queries.sms_number_of(ada) == NUMBER
    assert AuditEntry.objects.get(action="contact.sms_confirmed").actor == ada.users.get()
    # Again is no harm.
    assert confirm(ada, "anything") == NUMBER


def test_a_wrong_code_is_counted_and_in_the_end_no_code_helps(ada: Subscriber) -> None:
    agree(ada)
    code = factories.code_of(ada)
    for _ in range(contacts.MOST_TRIES):
        with pytest.raises(InvalidInput, match="not the code"):
            confirm(ada, another(code))
    with pytest.raises(InvalidInput, match="cannot be used any more") as refused:
        confirm(ada, code)
    assert refused.value.field == "code"
    assert queries.sms_number_of(ada) == ""


def test_an_old_code_is_of_no_use_nor_is_the_one_before(ada: Subscriber) -> None:
    agree(ada)
    first = factories.code_of(ada)
    with pytest.raises(InvalidInput, match="cannot be used"):
        confirm(ada, first, AT + contacts.CODE_VALID_FOR)
    later = AT + contacts.CODE_PAUSE
    agree(ada, later)
    second = factories.code_of(ada)
    if first != second:
        with pytest.raises(InvalidInput, match="not the code"):
            confirm(ada, first, later)
    assert confirm(ada, second, later) == NUMBER


def test_another_number_has_to_be_confirmed_anew(ada: Subscriber) -> None:
    agree(ada)
    confirm(ada, factories.code_of(ada))
    later = AT + timedelta(hours=1)
    agree(ada, later, "+18025550199")
    assert queries.sms_number_of(ada) == ""
    assert confirm(ada, factories.code_of(ada), later) == "+18025550199"


def test_no_telephone_rings_again_and_again(ada: Subscriber) -> None:
    """Neither by one account, nor by many."""
    agree(ada)
    with pytest.raises(contacts.TooManyCodes, match="Wait a minute"):
        agree(ada, AT + timedelta(seconds=59))
    for number in range(1, contacts.MOST_CODES):
        agree(ada, AT + timedelta(minutes=number))
    with pytest.raises(contacts.TooManyCodes, match="Enough codes"):
        agree(ada, AT + timedelta(hours=1), "+18025550199")
    bob = factories.subscriber(at=AT, name="Bob", email="bob@example.com")
    with pytest.raises(contacts.TooManyCodes, match="Enough codes"):
        agree(bob, AT + timedelta(hours=1))
    agree(bob, AT + timedelta(days=1, hours=1))


def test_who_wants_no_sms_has_no_code_either(ada: Subscriber) -> None:
    agree(ada)
    code = factories.code_of(ada)
    contacts.refuse_sms(subscriber=ada, actor=ada.users.get(), at=AT)
    with pytest.raises(InvalidInput):
        confirm(ada, code)
    assert queries.contact_choice_of(ada) is None


def test_the_database_refuses_a_confirmed_number_that_is_none(ada: Subscriber) -> None:
    agree(ada)
    with (
        pytest.raises(IntegrityError, match="confirmed_number_has_no_code"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE notices_contactchoice SET confirmed_at = now()")
