"""Verbs for registrations: the answers on the way to an order, and the order that comes of them."""

import secrets
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import accounts, payments, people, terms
from ispops.parties.models import Subscriber, User
from ispops.parties.terms import Acceptance
from provisioning import duplicates, orders
from provisioning.models import ProductOrder, Registration
from qualification import ports
from qualification.models import Premises, QualifiedOffer, ServiceQualification

State = Registration.State
ANSWERS = frozenset(
    {
        *("extras", "name", "email", "phone", "payment_kind", "premises_answer"),
        *("is_another_person", "terms_how"),
    }
)
_FORGOTTEN = {"name": "", "email": "", "phone": "", "remind_at": None}


class RegistrationEnded(Refusal):
    code = "registration_ended"
    title = "This order was given up"


class RegistrationChanged(Refusal):
    code = "registration_changed"
    title = "The answers were changed meanwhile"


class PersonKnown(Refusal):
    code = "person_known"
    title = "There may be an account of this person already"


class PremisesServed(Refusal):
    code = "premises_served"
    title = "There may be a line at this address already"


@transaction.atomic
def begin(
    *,
    offer: QualifiedOffer,
    channel: str,
    user: User | None = None,
    clerk: User | None = None,
    replaces: Registration | None = None,
    at: datetime,
    **answers: Any,
) -> Registration:
    """Take a plan of an answer into a registration, and keep a port for it for a while.

    What the same login had begun, and `replaces`, are given up. Without a free port to keep the
    order takes what is free then. `answers` are as those of `answer`.
    """
    if user is not None:
        # One at a time for each login, which has one open registration.
        db.lock(User, user.pk)
    began = Registration.objects.select_for_update(of=("self",)).filter(state=State.DRAFT)
    before = list(began.filter(user=user)) if user else []
    if replaces is not None:
        before += began.filter(pk=replaces.pk).exclude(pk__in=[row.pk for row in before])
    for row in before:
        _give_up(row, at, but_for=offer.qualification)
    _keep_port(offer, at)
    row = Registration(
        channel=channel,
        user=user,
        clerk=clerk,
        qualification=offer.qualification,
        offering=offer.offering,
        idempotency_key=_new_key(),
        created_at=at,
        changed_at=at,
        expires_at=min(offer.qualification.expires_at, at + settings.REGISTRATION_KEPT_FOR),
        remind_at=_remind_at(user, at),
    )
    _take(row, answers)
    row.save(force_insert=True)
    return row


@transaction.atomic
def claim(*, registration_id: UUID, user: User, at: datetime) -> Registration:
    """Make what a visitor has begun that of the login they use now; their older one is given up.

    Raises:
        RegistrationEnded: it is somebody else's, or was given up.
    """
    db.lock(User, user.pk)
    row = _lock_draft(registration_id)
    if row.user_id == user.pk:
        return row
    if row.user_id is not None or row.clerk_id is not None:
        raise RegistrationEnded("This order belongs to another login.")
    for older in user.registrations.select_for_update(of=("self",)).filter(state=State.DRAFT):
        _give_up(older, at, but_for=row.qualification)
    row.user, row.remind_at = user, _remind_at(user, at)
    row.save(update_fields=["user", "remind_at"])
    return row


@transaction.atomic
def answer(*, registration_id: UUID, at: datetime, **answers: Any) -> Registration:
    """Keep further answers, under a new key.

    The page that asks for the order carries the key of what it shows, so an order is never placed
    for something that was changed meanwhile in another window.

    Raises:
        InvalidInput: an answer cannot be used; names the field.
        RegistrationEnded: it was given up, or ordered.
    """
    row = _lock_draft(registration_id)
    _take(row, answers)
    row.idempotency_key, row.changed_at = _new_key(), at
    row.remind_at = _remind_at(row.user, at)
    row.save()
    return row


@transaction.atomic
def place(
    *,
    registration_id: UUID,
    placed_by: User,
    key: str,
    terms_version: str,
    acceptance: Acceptance,
    at: datetime,
) -> ProductOrder:
    """Order what a registration is for: the account, how it is paid, and the order, or nothing.

    However often this is called, there is one order, and it is returned.

    Raises:
        RegistrationEnded: it was given up.
        RegistrationChanged: `key` is not that of the answers as they are now.
        PersonKnown, PremisesServed: something is there already; says what to answer.
        and whatever `register_subscriber`, `choose_payment` and `place_order` refuse.
    """
    row = db.lock(Registration, registration_id)
    if row.order is not None:
        return row.order
    row = _lock_draft(registration_id)
    if key != row.idempotency_key:
        raise RegistrationChanged("Your answers were changed meanwhile. Please check them again.")
    subscriber = account_of(row)
    if subscriber is None:
        _require_new_person(row)
    # One at a time for each place, so that two who come at once see each other.
    _require_free_premises(row, subscriber)
    subscriber = subscriber or _open_account(row, terms_version, acceptance, at)
    terms.accept(subscriber=subscriber, version=terms_version, acceptance=acceptance, at=at)
    if row.payment_kind:
        payments.choose_payment(
            subscriber=subscriber, kind=row.payment_kind, actor=placed_by, at=at
        )
    row.order = orders.place_order(
        subscriber=subscriber,
        qualification=row.qualification,
        offering_codes=[row.offering.code, *(row.extras or [])],
        channel=row.channel,
        placed_by=placed_by,
        idempotency_key=row.idempotency_key,
        at=at,
    )
    row.state, row.changed_at, row.remind_at = State.PLACED, at, None
    row.save(update_fields=["order", "state", "changed_at", "remind_at"])
    return row.order


@transaction.atomic
def register(
    *,
    offer: QualifiedOffer,
    user: User,
    terms_version: str,
    acceptance: Acceptance,
    at: datetime,
    **answers: Any,
) -> Registration:
    """Begin a registration and place it at once, for a program that has asked all before.

    Raises what `begin` and `place` do.
    """
    if not user.subscribers.exists():
        for name, what in (("name", "whom the service is for"), ("payment_kind", "how to pay")):
            if not answers.get(name):
                raise InvalidInput(f"Say {what}.", field=name)
    row = begin(offer=offer, channel=ProductOrder.Channel.CLIENT, user=user, at=at, **answers)
    place(
        registration_id=row.pk,
        placed_by=user,
        key=row.idempotency_key,
        terms_version=terms_version,
        acceptance=acceptance,
        at=at,
    )
    return Registration.objects.select_related("order__subscriber", "offering").get(pk=row.pk)


@transaction.atomic
def abandon(*, registration_id: UUID, at: datetime) -> Registration:
    """Give a registration up: names are forgotten and its port is free again.

    One that was given up stays so.

    Raises:
        RegistrationEnded: it has become an order, which can be cancelled instead.
    """
    row = db.lock(Registration, registration_id)
    if row.state == State.PLACED:
        raise RegistrationEnded("This was ordered. Cancel the order instead.")
    if row.state == State.DRAFT:
        _give_up(row, at)
    return row


@transaction.atomic
def leave(*, registration_id: UUID, at: datetime) -> Registration:
    """Have the way back mailed at once, to somebody who goes away on purpose."""
    row = _lock_draft(registration_id)
    if row.user_id is not None:
        row.remind_at = at
        row.save(update_fields=["remind_at"])
    return row


def account_of(registration: Registration) -> Subscriber | None:
    """Return the account that the order will be on, if the login has one already."""
    if registration.user is None:
        return None
    return registration.user.subscribers.order_by("created_at", "pk").first()


def _take(row: Registration, answers: dict[str, Any]) -> None:
    unknown = answers.keys() - ANSWERS
    if unknown:
        raise ValueError(f"a registration has no {', '.join(sorted(unknown))}")
    for name, value in answers.items():
        setattr(row, name, value.strip() if isinstance(value, str) else value)
    db.check_fields(row, *(name for name in answers if name != "extras"))
    people.require_phone(row.phone)


def _lock_draft(registration_id: UUID) -> Registration:
    rows = Registration.objects.select_for_update(of=("self",), no_key=True)
    row = rows.select_related("qualification__premises", "offering", "user").get(pk=registration_id)
    if row.state != State.DRAFT:
        raise RegistrationEnded(
            "This order is closed. Check your address again to begin a new one."
        )
    return row


def _require_new_person(row: Registration) -> None:
    if row.is_another_person:
        return
    email = row.user.email if row.user else row.email
    people = duplicates.same_person(
        name=row.name, email=email, phone=row.phone, premises=row.qualification.premises
    )
    if any(person.is_sure for person in people):
        raise PersonKnown(
            "It looks as if there is an account with these details already. Use that one, or say "
            "that this is another person.",
            field="is_another_person",
        )


def _require_free_premises(row: Registration, subscriber: Subscriber | None) -> None:
    premises = row.qualification.premises
    if premises is None or row.premises_answer:
        return
    db.lock(Premises, premises.pk)
    if duplicates.at_premises(premises, subscriber):
        raise PremisesServed(
            "There may be a line at this address already, or one on its way. Say whether this is "
            "a second line, or whether you are moving in.",
            field="premises_answer",
        )


def _open_account(
    row: Registration, terms_version: str, acceptance: Acceptance, at: datetime
) -> Subscriber:
    if row.clerk_id is not None:
        return accounts.register_on_behalf(
            name=row.name,
            email=row.email,
            kind=row.qualification.subscriber_kind,
            phone=row.phone,
            terms_version=terms_version,
            acceptance=acceptance,
            at=at,
        )
    if row.user is None:
        raise RegistrationEnded("Sign in before you order.")
    return accounts.register_subscriber(
        user=row.user,
        name=row.name,
        kind=row.qualification.subscriber_kind,
        phone=row.phone,
        terms_version=terms_version,
        acceptance=acceptance,
        at=at,
    )


def _give_up(
    row: Registration, at: datetime, *, but_for: ServiceQualification | None = None
) -> None:
    """Close a locked draft. The port stays held when what comes instead is for the same answer."""
    if but_for is None or but_for.pk != row.qualification_id:
        ports.release_hold(qualification=row.qualification, at=at)
    for name, value in _FORGOTTEN.items():
        setattr(row, name, value)
    row.state, row.changed_at = State.ABANDONED, at
    row.save()


def _keep_port(offer: QualifiedOffer, at: datetime) -> None:
    """Hold a port while somebody registers; without one the order takes what is free then."""
    if offer.provider is None or offer.technology is None:
        return
    with suppress(Refusal):
        ports.hold_port(
            qualification=offer.qualification,
            provider=offer.provider,
            technology=offer.technology,
            until=at + settings.PORT_HELD_FOR_REGISTRATION,
            at=at,
        )


def _remind_at(user: User | None, at: datetime) -> datetime | None:
    return at + settings.REGISTRATION_REMINDED_AFTER if user else None


def _new_key() -> str:
    return secrets.token_urlsafe(24)
