"""Rows of coverage lists: what each says of which place, or what is wrong with it. Pure.

A list is the FCC's availability data, as it is filed or as it is published, or an operator's own,
which names places by location id, address or H3 cell. Each row becomes one line as COPY reads it,
in the order of `STAGED`. Rows that cannot be used become lines, too, with the field and the reason:
they are reported, and a complete list still names their places.
"""

import re
from collections.abc import Callable, Sequence
from operator import itemgetter

from ispops.errors import InvalidInput
from qualification import row_values
from qualification.addresses import AddressFormat
from qualification.row_values import NULL

FILING = (
    "provider_id", "brand_name", "location_id", "technology", "max_advertised_download_speed",
    "max_advertised_upload_speed", "low_latency", "business_residential_code",
)  # fmt: skip
PUBLIC = ("frn", *FILING, "state_usps", "block_geoid", "h3_res8_id")
ADDRESS = ("street", "unit", "city", "region", "postal_code")
PLACES = ("premises", "location_id", "h3_res8", "address", *ADDRESS)
# What a list can say of a place, in the order of `STAGED`, and how it is read.
FACTS: dict[str, Callable[[str, str], str]] = {
    "max_download_kbps": row_values.whole,
    "max_upload_kbps": row_values.whole,
    "low_latency": row_values.yes_or_no,
    "install_days": row_values.whole,
    "loop_length_m": row_values.length,
    "construction_fee": row_values.fee,
    "construction_days": row_values.whole,
    "planned_date": row_values.day,
    "node": row_values.node,
}
# What an empty value means; the speeds must be there.
DEFAULTS = {
    "low_latency": "true", "install_days": "7", "loop_length_m": NULL, "construction_fee": "0",
    "construction_days": "0", "planned_date": NULL, "node": NULL,
}  # fmt: skip
STAGED = (
    "number", "technology", *FACTS, "premises", "location_id", "match_key", "unit", "h3_res8",
    "field", "reason",
)  # fmt: skip
# The FCC's names for speeds and cells, and the Fabric's for addresses.
OTHER_NAMES = {
    "max_advertised_download_speed": "max_download_mbps",
    "max_advertised_upload_speed": "max_upload_mbps",
    "h3_res8_id": "h3_res8",
    "address_primary": "street",
    "state": "region",
    "zip": "postal_code",
}
_IN_MBPS = {"max_download_kbps": "max_download_mbps", "max_upload_kbps": "max_upload_mbps"}
_FILED = ("provider_id", "business_residential_code")
_PREMISES = re.compile(r"prm_([0-9a-f]{32})")
_NO_FACTS = "\t".join([NULL] * len(FACTS))
_NO_PLACE = "\t".join([NULL] * 5)
_FACTS_KEPT = 10_000


class CoverageRows:
    """Reads the rows of one list by the names of its columns.

    `fcc` are the columns of the FCC's form when it is one, and `fcc_provider` whose rows are meant:
    the first one's, if it is not known. `use_cells` lets a published row fall back to its H3 cell.
    `said` are the facts that the list has a column for, `places` the ways in which it names places,
    and `unused` the columns that nothing is read from.

    Raises:
        InvalidInput: on the field `file`; a column is missing, or is there by two names.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        technologies: frozenset[int],
        country: AddressFormat,
        fcc: Sequence[str] = (),
        fcc_provider: str = "",
        use_cells: bool = False,
    ) -> None:
        self._columns = columns
        self._width = len(columns)
        self._technologies = technologies
        self._country = country
        self._at = row_values.our_names(columns, OTHER_NAMES)
        self._sources = {
            fact: source for fact in FACTS if (source := self._source_of(fact)) in self._at
        }
        self._check_header(fcc)
        self.said = frozenset(self._sources)
        self.places = frozenset(
            "address" if name in ADDRESS else name for name in PLACES if name in self._at
        )
        self._names = ("technology", *self._sources.values(), *(_FILED if fcc else ()))
        self.unused = [
            columns[place]
            for name, place in self._at.items()
            if name not in (*self._names, *PLACES, "") and columns[place] not in fcc
        ]
        self._take = itemgetter(*(self._at[name] for name in self._names))
        self._place = self._fcc_place(use_cells) if fcc else self._named_place
        self._learnt: dict[tuple[str, ...], str | InvalidInput] = {}
        self._provider = fcc_provider

    def _source_of(self, fact: str) -> str:
        return fact if fact in self._at else _IN_MBPS.get(fact, fact)

    def _check_header(self, fcc: Sequence[str]) -> None:
        if fcc:
            missing = [name for name in fcc if OTHER_NAMES.get(name, name) not in self._at]
        else:
            missing = [
                name for name in ("technology", *_IN_MBPS) if self._source_of(name) not in self._at
            ]
            if not set(PLACES) & set(self._at):
                missing.append("location_id (or an address, or h3_res8)")
        if missing:
            words = f"The header lacks {', '.join(missing)}. It has: {', '.join(self._columns)}."
            raise InvalidInput(words[:300], field="file")

    def line(self, number: int, row: Sequence[str]) -> str:
        """Return what a row says as a line of a table with the columns `STAGED`."""
        if len(row) != self._width:
            words = f"The row has {len(row):,} columns, and the header {self._width:,}."
            return self.refused(number, InvalidInput(words, field="row"))
        values = self._take(row)
        facts = self._learnt.get(values) or self._learn(values)
        try:
            place = self._place(row)
        except InvalidInput as refusal:
            return self.refused(number, refusal, values[0])
        if isinstance(facts, InvalidInput):
            return self.refused(number, facts, values[0], place)
        return f"{number}\t{facts}\t{place}\t{NULL}\t{NULL}"

    def refused(
        self, number: int, refusal: InvalidInput, technology: str = "", place: str = _NO_PLACE
    ) -> str:
        """Return the line of a row that cannot be used, with as much of it as can be read."""
        try:
            code = self._technology(technology)
        except InvalidInput:
            code = NULL
        at = self._at.get(refusal.field)
        field = row_values.harmless(refusal.field if at is None else self._columns[at])
        reason = row_values.harmless(refusal.detail)
        return f"{number}\t{code}\t{_NO_FACTS}\t{place}\t{field}\t{reason}"

    # --- Facts: a list says the same few things of many places ------------------------------------

    def _learn(self, values: tuple[str, ...]) -> str | InvalidInput:
        learnt: str | InvalidInput
        try:
            learnt = self._facts_of(dict(zip(self._names, values, strict=True)))
        except InvalidInput as refusal:
            learnt = refusal.with_traceback(None)
        if len(self._learnt) >= _FACTS_KEPT:
            self._learnt.clear()
        self._learnt[values] = learnt
        return learnt

    def _facts_of(self, row: dict[str, str]) -> str:
        parts = [self._technology(row["technology"])]
        for fact, read in FACTS.items():
            source = self._sources.get(fact, "")
            value = row.get(source, "").strip()
            if not value and fact in DEFAULTS:
                parts.append(DEFAULTS[fact])
            elif source in _IN_MBPS.values():
                parts.append(row_values.kbps_of_mbps(value, source))
            else:
                parts.append(read(value, fact))
        if "provider_id" in row:
            self._check_filed(row)
        return "\t".join(parts)

    def _technology(self, value: str) -> str:
        code = row_values.whole(value.strip(), "technology")
        if int(code) not in self._technologies:
            raise InvalidInput("This technology code is not known.", field="technology")
        return code

    def _check_filed(self, row: dict[str, str]) -> None:
        """Refuse rows of another provider: they would count as this one's."""
        provider = row["provider_id"].strip()
        if not provider.isdecimal():
            raise InvalidInput("A provider id has digits only.", field="provider_id")
        if row["business_residential_code"].strip() not in {"B", "R", "X"}:
            raise InvalidInput("This is B, R or X.", field="business_residential_code")
        self._provider = self._provider or provider
        if provider != self._provider:
            words = f"The list is provider {self._provider}'s, and this row another one's."
            raise InvalidInput(words[:300], field="provider_id")

    # --- Places -----------------------------------------------------------------------------------

    def _fcc_place(self, use_cells: bool) -> Callable[[Sequence[str]], str]:
        location, cell = self._at["location_id"], self._at.get("h3_res8")

        def place(row: Sequence[str]) -> str:
            named = row[location]
            if not (named.isalnum() and len(named) <= 40):
                named = row_values.location(named.strip(), "location_id")
            area = row[cell].strip().lower() if use_cells and cell is not None else ""
            return f"{NULL}\t{named}\t{NULL}\t{NULL}\t{area if row_values.is_cell(area) else NULL}"

        return place

    def _named_place(self, row: Sequence[str]) -> str:
        said = {name: row[self._at[name]].strip() for name in PLACES if name in self._at}
        cell, location = said.get("h3_res8", "").lower(), said.get("location_id", "")
        premises = said.get("premises", "")
        has_address = bool(said.get("address") or said.get("street"))
        if bool(cell) == bool(premises or location or has_address):
            raise InvalidInput("Give a location id, an address or an H3 cell.", field="place")
        if cell and not row_values.is_cell(cell):
            raise InvalidInput("This is no H3 cell of resolution 8.", field="h3_res8")
        if cell:
            return _place(cell=cell)
        if premises and not (known := _PREMISES.fullmatch(premises)):
            raise InvalidInput("There is no place with this id.", field="premises")
        key, unit = self._address(said) if has_address else (NULL, NULL)
        return _place(
            premises=known[1] if premises and known else NULL,
            location=row_values.location(location, "location_id") if location else NULL,
            key=key,
            unit=unit,
        )

    def _address(self, said: dict[str, str]) -> tuple[str, str]:
        """Return the key and the unit by which a place is found; the address must be whole."""
        if not said.get("address"):
            parts = {name: said.get(name, "") for name in ADDRESS}
            found = self._country.from_fields(**parts)
            return row_values.harmless(found.match_key), row_values.harmless(found.unit)
        for found in self._country.parse(said["address"]):
            if found.city and found.postal_code:
                return row_values.harmless(found.match_key), row_values.harmless(found.unit)
        raise InvalidInput("The address lacks a part: write all of it.", field="address")


def _place(
    *,
    premises: str = NULL,
    location: str = NULL,
    key: str = NULL,
    unit: str = NULL,
    cell: str = NULL,
) -> str:
    return f"{premises}\t{location}\t{key}\t{unit}\t{cell}"
