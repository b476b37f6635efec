"""What a file of blocks comes to, row by row, on a ground: in the database, or tried out.

What is there already stays as it is, and a file that comes twice changes nothing the second time.
A file is kept as its rows in the order in which they can be made, whatever its own order was, so
that workers read it from the front; a row that could not be read stands there with the reason.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from ipam import plan_rows, selection
from ipam.grounds import Ground
from ipam.models import Block
from ipam.plan_rows import BadRow, PlanRow
from ispops.errors import InvalidInput, Refusal
from ispops.uploads import Limits, Table, UnusableFile, harmless_row, unpack

MOST_ROWS = 200_000
LIMITS = Limits(sent_bytes=50_000_000, unpacked_bytes=150_000_000, rows=MOST_ROWS)
RESULT_COLUMNS = ("line", "network", "outcome", "reason", "field")
_FIELDS = tuple(PlanRow.__dataclass_fields__)
_KEPT = ("line", *_FIELDS, "bad", "bad_field")
_TIERS = {name: Block.Tier[name.upper()] for name in plan_rows.TIERS}
# More than any value that is good, and little enough for a line.
_LONGEST_VALUE = 500
Numbered = tuple[int, PlanRow | BadRow]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row: `made`, there `already`, or `refused` with the field and why.

    `line` is the line of a CSV file, or the number of the entry of NetBox's.
    """

    line: int
    network: str
    outcome: str
    words: str
    field: str = ""


# --- The file as it comes -----------------------------------------------------------------------


def keep(upload: IO[bytes], into: IO[bytes]) -> int:
    """Write what was sent, plain, gzip or zip, as rows in order; returns how many there are.

    Raises:
        UnusableFile: it is too large, damaged or no text.
        InvalidInput: it is neither such a table nor what NetBox gives out, or has too many rows.
    """
    unpacked = io.BytesIO()
    unpack(upload, unpacked, LIMITS)
    read, bad = list[tuple[int, PlanRow]](), list[Numbered]()
    for count, (line, row) in enumerate(_rows(unpacked), start=1):
        if count > MOST_ROWS:
            raise InvalidInput(
                f"The file has more than {MOST_ROWS:,} rows. Send it in parts.", field="file"
            )
        if isinstance(row, PlanRow) and (fault := _unwritable(row)) is None:
            read.append((line, row))
        else:
            bad.append((line, row if isinstance(row, BadRow) else fault or row))
    if not read and not bad:
        raise InvalidInput("The file has no rows.", field="file")
    _write(into, [*bad, *plan_rows.in_order(read)])
    return len(read) + len(bad)


def _unwritable(row: PlanRow) -> BadRow | None:
    for field in _FIELDS:
        value = getattr(row, field)
        if isinstance(value, str) and (
            len(value) > _LONGEST_VALUE or (not value.isascii() and not _is_text(value))
            or any(sign in value for sign in "\0\r\n")
        ):  # fmt: skip
            return BadRow("The value is too long, or no text.", field)
    return None


def _in_short(network: object) -> str:
    """Return what a row calls its network as far as it fits a line, so that one finds the row."""
    if not isinstance(network, str) or "\0" in network or not _is_text(network):
        return ""
    return " ".join(network.split())[: plan_rows.MOST_NETWORK]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(unpacked: IO[bytes]) -> Iterator[Numbered]:
    """Yield each row of a file with its line; one that cannot be read as what is wrong with it."""
    unpacked.seek(0)
    begin = unpacked.read(1000).lstrip()[:1]
    unpacked.seek(0)
    if begin in (b"{", b"["):
        yield from _entries(unpacked.read().decode())
        return
    table = Table(unpacked, LIMITS)
    if table.find("network") is None or table.find("tier") is None:
        raise InvalidInput(
            f"The first line names the columns: {', '.join(plan_rows.COLUMNS)}.", field="file"
        )
    places = {name: table.find(name) for name in plan_rows.COLUMNS}
    for _, values in table.rows():
        named = {
            name: values[place]
            for name, place in places.items()
            if place is not None and place < len(values)
        }
        try:
            yield table.line, plan_rows.from_values(named)
        except BadRow as bad:
            yield table.line, BadRow(str(bad), bad.field, _in_short(named.get("network", "")))


def _entries(text: str) -> Iterator[Numbered]:
    try:
        for number, entry in enumerate(plan_rows.entries_of(text), start=1):
            try:
                yield number, plan_rows.from_netbox(entry)
            except BadRow as bad:
                told = entry.get("prefix") if isinstance(entry, dict) else ""
                yield number, BadRow(str(bad), bad.field, _in_short(told))
    except (ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, BadRow) else "This is no JSON that can be read."
        raise UnusableFile(words, field="file") from error


# --- The file as it is kept ---------------------------------------------------------------------


def _write(into: IO[bytes], rows: Iterable[Numbered]) -> None:
    text = io.TextIOWrapper(into, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_KEPT)
    for line, row in rows:
        if isinstance(row, BadRow):
            values = [line, row.network, *[""] * (len(_KEPT) - 4), str(row), row.field]
        else:
            told = {name: getattr(row, name) for name in _FIELDS}
            told["unit_length"] = "" if row.unit_length is None else row.unit_length
            told["may_be_top"] = "yes" if row.may_be_top else ""
            values = [line, *told.values(), "", ""]
        writer.writerow(values)
    text.flush()
    text.detach()


def kept_rows(source: IO[bytes], start: int) -> Iterator[tuple[int, Numbered]]:
    """Yield the rows of a kept file from a byte on, each with the byte at which the next begins."""
    table = Table(source, LIMITS)
    for end, values in table.rows(start or None):
        yield end, _kept_row(dict(zip(_KEPT, values, strict=True)))


def _kept_row(told: dict[str, str]) -> Numbered:
    line = int(told["line"])
    if told["bad"]:
        return line, BadRow(told["bad"], told["bad_field"], told["network"])
    return line, PlanRow(
        network=told["network"],
        tier=told["tier"],
        parent=told["parent"],
        name=told["name"],
        vrf=int(told["vrf"]),
        pool=told["pool"],
        server=told["server"],
        purpose=told["purpose"],
        unit_length=int(told["unit_length"]) if told["unit_length"] else None,
        may_be_top=bool(told["may_be_top"]),
    )


def as_csv(results: Sequence[Result]) -> bytes:
    """Write results as they are kept beside the file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        harmless_row([str(each.line), each.network, each.outcome, each.words, each.field])
        for each in results
    )
    return text.getvalue().encode()


# --- One row ------------------------------------------------------------------------------------


def take(numbered: Numbered, ground: Ground) -> Result:
    """Make the block of a row, and its pool, on a ground; says what came of it."""
    line, row = numbered
    if isinstance(row, BadRow):
        return Result(line, row.network, "refused", str(row), row.field)
    try:
        with ground.one_row():
            outcome, words = _make(row, ground)
    except Refusal as refusal:
        return Result(line, row.network, "refused", refusal.detail, refusal.field)
    return Result(line, row.network, outcome, words)


def _make(row: PlanRow, ground: Ground) -> tuple[str, str]:
    parent = _parent(row, ground)
    tier = row.tier
    if tier == plan_rows.REGION and parent is None and row.may_be_top:
        tier = plan_rows.ALLOCATION
    block = ground.find(_canonical(row.network), row.vrf, _TIERS[tier])
    words = []
    if block is None:
        block = ground.add(row, _TIERS[tier], parent)
        words.append(f"{tier}, from {parent.network}" if parent else tier)
    if row.pool and not ground.has_pool(block, row.pool):
        ground.open_pool(row, block)
        words.append(f"pool {row.pool}")
    return ("made", ", ".join(words)) if words else ("already", "It is there already.")


def _parent(row: PlanRow, ground: Ground) -> Block | None:
    """Find the block that a row is cut from: the named one, else the smallest around it."""
    if row.tier == plan_rows.ALLOCATION:
        return None
    network = _canonical(row.network)
    if not row.parent:
        return ground.around(network, row.vrf, _TIERS[row.tier])
    named = ground.named(_canonical(row.parent, "parent"), row.vrf)
    if named is None:
        raise InvalidInput(f"There is no block {row.parent} in this VRF.", field="parent")
    return named


def _canonical(network: str, field: str = "network") -> str:
    try:
        return str(selection.parse_network(network))
    except selection.UnusableNetwork as error:
        raise InvalidInput(f"{error}.", field=field) from error
