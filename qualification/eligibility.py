"""Which offerings a place can have, and why not the others. Pure: no Django, no clock, no I/O.

Facts about the lines at a place, the kind of subscriber and the catalogue go in; one offer for
each product comes out, with a reason where it is refused, and with the closest plan that can be had
where a plan is. More speed on a line never removes an offer, and a line less never adds one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

COPPER = 10
# What a copper pair carries by its length: up to so many metres, kilobits a second down and up.
# VDSL2 (ITU-T G.993.2) near the node, ADSL2+ (G.992.5) further out, typical for 24-gauge cable.
DSL_RATES = (
    (300, 100_000, 40_000),
    (600, 70_000, 20_000),
    (1_000, 40_000, 8_000),
    (1_500, 25_000, 3_000),
    (2_500, 16_000, 1_000),
    (3_500, 8_000, 800),
    (4_500, 4_000, 700),
    (5_500, 1_500, 500),
)
# Refusals, from the farthest to the nearest to an offer; the nearest is the one that is told.
REASON_CODES = (
    "subscriber_kind",
    "not_priced",
    "no_coverage",
    "too_slow",
    "loop_too_long",
    "planned",
    "no_free_port",
    "no_line",
    "line_too_slow",
    "latency_too_high",
    "part_not_available",
)
# Refusals that no network can lift, because they are about who asks or what is sold.
NOT_OF_THE_NETWORK = frozenset({"subscriber_kind", "not_priced", "part_not_available"})
GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True, slots=True)
class Line:
    """What one network can deliver at the place with one technology.

    Speeds are in kilobits a second. `has_free_port` is true where ports are not counted. A line
    with a `planned_date` is to be built by then and delivers nothing before. `confidence` is MEF
    Sonata's: green, yellow or red.
    """

    key: int
    provider: int
    provider_name: str
    technology: int
    technology_name: str
    max_download_kbps: int
    max_upload_kbps: int
    low_latency: bool = True
    install_days: int = 0
    loop_length_m: int | None = None
    construction_fee: Decimal = Decimal(0)
    construction_days: int = 0
    has_free_port: bool = True
    planned_date: date | None = None
    confidence: str = GREEN

    @property
    def needs_construction(self) -> bool:
        return self.construction_days > 0 or self.construction_fee > 0


@dataclass(frozen=True, slots=True)
class Product:
    """What the catalogue says of an offering; `kind` is access, bsp, addon or bundle.

    `subscriber_kind` is empty where anyone may have it. `components` are the keys of a bundle's
    parts. The speeds of an add-on are what it adds to its line's.
    """

    key: int
    name: str
    kind: str
    has_price: bool = True
    subscriber_kind: str = ""
    provider: int | None = None
    provider_name: str = ""
    technology: int | None = None
    technology_name: str = ""
    download_kbps: int = 0
    upload_kbps: int = 0
    needs_download_kbps: int = 0
    needs_low_latency: bool = False
    components: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One product in the answer: eligible, or refused with a code of `REASON_CODES` and words.

    `line` is the one that delivers it, or that would if the refusal did not stand; `plan` is the
    access plan whose speeds it has. Both are None for what no line of its own comes with.
    `alternative` is the closest plan that can be had, for a refused plan where there is one.
    """

    product: Product
    line: Line | None = None
    plan: Product | None = None
    reason_code: str = ""
    reason: str = ""
    alternative: Product | None = None

    @property
    def eligible(self) -> bool:
        return not self.reason_code


def judge(lines: Iterable[Line], subscriber_kind: str, catalogue: Sequence[Product]) -> list[Offer]:
    """Return one offer for each product of the catalogue, in its order."""
    known = list(lines)
    access = {
        product.key: _access(product, known, subscriber_kind)
        for product in catalogue
        if product.kind == "access"
    }
    ready = [offer for offer in access.values() if offer.eligible and offer.product.has_price]
    parts = {part.key: part for part in catalogue}
    offers = []
    for product in catalogue:
        if not product.has_price:
            offer = Offer(product, None, None, "not_priced", "It has no price at the moment.")
        elif wrong := _wrong_kind(product, subscriber_kind):
            offer = wrong
        elif product.kind == "access":
            offer = access[product.key]
        elif product.kind == "bundle":
            offer = _bundle(product, access, parts, subscriber_kind)
        else:
            offer = _carried_by_any(product, ready)
        offers.append(offer)
    return _with_alternatives(offers, parts)


def outcome(offers: Iterable[Offer]) -> str:
    """Sum offers up: `qualified`, `qualified_with_construction` or `not_qualified`."""
    lines = [offer.line for offer in offers if offer.eligible and offer.line]
    if not lines:
        return "not_qualified"
    built = all(line.needs_construction for line in lines)
    return "qualified_with_construction" if built else "qualified"


def can_carry(plan: Product, line: Line, product: Product) -> Offer:
    """Judge whether a line with an access plan carries a partner's product or an add-on.

    A speed boost, whose speeds are more than the plan's, needs a line that has them both together.
    """
    if product.kind == "addon" and product.download_kbps:
        return _boosted(plan, line, product)
    speed = min(plan.download_kbps, usable_kbps(line)[0])
    if speed < product.needs_download_kbps:
        return Offer(
            product,
            reason_code="line_too_slow",
            reason=f"It needs {in_mbits(product.needs_download_kbps)}; "
            f"the fastest line here has {in_mbits(speed)}.",
        )
    if product.needs_low_latency and not line.low_latency:
        return Offer(
            product,
            reason_code="latency_too_high",
            reason="It needs a line with a short response time, which this one has not.",
        )
    return Offer(product)


def _boosted(plan: Product, line: Line, boost: Product) -> Offer:
    download, upload = usable_kbps(line)
    wanted = plan.download_kbps + boost.download_kbps, plan.upload_kbps + boost.upload_kbps
    if wanted[0] <= download and wanted[1] <= upload:
        return Offer(boost)
    return Offer(
        boost,
        reason_code="line_too_slow",
        reason=f"With {plan.name} it needs {in_mbits(wanted[0])} down and "
        f"{in_mbits(wanted[1])} up; the line here has {in_mbits(download)} down and "
        f"{in_mbits(upload)} up.",
    )


def usable_kbps(line: Line) -> tuple[int, int]:
    """Return the speeds, down and up, that a line reaches: copper is limited by its length."""
    if line.technology != COPPER or line.loop_length_m is None:
        return line.max_download_kbps, line.max_upload_kbps
    for length, download, upload in DSL_RATES:
        if line.loop_length_m <= length:
            return min(line.max_download_kbps, download), min(line.max_upload_kbps, upload)
    return 0, 0


def in_mbits(kbps: int) -> str:
    """Write a speed for people: `25 Mbit/s`, `1.5 Gbit/s`."""
    if kbps >= 1_000_000:
        return f"{Decimal(kbps) / 1_000_000:.2f}".rstrip("0").rstrip(".") + " Gbit/s"
    return f"{Decimal(kbps) / 1_000:.1f}".removesuffix(".0") + " Mbit/s"


def in_words(day: date) -> str:
    """Write a day for people: `March 31, 2027`."""
    return f"{day:%B} {day.day}, {day.year}"


def _with_alternatives(offers: list[Offer], parts: Mapping[int, Product]) -> list[Offer]:
    """Name the closest plan that can be had with each plan that cannot."""
    open_plans = [offer.product for offer in offers if offer.eligible and offer.plan]
    return [
        replace(offer, alternative=_closest(offer.product, open_plans, parts))
        if not offer.eligible and offer.product.kind in ("access", "bundle")
        else offer
        for offer in offers
    ]


def _closest(
    wanted: Product, candidates: Iterable[Product], parts: Mapping[int, Product]
) -> Product | None:
    """Return the plan most like the one that was wanted: of its network first, then by its speed.

    Of two alike, whoever wanted an aggregated plan gets one. None where nothing can be had, or
    where nobody knows any more what line was wanted.
    """
    plan = _line_plan(wanted, parts)
    if plan is None:
        return None

    def distance(product: Product) -> tuple[bool, int, int, bool]:
        other = _line_plan(product, parts) or product
        return (
            other.provider != plan.provider,
            abs(other.download_kbps - plan.download_kbps),
            abs(other.upload_kbps - plan.upload_kbps),
            product.kind != wanted.kind,
        )

    return min(candidates, key=distance, default=None)


def _line_plan(product: Product, parts: Mapping[int, Product]) -> Product | None:
    """Return the access plan that is sold: the product itself, or the one inside a bundle."""
    if product.kind == "access":
        return product
    inside = (parts[key] for key in product.components if key in parts)
    return next((part for part in inside if part.kind == "access"), None)


def _wrong_kind(product: Product, subscriber_kind: str) -> Offer | None:
    if product.subscriber_kind in ("", subscriber_kind):
        return None
    who = "businesses" if product.subscriber_kind == "business" else "private customers"
    return Offer(product, reason_code="subscriber_kind", reason=f"It is for {who} only.")


def _access(product: Product, lines: Iterable[Line], subscriber_kind: str) -> Offer:
    """Judge an access plan by the best line of its network and technology."""
    if wrong := _wrong_kind(product, subscriber_kind):
        return wrong
    offers = [
        _on_line(product, line)
        for line in lines
        if line.provider == product.provider
        and line.technology == product.technology
        and line.max_download_kbps > 0
    ]
    nowhere = Offer(
        product,
        reason_code="no_coverage",
        reason=f"{product.provider_name} does not reach this address "
        f"with {product.technology_name}.",
    )
    return max(offers, key=_preference, default=nowhere)


def _on_line(product: Product, line: Line) -> Offer:
    code, reason = _too_slow(product, line)
    if not code and line.planned_date:
        code, reason = (
            "planned",
            f"{line.provider_name} has not built its {line.technology_name} line here yet. "
            f"It is planned for {in_words(line.planned_date)}.",
        )
    elif not code and not line.has_free_port:
        code, reason = (
            "no_free_port",
            f"All connections of {line.provider_name} in this area are taken at the moment.",
        )
    return Offer(product, line, product, code, reason)


def _too_slow(product: Product, line: Line) -> tuple[str, str]:
    """Return why a line is too slow for a plan, as a code and in words; empty when it is not."""
    download, upload = usable_kbps(line)
    if download >= product.download_kbps and upload >= product.upload_kbps:
        return "", ""
    wanted = f"{in_mbits(product.download_kbps)} down and {in_mbits(product.upload_kbps)} up"
    has = f"{in_mbits(download)} down and {in_mbits(upload)} up"
    if line.max_download_kbps < product.download_kbps or line.max_upload_kbps < product.upload_kbps:
        which = "that is planned here will have" if line.planned_date else "here has"
        return "too_slow", f"The line {which} {has}; the plan needs {wanted}."
    return (
        "loop_too_long",
        f"The copper line is {line.loop_length_m:,} m long and has {has}; the plan needs {wanted}.",
    )


def _preference(offer: Offer) -> tuple[bool, int, bool, int]:
    """Rank the lines for one plan: possible, else nearly so; nothing to build; soon."""
    line = offer.line
    if line is None:
        return False, -1, False, 0
    nearness = REASON_CODES.index(offer.reason_code) if offer.reason_code else len(REASON_CODES)
    days = line.install_days + line.construction_days
    return offer.eligible, nearness, not line.needs_construction, -days


def _carried_by_any(product: Product, ready: Iterable[Offer]) -> Offer:
    """Judge what a line carries by the lines that could be ordered; one that can is enough."""
    best = Offer(
        product, reason_code="no_line", reason="There is no line here that could carry it."
    )
    speed = -1
    for access in ready:
        if access.line is None:
            continue
        offer = can_carry(access.product, access.line, product)
        if offer.eligible:
            return offer
        if access.product.download_kbps > speed:
            best, speed = offer, access.product.download_kbps
    return best


def _bundle(
    product: Product, access: dict[int, Offer], parts: dict[int, Product], subscriber_kind: str
) -> Offer:
    """Judge an aggregated plan: its line must be possible, and must carry all other parts."""
    base = next((access[key] for key in product.components if key in access), None)
    if base is None or any(key not in parts for key in product.components):
        return Offer(
            product,
            reason_code="part_not_available",
            reason="A part of this plan is not sold at the moment.",
        )
    if not base.eligible:
        return Offer(product, base.line, base.plan, base.reason_code, base.reason)
    for key in product.components:
        part = parts[key]
        if part.kind == "access" or base.line is None:
            continue
        carried = _wrong_kind(part, subscriber_kind) or can_carry(base.product, base.line, part)
        if not carried.eligible:
            reason = f"{part.name}, a part of it: {carried.reason}"
            return Offer(product, base.line, base.plan, carried.reason_code, reason)
    return Offer(product, base.line, base.plan)
