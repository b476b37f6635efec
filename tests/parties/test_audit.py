"""The audit trail keeps what was written, whoever tries to change it and by whatever way."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from psycopg2 import errorcodes

from ispops.parties import audit
from ispops.parties.models import AuditEntry, User

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def test_entry_says_who_did_what_to_what_and_why(cara: User) -> None:
    entry = audit.record(
        actor=cara, action="webhook.replayed", subject="msg_1", reason="They asked.", at=NOW,
        amount=Decimal("1.50"), since=NOW,
    )  # fmt: skip
    kept = AuditEntry.objects.get(pk=entry.pk)
    assert (kept.actor, kept.actor_name, kept.action) == (cara, cara.email, "webhook.replayed")
    assert (kept.subject, kept.reason, kept.at) == ("msg_1", "They asked.", NOW)
    assert kept.detail == {"amount": "1.50", "since": "2025-03-03T12:00:00Z"}


def test_program_is_named_in_words() -> None:
    entry = audit.record(actor=None, actor_name="worker", action="x.y", subject="s", at=NOW)
    assert str(entry) == "worker x.y s"


def test_entry_without_anybody_is_refused() -> None:
    with pytest.raises(ValueError, match="who acted"):
        audit.record(actor=None, action="x.y", subject="s", at=NOW)
    assert not AuditEntry.objects.filter(action="x.y").exists()


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE parties_auditentry SET reason = 'never happened'",
        "UPDATE parties_auditentry SET actor_id = NULL",
        "DELETE FROM parties_auditentry",
        "INSERT INTO parties_auditentry SELECT * FROM parties_auditentry "
        "ON CONFLICT (id) DO UPDATE SET reason = 'never happened'",
    ],
)
def test_raw_sql_cannot_rewrite_history(cara: User, attack: str) -> None:
    audit.record(actor=cara, action="x.y", subject="s", reason="true", at=NOW)
    before = list(AuditEntry.objects.values())
    with (
        pytest.raises(DatabaseError, match="append-only") as refused,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(attack)
    assert refused.value.__cause__.pgcode == errorcodes.RESTRICT_VIOLATION
    assert list(AuditEntry.objects.values()) == before


def test_an_actor_with_history_cannot_be_deleted(cara: User) -> None:
    audit.record(actor=cara, action="x.y", subject="s", at=NOW)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM parties_user WHERE id = %s", [cara.pk])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
