"""How long an answer takes, beside reading as many rows by their keys and nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg2
from django.db import connection

from ispops.bench import Case, Size, bench
from ispops.benches import bulk_file, coverage_file, million
from qualification import qualify

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
# What `qualify_address` asks of PostgreSQL for a known address; a test holds it to that.
QUERIES = 5


@bench
def qualification(size: Size) -> Iterator[Case]:
    """Warm qualification of known addresses at one client, among a million places."""
    million.load(size.of(full=1_000_000, quick=20_000), at=OPENED)
    known = million.some(size.of(full=1_000, quick=200))
    texts = [str(place) for place in known]
    keys = [str(place.pk) for place in known]
    _qualify_all(texts[:50])
    yield Case(
        name="known address",
        unit="ms",
        ours=lambda: _qualify_all(texts),
        reference=lambda: _read_all(keys),
    )
    yield bulk_file.case(size.of(full=100_000, quick=5_000), at=OPENED)
    yield from coverage_file.cases(size.of(full=1_000_000, quick=20_000), at=OPENED)


def _qualify_all(texts: list[str]) -> int:
    for text in texts:
        qualify.qualify_address(text=text, channel="csr", at=NOW)
    return len(texts)


def _read_all(keys: list[str]) -> int:
    """Read one row by its key as often as an answer queries, on a bare connection."""
    settings = connection.get_connection_params()
    settings.pop("cursor_factory", None)
    settings.pop("context", None)
    with psycopg2.connect(**settings) as bare, bare.cursor() as cursor:
        for key in keys:
            for _ in range(QUERIES):
                cursor.execute("SELECT * FROM qualification_premises WHERE id = %s", [key])
                cursor.fetchall()
    bare.close()
    return len(keys)
