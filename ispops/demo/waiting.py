"""Who waits for the demo ISP where nobody reaches yet: some of the real addresses of those states.

A stable hash of the address decides who asked and who left an e-mail address, so that the map of
demand looks the same everywhere.
"""

import zlib
from datetime import datetime, timedelta

from ispops.parties.models import Partner
from qualification import qualify, reach, waitlist
from qualification.models import Premises, ServiceQualification, WaitlistEntry

PORTAL = ServiceQualification.Channel.PORTAL
# One address in so many was asked for; of those, so many in ten people also left their address.
ONE_IN = 7
WHO_WAITS_OF_TEN = 6
ASKED_WITHIN_DAYS = 80


def load(*, at: datetime) -> None:
    """Ask for addresses that nobody reaches, over the last weeks, and join the list; once."""
    if WaitlistEntry.objects.exists():
        return
    for partner in Partner.objects.filter(kind=Partner.Kind.NETWORK_PROVIDER).order_by("pk"):
        reach.refresh(provider_id=partner.pk, at=at)
    unreached = Premises.objects.filter(region__in=["AK", "AZ", "ID", "MN", "NM", "OR", "TX"])
    for place in unreached.order_by("match_key", "unit"):
        chance = zlib.crc32(str(place).encode())
        if chance % ONE_IN == 0:
            _ask(place, chance // ONE_IN, at)


def _ask(place: Premises, chance: int, at: datetime) -> None:
    asked_at = at - timedelta(days=chance % ASKED_WITHIN_DAYS, minutes=chance % 1_440)
    answer = qualify.qualify_address(premises_id=place.public_id, channel=PORTAL, at=asked_at)
    if chance % 10 < WHO_WAITS_OF_TEN:
        email = f"neighbour.{chance % 10_000:04}@example.com"
        waitlist.join_waitlist(qualification=answer, email=email, channel=PORTAL, at=asked_at)
