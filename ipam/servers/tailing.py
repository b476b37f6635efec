"""Reading on in a file that another program writes, over its rotations.

A position is the number of a file (its inode) and an offset. When the name belongs to another file
meanwhile, the rest of the old one is read first, wherever it was moved beside the new one.
"""

import os
from pathlib import Path

from ipam.servers.base import Position, ServerAway

_AVERAGE_LINE = 200


def read(
    path: str, since: Position, *, limit: int, header: bool = False, leftovers: str = ""
) -> tuple[list[str], Position]:
    """Return about `limit` whole lines since a position, and the position after them.

    With `header` the file's first line comes before them every time. Where the old file is gone
    already, and with it what was not read, what its owner keeps of it is read: the file beside it
    whose name has `leftovers` behind it.

    Raises:
        ServerAway: the file cannot be read.
    """
    name = Path(path)
    try:
        lines, position = _read(name, since, limit * _AVERAGE_LINE, leftovers)
        if header and lines and lines[0] != (first := _first_line(name)):
            lines.insert(0, first)
    except OSError as away:
        raise ServerAway(f"{path} cannot be read: {away.strerror or away}.") from away
    return lines, position


def _first_line(name: Path) -> str:
    with name.open(errors="replace") as file:
        return file.readline().rstrip("\n")


def _read(name: Path, since: Position, size: int, leftovers: str) -> tuple[list[str], Position]:
    current = name.stat()
    if since.file in (0, current.st_ino):
        # A file that was cut short is another one.
        start = since.offset if since.offset <= current.st_size else 0
        return _lines(name, Position(current.st_ino, start), size)
    old = _moved(name, since.file)
    if old is not None:
        lines, position = _lines(old, since, size)
        if lines:
            return lines, position
    elif leftovers and (kept := name.with_name(name.name + leftovers)).exists():
        lines, _ = _lines(kept, Position(0, 0), kept.stat().st_size)
        return lines, Position(current.st_ino, 0)
    return _lines(name, Position(current.st_ino, 0), size)


def _moved(name: Path, number: int) -> Path | None:
    """The file with this number beside the one that has the name now."""
    for path in name.parent.glob(f"{name.name}?*"):
        if path.stat().st_ino == number:
            return path
    return None


def _lines(path: Path, since: Position, size: int) -> tuple[list[str], Position]:
    """Whole lines: what its writer has not ended yet is left for the next time."""
    with path.open("rb") as file:
        number = os.fstat(file.fileno()).st_ino
        file.seek(since.offset)
        found = file.read(size)
    whole = found[: found.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), Position(number, since.offset + len(whole))
