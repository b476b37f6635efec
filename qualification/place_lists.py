"""Lists of places as a plan: which are new, which are corrected, which are refused; see `lists`.

A place is found by its address. Nothing is ever taken away by such a list, because answers and
coverage rest on places; so it can be corrected by another list, and not be taken back.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from qualification import lists
from qualification.lists import ListPlan
from qualification.place_rows import STAGED

HOLDING = "premises"
SAMPLES = 5
_COLUMNS = (
    "location_id", "street", "city", "region", "postal_code", "latitude", "longitude", "h3_res8",
)  # fmt: skip
_PLAN = """
WITH read AS (
    SELECT s.*, CASE WHEN s.reason IS NOT NULL THEN 'unreadable'
                     WHEN row_number() OVER (PARTITION BY match_key, unit, reason IS NULL
                                             ORDER BY number) > 1 THEN 'address_twice'
                END AS refusal
      FROM {rows} s
), counted AS (
    SELECT *, row_number() OVER (PARTITION BY location_id, refusal IS NULL ORDER BY number) AS turn
      FROM read
)
SELECT s.number, coalesce(old.id, s.id) AS id, s.unit, s.match_key, {facts},
       CASE WHEN s.refusal IS NOT NULL THEN s.refusal
            WHEN s.location_id IS NOT NULL AND s.turn > 1 THEN 'location_twice'
            WHEN owner.id IS DISTINCT FROM old.id AND owner.id IS NOT NULL THEN 'location_taken'
            WHEN old.id IS NULL THEN 'added'
            WHEN old.source = 'imported' AND ({said}) IS NOT DISTINCT FROM ({old}) THEN 'unchanged'
            ELSE 'changed'
       END AS kind,
       s.field, s.reason
  FROM counted s
  LEFT JOIN qualification_premises old ON old.match_key = s.match_key AND old.unit = s.unit
  LEFT JOIN qualification_premises owner ON owner.location_id = s.location_id
"""
_CORRECT = """
UPDATE qualification_premises place SET {assignments}, source = 'imported'
  FROM {plan} planned
 WHERE place.id = planned.id AND planned.kind = 'changed' AND {step}
"""
# Somebody may ask for an address at this moment, and so make a place of it.
_ADD = """
INSERT INTO qualification_premises AS place (id, unit, match_key, {columns}, source, created_at)
SELECT id, unit, match_key, {columns}, 'imported', %(at)s
  FROM {plan} planned
 WHERE planned.kind = 'added' AND {step}
    ON CONFLICT (match_key, unit) DO UPDATE SET {excluded}, source = 'imported'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePlan(ListPlan):
    """The plan of one list of places."""

    columns = STAGED
    types = {"number": "bigint", "id": "uuid", "latitude": "numeric", "longitude": "numeric"}
    refusals: ClassVar = {
        "address_twice": ("street", "The list has this address twice."),
        "location_twice": ("location_id", "The list has this location id twice."),
        "location_taken": ("location_id", "Another address has this location id."),
    }

    def work_out(self, *, said: Collection[str]) -> None:
        """Compare the staged rows with the places that are known, and keep what they come to.

        `said` are the columns that the list has beside the address; the others stay as they are.
        """
        unsaid = {"location_id", "latitude", "longitude", "h3_res8"} - set(said)
        if "latitude" in said:
            unsaid.discard("h3_res8")
        named = [name for name in _COLUMNS if name not in unsaid]
        statement = _PLAN.format(
            rows=self.rows,
            facts=", ".join(_fact(name, is_said=name in named) for name in _COLUMNS),
            said=", ".join(f"s.{name}" for name in named),
            old=", ".join(f"old.{name}" for name in named),
        )
        self.make_table(self.name, statement)

    def counts(self) -> list[tuple[None, str, int]]:
        """Return how many rows there are of each kind, as `CoveragePlan.counts` does."""
        return lists.read(f"SELECT NULL, kind, count(*) FROM {self.name} GROUP BY 2")  # noqa: S608

    def samples(self, kind: str) -> list[dict[str, Any]]:
        """Return a few places of a kind."""
        names = ("street", "unit", "city", "region", "postal_code", "location_id")
        statement = f"SELECT {', '.join(names)} FROM {self.name} WHERE kind = %s LIMIT %s"  # noqa: S608
        return [
            dict(zip(names, row, strict=True)) for row in lists.read(statement, [kind, SAMPLES])
        ]

    def apply(self, *, at: datetime, progress: Callable[[int], None] | None = None) -> None:
        """Add and correct places, in the caller's transaction; see `CoveragePlan.apply`."""
        for step in self.steps() if progress else ["true"]:
            words = {"plan": self.name, "step": step}
            assignments = ", ".join(f"{name} = planned.{name}" for name in _COLUMNS)
            corrected = lists.run(_CORRECT.format(assignments=assignments, **words))
            excluded = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS)
            columns = ", ".join(_COLUMNS)
            added = lists.run(_ADD.format(columns=columns, excluded=excluded, **words), {"at": at})
            if progress:
                progress(corrected + added)


def _fact(name: str, *, is_said: bool) -> str:
    """Return how a column of the plan is worked out: from the list, or from what is known."""
    if is_said:
        return f"s.{name}"
    return f"coalesce(old.{name}, {NOTHING.get(name, 'NULL')}) AS {name}"


NOTHING = {"h3_res8": "''"}
