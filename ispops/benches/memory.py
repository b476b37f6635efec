"""How much memory a worker needs at most, whatever waits for it, beside what it may need."""

import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from django.db import connection

from ispops.bench import Case, Size, bench
from ispops.benches import use
from rating.models import WaitingUsage

MOST = 400
# A process of its own, because a fork begins with the memory of the bench; and the peak of this
# program, because `getrusage` counts what the process was before.
_WORKER = """
import django
django.setup()
import ispops.celery
from ispops.benches import use
from rating import usage
while usage.rate_usage(at=use.REPORTED, limit=use.BATCH):
    pass
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@bench
def rating_memory(size: Size) -> Iterator[Case]:
    """A worker that finds a backlog, of prices that are rated in columns and of such that are not.

    The latter cost so much a period at most, so each use goes through its meter; and they are of
    many accounts, because it is the meters that take memory.
    """
    count = size.of(full=1_000_000, quick=120_000)
    yield _case("by columns", use.owners(10_000, use.products(20)), count)
    metered = use.products(20, "capped", period_maximum=Decimal(5_000))
    yield _case("by meters", use.owners(size.of(full=100_000, quick=20_000), metered), count)


def _case(name: str, owners: list[use.Owner], count: int) -> Case:
    return Case(
        name=f"worker that rates {count:,} events {name}",
        unit="MB",
        ours=_peak,
        reference=lambda: MOST,
        before_ours=partial(use.store, owners, count),
        runs=1,
    )


def _peak() -> int:
    own = urlunsplit(
        urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    )
    done = subprocess.run(
        [sys.executable, "-c", _WORKER],
        env=os.environ | {"DATABASE_URL": own},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    if WaitingUsage.objects.exists():
        raise RuntimeError("some events were not rated")
    return int(done.stdout.split()[-1]) // 1024
