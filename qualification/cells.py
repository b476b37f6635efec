"""H3 cells as the product keeps them: of resolution 8, as text of 15 digits. Pure.

The cells of one resolution inside a larger cell are one span of such texts, so an index of texts
finds them; and the larger cell of one is a little arithmetic, which PostgreSQL can do.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

import h3

RESOLUTION = 8
_CELL = re.compile(r"[0-9a-f]{15}")


def is_cell(text: str) -> bool:
    """Whether a text names a cell of resolution 8 or a larger one."""
    return bool(
        _CELL.fullmatch(text) and h3.is_valid_cell(text) and h3.get_resolution(text) <= RESOLUTION
    )


def of_point(latitude: Decimal, longitude: Decimal) -> str:
    """Return the cell of resolution 8 that holds a point."""
    return str(h3.latlng_to_cell(float(latitude), float(longitude), RESOLUTION))


def span(cell: str, resolution: int = RESOLUTION) -> tuple[str, str]:
    """Return the first and the last cell of a resolution inside a cell, in the order of texts."""
    first = h3.cell_to_center_child(cell, resolution)
    digits = range(h3.get_resolution(cell) + 1, resolution + 1)
    last = int(first, 16) + sum(6 << _place(digit) for digit in digits)
    return first, f"{last:x}"


def larger_cell_sql(column: str, resolution: int) -> str:
    """Return the SQL expression of the cell of a resolution that contains that of a column."""
    number = f"('x' || lpad({column}, 16, '0'))::bit(64)::bigint"
    level = (resolution << 52) | ((1 << (_place(resolution))) - 1)
    return f"to_hex(({number} & {~(15 << 52)}) | {level})"


def around(cells: Iterable[str], *, resolution: int) -> set[str]:
    """Return the cells of a coarser resolution that contain any of the cells, or border on one."""
    inside = {h3.cell_to_parent(cell, resolution) for cell in cells}
    return {near for cell in inside for near in h3.grid_disk(cell, 1)}


def _place(digit: int) -> int:
    """Return by how many bits the digit of a resolution stands from the right end of an index."""
    return 3 * (15 - digit)
