"""Verbs for drafts of prices: kept while somebody works on them, and published by one click.

A draft is checked as a price is whenever it is kept, so that what is kept can be tried on past use
and published.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import models, transaction

from ispops import db
from ispops.catalog import publishing
from ispops.catalog.models import OfferingPrice, PriceDraft, ProductOffering
from ispops.errors import Refusal
from ispops.parties import audit
from ispops.parties.models import User

_NOT_ITS_OWN = {"id", "offering", "valid_from", "valid_to"}
_FIELDS = [field for field in OfferingPrice._meta.fields if field.name not in _NOT_ITS_OWN]


class DraftPublished(Refusal):
    """What was published is never edited; a new draft can be made of it."""

    code = "draft_published"
    title = "The draft is published already"


class DraftDiscarded(Refusal):
    code = "draft_discarded"
    title = "The draft was discarded"


def facts_of(price: OfferingPrice) -> dict[str, Any]:
    """Return the columns that say what a price costs, as JSON can hold them."""
    values = {field.attname: getattr(price, field.attname) for field in _FIELDS}
    return {n: str(v) if isinstance(v, Decimal) else v for n, v in values.items()}


def price_of(
    offering: ProductOffering, facts: dict[str, Any], valid_from: datetime
) -> OfferingPrice:
    """Return the price that some facts are, as if it were in force from then on. Saves nothing."""
    return OfferingPrice(offering=offering, valid_from=valid_from, **_values(facts))


def _values(facts: dict[str, Any]) -> dict[str, Any]:
    exact = {
        field.attname
        for field in _FIELDS
        if not isinstance(field, models.JSONField | models.CharField)
    }
    return {n: Decimal(v) if n in exact and isinstance(v, str) else v for n, v in facts.items()}


@transaction.atomic
def save_draft(
    *,
    offering: ProductOffering,
    title: str,
    charge: str,
    amount: Decimal,
    actor: User,
    at: datetime,
    draft: PriceDraft | None = None,
    **facts: Any,
) -> PriceDraft:
    """Keep a draft of a price, or another version of `draft`; `facts` are those of `set_price`.

    Raises:
        InvalidInput: it has no name, or could not be published as it is.
        DraftPublished, DraftDiscarded: it is a price already, or was given up.
    """
    price = publishing.checked_price(offering, charge, amount, at, **facts)
    if draft is None:
        row = PriceDraft(offering=offering, created_by=actor, created_at=at)
    else:
        row = _open(draft)
    row.name, row.facts, row.changed_at = title, facts_of(price), at
    db.check_fields(row, "name")
    row.save()
    _note("price_draft.saved", row, actor, at)
    return row


@transaction.atomic
def publish_draft(
    *, draft: PriceDraft, valid_from: datetime | None, actor: User, at: datetime
) -> OfferingPrice:
    """Make a draft the price from `valid_from` (or now) on; see `set_price`.

    Raises:
        DraftPublished, DraftDiscarded: it is a price already, or was given up.
        InvalidInput, ChangePlanned, InForceAlready: see `publishing.set_price`.
    """
    row = _open(draft)
    given = _values(row.facts)
    pack_for = ProductOffering.objects.filter(pk=given.pop("pack_for_id")).first()
    price = publishing.set_price(
        offering=row.offering, at=at, valid_from=valid_from, actor=actor, pack_for=pack_for, **given
    )
    row.price, row.published_at = price, at
    row.save(update_fields=["price", "published_at"])
    _note("price_draft.published", row, actor, at)
    return price


@transaction.atomic
def discard_draft(*, draft: PriceDraft, actor: User, at: datetime) -> PriceDraft:
    """Give a draft up: it is not listed any more, and cannot be changed, tried or published.

    What was tried with it stays. Discarding again changes nothing.

    Raises:
        DraftPublished: it is a price already.
    """
    row = db.lock(PriceDraft, draft.pk)
    if row.discarded_at is not None:
        return row
    row = _open(row)
    row.discarded_at = at
    row.save(update_fields=["discarded_at"])
    _note("price_draft.discarded", row, actor, at)
    return row


def _open(draft: PriceDraft) -> PriceDraft:
    row = db.lock(PriceDraft, draft.pk)
    if row.discarded_at is not None:
        raise DraftDiscarded("Make a new draft instead.")
    if row.published_at is not None:
        raise DraftPublished("Make a new draft of it instead.")
    return row


def _note(action: str, row: PriceDraft, actor: User, at: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=row.public_id,
        at=at,
        name=row.name,
        offering=row.offering.code,
    )
