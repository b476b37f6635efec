"""What waits on the desks of the demonstration's staff and partners: errors, holds, a price draft.

All of it is of the last days, so that it is there to be worked on.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from ipam import overallocation
from ipam.models import OverallocationRequest
from ispops.catalog import drafts
from ispops.demo import people, rounds
from ispops.demo.homes import Home, offering
from ispops.demo.shopping import BACKUP, CINEBOX, DAY, EVENING, FILM, MINUTES
from ispops.parties.models import Partner, User
from ispops.periods import Period
from provisioning import partner_orders
from rating import reservations, simulations, standing
from rating.models import Reservation

Doing = tuple[datetime, Callable[[datetime], object]]

CONSOLE_OF_GAMES, TELEVISION = "02-00-5E-10-A1-02", "02-00-5E-10-A1-03"
# A device keeps its address as long as it asks for it again.
ASKS_AGAIN = timedelta(hours=23)
HOUR = timedelta(hours=1)


def work(home: Home, running: Period, now: datetime) -> Iterator[Doing]:
    """Nora's devices, what partners hold and report wrongly, and what Cleo has in mind."""
    console = running.start - 12 * DAY + EVENING
    yield console, partial(one_more_device, home)
    at = console + ASKS_AGAIN
    while at < now:
        yield at, partial(home.come_in, CONSOLE_OF_GAMES)
        at += ASKS_AGAIN
    yield now - 3 * HOUR, partial(home.come_in, TELEVISION)
    yield running.start + 8 * DAY + EVENING, partial(hold_and_use, home)
    yield now - HOUR, partial(hold, home)
    yield from wrong_reports(home, now)
    yield now - 2 * DAY, partial(draft, running=running)


def one_more_device(home: Home, at: datetime) -> None:
    """A device beyond the plan asks; Nora lets it in, and it has one when it asks again."""
    home.come_in(CONSOLE_OF_GAMES, at)
    rounds.work(at)
    asked = OverallocationRequest.objects.get(holder__subscriber=home.subscriber)
    agreed_at = at + timedelta(minutes=4)
    overallocation.accept(request_id=asked.pk, actor=home.user, at=agreed_at)
    rounds.work(agreed_at)
    home.come_in(CONSOLE_OF_GAMES, agreed_at + timedelta(minutes=1))


def hold_and_use(home: Home, at: datetime) -> None:
    """Cinebox holds the price of an evening, charges a part of it, and lets go of the rest."""
    held = _hold(home, "demo-evening", Decimal("5.00"), at)
    cinebox = Partner.objects.get(code=CINEBOX)
    reservations.use(
        reservation_id=held.pk, partner=cinebox, idempotency_key="demo-evening-1",
        net=Decimal("3.49"), is_last=True, at=at + 2 * HOUR,
    )  # fmt: skip
    rounds.work(at + 2 * HOUR)


def hold(home: Home, at: datetime) -> None:
    _hold(home, "demo-tonight", Decimal("4.00"), at)


def _hold(home: Home, key: str, net: Decimal, at: datetime) -> Reservation:
    cinebox = Partner.objects.get(code=CINEBOX)
    return reservations.hold(
        partner=cinebox,
        subscriber_ref=partner_orders.reference_of(partner=cinebox, subscriber=home.subscriber),
        offering_code=FILM,
        held_until=min(at + 2 * DAY, standing.end_of_month(at)),
        idempotency_key=key,
        net=net,
        at=at,
    )


def wrong_reports(home: Home, now: datetime) -> Iterator[Doing]:
    """What cannot be charged: a subscriber and a product that nobody knows, and a contradiction."""
    stranger = "psb_of_another_system"
    yield (
        now - 2 * DAY,
        partial(home.report, MINUTES, "stream-4711", 45, "minute", subscriber_ref=stranger),
    )
    yield (
        now - DAY,
        partial(home.report, BACKUP, "backup-office-7", 20, "gigabyte", called="cloudvault-team"),
    )
    yield now - 5 * HOUR, partial(home.report, MINUTES, "stream-4712", 50, "minute")
    yield now - 4 * HOUR, partial(home.report, MINUTES, "stream-4712", 80, "minute")


def draft(at: datetime, *, running: Period) -> None:
    """Cleo drafts another price for Cinebox by the minute, and tries it on what was used."""
    cleo = User.objects.get(email=people.CATALOGUE_EMAIL)
    row = drafts.save_draft(
        offering=offering(MINUTES),
        title="Two hours free, then one price",
        charge="usage",
        amount=Decimal("0.022"),
        unit="minute",
        allowance=120,
        actor=cleo,
        at=at,
    )
    before = (running.start - DAY).date()
    simulations.simulate_draft(
        draft=row, first_month=before, last_month=running.start.date(), actor=cleo, at=at
    )
