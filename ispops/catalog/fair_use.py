"""The fair-use rules of plans: from how much use on a line is slow, and how slow.

A rule takes effect at a moment and is never edited; another one ends it, or it is ended.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db import transaction

from ispops import db
from ispops.catalog.effective import put_in_force
from ispops.catalog.models import FairUseRule, OfferingPrice, ProductOffering
from ispops.errors import InvalidInput
from ispops.parties import audit
from ispops.parties.models import User

UNIT = "byte"
_TERMS = ("threshold_bytes", "download_kbps", "upload_kbps")
_KINDS = (ProductOffering.Kind.ACCESS, ProductOffering.Kind.BUNDLE)


@transaction.atomic
def set_fair_use(
    *,
    offering: ProductOffering,
    threshold_bytes: int,
    download_kbps: int,
    upload_kbps: int,
    at: datetime,
    valid_from: datetime | None = None,
    actor: User | None = None,
) -> FairUseRule:
    """Slow lines with a plan, from a number of bytes in a billing period on, until the next one.

    It counts for a line from its next use on, and then also what was used before in the period.

    Raises:
        InvalidInput: a value is not above zero; the offering is no plan, or nothing counts its use.
        ChangePlanned, InForceAlready: see `effective`.
    """
    if offering.kind not in _KINDS:
        raise InvalidInput("Only a plan with a line has a fair-use rule.", field="offering")
    rule = FairUseRule(
        offering=offering,
        threshold_bytes=threshold_bytes,
        download_kbps=download_kbps,
        upload_kbps=upload_kbps,
        valid_from=valid_from or at,
    )
    db.check_fields(rule, *_TERMS)
    for name in _TERMS:
        if getattr(rule, name) < 1:
            raise InvalidInput("Give a number above zero.", field=name)
    prices = OfferingPrice.objects.at(rule.valid_from).filter(charge="usage", unit=UNIT)
    if not prices.filter(offering=offering).exists():
        raise InvalidInput(
            "Set a price of its use by the byte first, which may cost nothing: it is what the use "
            "is counted by.",
            field="offering",
        )
    db.lock(ProductOffering, offering.pk)
    same = FairUseRule.objects.filter(offering=offering)
    kept, is_new = put_in_force(same, rule, _TERMS, at)
    if is_new:
        _note("fair_use.set", kept, actor, at)
    return kept


@transaction.atomic
def end_fair_use(*, offering: ProductOffering, at: datetime, actor: User | None = None) -> bool:
    """End the rule of a plan now; False when none is in force. Lines that are slow by it get their
    speed back with the next look at them."""
    db.lock(ProductOffering, offering.pk)
    rule = FairUseRule.objects.at(at).filter(offering=offering, valid_from__lt=at).first()
    if rule is None:
        return False
    rule.valid_to = at
    rule.save(update_fields=["valid_to"])
    _note("fair_use.ended", rule, actor, at)
    return True


def fair_use_at(at: datetime, offerings: Iterable[int]) -> dict[int, FairUseRule]:
    """Return the rules in force at a moment, by the offering that each is of."""
    rules = FairUseRule.objects.at(at).filter(offering__in=list(offerings))
    return {rule.offering_id: rule for rule in rules}


def rule_of(
    plan_id: int, bundle_id: int | None, rules: Mapping[int, FairUseRule]
) -> FairUseRule | None:
    """Return the rule of a line with this access plan, which may be part of an aggregated one."""
    shared = rules.get(bundle_id) if bundle_id else None
    return shared or rules.get(plan_id)


def _note(action: str, rule: FairUseRule, actor: User | None, at: datetime) -> None:
    audit.record(
        actor=actor,
        actor_name="" if actor else "system",
        action=action,
        subject=f"offering_{rule.offering.code}",
        at=at,
        **{name: getattr(rule, name) for name in _TERMS},
    )
