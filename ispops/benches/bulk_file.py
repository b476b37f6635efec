"""A file of addresses, answered to the last row, beside COPY of the same rows into a bare table."""

import csv
import io
from datetime import datetime

from django.db import connection
from django.utils import timezone

from ispops.bench import Case
from ispops.benches import million
from ispops.parties import accounts
from ispops.parties.models import User
from qualification import bulk_qualify
from qualification.models import BulkQualification

# One in so many addresses is on no list, so that it is looked for by itself.
UNLISTED = 100


def case(count: int, *, at: datetime) -> Case:
    """Answer a file as one worker does, with its progress and its result made durable.

    Taking the file in is not timed: it is counted while it is sent.
    """
    content = _file(count)
    user = accounts.create_login(
        email="bulk@isp.example", password="only-for-the-bench", name="Bulk", is_staff=True, at=at
    )
    return Case(
        name="bulk file",
        unit="per s",
        ours=_answer,
        reference=lambda: _copy(content),
        before_ours=lambda: _submit(content, user),
        before_reference=_bare,
    )


def _file(count: int) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "address"])
    for number, place in enumerate(million.some(count)):
        address = str(place)
        rows.writerow([number, f"9{address}" if number % UNLISTED == 0 else address])
    return text.getvalue().encode()


def _submit(content: bytes, user: User) -> None:
    bulk_qualify.submit_file(
        upload=io.BytesIO(content), file_name="bench.csv", asker="bench", created_by=user,
        at=timezone.now(),
    )  # fmt: skip


def _answer() -> int:
    rows = BulkQualification.objects.get(state="queued").rows_total
    while bulk_qualify.qualify_next(at=timezone.now()):
        pass
    return rows


def _bare() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_bare")
        cursor.execute("CREATE TABLE bench_bare (id text, address text)")


def _copy(content: bytes) -> int:
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY bench_bare FROM STDIN (FORMAT csv, HEADER)", io.BytesIO(content))
        return cursor.rowcount
