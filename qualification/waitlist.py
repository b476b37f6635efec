"""Verbs of the waitlist: who joins and leaves, and looking again where a network has come.

When coverage changes, `call_up` finds in one statement whose places it touches, so that a list of
a million rows makes nobody else asked for. Each of those is then asked for again, by the same verb
as anybody else, and `letters` writes to those for whom something was found.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.db.models import Q

from ispops import jobs
from ispops.db import Effective
from ispops.errors import InvalidInput, NotFound
from ispops.parties import audit
from ispops.parties.models import User
from qualification import qualify, queries
from qualification.models import CoverageArea, ServiceQualification, WaitlistEntry

log = logging.getLogger(__name__)
State = ServiceQualification.State

# What somebody agrees to who joins; another text is another version.
CONSENT_VERSION = "2026-11"
CONSENT = (
    "We keep this e-mail address to write to you about this place, once, and use it for nothing "
    "else. Every letter has a link that takes you off the list."
)
# Who asks when the waitlist does: these answers are nobody's demand.
ASKER = "waitlist"
# Where a network is, service can come without new coverage: a port gets free, a plan is added.
LOOK_AGAIN_AFTER = timedelta(days=30)
# Coverage is in force from when its import began, and can be seen when it is committed.
SLOWEST_IMPORT = timedelta(hours=1)
# Its event says when an answer is settled; this is for an event that was parked.
PENDING_PAUSE = timedelta(minutes=10)
PENDING_AT_MOST = timedelta(days=1)
LONGEST_PAUSE = timedelta(days=1)
_LONGEST_EMAIL = 254  # RFC 5321, and what the column holds.
_SALT = "qualification.waitlist"

_CALL_UP = """
WITH fresh AS (
    SELECT area.premises_id, area.h3_res8, area.valid_from
      FROM qualification_coveragearea area
      LEFT JOIN qualification_coverageimport file ON file.id = area.added_by_id
     WHERE area.provider_id = %(provider)s
       AND area.max_download_kbps > 0 AND area.planned_date IS NULL
       AND (area.valid_to IS NULL OR area.valid_to > %(at)s)
       AND (area.valid_from >= %(since)s OR file.applied_at >= %(since)s)
), waiting AS (
    SELECT entry.id, entry.h3_res8, entry.postal_code, answer.premises_id
      FROM qualification_waitlistentry entry
      JOIN qualification_servicequalification answer ON answer.id = entry.qualification_id
     WHERE entry.found_id IS NULL AND entry.notified_at IS NULL AND entry.withdrawn_at IS NULL
), listed_near AS (
    SELECT waiting.id, premises.id AS premises_id, premises.h3_res8
      FROM waiting JOIN qualification_premises premises USING (postal_code)
     WHERE waiting.h3_res8 = '' AND premises.source = 'imported'
), touched AS (
    SELECT waiting.id, valid_from FROM waiting JOIN fresh USING (h3_res8) WHERE h3_res8 <> ''
    UNION ALL
    SELECT waiting.id, valid_from FROM waiting JOIN fresh USING (premises_id)
    UNION ALL
    SELECT near.id, valid_from FROM listed_near near JOIN fresh USING (h3_res8) WHERE h3_res8 <> ''
    UNION ALL
    SELECT near.id, valid_from FROM listed_near near JOIN fresh USING (premises_id)
), due AS (
    SELECT id, greatest(min(valid_from), %(at)s) AS due_at FROM touched GROUP BY id
)
UPDATE qualification_waitlistentry entry
   SET called_at = %(at)s, next_attempt_at = least(entry.next_attempt_at, due.due_at), attempts = 0
  FROM due WHERE due.id = entry.id
"""


@transaction.atomic
def join_waitlist(
    *,
    qualification: ServiceQualification,
    email: str,
    name: str = "",
    channel: str,
    actor: User | None = None,
    at: datetime,
) -> WaitlistEntry:
    """Keep somebody's address for the day when service, or better service, comes to the place.

    They have agreed to `CONSENT`. Whoever waits for the place already is not entered twice; a face
    must not show the difference, because it would tell strangers who is on the list. `actor` is
    the member of staff who enters a caller.

    Raises:
        InvalidInput: the e-mail address is none, or no place has been chosen yet.
    """
    email = email.strip().lower()
    if not _is_email(email):
        raise InvalidInput("Enter an e-mail address like name@example.com.", field="email")
    if qualification.state == State.CHOOSE:
        raise InvalidInput("Choose one of the addresses first.", field="qualification")
    if len(name) > 200 or not name.isprintable():
        raise InvalidInput("Enter a name of up to 200 characters.", field="name")
    entry, is_new = WaitlistEntry.objects.get_or_create(
        email=email,
        place_key=_place_key(qualification),
        notified_at=None,
        withdrawn_at=None,
        defaults={
            "qualification": qualification,
            "h3_res8": qualification.h3_res8,
            "city": qualification.city,
            "region": qualification.region,
            "postal_code": qualification.postal_code,
            "name": name.strip(),
            "channel": channel,
            "consent_version": CONSENT_VERSION,
            "added_by": actor,
            "created_at": at,
            # A network may have come since the answer was given: that is looked at right away.
            "next_attempt_at": at,
        },
    )
    if is_new:
        _send_look()
        if actor:
            audit.record(
                actor=actor, action="waitlist.joined", subject=qualification.public_id, at=at
            )
    return entry


def leave_token(entry: WaitlistEntry) -> str:
    """Return what the link in a letter to this person is signed with."""
    return signing.Signer(salt=_SALT).sign(str(entry.pk))


def entry_of_token(token: str) -> WaitlistEntry:
    """Return the entry that a letter's link is about.

    Raises:
        NotFound: we did not make this link.
    """
    try:
        key = signing.Signer(salt=_SALT).unsign(token)
    except signing.BadSignature:
        key = ""
    entry = WaitlistEntry.objects.filter(pk=key).first() if key else None
    if entry is None:
        raise NotFound("There is nobody on the list for this link.")
    return entry


@transaction.atomic
def leave_waitlist(*, email: str, actor: User | None = None, at: datetime) -> int:
    """Take an e-mail address off the list for all its places; returns for how many.

    Who asks to be left alone does not mean one address of two. Doing it again changes nothing.
    """
    rows = WaitlistEntry.objects.open().filter(email=email).select_related("qualification")
    entries = list(rows.select_for_update(of=("self",), no_key=True).order_by("pk"))
    for entry in entries:
        entry.withdrawn_at, entry.next_attempt_at, entry.leased_until = at, None, None
        entry.save(update_fields=["withdrawn_at", "next_attempt_at", "leased_until"])
        if actor:
            subject = entry.qualification.public_id
            audit.record(actor=actor, action="waitlist.left", subject=subject, at=at)
    return len(entries)


@transaction.atomic
def call_up(*, provider_id: int, changed_at: datetime, at: datetime) -> int:
    """Have those looked at for whose places a network's coverage changed; returns how many.

    A place is touched by coverage of its premises or its cell. Where neither is known, it is by
    coverage of a listed place in its ZIP code, as that is what an unknown address is judged by.
    Coverage that is in force only later makes the look due on that day. `changed_at` is when the
    change happened, `at` is now, when it can be seen.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _CALL_UP,
            {"provider": provider_id, "at": at, "since": changed_at - SLOWEST_IMPORT},
        )
        called: int = cursor.rowcount
    if called:
        _send_look()
    return called


@transaction.atomic
def take_settled(*, answer_id: UUID, at: datetime) -> int:
    """Look at those whose answer waited for a provider and is settled now; returns how many."""
    waiting = WaitlistEntry.objects.waiting().filter(latest_answer=answer_id)
    count = waiting.update(next_attempt_at=at)
    if count:
        _send_look()
    return count


@transaction.atomic
def look_again(*, at: datetime) -> WaitlistEntry | None:
    """Look at the next place whose time has come; None when there is none.

    The row stays locked from reading the coverage to noting what was found, so that a network that
    comes meanwhile is not overlooked: its `call_up` waits, and makes the row due again. One look
    that fails is put off and does not hold up the others.
    """
    rows = jobs.due(WaitlistEntry.objects.waiting(), at=at).order_by("next_attempt_at", "pk")
    # Without what hangs on it, which would be joined to all that are due to find the first.
    entry = rows.select_for_update(skip_locked=True, no_key=True).first()
    if entry is None:
        return None
    try:
        with transaction.atomic():
            _look(entry, at)
    except Exception as fault:
        log.exception("the place of waitlist entry %s was not looked at", entry.pk)
        entry.attempts += 1
        entry.last_error = f"{type(fault).__name__}: {fault}"[:300]
        pause = jobs.backoff(entry.attempts, base=timedelta(minutes=1), most=LONGEST_PAUSE)
        entry.next_attempt_at = at + pause
        entry.save(update_fields=["attempts", "last_error", "next_attempt_at"])
    return entry


def _look(entry: WaitlistEntry, at: datetime) -> None:
    answer = entry.latest_answer
    if _is_to_be_asked(entry, at):
        answer = entry.latest_answer = _ask(entry, at)
    entry.attempts, entry.last_error = 0, ""
    if answer and answer.state == State.PENDING:
        entry.next_attempt_at = at + PENDING_PAUSE
    elif answer and _is_better(answer, entry.qualification):
        entry.found, entry.next_attempt_at = answer, at
        send_letter()
    else:
        entry.next_attempt_at = _next_look(entry, at)
    entry.save(
        update_fields=["latest_answer", "found", "next_attempt_at", "attempts", "last_error"]
    )


def _is_to_be_asked(entry: WaitlistEntry, at: datetime) -> bool:
    """Whether there may be something that the latest answer did not know of."""
    latest = entry.latest_answer
    asked_at = (latest or entry.qualification).asked_at
    if latest and latest.state == State.PENDING:
        return at - asked_at >= PENDING_AT_MOST
    if entry.called_at and asked_at < entry.called_at:
        return True
    near = coverage_near(entry).at(at)
    if at - asked_at >= LOOK_AGAIN_AFTER:
        can_be_asked = entry.qualification.premises and queries.somebody_is_asked_everywhere()
        return bool(can_be_asked) or near.exists()
    # The visitor's own answer may be from the middle of an import; ours follow its end.
    since = asked_at if latest else asked_at - SLOWEST_IMPORT
    return near.filter(Q(valid_from__gt=since) | Q(added_by__applied_at__gt=since)).exists()


def _ask(entry: WaitlistEntry, at: datetime) -> ServiceQualification:
    first = entry.qualification
    place = first.place_again
    if "text" in place:
        # Nobody is there to be asked whether they meant a street that is spelt alike.
        place["as_written"] = True
    return qualify.qualify_address(
        **place,
        subscriber_kind=first.subscriber_kind,
        channel=ServiceQualification.Channel.PORTAL,
        asker=ASKER,
        at=at,
    )


def _is_better(new: ServiceQualification, old: ServiceQualification) -> bool:
    """Whether an answer offers what the other did not: service, more speed, nothing to build."""
    return _best(new) > _best(old)


def _best(answer: ServiceQualification) -> tuple[int, bool]:
    plan = queries.best_plan(answer)
    return (plan.download_kbps or 0) if plan else 0, answer.state == State.QUALIFIED


def _next_look(entry: WaitlistEntry, at: datetime) -> datetime:
    """Return when coverage that is known of now comes into force, or else a distant day."""
    latest = at + LOOK_AGAIN_AFTER
    coming = coverage_near(entry).filter(valid_from__gt=at, valid_from__lt=latest)
    return coming.order_by("valid_from").values_list("valid_from", flat=True).first() or latest


def coverage_near(entry: WaitlistEntry) -> Effective:
    """Return the coverage, of any time, by which the place of an entry could be served."""
    premises_id = entry.qualification.premises_id
    if premises_id or entry.h3_res8:
        here = Q(h3_res8=entry.h3_res8) & ~Q(h3_res8="")
        if premises_id:
            here |= Q(premises=premises_id)
    else:
        listed = queries.listed_in(entry.postal_code)
        here = Q(premises__in=listed) | Q(h3_res8__in=listed.exclude(h3_res8="").values("h3_res8"))
    return CoverageArea.objects.filter(
        here, max_download_kbps__gt=0, planned_date=None, provider__active=True
    )


def _place_key(answer: ServiceQualification) -> str:
    """Return what makes two answers be of one place."""
    return answer.premises.public_id if answer.premises else answer.asked_text.upper()


def _is_email(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return len(text) <= _LONGEST_EMAIL


def _send_look() -> None:
    from qualification.tasks import look_at_waitlist

    jobs.send_on_commit(look_at_waitlist)


def send_letter() -> None:
    """Have the letters written that are due, once this transaction is committed."""
    from qualification.tasks import write_to_waitlist

    jobs.send_on_commit(write_to_waitlist)
