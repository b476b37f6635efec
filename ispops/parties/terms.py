"""Verbs for the terms of service: publishing a version, and noting who accepted which."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils import timezone

from ispops import db
from ispops.errors import InvalidInput, Refusal
from ispops.parties import audit
from ispops.parties.models import Subscriber, TermsAcceptance, TermsVersion, User

FIRST_VERSION = "2026-11"
FIRST_TEXT = Path(settings.BASE_DIR) / "templates" / "parties" / "first_terms.md"


class TermsChanged(Refusal):
    code = "terms_changed"
    title = "The terms have changed"


class TermsVersionTaken(Refusal):
    code = "terms_version_taken"
    title = "There is a version of the terms with this name"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Where and how terms were accepted; `by` is the login, or the CSR who took it down."""

    by: User
    channel: str = TermsAcceptance.Channel.PORTAL
    how: str = TermsAcceptance.How.SCREEN
    ip: str | None = None


def in_force() -> TermsVersion:
    """Return the version that is accepted today: the one published last."""
    return TermsVersion.objects.latest("pk")


def require_in_force(version: str) -> TermsVersion:
    """Return the version in force, if that is the one that somebody has read.

    Raises:
        TermsChanged: they have read another one.
    """
    newest = in_force()
    if version != newest.version:
        raise TermsChanged(
            "Our terms have changed since you opened this page. Please read and accept them again.",
            field="terms_version",
        )
    return newest


def has_accepted(subscriber: Subscriber, version: TermsVersion) -> bool:
    """Say whether a subscriber has agreed to a version."""
    return TermsAcceptance.objects.filter(subscriber=subscriber, version=version).exists()


@transaction.atomic
def publish_terms(*, version: str, text: str, actor: User | None, at: datetime) -> TermsVersion:
    """Put new terms in force, for whoever orders from now on. The same again changes nothing.

    Without an `actor` it is the product itself, with its first terms.

    Raises:
        InvalidInput: the version has no name, or there is no text.
        TermsVersionTaken: the name belongs to other terms, which people have accepted.
    """
    row = TermsVersion(version=version.strip(), text=text.strip(), published_at=at)
    db.check_fields(row, "version", "text")
    known = TermsVersion.objects.filter(version=row.version).first()
    if known is not None:
        if known.text == row.text:
            return known
        raise TermsVersionTaken(
            f"{row.version} is published and cannot be changed. Give the new terms another name.",
            field="version",
        )
    row.published_by = actor
    row.save(force_insert=True)
    if actor is not None:
        audit.record(actor=actor, action="terms.published", subject=f"terms_{row.version}", at=at)
    return row


@transaction.atomic
def accept(
    *, subscriber: Subscriber, version: str, acceptance: Acceptance, at: datetime
) -> TermsAcceptance:
    """Note that a subscriber agreed to the terms in force. Accepting again changes nothing.

    Raises:
        TermsChanged: they agreed to another version than the one in force.
        InvalidInput: how they agreed is no way that this channel has.
    """
    newest = require_in_force(version)
    if acceptance.how not in TermsAcceptance.How.values or (
        (acceptance.channel == TermsAcceptance.Channel.CSR)
        == (acceptance.how == TermsAcceptance.How.SCREEN)
    ):
        raise InvalidInput("Say how the terms were accepted: by voice or on paper.", field="how")
    row, is_new = TermsAcceptance.objects.get_or_create(
        subscriber=subscriber,
        version=newest,
        defaults={
            "user": acceptance.by,
            "channel": acceptance.channel,
            "how": acceptance.how,
            "ip": acceptance.ip,
            "accepted_at": at,
        },
    )
    if is_new:
        subscriber.terms_version, subscriber.terms_accepted_at = newest.version, at
        subscriber.save(update_fields=["terms_version", "terms_accepted_at"])
        audit.record(
            actor=acceptance.by,
            action="terms.accepted",
            subject=subscriber.public_id,
            subscriber=subscriber,
            at=at,
            version=newest.version,
            channel=acceptance.channel,
            how=acceptance.how,
        )
    return row


def publish_first(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Give a new database its first terms, so that people can register from the first day.

    A receiver of `post_migrate`; once there are terms it does nothing.
    """
    # Going back to an earlier migration ends without the table.
    there = TermsVersion._meta.db_table in connections[using].introspection.table_names()
    if there and using == DEFAULT_DB_ALIAS and not TermsVersion.objects.exists():
        publish_terms(
            version=FIRST_VERSION, text=FIRST_TEXT.read_text(), actor=None, at=timezone.now()
        )
