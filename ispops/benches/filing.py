"""How fast the FCC's availability filing is written, beside COPY of the places alone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection

from ispops.bench import Case, Size, bench
from ispops.benches import million
from ispops.demo.coverage import FIBER
from ispops.parties.models import Partner
from qualification import filing as filings

OPENED = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
_PLACES = "COPY (SELECT location_id, h3_res8 FROM qualification_premises LIMIT {}) TO STDOUT"


@bench
def filing(size: Size) -> Iterator[Case]:
    """The filing of our fiber among a million places; the reference reads as many places."""
    million.load(size.of(full=1_000_000, quick=20_000), at=OPENED)
    network = Partner.objects.get(code=FIBER)
    made = filings.prepare(provider=network, as_of=NOW, at=NOW)
    yield Case(
        name="count, then write",
        unit="per s",
        ours=lambda: _write(network),
        reference=lambda: _copy(made.total),
    )


def _write(network: Partner) -> int:
    made = filings.prepare(provider=network, as_of=NOW, at=NOW)
    with Path("/dev/null").open("w") as nowhere:
        nowhere.writelines(filings.lines(made))
    return made.total


def _copy(count: int) -> int:
    with connection.cursor() as cursor, Path("/dev/null").open("w") as nowhere:
        cursor.copy_expert(_PLACES.format(count), nowhere)
    return count
