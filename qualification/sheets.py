"""The columns of a file of addresses, and of the file of answers to it. Pure.

A row names a place by its id, by the id of a location list, by an address on one line, or by the
fields of an address; the first of these that is filled counts. The file of answers has the columns
of the file of addresses, and behind them those of `RESULT_COLUMNS`; so answers that come in again
as questions lose their old answers first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# How the columns may be called, in small letters and with `_` for a space.
NAMES = {
    "premises_id": ("premises_id",),
    "location_id": ("location_id",),
    "address": ("address",),
    "street": ("street",),
    "unit": ("unit",),
    "city": ("city",),
    "region": ("state", "region"),
    "postal_code": ("zip", "zip_code", "postal_code"),
}
FIELDS = ("street", "unit", "city", "region", "postal_code")
RESULT_COLUMNS = (
    "result_state",
    "result_confidence",
    "result_address",
    "result_premises_id",
    "result_location_id",
    "result_candidates",
    "result_remark",
    "result_provider",
    "result_technology",
    "result_download_kbps",
    "result_upload_kbps",
    "result_cheapest_plan",
    "result_price",
    "result_currency",
    "result_plans",
    "result_confirm_with",
    "result_refused_plan",
    "result_reason_code",
    "result_reason",
    "result_error_field",
    "result_error",
)
# Names of the columns by which a place can be found, for whoever sent a file without any.
WANTED = "address, or street, unit, city, state and zip, or location_id, or premises_id"


@dataclass(frozen=True, slots=True)
class Question:
    """What one row asks for. Of several ways to name a place only one is filled.

    `fields` are the parts of an address by their names. `error` says why the row cannot be asked.
    """

    premises_id: str = ""
    location_id: str = ""
    address: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which column of a file is what; `carried` are those that the answers keep."""

    columns: tuple[str, ...]
    places: dict[str, int]
    carried: tuple[int, ...]

    @property
    def names_places(self) -> bool:
        """Whether there is a column by which a place can be found."""
        return bool(self.places.keys() & {"premises_id", "location_id", "address", "street"})

    @property
    def header(self) -> list[str]:
        """The columns of the file of answers."""
        return [*(self.columns[place] for place in self.carried), *RESULT_COLUMNS]

    def question(self, values: Sequence[str]) -> Question:
        """Return what a row asks for; one that cannot be understood has an `error`."""
        if len(values) > len(self.columns):
            return Question(
                error=f"The row has {len(values):,} values for {len(self.columns):,} columns."
            )
        if premises_id := self._value(values, "premises_id"):
            return Question(premises_id=premises_id)
        if location_id := self._value(values, "location_id"):
            return Question(location_id=location_id)
        if address := self._value(values, "address"):
            return Question(address=address)
        fields = tuple((name, self._value(values, name)) for name in FIELDS)
        if any(value for _, value in fields):
            return Question(fields=fields)
        return Question(error="The row names no place.")

    def carry(self, values: Sequence[str]) -> list[str]:
        """Return the values of a row that the answers keep; what the row lacks is empty."""
        count = len(values)
        return [values[place] if place < count else "" for place in self.carried]

    def _value(self, values: Sequence[str], name: str) -> str:
        place = self.places.get(name)
        return values[place].strip() if place is not None and place < len(values) else ""


def layout_of(columns: Sequence[str], find: Callable[..., int | None]) -> Layout:
    """Return which column is what; `find` gives the place of a column that has one of the names."""
    found = {name: find(*names) for name, names in NAMES.items()}
    answered = {find(name) for name in RESULT_COLUMNS}
    return Layout(
        columns=tuple(columns),
        places={name: place for name, place in found.items() if place is not None},
        carried=tuple(place for place in range(len(columns)) if place not in answered),
    )
