"""How fast stored usage becomes rated use, beside COPY of as many events into a bare table."""

from collections.abc import Iterator
from datetime import timedelta

from ispops.bench import Case, Size, bench
from ispops.benches import use
from ispops.benches.workers import Workers
from rating import usage
from rating.models import WaitingUsage


@bench
def rating(size: Size) -> Iterator[Case]:
    """Rating events of two months, spread over accounts as a few heavy and many light users."""
    count = size.of(full=1_000_000, quick=100_000)
    owners = use.owners(size.of(full=100_000, quick=10_000), use.products(20))
    copied = use.Copied(count)
    for workers in (1, 2):
        run = _Run(owners, count, workers)
        yield Case(
            name=f"stored events to rated use, {words_of(workers)}",
            unit="per s",
            ours=run.ours,
            reference=copied.run,
            before_ours=run.before_ours,
            before_reference=copied.before,
        )


def words_of(workers: int) -> str:
    return "one worker" if workers == 1 else f"{workers} workers"


class _Run:
    """Rating stored events by workers that are told to begin together."""

    def __init__(self, owners: list[use.Owner], count: int, workers: int) -> None:
        self._owners, self._count, self._number = owners, count, workers
        self._workers: Workers | None = None

    def before_ours(self) -> None:
        use.store(self._owners, self._count)
        self._workers = Workers(_drain, self._number)

    def ours(self) -> int:
        if self._workers is not None:
            self._workers.run()
        if WaitingUsage.objects.exists():
            raise RuntimeError("some events were not rated")
        return self._count


def _drain(_: int) -> None:
    while usage.rate_usage(at=use.MAY + timedelta(days=60), limit=use.BATCH):
        pass
