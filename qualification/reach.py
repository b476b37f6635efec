"""The verb that works out which cells each network reaches, for maps and lists of whole areas."""

from datetime import datetime

from django.db import connection, transaction

from ispops import db
from ispops.parties.models import Partner
from qualification import cells
from qualification.models import ReachedCell

COARSEST = 3
_FINEST = """
    SELECT h3_res8 AS cell, bool_or(planned_date IS NULL) AS is_reached,
           min(planned_date) AS planned_date
      FROM (
        SELECT h3_res8, planned_date
          FROM qualification_coveragearea
         WHERE provider_id = %(provider)s AND h3_res8 <> '' AND max_download_kbps > 0
           AND valid_from <= %(at)s AND (valid_to IS NULL OR valid_to > %(at)s)
        UNION ALL
        SELECT premises.h3_res8, area.planned_date
          FROM qualification_coveragearea area
          JOIN qualification_premises premises ON premises.id = area.premises_id
         WHERE area.provider_id = %(provider)s AND area.max_download_kbps > 0
           AND area.valid_from <= %(at)s AND (area.valid_to IS NULL OR area.valid_to > %(at)s)
           AND premises.h3_res8 <> ''
      ) lists
     GROUP BY h3_res8
"""
_LARGER = """
size_{size} AS (
    SELECT {larger} AS cell, bool_or(is_reached) AS is_reached, min(planned_date) AS planned_date
      FROM size_{smaller} GROUP BY 1
)
"""
# What stays as it is is not written again: most of a network is the same from day to day.
_KEEP = """
, gone AS (
    DELETE FROM qualification_reachedcell old
     WHERE provider_id = %(provider)s
       AND NOT EXISTS (SELECT 1 FROM reached WHERE reached.cell = old.cell)
)
INSERT INTO qualification_reachedcell (provider_id, cell, is_reached, planned_date)
SELECT %(provider)s, reached.cell, reached.is_reached, reached.planned_date
  FROM reached
  LEFT JOIN qualification_reachedcell old
    ON old.cell = reached.cell AND old.provider_id = %(provider)s
 WHERE old.id IS NULL
    OR (old.is_reached, old.planned_date)
       IS DISTINCT FROM (reached.is_reached, reached.planned_date)
ON CONFLICT (cell, provider_id)
DO UPDATE SET is_reached = EXCLUDED.is_reached, planned_date = EXCLUDED.planned_date
"""


@transaction.atomic
def refresh(*, provider_id: int, at: datetime) -> None:
    """Keep the cells of every size that a network reaches, or plans to reach, at `at`.

    A network that is no longer active reaches nothing.
    """
    # Two of these at once would each keep what it found.
    provider = db.lock(Partner, provider_id)
    if not provider.active:
        ReachedCell.objects.filter(provider=provider).delete()
        return
    with connection.cursor() as cursor:
        cursor.execute(_statement(), {"provider": provider.pk, "at": at})


def _statement() -> str:
    """Return the statement that keeps the cells of all sizes, each made of those one size below."""
    steps = [f"size_{cells.RESOLUTION} AS ({_FINEST})"]
    for size in range(cells.RESOLUTION - 1, COARSEST - 1, -1):
        larger = cells.larger_cell_sql("cell", size)
        steps.append(_LARGER.format(size=size, smaller=size + 1, larger=larger))
    sizes = range(COARSEST, cells.RESOLUTION + 1)
    every_size = " UNION ALL ".join(f"TABLE size_{size}" for size in sizes)
    return f"WITH {', '.join(steps)}, reached AS MATERIALIZED ({every_size}) {_KEEP}"
