"""Bringing a tree of blocks in from a file: tried out first, then every good row at once.

Each row is done by the verbs that people use, so it is refused for the same reasons. What is there
already stays as it is, and a file that comes twice changes nothing the second time.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from django.db import transaction

from ipam import carving, plan_rows, selection, tree
from ipam.models import AddressServer, Block, Pool
from ipam.plan_rows import BadRow, PlanRow
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import User
from ispops.uploads import Limits, Table, unpack

MOST_ROWS = 2_000
LIMITS = Limits(sent_bytes=5_000_000, unpacked_bytes=2_000_000, rows=MOST_ROWS)
_TIERS = {name: Block.Tier[name.upper()] for name in plan_rows.TIERS}


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


def text_of(upload: IO[bytes]) -> str:
    """Return what was sent as text: plain, gzip or zip.

    Raises:
        UnusableFile: it is too large, damaged or no text.
    """
    unpacked = io.BytesIO()
    unpack(upload, unpacked, LIMITS)
    return unpacked.getvalue().decode()


def preview(*, text: str, actor: User, at: datetime) -> list[Result]:
    """Say what a file would make; nothing is kept.

    Raises:
        InvalidInput: the file as a whole cannot be read, or has too many rows.
    """
    with transaction.atomic():
        results = _do(text, actor, at)
        transaction.set_rollback(True)
    return results


@transaction.atomic
def apply(*, text: str, file_name: str, actor: User, at: datetime) -> list[Result]:
    """Make what the good rows of a file say, all together; the others are told with the reason.

    Raises:
        InvalidInput: the file as a whole cannot be read, or has too many rows.
    """
    results = _do(text, actor, at)

    def count(outcome: str) -> int:
        return sum(result.outcome == outcome for result in results)

    audit.record(
        actor=actor, action="blocks.imported", subject=file_name[:100] or "blocks", at=at,
        made=count("made"), already=count("already"), refused=count("refused"),
    )  # fmt: skip
    return results


def _do(text: str, actor: User, at: datetime) -> list[Result]:
    read, results = [], []
    for line, row in _rows(text):
        if isinstance(row, BadRow):
            results.append(Result(line, "", "refused", str(row), row.field))
        else:
            read.append((line, row))
    for line, row in plan_rows.in_order(read):
        try:
            with transaction.atomic():
                outcome, words = _make(row, actor, at)
            results.append(Result(line, row.network, outcome, words))
        except Refusal as refusal:
            results.append(Result(line, row.network, "refused", refusal.detail, refusal.field))
    return sorted(results, key=lambda result: result.line)


def _rows(text: str) -> Iterator[tuple[int, PlanRow | BadRow]]:
    """Yield each row of a file with its line; one that cannot be read as what is wrong with it."""
    if text.lstrip()[:1] in ("{", "["):
        for number, entry in enumerate(_entries(text), start=1):
            try:
                yield number, plan_rows.from_netbox(entry)
            except BadRow as bad:
                yield number, bad
        return
    table = Table(io.BytesIO(text.encode()), LIMITS)
    if table.find("network") is None or table.find("tier") is None:
        raise InvalidInput(
            f"The first line names the columns: {', '.join(plan_rows.COLUMNS)}.", field="file"
        )
    table.check()
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
            yield table.line, bad


def _entries(text: str) -> list[object]:
    try:
        entries = plan_rows.entries_of(json.loads(text))
    except (ValueError, RecursionError) as error:
        words = str(error) if isinstance(error, BadRow) else "This is no JSON that can be read."
        raise InvalidInput(words, field="file") from error
    if len(entries) > MOST_ROWS:
        raise InvalidInput(f"The file has more than {MOST_ROWS:,} entries.", field="file")
    return entries


def _make(row: PlanRow, actor: User, at: datetime) -> tuple[str, str]:
    """Make the block of a row, and its pool; says what came of it."""
    parent = _parent(row)
    tier = row.tier
    if tier == plan_rows.REGION and parent is None and row.may_be_top:
        tier = plan_rows.ALLOCATION
    block = Block.objects.filter(
        network=_canonical(row.network), vrf=row.vrf, tier=_TIERS[tier]
    ).first()
    words = []
    if block is None:
        block = tree.add_block(
            network=row.network, tier=_TIERS[tier], parent=parent, name=row.name, vrf=row.vrf,
            actor=actor, at=at,
        )  # fmt: skip
        words.append(f"{tier}, from {parent.network}" if parent else tier)
    if row.pool and not Pool.objects.filter(name=row.pool, block=block).exists():
        _open_pool(row, block, actor, at)
        words.append(f"pool {row.pool}")
    return ("made", ", ".join(words)) if words else ("already", "It is there already.")


def _open_pool(row: PlanRow, block: Block, actor: User, at: datetime) -> None:
    server = AddressServer.objects.filter(name=row.server).first()
    if server is None:
        raise InvalidInput(f"There is no address server {row.server or 'named'}.", field="server")
    tree.open_pool(
        block=block, name=row.pool, server=server, purpose=row.purpose,
        unit_length=row.unit_length, actor=actor, at=at,
    )  # fmt: skip


def _parent(row: PlanRow) -> Block | None:
    """Find the block that a row is cut from: the named one, else the smallest around it."""
    if row.tier == plan_rows.ALLOCATION:
        return None
    network = _canonical(row.network)
    around = Block.objects.filter(vrf=row.vrf, tier__lt=Block.Tier.POOL)
    if row.parent:
        found = around.filter(network=_canonical(row.parent, "parent")).order_by("-tier", "-pk")
        if (named := found.first()) is None:
            raise InvalidInput(f"There is no block {row.parent} in this VRF.", field="parent")
        return named
    holding = [
        block
        for block in around.filter(network__covers=network)
        if (block.network, block.tier) != (network, _TIERS[row.tier])
    ]
    return max(holding, key=lambda block: (carving.length_of(block.network), block.tier, block.pk),
               default=None)  # fmt: skip


def _canonical(network: str, field: str = "network") -> str:
    try:
        return str(selection.parse_network(network))
    except selection.UnusableNetwork as error:
        raise InvalidInput(f"{error}.", field=field) from error
