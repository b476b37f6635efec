"""Verbs for logins and subscribers: the only writers of `User` and `Subscriber`."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from ispops import db, events
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit, invitations, people, roles, terms
from ispops.parties.models import Invitation, Subscriber, User
from ispops.parties.terms import Acceptance


class EmailTaken(Refusal):
    code = "email_taken"
    title = "The e-mail address has a login already"


class SubscriberClosed(Refusal):
    code = "subscriber_closed"
    title = "The account is closed"


@transaction.atomic
def register_subscriber(
    *,
    user: User,
    name: str,
    kind: str = Subscriber.Kind.CONSUMER,
    phone: str = "",
    terms_version: str,
    acceptance: Acceptance | None = None,
    at: datetime,
) -> Subscriber:
    """Open the account of a login. A login that has an account gets that one, unchanged.

    `acceptance` says where and how the terms were accepted; without it, by this login on a page
    of the portal.

    The billing period starts on the day of the month on which the account is opened, in the
    ISP's time zone. Publishes `subscriber.registered`.

    Raises:
        InvalidInput: the name is empty or too long, or the kind is unknown.
        TermsChanged: another version of the terms was accepted than the one in force.
    """
    holder = db.lock(User, user.pk)
    known = holder.subscribers.order_by("created_at").first()
    if known is not None:
        return known
    subscriber = _open_account(
        name=name,
        kind=kind,
        email=holder.email,
        phone=phone,
        terms_version=terms_version,
        acceptance=acceptance or Acceptance(by=holder),
        at=at,
    )
    subscriber.users.add(holder)
    holder.groups.add(_group(roles.SUBSCRIBER))
    return subscriber


@transaction.atomic
def register_on_behalf(
    *,
    name: str,
    email: str,
    kind: str,
    phone: str,
    terms_version: str,
    acceptance: Acceptance,
    at: datetime,
) -> Subscriber:
    """Open an account for somebody who has told a CSR, and invite them to make its login.

    The CSR is `acceptance.by`, who heard or read that the terms are accepted.

    Raises:
        InvalidInput: a value cannot be used; names the field.
        TermsChanged: another version of the terms was accepted than the one in force.
    """
    subscriber = _open_account(
        name=name,
        kind=kind,
        email=email.strip().lower(),
        phone=phone,
        terms_version=terms_version,
        acceptance=acceptance,
        at=at,
    )
    invitations.invite(subscriber=subscriber, actor=acceptance.by, at=at)
    return subscriber


@transaction.atomic
def link_login(*, subscriber: Subscriber, user: User, at: datetime) -> None:
    """Let a login act for an account. Linking what is linked changes nothing.

    The caller has made sure that it is the account holder's.
    """
    subscriber.users.add(user)
    user.groups.add(_group(roles.SUBSCRIBER))
    audit.record(
        actor=user,
        action="login.linked",
        subject=subscriber.public_id,
        subscriber=subscriber,
        at=at,
        email=user.email,
    )


def _open_account(
    *,
    name: str,
    kind: str,
    email: str,
    phone: str,
    terms_version: str,
    acceptance: Acceptance,
    at: datetime,
) -> Subscriber:
    """Write the row of an account, that its terms were accepted, and what others must know."""
    terms.require_in_force(terms_version)
    subscriber = Subscriber(
        name=name.strip(),
        kind=kind,
        email=email,
        phone=phone.strip(),
        currency=settings.CURRENCY,
        billing_anchor_day=at.astimezone(ZoneInfo(settings.BILLING_TIME_ZONE)).day,
        terms_version=terms_version,
        terms_accepted_at=at,
        created_at=at,
    )
    db.check_fields(subscriber, "name", "kind", "email", "phone")
    people.require_phone(subscriber.phone)
    subscriber.save(force_insert=True)
    terms.accept(subscriber=subscriber, version=terms_version, acceptance=acceptance, at=at)
    audit.record(
        actor=acceptance.by,
        action="subscriber.registered",
        subject=subscriber.public_id,
        subscriber=subscriber,
        at=at,
        terms_version=terms_version,
    )
    events.publish("subscriber.registered", subject=subscriber.public_id, at=at)
    return subscriber


@transaction.atomic
def accept_invitation(
    *, invitation_id: UUID, password: str | None = None, user: User | None = None, at: datetime
) -> User:
    """Make the login of an invitation with a password, or link the login that there is.

    Whoever holds the link reads the mail of that address, so a new login's address is verified. A
    login of the address that exists is linked only when it is signed in itself.

    Raises:
        InvitationOver: it was used, withdrawn, or has expired.
        AnotherLogin: `user` has another e-mail address.
        EmailTaken: there is a login with this address, which has to sign in.
    """
    row = db.lock(Invitation, invitation_id)
    if row.state_at(at) != "open":
        raise invitations.InvitationOver("This invitation is no longer open. Ask us for a new one.")
    if user is None:
        user = create_login(
            email=row.email,
            password=password,
            name=row.subscriber.name,
            email_is_verified=True,
            at=at,
        )
    elif user.email.lower() != row.email.lower():
        raise invitations.AnotherLogin(
            f"This invitation is for {row.email}. Sign in with that login."
        )
    link_login(subscriber=row.subscriber, user=user, at=at)
    row.accepted_at, row.accepted_by = at, user
    row.save(update_fields=["accepted_at", "accepted_by"])
    return user


@transaction.atomic
def set_standing(
    *, subscriber_id: object, standing: str, actor: User, reason: str, at: datetime
) -> Subscriber:
    """Restrict an account, or put it in good standing again. Publishes `subscriber.standing`.

    Setting the standing it has changes nothing.

    Raises:
        InvalidInput: there is no reason, or the standing is unknown or `closed`, which only
            ceasing the services brings.
        SubscriberClosed: a closed account stays closed.
    """
    if standing not in {Subscriber.Standing.GOOD, Subscriber.Standing.RESTRICTED}:
        raise InvalidInput("The standing must be good or restricted.", field="standing")
    if not reason.strip():
        raise InvalidInput("Say why, for whoever reads this later.", field="reason")
    subscriber = db.lock(Subscriber, subscriber_id)
    if subscriber.standing == Subscriber.Standing.CLOSED:
        raise SubscriberClosed("A closed account cannot be changed.")
    if subscriber.standing == standing:
        return subscriber
    before, subscriber.standing = subscriber.standing, standing
    subscriber.save(update_fields=["standing"])
    audit.record(
        actor=actor,
        action="subscriber.standing_set",
        subject=subscriber.public_id,
        subscriber=subscriber,
        reason=reason.strip(),
        at=at,
        before=before,
        after=standing,
    )
    events.publish(
        "subscriber.standing", subject=subscriber.public_id, at=at, before=before, after=standing
    )
    return subscriber


@transaction.atomic
def set_prepaid(
    *, subscriber_id: object, is_prepaid: bool, actor: User, reason: str, at: datetime
) -> Subscriber:
    """Say whether an account pays ahead for partners' products. The same again changes nothing.

    Raises:
        InvalidInput: there is no reason.
        SubscriberClosed: a closed account stays as it is.
    """
    if not reason.strip():
        raise InvalidInput("Say why, for whoever reads this later.", field="reason")
    subscriber = db.lock(Subscriber, subscriber_id)
    if subscriber.standing == Subscriber.Standing.CLOSED:
        raise SubscriberClosed("A closed account cannot be changed.")
    if subscriber.is_prepaid != is_prepaid:
        subscriber.is_prepaid = is_prepaid
        subscriber.save(update_fields=["is_prepaid"])
        audit.record(
            actor=actor,
            action="subscriber.prepaid_set",
            subject=subscriber.public_id,
            subscriber=subscriber,
            reason=reason.strip(),
            at=at,
            after=is_prepaid,
        )
    return subscriber


@transaction.atomic
def create_login(
    *,
    email: str,
    at: datetime,
    password: str | None = None,
    name: str = "",
    groups: Iterable[str] = (),
    is_staff: bool = False,
    email_is_verified: bool = False,
    actor: User | None = None,
) -> User:
    """Make a login. Without a password it can only be used after "forgot password".

    Raises:
        InvalidInput: this is no e-mail address.
        EmailTaken: there is a login with this address.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidInput(
            "Enter an e-mail address like ada@example.com.", field="email"
        ) from error
    first, _, last = name.strip().partition(" ")
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                email, password, first_name=first, last_name=last, is_staff=is_staff, date_joined=at
            )
    except IntegrityError as error:
        raise EmailTaken(
            f"{email} has a login already. Choose another address.", field="email"
        ) from error
    EmailAddress.objects.create(user=user, email=email, primary=True, verified=email_is_verified)
    user.groups.add(*(_group(group) for group in groups))
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action="login.created",
        subject=f"user_{user.pk}",
        at=at,
        email=email,
        is_staff=is_staff,
        groups=sorted(groups),
    )
    return user


@transaction.atomic
def set_login_active(
    *, user_id: int, active: bool, actor: User, at: datetime, reason: str = ""
) -> User:
    """Lock a person out, or let them in again. Setting what is set changes nothing.

    Raises:
        InvalidInput: somebody tries to lock themselves out.
    """
    if user_id == actor.pk:
        raise InvalidInput("You cannot lock yourself out. Ask a colleague.", field="user")
    user = db.lock(User, user_id)
    if user.is_active == active:
        return user
    user.is_active = active
    user.save(update_fields=["is_active"])
    audit.record(
        actor=actor,
        action="login.unlocked" if active else "login.locked",
        subject=f"user_{user.pk}",
        reason=reason,
        at=at,
        email=user.email,
    )
    return user


@transaction.atomic
def remove_second_factor(*, user_id: int, actor: User, at: datetime, reason: str = "") -> User:
    """Let a person who lost the phone log in and set up another; their sessions end.

    Raises:
        InvalidInput: somebody tries it for themselves; their own page does that.
    """
    if user_id == actor.pk:
        raise InvalidInput("Use your own security page for that.", field="user")
    user = db.lock(User, user_id)
    removed, _ = Authenticator.objects.filter(user=user).delete()
    for session in UserSession.objects.filter(user=user):
        session.end()
    audit.record(
        actor=actor,
        action="login.second_factor_removed",
        subject=f"user_{user.pk}",
        reason=reason,
        at=at,
        email=user.email,
        removed=removed,
    )
    return user


def _group(name: str) -> Group:
    """Return a role's group; the roles exist after every migration."""
    return Group.objects.get_or_create(name=name)[0]
