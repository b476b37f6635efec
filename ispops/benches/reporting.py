"""How fast partners report use, by calls and by files, beside COPY of it into a bare table."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta

from ispops.bench import Case, Size, bench
from ispops.benches import use
from ispops.parties.models import Partner
from rating import intake, usage_files
from rating.models import UsageFile

EACH = 10_000


@bench
def rating_intake(size: Size) -> Iterator[Case]:
    """Events that nobody reported before, all of subscribers that are known."""
    count = size.of(full=200_000, quick=20_000)
    owners = use.owners(size.of(full=100_000, quick=10_000), use.products(20))
    copied = use.Copied(count)
    for name, kind in (("reports of 10,000 by the API", _Calls), ("a CSV file", _File)):
        run = kind(owners, count)
        yield Case(
            name=f"usage taken in, {name}",
            unit="per s",
            ours=run.ours,
            reference=copied.run,
            before_ours=run.before_ours,
            before_reference=copied.before,
        )


class _Calls:
    """Reports as the API gets them: bodies of JSON, one after another."""

    def __init__(self, owners: list[use.Owner], count: int) -> None:
        self._owners, self._count = owners, count
        self._bodies: list[bytes] = []
        # There is something to copy even where COPY goes first.
        use.store(owners, count)

    def before_ours(self) -> None:
        self._bodies = use.bodies(self._owners, self._count, EACH)

    def ours(self) -> int:
        bsp = Partner.objects.get(code=use.BSP)
        taken = 0
        for body in self._bodies:
            results = intake.take_in(
                partner=bsp, rows=json.loads(body)["events"], received_at=use.REPORTED
            )
            taken += sum(result.status == "accepted" for result in results)
        return _all_of(self._count, taken)


class _File:
    """A file from its upload until its last row is stored."""

    def __init__(self, owners: list[use.Owner], count: int) -> None:
        self._owners, self._count = owners, count
        self._file = b""

    def before_ours(self) -> None:
        self._file = use.table(self._owners, self._count)

    def ours(self) -> int:
        file = usage_files.submit_file(
            upload=io.BytesIO(self._file),
            file_name="use.csv",
            file_format=UsageFile.Format.CSV,
            partner=Partner.objects.get(code=use.BSP),
            actor=None,
            actor_name="bench",
            at=use.REPORTED,
        )
        at = use.REPORTED
        while usage_files.read_next(file_id=file.pk, at=at):
            at += timedelta(minutes=1)
        file.refresh_from_db()
        return _all_of(self._count, file.accepted)


def _all_of(count: int, taken: int) -> int:
    if taken != count:
        raise RuntimeError(f"{count - taken:,} of {count:,} events were not taken in")
    return count
