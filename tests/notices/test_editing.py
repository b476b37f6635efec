"""The operator's words: versions that stay, one at a time, and the way back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from ispops.errors import InvalidInput
from ispops.notices import catalogue, editing, queries, wording
from ispops.notices.catalogue import EMAIL, SMS, Wording
from ispops.notices.models import NoticeTemplate
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber, User
from tests import factories
from tests.notices.test_notify import resume

pytestmark = pytest.mark.django_db
KIND = catalogue.get("line_resumed")
OURS = Wording("On again, {{ name }}", "Dear {{ name }}, {{ plan }} is on.")


@pytest.fixture
def otto(db: None, at: datetime) -> User:
    return factories.staff(roles.OPERATIONS, at=at)


@pytest.fixture
def save(otto: User, at: datetime) -> Any:
    def save(words: Wording = OURS, *, based_on: int = 0, channel: str = EMAIL) -> NoticeTemplate:
        return editing.reword(
            kind=KIND, channel=channel, words=words, based_on=based_on, actor=otto, at=at
        )

    return save


def test_what_is_written_from_then_on_has_the_new_words(
    ada: Subscriber, save: Any, at: datetime
) -> None:
    (before,) = resume(ada, at)
    made = save()
    (after,) = resume(ada, at, cause="event:2")
    assert (after.subject, after.template) == ("On again, Ada Lovelace", made)
    assert after.body == "Dear Ada Lovelace, Fiber 500 is on.\n"
    before.refresh_from_db()
    assert before.subject.startswith("Your line at")


def test_each_edit_is_a_version_with_its_author(save: Any, otto: User, at: datetime) -> None:
    save()
    save(Wording("Two", "Two\r\nlines  "), based_on=1)
    newest, first = queries.versions(KIND.code, EMAIL)
    assert (newest.version, newest.subject, newest.body) == (2, "Two", "Two\nlines\n")
    assert (first.version, first.created_by, first.created_at) == (1, otto, at)
    entries = AuditEntry.objects.filter(action="notice_template.saved").order_by("pk")
    assert [entry.detail["version"] for entry in entries] == [1, 2]
    assert {entry.subject for entry in entries} == {"notice_line_resumed_email"}


def test_the_same_words_again_change_nothing(save: Any) -> None:
    assert save().pk == save(based_on=1).pk == save(based_on=0).pk
    assert NoticeTemplate.objects.count() == 1


def test_who_saves_over_somebody_elses_words_is_told(save: Any) -> None:
    save()
    with pytest.raises(editing.TextWasChanged):
        save(Wording("Mine", "Mine"), based_on=0)
    assert NoticeTemplate.objects.count() == 1


def test_back_to_the_products_words(ada: Subscriber, save: Any, otto: User, at: datetime) -> None:
    with pytest.raises(InvalidInput):
        editing.reset(kind=KIND, channel=EMAIL, based_on=0, actor=otto, at=at)
    save()
    for _ in range(2):
        made = editing.reset(kind=KIND, channel=EMAIL, based_on=1, actor=otto, at=at)
        assert (made.version, made.is_default, made.body) == (2, True, "")
    (notice,) = resume(ada, at)
    assert (notice.template, notice.subject) == (None, "Your line at 1 Oak Street is on again")
    assert save(based_on=2).version == 3


def test_the_channels_are_apart_and_must_be_the_kinds_own(save: Any, otto: User) -> None:
    assert save(Wording("ignored", "On: {{ plan }}"), channel=SMS).subject == ""
    assert save().version == 1
    with pytest.raises(InvalidInput) as refused:
        editing.reword(
            kind=catalogue.get("invitation"), channel=SMS, words=OURS, based_on=0,
            actor=otto, at=otto.date_joined,
        )  # fmt: skip
    assert refused.value.field == "channel"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (Wording("x", "{{ request.user }}"), "body"),
        (Wording("x", "{% for a in b %}"), "body"),
        (Wording("{{ secret }}", "x"), "subject"),
        (Wording("", "x"), "subject"),
        (Wording("x", ""), "body"),
        (Wording("x" * 201, "x"), "subject"),
    ],
)
def test_nothing_is_kept_of_words_that_cannot_be_used(
    save: Any, words: Wording, field: str
) -> None:
    with pytest.raises(wording.TextCannotBeUsed) as refused:
        save(words)
    assert refused.value.field == field
    assert not NoticeTemplate.objects.exists()


def test_words_that_speak_of_what_is_gone_give_way_to_ours(
    ada: Subscriber, otto: User, at: datetime
) -> None:
    """A later version of the product has no such variable; the letter must go out all the same."""
    NoticeTemplate.objects.create(
        kind="line_resumed", channel="email", version=1, subject="{{ gone }}", body="{{ gone }}",
        created_by=otto, created_at=at,
    )  # fmt: skip
    (notice,) = resume(ada, at)
    assert notice.subject == "Your line at 1 Oak Street is on again"
    assert notice.template is None


def test_the_database_keeps_every_version(save: Any) -> None:
    made = save()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        NoticeTemplate.objects.filter(pk=made.pk).update(body="x")
    with pytest.raises(DatabaseError), transaction.atomic():
        made.delete()
    made.pk = None
    with pytest.raises(DatabaseError, match="notice_template_version_once"), transaction.atomic():
        made.save(force_insert=True)
