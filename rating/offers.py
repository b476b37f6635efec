"""What a subscriber is shown before agreeing to buy: the price, the tax, once or every month."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ispops.catalog.catalogue import catalogue_at
from ispops.catalog.models import OfferingPrice, ProductOffering
from ispops.money import format_money, from_micros, round_to_minor_unit
from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating.amounts import WHOLE, portion
from rating.purchases import quote
from rating.tariff import Tariff

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Offer:
    """What something costs: at once, each month after that, and by use."""

    currency: str
    now_net: Decimal
    now_tax: Decimal
    once_net: Decimal
    once_tax: Decimal
    month_net: Decimal
    month_tax: Decimal
    usage_terms: str
    # It costs this once and never again, whatever is used, and whichever prices begin later.
    is_single: bool

    @property
    def now(self) -> Decimal:
        """What is charged at once, with tax: of a month, the part that is left of it."""
        return self.now_net + self.now_tax

    @property
    def once(self) -> Decimal:
        return self.once_net + self.once_tax

    @property
    def month(self) -> Decimal:
        return self.month_net + self.month_tax

    @property
    def in_words(self) -> str:
        """Say what it costs: `USD 5.49 once, with tax`."""
        parts = [f"{_coins(self.once, self.currency)} once"] if self.once else []
        parts += [f"{_coins(self.month, self.currency)} a month"] if self.month else []
        words = [f"{' and '.join(parts)}, with tax"] if parts else []
        return "; ".join([*words, *([self.usage_terms] if self.usage_terms else [])])

    @property
    def digest(self) -> str:
        """What tells this offer from one at another price; the part of a month is left out."""
        facts = self.facts
        kept = {name: facts[name] for name in sorted(facts) if not name.startswith("now")}
        return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:32]

    @property
    def facts(self) -> dict[str, Any]:
        """What is kept of it with the consent."""
        amounts = ("now_net", "now_tax", "once_net", "once_tax", "month_net", "month_tax")
        shown = {name: str(getattr(self, name)) for name in amounts}
        return {"currency": self.currency, **shown, "usage_terms": self.usage_terms}


def offer(
    *, subscriber: Subscriber, line: Service, offering: ProductOffering, at: datetime
) -> Offer:
    """Return what buying something costs at a moment. Raises what `purchases.quote` does."""
    drafts = quote(subscriber=subscriber, line=line, offering=offering, at=at)
    currency, tariff = subscriber.currency, Tariff.of([offering.pk])
    sold = next((s for s in catalogue_at(at, currency) if s.offering.pk == offering.pk), None)
    return Offer(
        currency,
        sum((draft.amount_net for draft in drafts), ZERO),
        sum((draft.amount_tax for draft in drafts), ZERO),
        *_price(tariff, offering, OfferingPrice.Charge.ONE_OFF, at, currency),
        *_price(tariff, offering, OfferingPrice.Charge.RECURRING, at, currency),
        sold.usage_terms if sold else "",
        is_single=not (offering.is_subscription or tariff.costs_again(offering.pk, at, currency)),
    )


def _coins(amount: Decimal, currency: str) -> str:
    return format_money(round_to_minor_unit(amount, currency), currency)


def _price(
    tariff: Tariff, offering: ProductOffering, charge: str, at: datetime, currency: str
) -> tuple[Decimal, Decimal]:
    """Return a price and the tax on it, before any discount."""
    rate = tariff.rate(offering.pk, charge, at, currency, bundle_id=None)
    if rate is None:
        return ZERO, ZERO
    terms = tariff.parties(offering.pk, at, rate.price.tax_category).terms
    tax = portion(rate.amount, terms.tax_milli, WHOLE, half_up=True)
    return from_micros(rate.amount), from_micros(tax)
