"""Verbs for simulations: one is asked for, and workers try the price on account after account.
A re-rating is one that posts the differences which another one showed.

The row is the queue (`ispops.jobs`). A worker takes a lease and goes on with a few hundred accounts
at a time; their results, the tally and how far it came are written in one transaction that also
renews the lease, and only while the lease is this worker's. So whoever takes up the work of a
worker that died goes on behind what it wrote, and nothing is counted twice.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops import db, jobs
from ispops.catalog import drafts
from ispops.catalog.models import PriceDraft
from ispops.errors import InvalidInput, Refusal
from ispops.money import from_micros
from ispops.parties import audit
from ispops.parties.models import Subscriber, User
from rating import past_use, rerating
from rating.amounts import AmountTooLarge
from rating.differences import Parts, Tally, total
from rating.models import SimulatedUse, Simulation
from rating.simulated import Trial, months
from rating.tried_use import Result

log = logging.getLogger(__name__)
State = Simulation.State
OPEN = (State.QUEUED, State.RUNNING)
MOST_MONTHS = 24
MOST_ACCOUNTS = 1_000
MOST_ATTEMPTS = 5
ACCOUNTS_AT_ONCE = 500
POSTED_AT_ONCE = 50
FOLLOWED_FOR = timedelta(days=500)
# A worker gives way to other work after so long.
TURN_SECONDS = 5.0
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=2)


class NotSimulated(Refusal):
    code = "not_simulated"
    title = "The simulation cannot be posted"


class SimulationOver(Refusal):
    code = "simulation_over"
    title = "The simulation cannot be cancelled"


class _NotMine(Exception):
    """The simulation was taken over by another worker."""


@transaction.atomic
def simulate_draft(
    *,
    draft: PriceDraft,
    first_month: date,
    last_month: date,
    actor: User,
    at: datetime,
    accounts: Sequence[Subscriber] = (),
) -> Simulation:
    """Have a draft tried on the billing periods that begin in some months; of all accounts, or
    of those that are given.

    Raises:
        InvalidInput: the draft is no price by use, or there are no such months.
        DraftDiscarded: it was given up.
    """
    from rating.tasks import simulate_price

    first, last = first_month.replace(day=1), last_month.replace(day=1)
    if draft.discarded_at is not None:
        raise drafts.DraftDiscarded("Make a new draft instead.")
    if draft.facts["charge"] != "usage":
        raise InvalidInput("Only a price by use can be tried on past use.", field="draft")
    _check_months(first, last, at)
    if len(accounts) > MOST_ACCOUNTS:
        raise InvalidInput(
            f"Name {MOST_ACCOUNTS:,} accounts at most, or none for all.", field="accounts"
        )
    row = Simulation.objects.create(
        draft=draft,
        facts=draft.facts,
        first_month_date=first,
        last_month_date=last,
        accounts=sorted({str(account.pk) for account in accounts}),
        created_by=actor,
        created_at=at,
        next_attempt_at=at,
    )
    row.accounts_total = _accounts(row).count()
    row.save(update_fields=["accounts_total"])
    audit.record(
        actor=actor,
        action="price_draft.simulated",
        subject=draft.public_id,
        at=at,
        simulation=row.public_id,
        months=f"{first:%Y-%m} to {last:%Y-%m}",
    )
    jobs.send_on_commit(simulate_price, simulation_id=str(row.pk))
    return row


@transaction.atomic
def cancel_simulation(*, simulation: Simulation, actor: User, at: datetime) -> Simulation:
    """Stop a simulation that waits or runs; what has come out so far stays to be read.

    The worker that has it notices before it writes anything more. Cancelling again changes
    nothing.

    Raises:
        SimulationOver: it is done, or it posts differences: those go on to the end.
    """
    row = db.lock(Simulation, simulation.pk)
    if row.state == State.CANCELLED:
        return row
    if row.state not in OPEN or row.is_rerating:
        raise SimulationOver("Only a simulation that waits or runs can be cancelled.")
    row.state, row.finished_at = State.CANCELLED, at
    row.next_attempt_at = row.leased_until = None
    row.save(update_fields=["state", "finished_at", "next_attempt_at", "leased_until"])
    audit.record(
        actor=actor,
        action="simulation.cancelled",
        subject=row.public_id,
        at=at,
        accounts_done=row.accounts_done,
    )
    return row


@transaction.atomic
def rerate(*, simulation: Simulation, actor: User, reason: str, at: datetime) -> Simulation:
    """Have the differences of a simulation posted, as they are when it is done: as adjustments
    that the next bills take. Doing it again charges nothing, unless use came meanwhile.

    `reason` is for the audit trail. Whoever pays more or gets something back is told the sum.

    Raises:
        NotSimulated: the simulation is not done, or is a re-rating itself.
    """
    if simulation.state != State.COMPLETED or simulation.is_rerating:
        raise NotSimulated("Only what a simulation has shown to the end can be posted.")
    if hindrance := rerating.hindrance_of(simulation):
        raise NotSimulated(hindrance)
    row = _posting(simulation, simulation.accounts, actor, at)
    audit.record(
        actor=actor,
        action="price.rerated",
        subject=simulation.draft.public_id,
        at=at,
        reason=reason,
        rerating=row.public_id,
        simulation=simulation.public_id,
    )
    return row


def follow_reratings(*, at: datetime) -> int:
    """Re-rate use that came late into periods that were re-rated; returns for how many it is.

    It was rated at the price that was wrong. A re-rating that a later one contradicts for some of
    its months is not followed.
    """
    # Use may come so late, and no later.
    done = Simulation.objects.filter(
        posts__isnull=False, state=State.COMPLETED, last_month_date__gte=at - FOLLOWED_FOR
    )
    followed = 0
    for last in rerating.in_force(done.select_related("draft__offering", "created_by", "posts")):
        shown = last.posts
        if shown is not None and (late := rerating.late_accounts(last, shown.accounts)):
            _posting(shown, late, last.created_by, at)
            followed += 1
        Simulation.objects.filter(pk=last.pk).update(followed_until=at)
    return followed


def _posting(simulation: Simulation, accounts: list[str], actor: User, at: datetime) -> Simulation:
    from rating.tasks import simulate_price

    row = Simulation(
        draft=simulation.draft,
        posts=simulation,
        facts=simulation.facts,
        first_month_date=simulation.first_month_date,
        last_month_date=simulation.last_month_date,
        accounts=accounts,
        created_by=actor,
        created_at=at,
        next_attempt_at=at,
    )
    row.accounts_total = _accounts(row).count()
    row.save(force_insert=True)
    jobs.send_on_commit(simulate_price, simulation_id=str(row.pk))
    return row


def _check_months(first: date, last: date, at: datetime) -> None:
    if last < first:
        raise InvalidInput("The last month is not before the first.", field="last_month")
    if (last.year - first.year) * 12 + last.month - first.month >= MOST_MONTHS:
        raise InvalidInput(f"Choose {MOST_MONTHS} months at most.", field="last_month")
    if first.year < 2000 or last > at.date():
        raise InvalidInput("Choose months that have begun.", field="last_month")


def simulate_next(*, simulation_id: Any = None, at: datetime) -> bool:
    """Go on with a simulation that is due, the given one or the oldest, for one turn.

    Returns False when there is none. One that is not done by the end of the turn is due again at
    once, behind those that wait.
    """
    rows = Simulation.objects.filter(state__in=OPEN).select_related("draft__offering")
    if simulation_id is not None:
        rows = rows.filter(pk=simulation_id)
    claimed = jobs.claim(rows, at=at, lease=settings.TASK_LEASE)
    if not claimed:
        return False
    turn = _Turn(claimed[0], at)
    try:
        turn.run()
    except _NotMine:
        log.warning("simulation %s was taken from its worker", turn.row.public_id)
    return True


class _Turn:
    """What one worker does of one simulation until it gives way."""

    def __init__(self, row: Simulation, at: datetime) -> None:
        self.row = row
        self._at = at
        self._started = time.monotonic()

    @property
    def _now(self) -> datetime:
        return self._at + timedelta(seconds=time.monotonic() - self._started)

    def run(self) -> None:
        """Simulate accounts until the turn or the simulation is over, and say how it stands.

        Raises:
            _NotMine: another worker has the simulation.
        """
        row = self.row
        try:
            if row.attempts > MOST_ATTEMPTS:
                self._fail("every worker that took it was lost")
                return
            is_done = self._work()
        except _NotMine:
            raise
        except AmountTooLarge as too_large:
            self._fail(f"{too_large}; lower the amounts")
        except Exception:
            log.exception("simulation %s stopped", row.public_id)
            self._try_later()
        else:
            if is_done:
                self._leave(state=State.COMPLETED)
            else:
                self._leave(next_attempt_at=self._now, attempts=0)

    def _work(self) -> bool:
        row = self.row
        begin, _ = months(row.first_month_date, row.last_month_date)
        price = drafts.price_of(row.draft.offering, row.facts, begin)
        trial = Trial(price, row.first_month_date, row.last_month_date)
        while batch := self._next():
            self._simulate(trial, batch)
            if time.monotonic() - self._started > TURN_SECONDS:
                return False
        return True

    def _next(self) -> list[UUID]:
        accounts = _accounts(self.row)
        if self.row.last_account_id is not None:
            accounts = accounts.filter(pk__gt=self.row.last_account_id)
        # What is posted holds the lanes of its accounts, so it comes in small pieces.
        most = POSTED_AT_ONCE if self.row.is_rerating else ACCOUNTS_AT_ONCE
        return list(accounts.values_list("pk", flat=True)[:most])

    @transaction.atomic
    def _simulate(self, trial: Trial, batch: list[UUID]) -> None:
        """Write what some accounts come to, and that they are done, or nothing at all."""
        row = self.row
        if row.is_rerating:
            results = rerating.post_differences(
                rerating=row, trial=trial, subscribers=batch, at=self._now
            )
        else:
            results = trial.simulate(batch)
        tally = Tally.read(row.summary)
        _count(tally, batch, results)
        done = row.accounts_done + len(batch)
        SimulatedUse.objects.bulk_create((_row(row, result) for result in results), 2_000)
        self._record(
            state=State.RUNNING,
            last_account_id=batch[-1],
            accounts_done=done,
            # An account that came to the offering meanwhile is simulated, too.
            accounts_total=max(row.accounts_total, done),
            summary=tally.written(),
        )

    def _record(self, **facts: Any) -> None:
        """Write to the row and renew the lease, if it is still this worker's.

        Raises:
            _NotMine: it is not; nothing is written.
        """
        facts = {"leased_until": self._now + settings.TASK_LEASE} | facts
        mine = Simulation.objects.filter(
            pk=self.row.pk, state__in=OPEN, leased_until=self.row.leased_until
        )
        if not mine.update(**facts):
            raise _NotMine
        for name, value in facts.items():
            setattr(self.row, name, value)

    def _leave(self, **facts: Any) -> None:
        """Give the lease back."""
        if facts.get("state"):
            facts |= {"finished_at": self._now, "next_attempt_at": None}
        self._record(leased_until=None, **facts)

    def _fail(self, why: str) -> None:
        done, of = self.row.accounts_done, self.row.accounts_total
        words = f"It stopped after {done:,} of {of:,} accounts: {why}."
        self._leave(state=State.FAILED, error=words[:300])

    def _try_later(self) -> None:
        if self.row.attempts >= MOST_ATTEMPTS:
            self._fail("there is a fault on our side")
        else:
            pause = jobs.backoff(self.row.attempts, base=FIRST_PAUSE, most=LONGEST_PAUSE)
            self._leave(next_attempt_at=self._now + pause)


def _accounts(row: Simulation) -> Any:
    _, until = months(row.first_month_date, row.last_month_date)
    found = past_use.accounts(row.draft.offering, row.facts["currency"], until)
    return found.filter(pk__in=row.accounts) if row.accounts else found


def _count(tally: Tally, batch: list[UUID], results: list[Result]) -> None:
    """Count the accounts in; one that used nothing and pays nothing is not concerned."""
    of: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        of[result.subscriber_id].append(result)
    for key in batch:
        if found := of.get(str(key)):
            tally.add(
                total(result.paid for result in found), total(result.would for result in found)
            )


def _row(simulation: Simulation, result: Result) -> SimulatedUse:
    return SimulatedUse(
        simulation=simulation,
        subscriber_id=result.subscriber_id,
        service_id=result.service_id,
        period_start=result.period_start,
        quantity=result.quantity,
        **_columns("paid", result.paid),
        **_columns("would", result.would),
    )


def _columns(name: str, parts: Parts) -> dict[str, Any]:
    return {f"{name}_{part}": from_micros(amount) for part, amount in parts._asdict().items()}
