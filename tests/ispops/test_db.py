"""What every table shares, attacked: public ids, locks, append-only, exclusions, secrets."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import InvalidToken
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations.operations.special import RunSQL
from psycopg2 import errorcodes
from pytest_django import Settings

from ispops import db
from ispops.errors import InvalidInput
from ispops.parties.models import Partner, Subscriber

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOME_ID = uuid.UUID("0190f3a1-1c2d-7e3f-8a4b-5c6d7e8f9a0b")  # the same for every process of xdist
pytestmark = pytest.mark.django_db


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def refused(statement: str, code: str) -> str:
    """Run a statement that PostgreSQL must refuse with this code; return what it says."""
    with pytest.raises(DatabaseError) as error, transaction.atomic():
        run(statement)
    assert error.value.__cause__.pgcode == code, error.value
    return str(error.value)


def apply(step: RunSQL) -> None:
    run(step.sql)


class TestPublicIds:
    def test_an_id_of_a_number_is_always_the_same_and_in_no_order(self, settings: Settings) -> None:
        made = [db.opaque_id("usg", number) for number in range(200)]
        assert made == [db.opaque_id("usg", number) for number in range(200)]
        assert len(set(made)) == 200
        assert made != sorted(made)
        assert all(re.fullmatch("usg_[0-9a-f]{32}", one) for one in made)
        assert db.opaque_id("xyz", 7)[3:] != made[7][3:]
        settings.SECRET_KEY = "another"
        assert db.opaque_id("usg", 7) != made[7]

    def test_an_id_can_be_read_back(self) -> None:
        row = Subscriber()
        assert row.public_id == f"sub_{row.pk.hex}"
        assert Subscriber.key_of(row.public_id) == row.pk

    @pytest.mark.parametrize(
        "wrong",
        ["", "sub_", "sub", f"ord_{SOME_ID.hex}", f"sub_{SOME_ID}", "sub_" + "z" * 32,
         f"sub_{SOME_ID.hex}0", f"sub__{SOME_ID.hex[1:]}", "sub_" + " " * 32],
    )  # fmt: skip
    def test_what_is_no_id_of_this_kind_is_none(self, wrong: str) -> None:
        assert Subscriber.key_of(wrong) is None

    def test_ids_are_version_7_and_follow_time(self) -> None:
        made = [db.uuid7() for _ in range(1000)]
        assert {key.version for key in made} == {7}
        assert made == sorted(made)
        assert len(set(made)) == 1000


class TestAppendOnly:
    @pytest.fixture(autouse=True)
    def table(self) -> None:
        run(
            "CREATE TEMP TABLE notes (id int, words text, read_at timestamptz, kept jsonb)",
            "INSERT INTO notes VALUES (1, 'true', NULL, '{\"a\": 1}')",
        )

    @pytest.mark.parametrize(
        "attack",
        [
            "UPDATE notes SET words = 'false'",
            "UPDATE notes SET words = NULL",
            "UPDATE notes SET kept = '{\"a\": 2}'",
            "UPDATE notes SET id = 2",
            "UPDATE notes SET read_at = now()",
            "DELETE FROM notes",
        ],
    )
    def test_rows_can_only_be_added(self, attack: str) -> None:
        apply(db.append_only("notes"))
        assert "notes is append-only" in refused(attack, errorcodes.RESTRICT_VIOLATION)
        run("INSERT INTO notes VALUES (2, 'more', NULL, NULL)")

    def test_a_write_that_changes_nothing_is_let_through(self) -> None:
        apply(db.append_only("notes"))
        run("UPDATE notes SET words = words")

    def test_an_excepted_column_is_written_once(self) -> None:
        apply(db.append_only("notes", except_columns=["read_at"]))
        run("UPDATE notes SET read_at = '2026-03-01'")
        for attack in (
            "UPDATE notes SET read_at = '2026-03-02'",
            "UPDATE notes SET read_at = NULL",
            "UPDATE notes SET words = 'false'",
        ):
            refused(attack, errorcodes.RESTRICT_VIOLATION)

    def test_an_excepted_column_carries_no_other_along(self) -> None:
        apply(db.append_only("notes", except_columns=["read_at"]))
        refused("UPDATE notes SET read_at = now(), words = 'false'", errorcodes.RESTRICT_VIOLATION)

    def test_the_guard_can_be_taken_away_by_a_migration(self) -> None:
        step = db.append_only("notes")
        run(step.sql, step.reverse_sql, "DELETE FROM notes")


class TestExclusions:
    @pytest.fixture(autouse=True)
    def table(self) -> None:
        run("CREATE TEMP TABLE stays (room bigint, word text, first timestamptz, last timestamptz)")

    @pytest.fixture
    def guard(self) -> None:
        apply(
            db.never_overlap(
                "stays",
                "one_guest_a_room",
                db.same_number("room"),
                db.same_text("word"),
                db.overlapping("first", "last"),
            )
        )
        run("INSERT INTO stays VALUES (1, 'sea', '2026-03-01', '2026-03-05')")

    @pytest.mark.parametrize(
        "values",
        [
            "1, 'sea', '2026-03-04', '2026-03-06'",
            "1, 'sea', '2026-02-01', NULL",
            "1, 'sea', NULL, NULL",
            "1, 'sea', '2026-03-01', '2026-03-01 00:00:01'",
        ],
    )
    def test_two_stays_never_share_a_moment(self, guard: None, values: str) -> None:
        message = refused(f"INSERT INTO stays VALUES ({values})", errorcodes.EXCLUSION_VIOLATION)
        assert "one_guest_a_room" in message

    @pytest.mark.parametrize(
        "values",
        [
            "1, 'sea', '2026-03-05', '2026-03-06'",
            "1, 'sea', '2026-02-01', '2026-03-01'",
            "2, 'sea', '2026-03-01', '2026-03-05'",
            "1, 'hill', '2026-03-01', '2026-03-05'",
            "-1, 'sea', '2026-03-01', NULL",
        ],
    )
    def test_half_open_neighbours_and_others_may_be(self, guard: None, values: str) -> None:
        run(f"INSERT INTO stays VALUES ({values})")

    def test_without_the_guard_they_may_overlap(self) -> None:
        run(*["INSERT INTO stays VALUES (1, 'sea', '2026-03-01', '2026-03-05')"] * 2)


class TestLock:
    @pytest.mark.django_db(transaction=True)
    def test_a_lock_needs_a_transaction(self) -> None:
        partner = Partner.objects.create(code="p", name="P", kind="bsp")
        with pytest.raises(transaction.TransactionManagementError):
            db.lock(Partner, partner.pk)

    def test_a_row_that_is_not_there(self) -> None:
        with pytest.raises(Partner.DoesNotExist):
            db.lock(Partner, 0)


class TestEncryptedText:
    def stored(self) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT webhook_secret FROM parties_partner")
            return str(cursor.fetchone()[0])

    def test_a_secret_is_read_back_and_not_stored_in_clear(self) -> None:
        Partner.objects.create(code="p", name="P", kind="bsp", webhook_secret="sesame ☂")
        assert Partner.objects.get().webhook_secret == "sesame ☂"
        assert "sesame" not in self.stored()

    def test_every_way_of_writing_encrypts_once(self) -> None:
        row = Partner.objects.create(code="p", name="P", kind="bsp", webhook_secret="one")
        row.save()
        assert Partner.objects.get().webhook_secret == "one"
        Partner.objects.update(webhook_secret="two")
        assert Partner.objects.get().webhook_secret == "two"
        row.webhook_secret = "three"
        Partner.objects.bulk_update([row], ["webhook_secret"])
        assert Partner.objects.get().webhook_secret == "three"
        Partner.objects.bulk_create([Partner(code="q", name="Q", kind="bsp", webhook_secret="4")])
        assert Partner.objects.get(code="q").webhook_secret == "4"

    def test_empty_stays_empty(self) -> None:
        Partner.objects.create(code="p", name="P", kind="bsp")
        assert self.stored() == ""

    def test_keys_are_rotated_by_putting_the_new_one_first(self, settings: Settings) -> None:
        settings.FIELD_ENCRYPTION_KEYS = ["old"]
        Partner.objects.create(code="p", name="P", kind="bsp", webhook_secret="sesame")
        settings.FIELD_ENCRYPTION_KEYS = ["new", "old"]
        row = Partner.objects.get()
        row.save()
        settings.FIELD_ENCRYPTION_KEYS = ["new"]
        assert Partner.objects.get().webhook_secret == "sesame"
        settings.FIELD_ENCRYPTION_KEYS = ["lost"]
        with pytest.raises(InvalidToken, match="add that key to FIELD_ENCRYPTION_KEYS"):
            Partner.objects.get()


class TestCheckFields:
    def test_good_values_are_kept(self) -> None:
        row = Partner(code="p", name="P", kind="bsp")
        db.check_fields(row, "code", "name", "kind")
        assert (row.code, row.name) == ("p", "P")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("code", "no slug"), ("name", ""), ("name", "x" * 201), ("kind", "odd"),
         ("contact_email", "x"), ("webhook_url", "x"), ("name", None), ("name", "a\x00b")],
    )  # fmt: skip
    def test_bad_ones_are_refused_by_name(self, name: str, value: object) -> None:
        with pytest.raises(InvalidInput) as refusal:
            db.check_fields(Partner(**{name: value}), name)
        assert refusal.value.field == name
        assert refusal.value.detail


def test_effective_rows_are_those_in_force(django_assert_num_queries: object) -> None:
    from ispops.catalog.models import TaxRate

    def rate(start: datetime, end: datetime | None) -> TaxRate:
        return TaxRate.objects.create(
            category=f"c{TaxRate.objects.count()}", percent=1, valid_from=start, valid_to=end
        )

    day = timedelta(days=1)
    ended, running = rate(NOW - 2 * day, NOW), rate(NOW - day, NOW + day)
    opens, coming = rate(NOW, None), rate(NOW + day, None)
    assert set(TaxRate.objects.at(NOW)) == {running, opens}
    assert set(TaxRate.objects.at(NOW - timedelta(microseconds=1))) == {ended, running}
    assert set(TaxRate.objects.at(NOW + day)) == {opens, coming}


def test_exclusions_are_integrity_errors() -> None:
    """Verbs catch `IntegrityError`; a GiST exclusion must arrive as one."""
    run(
        "CREATE TEMP TABLE stays (room bigint, first timestamptz, last timestamptz)",
        db.never_overlap("stays", "x", db.same_number("room")).sql,
        "INSERT INTO stays VALUES (1, NULL, NULL)",
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        run("INSERT INTO stays VALUES (1, NULL, NULL)")
