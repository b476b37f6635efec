"""What a RADIUS server of the ISP needs of us: its role in the database, and its clients."""

from django.db import connection
from psycopg2 import sql

from ispops.errors import InvalidInput
from provisioning.models import AccessServer, AccountingInbox

# What only the database and the worker write.
NOT_SAID = frozenset({"id", "received_at"})
# Longer than any INSERT takes, shorter than an access server waits for an answer.
STATEMENT_SECONDS = 5


def make_role(*, name: str, password: str) -> None:
    """Make the role by which FreeRADIUS writes the accounting inbox, or set it right again.

    It may insert there and do nothing else: not read, not change, nor any other table. For
    PostgreSQL 15 or later, where nobody may create tables in `public` without being told so.

    Raises:
        InvalidInput: the name is that of the role that owns the tables.
        ProgrammingError: we may not make roles; `role_statements` is what an administrator runs.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, EXISTS (SELECT FROM pg_roles WHERE rolname = %s)",
                       [name])  # fmt: skip
        owner, exists = cursor.fetchone()
        if name == owner:
            raise InvalidInput("Choose another name: this role owns the tables.", field="name")
        for statement in role_statements(name=name, password=password, exists=exists):
            cursor.execute(statement)


def role_statements(*, name: str, password: str, exists: bool) -> list[str]:
    """Return the SQL that makes the role, or that sets it right when it `exists`."""
    role, database = sql.Identifier(name), sql.Identifier(connection.settings_dict["NAME"])
    inbox = sql.Identifier(AccountingInbox._meta.db_table)
    columns = sql.SQL(", ").join(
        sql.Identifier(field.column)
        for field in AccountingInbox._meta.concrete_fields
        if field.column not in NOT_SAID
    )
    verb = sql.SQL("ALTER" if exists else "CREATE")
    parts = [
        sql.SQL("{} ROLE {} LOGIN NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}").format(
            verb, role, sql.Literal(password)
        ),
        sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(
            role, sql.Literal(f"{STATEMENT_SECONDS}s")
        ),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role),
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role),
        sql.SQL("REVOKE ALL ON {} FROM {}").format(inbox, role),
        sql.SQL("GRANT INSERT ({}) ON {} TO {}").format(columns, inbox, role),
    ]
    with connection.cursor() as cursor:
        return [part.as_string(cursor.cursor) for part in parts]


def clients() -> dict[str, str]:
    """Return what FreeRADIUS has to know of each access server that has a RADIUS secret.

    By the address from which its packets come: the name of the file in which FreeRADIUS looks.
    """
    servers = AccessServer.objects.exclude(radius_secret="").order_by("name")
    by_source = {server.radius_source or server.nas_ip: server for server in reversed(servers)}
    return {source: _client(server, source) for source, server in by_source.items()}


def _client(server: AccessServer, source: str) -> str:
    family = "ipv6addr" if ":" in source else "ipv4addr"
    return (
        f"client {server.name} {{\n"
        f"\t{family} = {source}\n"
        f'\tsecret = "{server.radius_secret}"\n'
        f"\tshortname = {server.name}\n"
        "}\n"
    )
