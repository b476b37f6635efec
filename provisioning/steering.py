"""Live sessions are brought up to date with what their lines may do (figure 7).

A session is due when its line's profile changed, and when it begins. A worker takes a lease on it,
asks its access server outside any transaction, and records what came of it. The profile may have
changed again meanwhile: then the session stays due, and what is read anew decides. A line that pays
while its disconnect is under way is so never cut by a later try.

Speed and walled garden are changed live. What cannot be, or is refused, ends the session: the line
comes back at once, as it may be now. Where that fails too, a person is told (`trouble`).
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, QuerySet

from ispops import jobs
from ispops.errors import NotFound, PermanentFault, TransientFault
from ispops.parties import audit
from ispops.parties.models import User
from provisioning import access_calls, following, profiles
from provisioning.in_force import Profile
from provisioning.models import (
    AaaCredential,
    AccessServer,
    AccessSession,
    ProfileRevision,
    Service,
    SessionCommand,
)
from provisioning.network import coa, templates

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=2)
MOST_ATTEMPTS = 6
SETTLED_AT_ONCE = 500
# What PostgreSQL's advisory lock for taking sessions is called.
_CLAIM = 0x5E5511

TAKES_NO_CHANGES = "server_takes_no_changes"
REFUSED = "refused"
GAVE_UP = "no_answer"
FAILED = "internal_error"
TROUBLES = {
    TAKES_NO_CHANGES: "The access server takes no changes: the session runs on until it ends.",
    REFUSED: "The access server refused to change the session, and to end it.",
    GAVE_UP: "The access server did not answer.",
    FAILED: "Something went wrong on our side: the log says what.",
}
Kind = SessionCommand.Kind
Outcome = SessionCommand.Outcome


class SessionStays(PermanentFault):
    """A live session cannot be brought up to date; `cause` is its trouble."""

    def __init__(self, words: str, cause: str) -> None:
        super().__init__(words)
        self.cause = cause


def steer_due(*, at: datetime, limit: int) -> int:
    """Bring up to `limit` sessions that are due up to date; returns how many were worked on."""
    clock = _Clock(at)
    done = _settle_up_to_date(at=at)
    while done < limit and _steer_next(AccessSession.objects.all(), clock):
        done += 1
    return done


@transaction.atomic
def _settle_up_to_date(*, at: datetime) -> int:
    """Settle due sessions that run with what is in force; nearly all that begin are such.

    After an access server has restarted there are thousands. Logins are locked before sessions, and
    one that somebody is changing in this moment is left to whoever looks at its sessions singly.
    """
    fresh = jobs.due(AccessSession.objects.filter(asked_revision=0, must_end=False), at=at)
    seen = fresh.filter(applied_revision__gte=F("service__credential__revision"))
    found = dict(seen.order_by("next_attempt_at").values_list("pk", "service_id")[:SETTLED_AT_ONCE])
    logins = AaaCredential.objects.filter(service__in=set(found.values())).order_by("pk")
    held = logins.select_for_update(of=("self",), no_key=True, skip_locked=True)
    in_force = dict(held.values_list("service_id", "revision"))
    rows = fresh.filter(pk__in=found, service__in=in_force).order_by("pk")
    settled = [
        session.pk
        for session in rows.select_for_update(of=("self",), skip_locked=True)
        if session.applied_revision >= in_force[session.service_id]
    ]
    return AccessSession.objects.filter(pk__in=settled).update(next_attempt_at=None, attempts=0)


def bring_up(*, service: Service, at: datetime) -> str:
    """Bring the live sessions of a line up to date now; says in words what was done.

    For steps of orders, outside any transaction. Sessions that gave trouble are tried again.

    Raises:
        TransientFault: an access server did not answer, or another worker is at it.
        SessionStays: a session stays as it is; `cause` says why.
    """
    behind = AccessSession.objects.filter(
        service=service,
        ended_at__isnull=True,
        applied_revision__lt=AaaCredential.objects.filter(service=service).values("revision"),
    )
    with transaction.atomic():
        free = behind.exclude(leased_until__gt=at).select_for_update(of=("self",))
        keys = [session.pk for session in free.order_by("pk")]
        AccessSession.objects.filter(pk__in=keys).update(next_attempt_at=at, attempts=0, trouble="")
    clock = _Clock(at)
    tried = 0
    while tried < len(keys) and _steer_next(behind.filter(pk__in=keys), clock):
        tried += 1
    left = list(behind.order_by("pk"))
    for session in left:
        if session.trouble:
            raise SessionStays(TROUBLES[session.trouble], session.trouble)
    if left:
        raise TransientFault(f"{len(left)} live sessions are not up to date yet.")
    if not tried:
        return "No live session has to change; the line gets this when it comes in."
    return f"Live sessions brought up to date: {tried}."


@transaction.atomic
def retry(*, session_id: int, actor: User, at: datetime) -> AccessSession:
    """Try a session that gave trouble again, with a fresh number of attempts.

    One that gives none, or has ended, stays as it is. Raises NotFound when there is none.
    """
    held = AccessSession.objects.select_for_update(of=("self",)).filter(pk=session_id).first()
    if held is None:
        raise NotFound("There is no such session.")
    if held.trouble and held.ended_at is None:
        audit.record(
            actor=actor,
            action="session.retried",
            subject=held.service.public_id,
            subscriber=held.service.subscriber,
            at=at,
            session=held.session_id,
            trouble=held.trouble,
        )
        held.trouble, held.attempts, held.next_attempt_at = "", 0, at
        held.save(update_fields=["trouble", "attempts", "next_attempt_at"])
        steer_soon()
    return held


@transaction.atomic
def try_again_on(*, nas_ip: str, at: datetime) -> int:
    """Try the sessions of an access server that can be told now; returns how many there are."""
    stuck = AccessSession.objects.filter(nas_ip=nas_ip, ended_at__isnull=True).exclude(trouble="")
    keys = [row.pk for row in stuck.select_for_update(of=("self",)).order_by("pk")]
    if keys:
        AccessSession.objects.filter(pk__in=keys).update(trouble="", attempts=0, next_attempt_at=at)
        steer_soon()
    return len(keys)


def steer_soon() -> None:
    """Have the workers look at due sessions once the caller's transaction has ended."""
    from provisioning.tasks import steer_sessions

    jobs.send_on_commit(steer_sessions)


class _Clock:
    """The time that the caller gave, going on while access servers are waited for."""

    def __init__(self, at: datetime) -> None:
        self._at, self._began = at, time.monotonic()

    def now(self) -> datetime:
        return self._at + timedelta(seconds=time.monotonic() - self._began)


def _steer_next(rows: QuerySet[AccessSession], clock: _Clock) -> bool:
    session = _claim(rows, at=clock.now())
    if session is None:
        return False
    work = _Work(session, clock)
    try:
        work.do()
    except (OperationalError, InterfaceError):
        # The database was away: nothing is wrong with the session, whose lease runs out.
        raise
    except Exception:
        log.exception("session %s could not be brought up to date", session.pk)
        work.park(FAILED)
    return True


def _claim(rows: QuerySet[AccessSession], *, at: datetime) -> AccessSession | None:
    """Take the next due session of an access server that may be called now."""
    # Two calls may both be waited for in vain.
    waits = timedelta(seconds=settings.COA_TIMEOUT_SECONDS * settings.COA_SENDINGS * 2)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIM])
        open_rows = rows.filter(ended_at__isnull=True)
        while taken := jobs.claim(open_rows, at=at, lease=waits + settings.TASK_LEASE):
            again_at = access_calls.wait_until(taken[0], at)
            if again_at is None:
                return taken[0]
            jobs.put_back(taken[0], until=again_at)
            access_calls.let_rest(taken[0].nas_ip, at=at, until=again_at)
    return None


class _Work:
    """One session in the hands of one worker: what it should have, how it is told, what came of it.

    Everything is decided by the profile that was read at the beginning. It may be another when the
    answer is there; then the session is due again, and nothing else of the outcome counts.
    """

    def __init__(self, session: AccessSession, clock: _Clock) -> None:
        self.session = session
        self.clock = clock
        self.login = AaaCredential.objects.get(service=session.service_id)

    def do(self) -> None:
        wanted, has = profiles.served(self.login), self._has()
        if not self.session.must_end and (wanted is None or has == wanted or self._is_up_to_date()):
            self._record(_applied(self.login.revision))
        elif self.session.attempts > MOST_ATTEMPTS:
            self.park(GAVE_UP)
        else:
            server = AccessServer.objects.filter(nas_ip=self.session.nas_ip).first()
            if server is None or not server.coa_secret:
                self.park(TAKES_NO_CHANGES)
            elif self._is_mine() and not self._may_go_on(server, wanted, has):
                self._end(server)

    def _may_go_on(self, server: AccessServer, wanted: Profile | None, has: Profile | None) -> bool:
        """Change the session live, where it need not end; says whether that settles it."""
        if self.session.must_end or wanted is None or not wanted.lets_in:
            return False
        return self._is_changed(server, wanted, has)

    def park(self, trouble: str) -> None:
        self._record(_parked(trouble))

    def _is_mine(self) -> bool:
        """Write down what is about to be asked for, if the session is still in these hands.

        A worker that dies after it leaves behind that the session may have it.
        """
        mine = AccessSession.objects.filter(
            pk=self.session.pk, leased_until=self.session.leased_until
        )
        return bool(mine.update(asked_revision=self.login.revision))

    def _is_up_to_date(self) -> bool:
        return self.session.applied_revision >= self.login.revision

    def _has(self) -> Profile | None:
        """What the session runs with; None when that is not known, as after a lost answer."""
        if self.session.asked_revision > self.session.applied_revision:
            return None
        revisions = ProfileRevision.objects.filter(credential=self.login)
        row = revisions.filter(revision=self.session.applied_revision).first()
        return profiles.profile_in(row) if row else None

    def _is_changed(self, server: AccessServer, wanted: Profile, has: Profile | None) -> bool:
        """Change the session live; says whether that settles it, for now or for good.

        A refusal does not, unless the line may do something else by now: then its session is not
        ended for what was wanted before.
        """
        names = templates.Names(walled=settings.WALLED_GARDEN_NAME, open=settings.OPEN_ACCESS_NAME)
        attributes = templates.live(server.kind, wanted, has, names)
        outcome = self._send(
            Kind.CHANGE,
            lambda at: coa.change(
                _peer(server), self._target(), attributes, patience=_patience(), at=at
            ),
        )
        if outcome == Outcome.ACKNOWLEDGED:
            self._record(_applied(self.login.revision))
        elif outcome == Outcome.NO_ANSWER:
            self._try_later()
        elif self._has_moved():
            self._record(_again)
        else:
            return False
        return True

    def _end(self, server: AccessServer) -> None:
        outcome = self._send(
            Kind.DISCONNECT,
            lambda at: coa.disconnect(_peer(server), self._target(), patience=_patience(), at=at),
        )
        if outcome == Outcome.NO_ANSWER:
            self._try_later()
        elif outcome == Outcome.REFUSED:
            self.park(REFUSED)
        else:
            gone = outcome == Outcome.GONE
            self._record(_ended(following.GONE if gone else following.DISCONNECTED))

    def _target(self) -> coa.Target:
        kept = self.session
        return coa.Target(kept.username, kept.session_id, kept.nas_ip, kept.framed_ip)

    def _has_moved(self) -> bool:
        same = AaaCredential.objects.filter(pk=self.login.pk, revision=self.login.revision)
        return not same.exists()

    def _send(self, kind: str, ask: Callable[[datetime], coa.Answer]) -> str:
        """Send one packet, and keep what was sent and said whatever becomes of the session."""
        sent_at = self.clock.now()
        answer = ask(sent_at)
        SessionCommand.objects.create(
            session=self.session,
            kind=kind,
            revision=self.login.revision,
            sent_at=sent_at,
            answered_at=None if answer.outcome == coa.NO_ANSWER else self.clock.now(),
            outcome=answer.outcome,
            detail=answer.detail[:300],
            request=answer.request,
            reply=answer.reply,
        )
        fault = answer.detail if answer.outcome == coa.NO_ANSWER else ""
        access_calls.note(self.session.nas_ip, fault=fault, at=self.clock.now())
        return answer.outcome

    def _try_later(self) -> None:
        if self.session.attempts >= MOST_ATTEMPTS:
            self.park(GAVE_UP)
        else:
            self._record(_later)
        at = self.clock.now()
        access_calls.let_rest(self.session.nas_ip, at=at, until=at + FIRST_PAUSE)

    def _record(self, change: "Change") -> None:
        """Write what came of it, unless the lease ran out and another worker has the session.

        The login is locked before the session, as `profiles.refresh` does it. So whoever is raising
        the revision in this moment is waited for, and no change is lost between the two: not even
        for a session that it could not see, because it had just begun.
        """
        at = self.clock.now()
        with transaction.atomic():
            revision = _lock_revision(self.login.pk)
            rows = AccessSession.objects.select_for_update(of=("self",))
            mine = rows.filter(pk=self.session.pk, leased_until=self.session.leased_until)
            held = mine.first()
            if held is None:
                return
            held.leased_until = None
            if held.ended_at is None:
                change(held, at)
                if held.ended_at is None and revision != self.login.revision:
                    held.next_attempt_at, held.attempts, held.trouble = at, 0, ""
            held.save()


def _lock_revision(login_id: int) -> int:
    """Hold a login and return the revision of its profile."""
    login = AaaCredential.objects.select_for_update(of=("self",), no_key=True)
    return login.values_list("revision", flat=True).get(pk=login_id)


def _peer(server: AccessServer) -> coa.Peer:
    return coa.Peer(
        server.coa_host or server.nas_ip,
        server.coa_port,
        server.coa_secret,
        wants_time=server.coa_says_when,
    )


def _patience() -> coa.Patience:
    return coa.Patience(settings.COA_TIMEOUT_SECONDS, settings.COA_SENDINGS)


# What may come of it, written to a session that is locked and open.
Change = Callable[[AccessSession, datetime], None]


def _applied(revision: int) -> Change:
    def change(held: AccessSession, at: datetime) -> None:
        held.applied_revision = held.asked_revision = revision
        held.attempts, held.trouble, held.next_attempt_at = 0, "", None

    return change


def _ended(cause: str) -> Change:
    def change(held: AccessSession, at: datetime) -> None:
        held.ended_at, held.end_cause, held.next_attempt_at = at, cause, None

    return change


def _parked(trouble: str) -> Change:
    def change(held: AccessSession, at: datetime) -> None:
        held.trouble, held.next_attempt_at = trouble, None

    return change


def _again(held: AccessSession, at: datetime) -> None:
    held.next_attempt_at = at


def _later(held: AccessSession, at: datetime) -> None:
    pause = jobs.backoff(held.attempts - 1, base=FIRST_PAUSE, most=LONGEST_PAUSE)
    held.next_attempt_at = at + pause
