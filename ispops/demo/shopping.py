"""What the demonstration's households buy, use and pay, each with the day on which it is done.

The partners' part is played here too: what they report, and what one of them gives back.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from django.conf import settings

from ispops.demo import rounds
from ispops.demo.homes import Home, offering
from ispops.parties.models import Partner
from ispops.parties.own_limits import set_own_limit
from ispops.periods import Period, billing_period
from rating import billing, disputes, parts, purchases, refunds, standing, topping_up
from rating.models import Purchase

Doing = tuple[datetime, Callable[[datetime], object]]

DAY, EVENING = timedelta(days=1), timedelta(hours=19, minutes=40)
SAFE, MINUTES, FILM, BACKUP = "safe-at-home", "cinebox-stream", "cinebox-film", "cloudvault-home"
PACK = "fiber-300-200-gb"
CINEBOX = "cinebox"
# Minutes watched, one evening after the other.
WATCHED = (95, 140, 60, 125, 110, 85, 150)
PAID_AFTER = timedelta(days=9)


def of_nora(home: Home, before: Period, running: Period, now: datetime) -> Iterator[Doing]:
    """Nora buys something every few days, runs out of data once, and disputes a film."""
    was, starts = before.start, running.start
    yield was + 6 * DAY + EVENING, partial(buy, home, SAFE)
    yield was + 7 * DAY + EVENING, partial(buy, home, MINUTES)
    yield was + 9 * DAY + EVENING, partial(buy, home, FILM)
    yield was + 13 * DAY + EVENING, partial(buy, home, FILM)
    yield was + 14 * DAY + EVENING, partial(give_back, home)
    yield starts - DAY + EVENING, partial(more_data, home)
    yield from bill(home, before)
    yield starts + 4 * DAY + EVENING, partial(limit, home)
    yield starts + 5 * DAY + EVENING, partial(trust, home)
    yield starts + 10 * DAY + EVENING, partial(buy, home, FILM)
    yield starts + 12 * DAY + EVENING, partial(dispute, home)
    yield from watch(home, was + 8 * DAY + EVENING, now, every=2 * DAY)
    yield from back_up(home, was + 9 * DAY, now)


def of_milo(home: Home, joined: datetime, now: datetime) -> Iterator[Doing]:
    """Milo watches now and then, and that is all."""
    yield joined + 7 * DAY, partial(buy, home, MINUTES)
    yield from watch(home, joined + 9 * DAY, now, every=8 * DAY)
    period = billing_period(
        joined, anchor_day=home.subscriber.billing_anchor_day, zone=settings.BILLING_TIME_ZONE
    )
    yield from bill(home, period)


def watch(home: Home, first: datetime, until: datetime, *, every: timedelta) -> Iterator[Doing]:
    at = first
    while at < until:
        number = (at - first) // every
        minutes = WATCHED[number % len(WATCHED)]
        event = f"stream-{home.subscriber.public_id[-6:]}-{number}"
        yield at, partial(home.report, MINUTES, event, minutes, "minute")
        at += every


def back_up(home: Home, first: datetime, until: datetime) -> Iterator[Doing]:
    at = first
    while at < until:
        number = (at - first) // DAY
        yield at, partial(home.report, BACKUP, f"backup-{number}", 9, "gigabyte")
        at += 4 * DAY


def buy(home: Home, code: str, at: datetime) -> None:
    """Buy something in the shop; its partners confirm within the minute."""
    purchases.place_purchase(
        subscriber=home.subscriber,
        line=home.line,
        offering=offering(code),
        channel=Purchase.Channel.PORTAL,
        placed_by=home.user,
        idempotency_key=f"demo-{code}-{at:%m%d}",
        at=at,
    )
    rounds.work(at + timedelta(seconds=20))


def more_data(home: Home, at: datetime) -> None:
    rounds.count(at)
    topping_up.top_up(
        subscriber=home.subscriber,
        line=home.line,
        offering=offering(PACK),
        channel=Purchase.Channel.PORTAL,
        placed_by=home.user,
        idempotency_key=f"demo-{PACK}-{at:%m%d}",
        at=at,
    )
    rounds.work(at)


def give_back(home: Home, at: datetime) -> None:
    """Cinebox gives half of the last film back of its own accord."""
    [charge] = parts.charges_of(_last(home, FILM))
    refunds.refund_charge(
        charge_id=charge.pk,
        because="The film stopped in the middle; half of it is on us.",
        idempotency_key="demo-half-a-film",
        percent=Decimal(50),
        partner=Partner.objects.get(code=CINEBOX),
        at=at,
    )
    rounds.work(at)


def dispute(home: Home, at: datetime) -> None:
    [charge] = parts.charges_of(_last(home, FILM))
    disputes.open_dispute(
        charge=charge,
        words="Nobody watched a film that evening. We were at my sister's.",
        actor=home.user,
        at=at,
    )
    rounds.work(at)


def limit(home: Home, at: datetime) -> None:
    set_own_limit(subscriber=home.subscriber, amount=Decimal(60), user=home.user, at=at)


def trust(home: Home, at: datetime) -> None:
    """Let Cinebox sell single things without asking each time."""
    standing.give(
        subscriber=home.subscriber,
        partner=Partner.objects.get(code=CINEBOX),
        monthly_limit=Decimal(15),
        user=home.user,
        at=at,
    )


def bill(home: Home, period: Period) -> Iterator[Doing]:
    """Issue the bill of a period when it is over, and have it paid some days later."""

    def issue(at: datetime) -> None:
        billing.issue_bill(subscriber=home.subscriber, period=period, at=at)
        rounds.work(at)

    def pay(at: datetime) -> None:
        due = home.subscriber.bills.get(period_start=period.start)
        billing.record_payment(
            subscriber=home.subscriber, amount=due.amount_due, reference=f"bill {due.number}", at=at
        )

    yield period.end + timedelta(hours=6), issue
    yield period.end + PAID_AFTER, pay


def _last(home: Home, code: str) -> Purchase:
    bought = Purchase.objects.filter(subscriber=home.subscriber, offering__code=code)
    return bought.latest("placed_at")
