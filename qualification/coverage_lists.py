"""Coverage lists as a plan: what each row comes to beside what is in force; see `lists`.

A row is added, changed, unchanged, removed (by a complete list that does not name it), merged
(into another row for the same H3 cell), or refused. The caller of everything here holds the
provider's coverage; see `holding`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from ispops.errors import Refusal
from qualification import lists
from qualification.coverage_rows import DEFAULTS, FACTS, STAGED
from qualification.lists import ListPlan
from qualification.row_values import NULL

MERGED = "merged"
SAMPLES = 5
# The columns of coverage that a list can say something of, and what holds where nothing was said.
_COLUMNS = {
    "node_id" if fact == "node" else fact: DEFAULTS.get(fact, NULL).replace(NULL, "NULL")
    for fact in FACTS
}
_NAMES = ", ".join(_COLUMNS)
_FINDERS = {
    "premises": ("by_id", "by_id.id = s.premises"),
    "location_id": ("by_location", "by_location.location_id = s.location_id"),
    "address": ("by_address", "by_address.match_key = s.match_key AND by_address.unit = s.unit"),
}
_PLAN = """
WITH found AS (
    SELECT s.*, n.id AS node_id, {place} AS premises_id,
           CASE WHEN {place} IS NULL THEN coalesce(s.h3_res8, '') ELSE '' END AS cell,
           CASE WHEN s.reason IS NOT NULL THEN 'unreadable'
                WHEN {place} IS NULL AND s.h3_res8 IS NULL THEN
                    CASE WHEN s.premises IS NOT NULL THEN 'unknown_premises'
                         WHEN s.location_id IS NOT NULL THEN 'unknown_location'
                         ELSE 'unknown_address' END
                WHEN s.node IS NOT NULL AND n.id IS NULL THEN 'unknown_node'
                WHEN n.technology <> s.technology THEN 'other_node'
           END AS refusal
      FROM {rows} s {finders}
      LEFT JOIN qualification_accessnode n ON n.provider_id = %(provider)s AND n.name = s.node
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY premises_id, cell, technology, refusal IS NULL
                                 ORDER BY number) AS turn
      FROM found
)
SELECT s.number, s.technology, s.premises_id, s.cell AS h3_res8, {facts},
       coalesce(of_place.id, of_cell.id) AS old_id,
       CASE WHEN s.refusal IS NOT NULL THEN s.refusal
            WHEN s.turn > 1 THEN '{repeat}'
            WHEN coalesce(of_place.id, of_cell.id) IS NULL THEN 'added'
            WHEN ({said}) IS NOT DISTINCT FROM ({old}) THEN 'unchanged'
            WHEN coalesce(of_place.valid_from, of_cell.valid_from) >= %(at)s THEN 'late'
            ELSE 'changed'
       END AS kind,
       s.field, s.reason
  FROM {placed} s
  LEFT JOIN qualification_coveragearea of_place
    ON of_place.premises_id = s.premises_id AND of_place.technology = s.technology
   AND of_place.provider_id = %(provider)s AND of_place.valid_to IS NULL
  LEFT JOIN qualification_coveragearea of_cell
    ON of_cell.h3_res8 = s.cell AND of_cell.technology = s.technology
   AND of_cell.provider_id = %(provider)s AND of_cell.valid_to IS NULL
   AND NOT of_cell.h3_res8 = ''
"""
# A published list names many locations of a cell; what all of them have is what the cell has.
_SLOWEST = """(
    SELECT number, technology, premises_id, cell, refusal, turn, field, reason,
           min(max_download_kbps) OVER whole AS max_download_kbps,
           min(max_upload_kbps) OVER whole AS max_upload_kbps,
           bool_and(low_latency) OVER whole AS low_latency
      FROM placed WINDOW whole AS (PARTITION BY premises_id, cell, technology, refusal IS NULL)
)"""
# A row that was refused still names its place, so a complete list does not end what is there.
_REMOVED = """
INSERT INTO {plan} (technology, premises_id, h3_res8, {columns}, old_id, kind)
SELECT old.technology, old.premises_id, old.h3_res8, {old_columns}, old.id, 'removed'
  FROM qualification_coveragearea old
 WHERE old.provider_id = %(provider)s AND old.valid_to IS NULL AND old.valid_from < %(at)s
   AND old.technology IN (
        SELECT technology FROM {plan} WHERE kind IN ('added', 'changed', 'unchanged'))
   AND NOT EXISTS (SELECT FROM {plan} named WHERE named.technology = old.technology
                      AND named.premises_id = old.premises_id)
   AND NOT EXISTS (SELECT FROM {plan} named WHERE named.technology = old.technology
                      AND named.h3_res8 = old.h3_res8 AND NOT named.h3_res8 = '')
"""
_END = """
UPDATE qualification_coveragearea area SET valid_to = %(at)s, ended_by_id = %(import)s
  FROM {plan} planned
 WHERE area.id = planned.old_id AND area.valid_to IS NULL
   AND planned.kind IN ('changed', 'removed') AND {step}
"""
# In the order of the index, which is then written page by page and not all over.
_BEGIN = """
INSERT INTO qualification_coveragearea
       (provider_id, technology, premises_id, h3_res8, {columns}, valid_from, added_by_id)
SELECT %(provider)s, technology, premises_id, h3_res8, {columns}, %(at)s, %(import)s
  FROM {plan} planned
 WHERE planned.kind IN ('added', 'changed') AND {step}
 ORDER BY premises_id, h3_res8
"""
_SAMPLES = """
SELECT sample.technology, sample.max_download_kbps, sample.max_upload_kbps,
       old.max_download_kbps, old.max_upload_kbps, sample.h3_res8, place.location_id,
       place.street, place.unit, place.city, place.region, place.postal_code
  FROM (SELECT * FROM {plan} WHERE kind = %s LIMIT %s) sample
  LEFT JOIN qualification_premises place ON place.id = sample.premises_id
  LEFT JOIN qualification_coveragearea old ON old.id = sample.old_id
"""


class PlanOutdated(Refusal):
    code = "plan_outdated"
    title = "The coverage has changed since the list was checked"


def holding(provider_id: int) -> str:
    """Return the name by which the coverage of a provider is held; see `lists.hold`."""
    return f"coverage:{provider_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePlan(ListPlan):
    """The plan of one coverage list of one provider."""

    provider_id: int

    columns = STAGED
    types = {
        "number": "bigint", "technology": "smallint", "max_download_kbps": "bigint",
        "max_upload_kbps": "bigint", "low_latency": "boolean", "install_days": "smallint",
        "loop_length_m": "integer", "construction_fee": "bigint", "construction_days": "smallint",
        "planned_date": "date", "premises": "uuid",
    }  # fmt: skip
    refusals: ClassVar = {
        "unknown_premises": ("premises", "There is no place with this id."),
        "unknown_location": ("location_id", "There is no place with this id."),
        "unknown_address": ("address", "There is no place with this address."),
        "unknown_node": ("node", "The provider has no node of this name."),
        "other_node": ("node", "The node is of another technology."),
        "twice": ("place", "The list has this place twice."),
        "late": ("place", "A later list has changed this place already."),
    }

    def work_out(
        self,
        *,
        at: datetime,
        said: Collection[str],
        places: Collection[str],
        use_cells: bool = False,
        is_complete: bool = False,
    ) -> None:
        """Compare the staged rows with what is in force, and keep what they come to.

        `said` are the facts that the list speaks of, others stay as they are; `places` are its
        columns that name places.
        """
        finders = [_FINDERS[column] for column in _FINDERS if column in places]
        found = ", ".join(f"{name}.id" for name, _ in finders)
        named = [name for name in _COLUMNS if name.removesuffix("_id") in said]
        values = {"provider": self.provider_id, "at": at}
        statement = _PLAN.format(
            rows=self.rows,
            place=f"coalesce({found})" if found else "NULL::uuid",
            finders=" ".join(
                f"LEFT JOIN qualification_premises {name} ON {match}" for name, match in finders
            ),
            facts=", ".join(_fact(name, is_said=name in named) for name in _COLUMNS),
            said=", ".join(f"s.{name}" for name in named),
            old=", ".join(f"coalesce(of_place.{name}, of_cell.{name})" for name in named),
            placed=_SLOWEST if use_cells else "placed",
            repeat=MERGED if use_cells else "twice",
        )
        self.make_table(self.name, statement, values)
        if is_complete:
            old_columns = ", ".join(f"old.{name}" for name in _COLUMNS)
            lists.run(
                _REMOVED.format(plan=self.name, columns=_NAMES, old_columns=old_columns), values
            )

    def counts(self) -> list[tuple[int | None, str, int]]:
        """Return how many rows there are of each technology and kind."""
        statement = f"SELECT technology, kind, count(*) FROM {self.name} GROUP BY 1, 2"  # noqa: S608
        return lists.read(statement)

    def samples(self, kind: str) -> list[dict[str, Any]]:
        """Return a few places of a kind, with their speeds as they will be and as they are."""
        names = (
            "technology", "download", "upload", "old_download", "old_upload", "h3_res8",
            "location_id", "street", "unit", "city", "region", "postal_code",
        )  # fmt: skip
        rows = lists.read(_SAMPLES.format(plan=self.name), [kind, SAMPLES])
        return [dict(zip(names, row, strict=True)) for row in rows]

    def apply(
        self,
        *,
        at: datetime,
        import_id: UUID | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """End what the plan ends and begin what it begins, in the caller's transaction.

        With `progress`, the work is done in steps, and it is told how many rows each step did.

        Raises:
            PlanOutdated: coverage that the plan ends has ended otherwise meanwhile.
        """
        values = {"provider": self.provider_id, "at": at, "import": import_id}
        lists.run(f"SET LOCAL work_mem = '{lists.MEMORY}'")
        for step in self.steps() if progress else ["true"]:
            planned = lists.read(
                f"SELECT count(*) FROM {self.name} planned"  # noqa: S608
                f" WHERE kind IN ('changed', 'removed') AND {step}"
            )[0][0]
            ended = lists.run(_END.format(plan=self.name, step=step), values)
            if ended != planned:
                raise PlanOutdated("The coverage has changed since the list was checked.")
            begun = lists.run(_BEGIN.format(plan=self.name, step=step, columns=_NAMES), values)
            if progress:
                progress(max(ended, begun))


def _fact(name: str, *, is_said: bool) -> str:
    """Return how a column of the plan is worked out: from the list, or from what was in force."""
    if is_said:
        return f"s.{name}"
    return f"coalesce(of_place.{name}, of_cell.{name}, {_COLUMNS[name]}) AS {name}"


# --- Taking a list back ---------------------------------------------------------------------------

_TAKE_BACK = """
UPDATE qualification_coveragearea SET valid_to = %(at)s, ended_by_id = %(import)s
 WHERE added_by_id = %(import)s AND valid_to IS NULL
"""
# What the list ended comes back, unless something was in force there afterwards. A row that its
# own list ended was taken back, and is as if it had never been; so are the list's own rows where
# the last of them has just ended.
_COMES_BACK = """
SELECT was.* FROM qualification_coveragearea was
 WHERE was.ended_by_id = %(import)s AND was.added_by_id IS DISTINCT FROM %(import)s
   AND NOT EXISTS (
        SELECT FROM qualification_coveragearea later
         WHERE later.premises_id = was.premises_id AND {came_later})
   AND NOT EXISTS (
        SELECT FROM qualification_coveragearea later
         WHERE later.h3_res8 = was.h3_res8 AND NOT later.h3_res8 = '' AND {came_later})
"""
_CAME_LATER = """
    later.provider_id = was.provider_id AND later.technology = was.technology
    AND later.valid_from >= was.valid_to
    AND (later.added_by_id = later.ended_by_id) IS NOT TRUE
    AND (later.added_by_id IS DISTINCT FROM %(import)s OR NOT EXISTS (
        SELECT FROM qualification_coveragearea own
         WHERE own.added_by_id = %(import)s AND own.valid_to = %(at)s
           AND own.technology = was.technology AND own.h3_res8 = was.h3_res8
           AND own.premises_id IS NOT DISTINCT FROM was.premises_id))
"""
_BRING_BACK = """
INSERT INTO qualification_coveragearea
       (provider_id, technology, premises_id, h3_res8, {columns}, valid_from, added_by_id)
SELECT provider_id, technology, premises_id, h3_res8, {columns}, %(at)s, added_by_id
  FROM {table} ORDER BY premises_id, h3_res8
"""
# Places of the list where something else was the last to have its say.
_LEFT = """
SELECT count(*) FROM (
    SELECT technology, premises_id, h3_res8 FROM qualification_coveragearea
     WHERE added_by_id = %(import)s AND valid_to < %(at)s
    EXCEPT
    SELECT technology, premises_id, h3_res8 FROM qualification_coveragearea
     WHERE added_by_id = %(import)s AND valid_to = %(at)s
    UNION
    SELECT technology, premises_id, h3_res8 FROM qualification_coveragearea was
     WHERE was.ended_by_id = %(import)s AND was.added_by_id IS DISTINCT FROM %(import)s
       AND NOT EXISTS (SELECT FROM {table} WHERE {table}.id = was.id)
) places
"""


def take_back(*, import_id: UUID, at: datetime) -> dict[str, int]:
    """End what one import added and begin again what it ended, in the caller's transaction.

    Places that something else has changed since are left as they are. What begins again belongs
    to the import that had added it, so that one can be taken back, too. Returns how many rows
    `ended` and came `back`, and how many places were `left`.
    """
    table = f"coverage_back_{import_id.hex}"
    values = {"import": import_id, "at": at}
    lists.run(f"SET LOCAL work_mem = '{lists.MEMORY}'")
    ended = lists.run(_TAKE_BACK, values)
    comes_back = _COMES_BACK.format(came_later=_CAME_LATER)
    lists.run(f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {comes_back}", values)
    left = lists.read(_LEFT.format(table=table), values)[0][0]
    back = lists.run(_BRING_BACK.format(table=table, columns=_NAMES), values)
    return {"ended": ended, "back": back, "left": left}
