"""`make bench`: the one way to measure, on a database of its own.

A bench is a function in a file of `ispops/benches/`, registered by its name:

    @bench
    def qualification(size: Size) -> Iterator[Case]:
        addresses = load_addresses(size.of(full=3850, quick=300))
        yield Case(
            name="one address",
            unit="ms",
            ours=lambda: qualify_all(addresses),
            reference=lambda: read_all(addresses),
        )

It gets an empty, migrated database, makes its data, and yields cases. A case says how to do the
work in our way and in a plain way that bounds it, the reference; each does it once and returns how
many operations that were. Both are timed in turn, in the same run on the same machine, because a
figure alone says more about the machine than about us. What needs new data for every run makes it
in `before_ours` and `before_reference`, which are not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pkgutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ispops import embedded

RUNS = 7
QUICK_RUNS = 3
QUICK_SECONDS = 40.0
"""When a quick bench begins no further run; the last run has the rest of the minute."""


@dataclass(frozen=True)
class Size:
    """How much data a bench makes: all, or as much as fits into a minute with everything else."""

    quick: bool

    def of(self, *, full: int, quick: int) -> int:
        return quick if self.quick else full


def _nothing() -> None:
    """Most cases need no new data for a run."""


@dataclass(frozen=True)
class Case:
    """Work done in two ways. `unit` is ms (for one operation) or per s (operations).

    What is no work but was measured on the way, such as memory (MB) or how long most answers took
    (us, millionths of a second): then the two functions return it, and what bounds it.
    """

    name: str
    unit: Literal["ms", "per s", "MB", "us"]
    ours: Callable[[], int]
    reference: Callable[[], int]
    before_ours: Callable[[], None] = _nothing
    before_reference: Callable[[], None] = _nothing
    # Fewer where a run takes minutes and hardly varies.
    runs: int = RUNS


@dataclass(frozen=True)
class Result:
    """Medians of `runs` runs in the unit; the ratio is ours divided by the reference."""

    bench: str
    case: str
    ours: float
    reference: float
    unit: str
    ratio: float
    runs: int


Bench = Callable[[Size], Iterator[Case]]
_benches: dict[str, Bench] = {}


def bench(function: Bench) -> Bench:
    """Register a bench under the name of its function."""
    _benches[function.__name__] = function
    return function


def measure(
    name: str,
    function: Bench,
    size: Size,
    *,
    clock: Callable[[], float] = time.perf_counter,
    before_case: Callable[[], None] = _nothing,
) -> Iterator[Result]:
    """Run a bench and give the result of each case as soon as it is known."""
    deadline = clock() + QUICK_SECONDS if size.quick else float("inf")
    for case in function(size):
        before_case()
        ours: list[float] = []
        reference: list[float] = []
        most = min(case.runs, QUICK_RUNS if size.quick else RUNS)
        while not ours or (len(ours) < most and clock() < deadline):
            sides = [
                (ours, case.before_ours, case.ours),
                (reference, case.before_reference, case.reference),
            ]
            # Whoever goes first may find colder caches; so they take turns.
            for figures, before, work in sides if len(ours) % 2 == 0 else reversed(sides):
                before()
                figures.append(_timed(work, case.unit, clock))
        yield Result(
            bench=name,
            case=case.name,
            ours=statistics.median(ours),
            reference=statistics.median(reference),
            unit=case.unit,
            ratio=statistics.median(ours) / statistics.median(reference),
            runs=len(ours),
        )


def _timed(work: Callable[[], int], unit: str, clock: Callable[[], float]) -> float:
    started = clock()
    operations = work()
    seconds = max(clock() - started, 1e-9)
    if not operations:
        raise ValueError("a case must say how many operations it did")
    if unit in ("MB", "us"):
        return operations
    return seconds * 1000 / operations if unit == "ms" else operations / seconds


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        with contextlib.ExitStack() as running:
            _set_up_django(running)
            chosen = _choose(options.only)
            _tell(f"Measuring {', '.join(chosen)} ...")
            results = []
            for name, function in chosen.items():
                with _fresh_database():
                    size = Size(quick=options.quick)
                    for result in measure(name, function, size, before_case=_analyze):
                        results.append(result)
                        if options.json:
                            print(json.dumps(asdict(result)), flush=True)
    except embedded.CannotStart as error:
        _tell(str(error))
        return 1
    if not options.json:
        print(table(results))
    return 0


def table(results: Sequence[Result]) -> str:
    """The results as aligned columns, text to the left and figures to the right."""
    rows = [["bench", "case", "ours", "reference", "unit", "ratio", "runs"]]
    for result in results:
        figures = [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
                   for value in (result.ours, result.reference)]  # fmt: skip
        rows.append(
            [result.bench, result.case, *figures, result.unit, f"{result.ratio:.3g}",
             str(result.runs)]
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    is_text = (True, True, False, False, True, False, False)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(row, widths, is_text, strict=True)
        ).rstrip()
        for row in rows
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure, and print medians.")
    parser.add_argument("--only", default="", help="the benches of this name")
    parser.add_argument("--quick", action="store_true", help="each bench within 60 seconds")
    parser.add_argument("--json", action="store_true", help="one object a line")
    return parser.parse_args(arguments)


def _choose(only: str) -> dict[str, Bench]:
    benches = importlib.import_module("ispops.benches")
    for module in pkgutil.iter_modules(benches.__path__):
        importlib.import_module(f"ispops.benches.{module.name}")
    chosen = {name: _benches[name] for name in _benches if _is_part(name, only)}
    if not chosen:
        raise embedded.CannotStart(f"There is no bench {only}: choose from {', '.join(_benches)}.")
    return chosen


def _is_part(name: str, only: str) -> bool:
    """Say whether a bench was asked for: `rating` means `rating_growth`, too."""
    return not only or name == only or name.startswith(f"{only}_")


def _set_up_django(running: contextlib.ExitStack) -> None:
    """Start servers for the measurement alone, as durable as in production, and load Django."""
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ispops-bench-")))
    os.environ |= running.enter_context(embedded.servers(folder))
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "ispops.settings",
        "ISPOPS_DATA_DIR": str(folder),
        "SECRET_KEY": "bench-only",
        "DEBUG": "0",
        "LOG_LEVEL": "WARNING",
    }
    import django

    django.setup()


@contextlib.contextmanager
def _fresh_database() -> Iterator[None]:
    """Make an empty, migrated database beside the one of DATABASE_URL, and drop it again."""
    from django.core.management import call_command
    from django.db import connection

    usual = connection.settings_dict["NAME"]
    name = f"bench_{os.getpid()}"
    _execute(f'DROP DATABASE IF EXISTS "{name}"')
    _execute(f'CREATE DATABASE "{name}"')
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0, interactive=False)
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
        _drop(name)


def _drop(name: str) -> None:
    """Drop a database. By force only where a process is left: that may not end autovacuum."""
    from django.db import OperationalError

    try:
        _execute(f'DROP DATABASE "{name}"')
    except OperationalError:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)


def _analyze() -> None:
    """Give the planner what autovacuum would have told it about data of this size by now."""
    _execute("ANALYZE")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # Under its real name, where the files of the benches register.
    sys.exit(importlib.import_module("ispops.bench").main())
