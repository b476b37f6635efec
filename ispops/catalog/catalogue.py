"""The catalogue as it is sold at a moment, kept in memory until it changes.

Every answer to *can I get service here?* needs all of it, and it changes a few times a month. So
a process keeps what it read under the number of the catalogue's revision, which triggers change
with every change of what was read. A number is never used twice, not even by a transaction that
was rolled back; so what is kept under it can be old, but never wrong.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import connection

from ispops.catalog.models import BundleComponent, OfferingPrice, ProductOffering
from ispops.catalog.queries import usage_words

# A database, and the number of its catalogue.
Revision = tuple[str, int]
_MOMENTS_KEPT = 16
_READS = 3
_REVISION = "SELECT number FROM catalog_cataloguerevision WHERE id = 1"


@dataclass(frozen=True, slots=True)
class SoldOffering:
    """An offering as it is sold at a moment, with its prices in one currency.

    Amounts are net of tax; None where there is no such price. `components` are the keys of the
    offerings inside a bundle, `usage_terms` the prices by use in words. Callers share these
    objects and the rows in them: they are to be read only.
    """

    offering: ProductOffering
    components: tuple[int, ...] = ()
    one_off_amount: Decimal | None = None
    recurring_amount: Decimal | None = None
    usage_prices: tuple[OfferingPrice, ...] = ()
    usage_terms: str = ""

    @property
    def has_price(self) -> bool:
        amounts = (self.one_off_amount, self.recurring_amount)
        return bool(self.usage_prices) or any(amount is not None for amount in amounts)


@dataclass(frozen=True, slots=True)
class _Everything:
    """All offerings, parts and prices there ever were, and what has been worked out of them."""

    revision: Revision | None
    offerings: tuple[ProductOffering, ...]
    components: dict[int, tuple[int, ...]]
    prices: tuple[OfferingPrice, ...]
    # By offering, and then in the order of units and time.
    usage_prices: dict[int, tuple[OfferingPrice, ...]]
    moments: dict[tuple[str, datetime | None], "_Moment"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is sold at a moment: for places, and the bundles that a line buys from partners."""

    for_places: tuple[SoldOffering, ...]
    packages: tuple[SoldOffering, ...]


_kept: _Everything | None = None


def catalogue_at(at: datetime, currency: str) -> tuple[SoldOffering, ...]:
    """Everything that a place can have at a moment, in a steady order; mostly one small query.

    That is all that is sold but more data, and bundles of partners' products, which are for a line
    that is there already.

    The same object is returned for as long as nothing changes, so that what is worked out of it
    can be kept beside it.
    """
    return _moment(at, currency).for_places


def packages_at(at: datetime, currency: str) -> tuple[SoldOffering, ...]:
    """Every bundle of partners' products that is sold at a moment; see `catalogue_at`."""
    return _moment(at, currency).packages


def usage_prices_of(offering_ids: Iterable[int]) -> Iterator[OfferingPrice]:
    """Give every price by use of some offerings, of any time: of each offering in the order of
    units and time. Mostly one small query."""
    found = _everything().usage_prices
    for key in offering_ids:
        yield from found.get(key, ())


def _moment(at: datetime, currency: str) -> _Moment:
    everything = _everything()
    # Nothing changes between two moments at which something begins or ends.
    since = max((moment for moment in _turns(everything) if moment <= at), default=None)
    found = everything.moments.get((currency, since))
    if found is None:
        sold = tuple(_sold_at(everything, at, currency))
        found = _Moment(
            tuple(one for one in sold if one.offering.kind != ProductOffering.Kind.PACKAGE),
            tuple(one for one in sold if one.offering.kind == ProductOffering.Kind.PACKAGE),
        )
        while len(everything.moments) >= _MOMENTS_KEPT:
            everything.moments.pop(next(iter(everything.moments)), None)
        everything.moments[currency, since] = found
    return found


def _everything() -> _Everything:
    """Return what is kept, if it is of this revision; read it anew otherwise."""
    global _kept
    number = revision()
    if _kept is not None and number is not None and _kept.revision == number:
        return _kept
    for _ in range(_READS):
        found = _read(number)
        now = revision()
        if now == number:
            break
        number = now  # It changed while it was read.
    if found.revision is not None:
        _kept = found
    return found


def revision() -> Revision | None:
    """Return the database and the number of its catalogue; None where nothing was ever sold."""
    with connection.cursor() as cursor:
        cursor.execute(_REVISION)
        row = cursor.fetchone()
    return revision_of(row[0]) if row else None


def revision_of(number: int | None) -> Revision | None:
    """Return `revision`, where the number was read by a larger statement."""
    return None if number is None else (str(connection.settings_dict["NAME"]), number)


def _read(revision: Revision | None) -> _Everything:
    parts: defaultdict[int, list[int]] = defaultdict(list)
    for bundle, part in BundleComponent.objects.order_by("pk").values_list("bundle", "component"):
        parts[bundle].append(part)
    prices = tuple(OfferingPrice.objects.order_by("pk"))
    of_use: defaultdict[int, list[OfferingPrice]] = defaultdict(list)
    for price in sorted(prices, key=lambda price: (price.unit, price.valid_from, price.pk)):
        if price.charge == OfferingPrice.Charge.USAGE:
            of_use[price.offering_id].append(price)
    return _Everything(
        revision=revision,
        offerings=tuple(ProductOffering.objects.select_related("provider").order_by("kind", "pk")),
        components={bundle: tuple(found) for bundle, found in parts.items()},
        prices=prices,
        usage_prices={offering: tuple(found) for offering, found in of_use.items()},
    )


def _turns(everything: _Everything) -> Iterator[datetime]:
    for offering in everything.offerings:
        yield offering.sold_from
        if offering.sold_to:
            yield offering.sold_to
    for price in everything.prices:
        yield price.valid_from
        if price.valid_to:
            yield price.valid_to


def _sold_at(everything: _Everything, at: datetime, currency: str) -> Iterator[SoldOffering]:
    prices: defaultdict[int, list[OfferingPrice]] = defaultdict(list)
    for price in everything.prices:
        if price.currency == currency and _in_force(price.valid_from, price.valid_to, at):
            prices[price.offering_id].append(price)
    for offering in everything.offerings:
        is_for_lines = offering.addon_type == ProductOffering.Addon.DATA_PACK
        if _in_force(offering.sold_from, offering.sold_to, at) and not is_for_lines:
            parts = everything.components.get(offering.pk, ())
            yield _sold(offering, prices[offering.pk], parts)


def _in_force(start: datetime, end: datetime | None, at: datetime) -> bool:
    return start <= at and (end is None or at < end)


def _sold(
    offering: ProductOffering, prices: Iterable[OfferingPrice], parts: tuple[int, ...]
) -> SoldOffering:
    amounts = {price.charge: price.amount for price in prices}
    usage = tuple(price for price in prices if price.charge == OfferingPrice.Charge.USAGE)
    return SoldOffering(
        offering=offering,
        components=parts,
        one_off_amount=amounts.get(OfferingPrice.Charge.ONE_OFF),
        recurring_amount=amounts.get(OfferingPrice.Charge.RECURRING),
        usage_prices=usage,
        usage_terms="; ".join(usage_words(price) for price in usage),
    )
