"""Some weeks in the life of two households, so that a demonstration has use, bills and a shop.

Everything is done by the verbs of the product, in the order and at the times in which it would have
been done: the lines are ordered and built, the routers come in through the RADIUS interface, their
counters come by the accounting inbox, partners report use, people buy, and the last bill is issued.
All times count back from the start of the demonstration.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from ipam.models import AddressServer
from ispops.demo import catalogue, desks, household, network, people, rounds, shopping, visits
from ispops.demo.homes import Home
from ispops.parties.models import User
from ispops.periods import Period, billing_period
from provisioning.visits import add_slots
from rating.models import UsageLook, UsagePosting

Doing = tuple[datetime, Callable[[datetime], object]]

PLAN = "fiber-300"
NORA_LIVES = "89 High Ledge Circle, Manchester, CT 06040"
MILO_LIVES = "28 Wilfred Road, Manchester, CT 06040"
CITY, REGION = "Manchester", "CT"
GONE_OF_PERIOD, LAST_OF_MONTH = timedelta(days=20), 28
# Of what is included: in the period that is over, in the one that runs, and by the neighbour.
USED_BEFORE, USED_NOW, USED_BY_NEIGHBOUR = 1.08, 0.70, 0.06
INCLUDED = catalogue.TB
NEIGHBOUR_CAME = timedelta(days=8)
NIGHT = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Times:
    """The time of the start, and the billing periods of Nora's: the one before, and the running."""

    now: datetime
    before: Period
    running: Period

    @classmethod
    def of(cls, at: datetime) -> "Times":
        """Choose periods of which some weeks are gone; none begins on a day that months lack."""
        day = (at.astimezone(_zone()) - GONE_OF_PERIOD).date()
        anchor = min(day.day, LAST_OF_MONTH)
        zone = settings.BILLING_TIME_ZONE
        running = billing_period(at, anchor_day=anchor, zone=zone)
        last = running.start - timedelta(seconds=1)
        return cls(at, billing_period(last, anchor_day=anchor, zone=zone), running)


@transaction.atomic
def live(*, at: datetime) -> None:
    """Let two households live until now; once, and only where nobody has used anything before."""
    lived = User.objects.filter(email=people.LIVING.email).exists()
    if lived or UsagePosting.objects.exists() or UsageLook.objects.exists():
        return
    times = Times.of(at)
    nora, milo = _homes()
    came = times.before.start + timedelta(hours=10)
    _plan_visits(came)
    story: list[Doing] = []
    for home, joined in ((nora, came), (milo, came + NEIGHBOUR_CAME)):
        home.join(PLAN, joined)
        _set_pace(home, home.is_connected(_tess()), times)
        story += _sessions(home, at)
    story += _nights(came, at)
    story += shopping.of_nora(nora, times.before, times.running, at)
    story += shopping.of_milo(milo, came + NEIGHBOUR_CAME, at)
    story += desks.work(nora, times.running, at)
    for moment, doing in sorted(story, key=lambda one: one[0]):
        doing(moment)
    rounds.end_day(at)


def _homes() -> tuple[Home, Home]:
    server = AddressServer.objects.get(name=network.SERVER)
    return (
        Home(people.LIVING, NORA_LIVES, "02-00-5E-10-A1-01", server),
        Home(people.NEIGHBOUR, MILO_LIVES, "02-00-5E-10-B2-01", server),
    )


def _plan_visits(at: datetime) -> None:
    """The technicians' calendar of the first weeks, which is over by now."""
    first = (at.astimezone(_zone()) + timedelta(days=1)).date()
    add_slots(
        city=CITY, region=REGION, first_day=first, hours=visits.HOURS, capacity=3, weeks=3,
        actor=None, at=at,
    )  # fmt: skip


def _set_pace(home: Home, since: datetime, times: Times) -> None:
    """Have a household use its allowance by so much; the neighbour uses little throughout."""
    since = since.astimezone(_zone())
    began = times.running.start.astimezone(_zone())
    now = USED_NOW * INCLUDED / household.total_weight(began, times.now)
    if home.login is people.LIVING:
        before = USED_BEFORE * INCLUDED / household.total_weight(since, began)
        home.paces = [(since, before), (began, now)]
    else:
        home.paces = [(since, now * USED_BY_NEIGHBOUR)]


def _sessions(home: Home, until: datetime) -> Iterator[Doing]:
    """Every session of a household's router; it is counted by night, or when somebody looks."""
    since = home.paces[0][0]
    for began in household.beginnings(since, until):
        ends = min(began + household.SESSION, until)
        yield began, home.begin_session
        yield ends, partial(home.tell_session, began=began)


def _nights(first: datetime, until: datetime) -> Iterator[Doing]:
    """Every other night is enough to be told in time, and whoever starts the product waits less."""
    at = (first.astimezone(_zone()) + timedelta(days=1)).replace(hour=0) + NIGHT
    while at < until:
        yield at, rounds.end_day
        at += timedelta(days=2)


def _tess() -> User:
    return User.objects.get(email=people.TECHNICIAN_EMAIL)


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.BILLING_TIME_ZONE)
