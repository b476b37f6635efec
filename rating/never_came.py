"""Bundles that did not come to be: taken back, or cancelled before the last partner confirmed.

Nothing is owed for their parts, nor for what was used of them meanwhile; see `rating.parts`.
"""

from django.db.models import F, Q

from rating.models import Purchase

# Of a purchase that is a part.
DID_NOT_COME = Q(part_of__state=Purchase.State.REVERSED) | Q(
    part_of__cancelled_at=F("part_of__settled_at")
)
# Of what refers to the service of one, such as when it was active.
SERVICE_NEVER_CAME = Q(service__purchase__part_of__state=Purchase.State.REVERSED) | Q(
    service__purchase__part_of__cancelled_at=F("service__purchase__part_of__settled_at")
)
# The same for a statement by hand, to be asked whether there is such a row.
NEVER_CAME = """
    SELECT FROM rating_purchase part JOIN rating_purchase whole ON whole.id = part.part_of_id
     WHERE part.service_id = {service}
       AND (whole.state = 'reversed' OR whole.cancelled_at = whole.settled_at)"""
