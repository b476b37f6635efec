"""The verb that works out which cells each network reaches, for maps and lists of whole areas."""

from datetime import datetime

from django.db import connection, transaction

from ispops import db
from ispops.parties.models import Partner
from qualification.models import ReachedCell

_REACHED = """
INSERT INTO qualification_reachedcell (provider_id, h3_res8, is_reached, planned_date)
SELECT %(provider)s, h3_res8, bool_or(planned_date IS NULL), min(planned_date)
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


@transaction.atomic
def refresh(*, provider_id: int, at: datetime) -> int:
    """Keep the cells that a network reaches, or plans to reach, at `at`; returns how many.

    A network that is no longer active reaches nothing.
    """
    # Two of these at once would each keep what it found.
    provider = db.lock(Partner, provider_id)
    ReachedCell.objects.filter(provider=provider).delete()
    if not provider.active:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_REACHED, {"provider": provider.pk, "at": at})
        count: int = cursor.rowcount
    return count
