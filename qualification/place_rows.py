"""Rows of lists of places: an address each, its location id and coordinates. Pure.

A list is the FCC's Fabric or an operator's own. Each row becomes one line as COPY reads it, in the
order of `STAGED`; rows that cannot be used say why.
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from ispops.errors import InvalidInput
from qualification import row_values
from qualification.addresses import AddressFormat
from qualification.row_values import NULL

# Some countries have no regions.
REQUIRED = ("street", "city", "postal_code")
ADDRESS = (*REQUIRED, "region")
# What a list can say of an address; what it does not say stays as it is.
SAID = ("location_id", "latitude", "longitude")
READ = (*ADDRESS, "unit", *SAID, "bsl_flag")
STAGED = (
    "number", "id", "location_id", "street", "unit", "city", "region", "postal_code", "match_key",
    "latitude", "longitude", "h3_res8", "field", "reason",
)  # fmt: skip
# The Fabric's names.
OTHER_NAMES = {"address_primary": "street", "state": "region", "zip": "postal_code"}
_NOTHING = "\t".join([NULL] * (len(STAGED) - 3))


class PlaceRows:
    """Reads the rows of one list by the names of its columns.

    `new_id` makes the ids of places that turn out to be new. `said` are what the list has columns
    for beside the address, and `unused` the columns that nothing is read from.

    Raises:
        InvalidInput: on the field `file`; a column is missing, or is there by two names.
    """

    def __init__(
        self, columns: Sequence[str], *, country: AddressFormat, new_id: Callable[[], UUID]
    ) -> None:
        self._columns = columns
        self._country = country
        self._new_id = new_id
        self._at = row_values.our_names(columns, OTHER_NAMES)
        missing = [name for name in REQUIRED if name not in self._at]
        missing += [
            name
            for name, other in (("latitude", "longitude"), ("longitude", "latitude"))
            if other in self._at and name not in self._at
        ]
        if missing:
            words = f"The header lacks {', '.join(missing)}. It has: {', '.join(columns)}."
            raise InvalidInput(words[:300], field="file")
        self.said = frozenset(name for name in SAID if name in self._at)
        self.unused = [
            columns[place] for name, place in self._at.items() if name not in (*READ, "")
        ]

    def line(self, number: int, row: Sequence[str]) -> str:
        """Return what a row says as a line of a table with the columns `STAGED`."""
        try:
            return f"{number}\t{self._place(row)}\t{NULL}\t{NULL}"
        except InvalidInput as refusal:
            at = self._at.get(refusal.field)
            field = row_values.harmless(refusal.field if at is None else self._columns[at])
            return f"{number}\t{_NOTHING}\t{field}\t{row_values.harmless(refusal.detail)}"

    def _place(self, row: Sequence[str]) -> str:
        if len(row) != len(self._columns):
            words = f"The row has {len(row):,} columns, and the header {len(self._columns):,}."
            raise InvalidInput(words, field="row")
        said = {name: row[self._at[name]].strip() for name in READ if name in self._at}
        flag = said.get("bsl_flag", "")
        if flag and row_values.yes_or_no(flag, "bsl_flag") == "false":
            raise InvalidInput("The list says that nobody can be served here.", field="bsl_flag")
        location = said.get("location_id", "")
        where = _point(said.get("latitude", ""), said.get("longitude", ""))
        return "\t".join(
            (
                str(self._new_id()),
                row_values.location(location, "location_id") if location else NULL,
                *self._address(said),
                *where,
            )
        )

    def _address(self, said: dict[str, str]) -> tuple[str, ...]:
        """Return street, unit, city, region, postal code and key, as they are kept."""
        parts = {name: said.get(name, "") for name in (*ADDRESS, "unit")}
        form = self._country.from_fields(**parts)
        return (
            row_values.text(said["street"], "street", 200),
            row_values.text(form.unit, "unit", 40),
            row_values.text(said["city"], "city", 100),
            row_values.text(form.region, "region", 2),
            row_values.text(form.postal_code, "postal_code", 10),
            row_values.text(form.match_key, "street", 300),
        )


def _point(latitude: str, longitude: str) -> tuple[str, str, str]:
    """Return latitude, longitude, and the H3 cell that holds the point; both or neither."""
    if bool(latitude) != bool(longitude):
        raise InvalidInput("Latitude and longitude go together.", field="latitude")
    if not latitude:
        return NULL, NULL, ""
    north = row_values.degrees(latitude, "latitude", 90)
    east = row_values.degrees(longitude, "longitude", 180)
    return north, east, row_values.cell_at(north, east)
