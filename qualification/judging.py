"""What an answer holds: the lines at a place, judged by the catalogue, as columns that stay.

Whoever reads an answer years later reads these columns and never the catalogue of that day, so
everything that is shown of an offer is copied here: names, terms, speeds, reasons.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.conf import settings

from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.catalog.models import Technology
from qualification import eligibility, queries
from qualification.eligibility import Line
from qualification.models import (
    CoverageArea,
    Premises,
    ProviderAnswer,
    QualifiedOffer,
    ServiceQualification,
)

Confidence = ServiceQualification.Confidence
_FROM_WEAK_TO_SURE = (Confidence.RED, Confidence.YELLOW, Confidence.GREEN)
_latest: tuple[tuple[SoldOffering, ...], tuple[eligibility.Product, ...]] | None = None
_USABLE = ("usable_download_kbps", "usable_upload_kbps")
_TECHNOLOGIES = dict(Technology.choices)
_LINE_FIELDS = frozenset(field.name for field in fields(Line))


@dataclass(frozen=True, slots=True)
class Fact:
    """A line at the place, and what staff may know of it besides: its node and its free ports.

    `free_ports` is counted up to `queries.MOST_PORTS_COUNTED`; None where nobody counts them.
    """

    line: Line
    node: str = ""
    free_ports: int | None = None
    is_on_net: bool = False
    # Whether it is known of this very place, and not of the area around it.
    is_of_the_place: bool = True


@dataclass(frozen=True)
class Judgement:
    """What the lines at a place make of the catalogue at a moment."""

    facts: Sequence[Fact]
    verdicts: Sequence[tuple[SoldOffering, eligibility.Offer]]
    # How sure the place is; no offer is surer.
    confidence: str

    @property
    def outcome(self) -> str:
        """`qualified`, `qualified_with_construction` or `not_qualified`."""
        return eligibility.outcome(offer for _, offer in self.verdicts)

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The facts as `ServiceQualification.lines` keeps them."""
        return [fact_as_json(fact) for fact in self.facts]

    def offers(self, answer: ServiceQualification) -> list[QualifiedOffer]:
        """Return one unsaved offer of the answer for each product of the catalogue."""
        names = {sold.offering.pk: sold.offering for sold, _ in self.verdicts}
        rows = []
        for sold, offer in self.verdicts:
            row = _row(answer, sold, offer)
            row.confidence = weaker(self.confidence, offer.line.confidence if offer.line else "")
            inside = [names[key] for key in sold.components if key in names]
            row.parts = [{"code": part.code, "name": part.name} for part in inside]
            rows.append(row)
        return rows


def judge(
    facts: Iterable[Fact],
    *,
    subscriber_kind: str,
    at: datetime,
    confidence: str = Confidence.GREEN,
) -> Judgement:
    """Judge everything that is sold at a moment by the lines at a place."""
    known = list(facts)
    sold = catalogue_at(at, settings.CURRENCY)
    products = _products(sold)
    offers = eligibility.judge([fact.line for fact in known], subscriber_kind, products)
    return Judgement(known, list(zip(sold, offers, strict=True)), confidence)


def known_facts(premises: Premises, *, at: datetime, holder: str = "") -> list[Fact]:
    """Return the lines at a place as far as coverage lists say.

    `holder` is the public id of the answer that is settled: a port that is held for it is free.
    """
    return [fact(row) for row in queries.coverage_at(premises, premises.h3_res8, at, holder)]


def line_of(row: CoverageArea, *, key: int | None = None) -> Line:
    """Return the line of a row of coverage whose free ports are counted; the key is the row's."""
    return Line(
        key=row.pk if key is None else key,
        provider=row.provider_id,
        provider_name=row.provider.name,
        technology=row.technology,
        technology_name=_TECHNOLOGIES[row.technology],
        max_download_kbps=row.max_download_kbps,
        max_upload_kbps=row.max_upload_kbps,
        low_latency=row.low_latency,
        install_days=row.install_days,
        loop_length_m=row.loop_length_m,
        construction_fee=row.construction_fee,
        construction_days=row.construction_days,
        has_free_port=row.free_ports != 0,
        planned_date=row.planned_date,
        # What is known of an area need not be true of every house in it.
        confidence=Confidence.GREEN if row.premises_id else Confidence.YELLOW,
    )


def fact(row: CoverageArea) -> Fact:
    """Return what a row of `queries.coverage_at` says."""
    return Fact(
        line=line_of(row),
        node=row.node.name if row.node else "",
        free_ports=row.free_ports,
        is_on_net=row.provider.is_on_net,
        is_of_the_place=row.premises_id is not None,
    )


def line_as_json(line: Line) -> dict[str, Any]:
    """Return a line as plain JSON; `line_from_json` reads it again."""
    return {
        field.name: str(value) if isinstance(value, Decimal | date) else value
        for field in fields(line)
        for value in [getattr(line, field.name)]
    }


def line_from_json(kept: dict[str, Any]) -> Line:
    """Read a line that `line_as_json` wrote; what else is kept with it is left out.

    Raises:
        TypeError, ValueError, ArithmeticError: something that a line needs is missing or wrong.
    """
    facts = {name: value for name, value in kept.items() if name in _LINE_FIELDS}
    if facts.get("planned_date"):
        facts["planned_date"] = date.fromisoformat(facts["planned_date"])
    if "construction_fee" in facts:
        facts["construction_fee"] = Decimal(facts["construction_fee"])
    return Line(**facts)


def fact_as_json(fact: Fact) -> dict[str, Any]:
    """Return a fact as plain JSON: its line, with the speeds that it reaches, and the rest."""
    return (
        line_as_json(fact.line)
        | dict(zip(_USABLE, eligibility.usable_kbps(fact.line), strict=True))
        | {
            "node": fact.node,
            "free_ports": fact.free_ports,
            "is_on_net": fact.is_on_net,
            "is_of_the_place": fact.is_of_the_place,
        }
    )


def fact_from_json(kept: dict[str, Any]) -> Fact:
    """Read a fact as `Judgement.lines` wrote it."""
    return Fact(
        line=line_from_json(kept),
        node=kept["node"],
        free_ports=kept["free_ports"],
        is_on_net=kept["is_on_net"],
        is_of_the_place=kept["is_of_the_place"],
    )


def facts_of(answer: ProviderAnswer) -> list[Fact]:
    """Return the lines that a provider said it can deliver."""
    return [Fact(line_from_json(kept)) for kept in answer.lines]


def weaker(one: str, other: str) -> str:
    """Return the less sure of two levels of confidence; an empty one does not count."""
    levels = [level for level in (one, other) if level]
    return min(levels, key=lambda level: _FROM_WEAK_TO_SURE.index(Confidence(level)))


def _products(sold: tuple[SoldOffering, ...]) -> tuple[eligibility.Product, ...]:
    """Return what eligibility has to know of a catalogue, worked out once for each that is kept."""
    global _latest
    latest = _latest
    if latest is None or latest[0] is not sold:
        latest = _latest = sold, tuple(_product(entry) for entry in sold)
    return latest[1]


def _product(sold: SoldOffering) -> eligibility.Product:
    offering = sold.offering
    return eligibility.Product(
        key=offering.pk,
        name=offering.name,
        kind=offering.kind,
        has_price=sold.has_price,
        subscriber_kind=offering.subscriber_kind,
        provider=offering.provider_id,
        provider_name=offering.provider.name if offering.provider else "",
        technology=offering.technology,
        technology_name=_TECHNOLOGIES[offering.technology] if offering.technology else "",
        download_kbps=offering.download_kbps or 0,
        upload_kbps=offering.upload_kbps or 0,
        needs_download_kbps=offering.needs_download_kbps,
        needs_low_latency=offering.needs_low_latency,
        components=sold.components,
    )


def _row(
    answer: ServiceQualification, sold: SoldOffering, offer: eligibility.Offer
) -> QualifiedOffer:
    line, plan, offering = offer.line, offer.plan, sold.offering
    return QualifiedOffer(
        qualification=answer,
        offering=offering,
        provider_id=offering.provider_id or (line.provider if line else None),
        # A line that a provider told of itself has no row of coverage.
        coverage_id=(line.key or None) if line else None,
        offering_name=offering.name,
        provider_name=_provider_name(sold, line),
        description=offering.description,
        is_subscription=offering.is_subscription,
        eligible=offer.eligible,
        reason_code=offer.reason_code,
        reason=offer.reason[:300],
        alternative_id=offer.alternative.key if offer.alternative else None,
        planned_date=line.planned_date if line and offer.reason_code == "planned" else None,
        technology=plan.technology if plan else offering.technology,
        download_kbps=plan.download_kbps if plan else offering.download_kbps,
        upload_kbps=plan.upload_kbps if plan else offering.upload_kbps,
        low_latency=line.low_latency if line else None,
        install_days=line.install_days + line.construction_days if line else None,
        currency=settings.CURRENCY,
        one_off_amount=sold.one_off_amount or Decimal(0),
        recurring_amount=sold.recurring_amount or Decimal(0),
        construction_fee=line.construction_fee if line else Decimal(0),
        usage_terms=sold.usage_terms[:300],
    )


def _provider_name(sold: SoldOffering, line: Line | None) -> str:
    if sold.offering.provider:
        return sold.offering.provider.name
    return line.provider_name if line else ""
