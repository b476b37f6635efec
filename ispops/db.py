"""What every model shares: public ids, append-only tables, secrets at rest, leased rows."""

import base64
import hashlib
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self, TypeVar
from weakref import WeakKeyDictionary

import uuid_utils.compat
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.db import DEFAULT_DB_ALIAS, connection, migrations, models
from django.db.transaction import TransactionManagementError

from ispops.errors import InvalidInput

M = TypeVar("M", bound=models.Model)
_no_null_characters = ProhibitNullCharactersValidator()


def uuid7() -> uuid.UUID:
    """Return a new RFC 9562 version 7 UUID: random, yet in order of time, so indexes stay warm."""
    return uuid_utils.compat.uuid7()


class PublicIdModel(models.Model):
    """A row that the outside knows by an opaque id with a prefix, such as `ord_0190...`."""

    PREFIX: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        return f"{self.PREFIX}_{self.id.hex}"

    @classmethod
    def key_of(cls, public_id: str) -> uuid.UUID | None:
        """Return the primary key inside a public id, or None when it is not one of this kind."""
        prefix, _, digits = public_id.partition("_")
        if prefix != cls.PREFIX or len(digits) != 32:
            return None
        try:
            return uuid.UUID(hex=digits)
        except ValueError:
            return None


def opaque_id(prefix: str, number: int) -> str:
    """Return the public id of a row whose key is a number: the same each time, and in no order.

    Numbers in order would tell each partner how much all others do. It is one block of AES, so two
    rows never have one id.
    """
    block = number.to_bytes(16, "big")
    made = Cipher(algorithms.AES(_id_key(settings.SECRET_KEY, prefix)), modes.ECB()).encryptor()  # noqa: S305
    return f"{prefix}_{made.update(block).hex()}"


@lru_cache(maxsize=16)
def _id_key(secret: str, prefix: str) -> bytes:
    return hashlib.sha256(f"ids:{prefix}:{secret}".encode()).digest()


def lock(model: type[M], pk: Any) -> M:
    """Read a row and hold it against other writers until the transaction ends.

    Rows that refer to it may still be written meanwhile, or charging for use would wait for, and
    lock out, whoever changes a service or an account. By hand, because nearly every verb begins
    with it, and building the statement anew costs more than running it.

    Raises:
        model.DoesNotExist: there is no such row.
        TransactionManagementError: there is no transaction to hold it until the end of.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("a row is held until the end of a transaction")
    key = model._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(_locking(model), [key.get_db_prep_value(pk, connection)])
        row = cursor.fetchone()
    if row is None:
        raise model.DoesNotExist(f"There is no such {model._meta.verbose_name}.")  # type: ignore[attr-defined]
    return made(model, row)


@lru_cache
def _locking(model: type[models.Model]) -> str:
    table, key = model._meta.db_table, model._meta.pk.column
    return f"SELECT {columns(model, 'held')} FROM {table} held WHERE {key} = %s FOR NO KEY UPDATE"  # noqa: S608


def check_fields(row: models.Model, *names: str) -> None:
    """Check values that came from outside before PostgreSQL refuses them in its own words.

    Raises:
        InvalidInput: a value is missing, too long or not one of the choices; names the field.
    """
    for name in names:
        field = row._meta.get_field(name)
        try:
            value = field.clean(getattr(row, name), row)  # type: ignore[union-attr]
            if isinstance(value, str):
                _no_null_characters(value)
            setattr(row, name, value)
        except ValidationError as error:
            raise InvalidInput(" ".join(error.messages), field=name) from error


def append_only(table: str, *, except_columns: Sequence[str] = ()) -> migrations.RunSQL:
    """Return a migration step after which PostgreSQL refuses to change or delete a table's rows.

    `except_columns` may still be written, once each: from NULL to a value, never back.
    """
    arguments = ", ".join(f"'{column}'" for column in except_columns)
    return migrations.RunSQL(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION ispops_refuse_change({arguments})",
        f"DROP TRIGGER append_only ON {table}",
    )


def never_overlap(table: str, name: str, *clauses: str) -> migrations.RunSQL:
    """Return a migration step that adds a GiST exclusion of clauses made by the `same_*`
    functions and `overlapping`; it needs no extension of PostgreSQL."""
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} EXCLUDE USING gist ({', '.join(clauses)})",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


def same_number(column: str) -> str:
    """Return the clause that two rows have the same whole number, as ranges of one number."""
    return f"int8range({column}, {column}, '[]') WITH &&"


def same_text(expression: str) -> str:
    """Return the clause that two rows have the same text, by its 64-bit hash."""
    return same_number(f"hashtextextended({expression}, 0)")


def overlapping(start: str, end: str) -> str:
    """Return the clause that two half-open spans of time share a moment; NULL has no end."""
    return f"tstzrange({start}, {end}) WITH &&"


def leave_broken_connection() -> None:
    """Let the next statement make a new connection, when the fault was that this one broke.

    Outside a transaction Django goes on with a broken connection until its task or request ends.
    """
    if connection.errors_occurred and not connection.in_atomic_block and not connection.is_usable():
        connection.close()


def columns(model: type[models.Model], alias: str) -> str:
    """Return all columns of a model's table for a statement by hand; see `made`."""
    return ", ".join(f"{alias}.{field.column}" for field in model._meta.concrete_fields)


def made(model: type[M], row: Sequence[Any]) -> M:
    """Return an instance of a row that was read by the columns of `columns`."""
    names, converted = _fields_of(model)
    if converted:
        row = list(row)
        for place, convert in converted:
            row[place] = convert(row[place], None, connection)
    return model.from_db(DEFAULT_DB_ALIAS, names, row)


@lru_cache
def _fields_of(model: type[models.Model]) -> tuple[list[str], list[tuple[int, Any]]]:
    """Return the names of a model's fields, and by their place those that are not kept as read."""
    fields = model._meta.concrete_fields
    converted = [
        (place, field.from_db_value)  # type: ignore[attr-defined]
        for place, field in enumerate(fields)
        if hasattr(field, "from_db_value")
    ]
    return [field.attname for field in fields], converted


class Prepared:
    """A statement by hand that PostgreSQL plans once for each connection.

    For a path where building and planning a statement cost more than running it. `types` are those
    of its parameters, which it calls $1, $2 and so on. Behind a pooler that hands a connection from
    one transaction to the next it cannot be used.
    """

    def __init__(self, name: str, types: Sequence[str], statement: str) -> None:
        self.statement = statement
        self._name = name
        self._prepare = f"PREPARE {name} ({', '.join(types)}) AS {statement}"
        self._execute = f"EXECUTE {name} ({', '.join(['%s'] * len(types))})"

    def rows(self, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run it, and return what it found; nothing when it only writes."""
        with connection.cursor() as cursor:
            known = _prepared.setdefault(connection.connection, set())
            if self._name not in known:
                cursor.execute(self._prepare)
                known.add(self._name)
            cursor.execute(self._execute, parameters)
            return list(cursor.fetchall()) if cursor.description else []


def inserting(model: type[models.Model], first: int = 1) -> tuple[str, list[str]]:
    """Return an INSERT of all columns of a row for a statement by hand, and the parameters' types.

    Its parameters are $`first` and on; `inserted` gives their values. A number that the database
    gives is left out.
    """
    fields = _written(model)
    names = ", ".join(field.column for field in fields)
    places = ", ".join(f"${number}" for number in range(first, first + len(fields)))
    types = [str(field.rel_db_type(connection)) for field in fields]
    return f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({places})", types  # noqa: S608


def inserted(row: models.Model) -> list[Any]:
    """Return the values of a new row for a statement by `inserting`."""
    return [
        field.get_db_prep_save(getattr(row, field.attname), connection)
        for field in _written(type(row))
    ]


@lru_cache
def _written(model: type[models.Model]) -> list[Any]:
    return [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]


# What each connection of this process has prepared; it goes with the connection.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


@models.Field.register_lookup
class IsOneOf(models.Lookup):
    """`name__one_of=values`: what `name__in` finds, with all values as one parameter.

    Django checks and writes each value of `in` by itself, which takes longer than PostgreSQL does
    to find its row. The values are of the column's own type.
    """

    lookup_name = "one_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", (*parameters, list(self.rhs))


@lru_cache(maxsize=1)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys]
    )


def encrypt(text: str) -> str:
    """Encrypt with the first of FIELD_ENCRYPTION_KEYS."""
    return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(text: str) -> str:
    """Decrypt with whichever of FIELD_ENCRYPTION_KEYS it was encrypted with.

    Raises:
        InvalidToken: none of the keys fits, or the text was changed.
    """
    try:
        return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(text).decode()
    except InvalidToken as error:
        raise InvalidToken(
            "A secret in the database was encrypted with another key: add that key to "
            "FIELD_ENCRYPTION_KEYS, or set SECRET_KEY to what it was then."
        ) from error


class EncryptedTextField(models.TextField):
    """A secret that must be read back in clear, such as a CHAP password; encrypted at rest.

    The first of FIELD_ENCRYPTION_KEYS encrypts, all of them decrypt, so keys can be rotated.
    """

    description = "Text that is encrypted in the database"

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        return decrypt(value) if value else value

    def get_prep_value(self, value: Any) -> str | None:
        return encrypt(str(value)) if value else value


class Effective(models.QuerySet[Any]):
    """Rows with `valid_from` and an open or set `valid_to`."""

    def at(self, instant: Any) -> Self:
        """Keep the rows in force at an instant."""
        return self.filter(valid_from__lte=instant).filter(
            models.Q(valid_to__isnull=True) | models.Q(valid_to__gt=instant)
        )
