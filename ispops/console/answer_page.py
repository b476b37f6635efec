"""The page about one answer: what was promised then, on which facts, and what is there today."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from ispops.money import format_money
from ispops.parties.models import AuditEntry
from qualification import judging, overriding, queries
from qualification.eligibility import in_mbits, in_words
from qualification.models import AccessPort, CoverageArea, QualifiedOffer, ServiceQualification
from qualification.models.places import is_free

Key = tuple[int, int]
HOLD_DAYS = (1, 2, 3, 5, 7)
COLUMNS = ("Node", "Up to", "Response", "Ready in", "Known for")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about a network: as it was then, and as it is today where that is another."""

    label: str
    then: str
    now: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """A network at the place; `then` or `now` is false where it was not or is no longer there."""

    provider_name: str
    technology_name: str
    is_on_net: bool
    facts: list[Fact]
    free_then: str
    free_now: str
    then: bool = True
    now: bool = True


@dataclass(frozen=True, slots=True)
class Promised:
    """An offer of the answer, and the node that it was promised on."""

    offer: QualifiedOffer
    node: str


@dataclass(slots=True)
class Page:
    """All that the page shows of an answer beside the answer itself."""

    offers: list[Promised] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    # What may be promised by hand, and who has promised what this answer does.
    refused: list[QualifiedOffer] = field(default_factory=list)
    overridden: AuditEntry | None = None
    replaced_by: list[ServiceQualification] = field(default_factory=list)
    # The port that is held now, and the networks on which one can be.
    held: AccessPort | None = None
    can_hold: list[QualifiedOffer] = field(default_factory=list)

    @property
    def can_be_ordered(self) -> bool:
        return any(row.offer.eligible and _is_plan(row.offer) for row in self.offers)


def describe(answer: ServiceQualification, at: datetime) -> Page:
    """Read what a page shows of an answer."""
    offers = queries.offers_of(answer)
    areas = _areas(answer, at)
    nodes = {_key(kept): kept["node"] for kept in answer.lines}
    is_open = at < answer.expires_at
    page = Page(
        offers=[Promised(offer, nodes.get(_offer_key(offer), "")) for offer in offers],
        networks=_networks(answer, areas, at),
        overridden=_override_of(answer),
        replaced_by=list(answer.overridden_by.order_by("pk")),
        held=_held(answer, at),
    )
    if is_open:
        page.can_hold = _on_counted_ports(offers, areas)
    if is_open and answer.state in overriding.ANSWERED:
        page.refused = [offer for offer in offers if overriding.can_be_promised(offer)]
    return page


def _areas(answer: ServiceQualification, at: datetime) -> dict[Key, CoverageArea]:
    place = answer.premises
    if place is None:
        return {}
    rows = queries.coverage_at(place, place.h3_res8, at, answer.public_id)
    return {(row.provider_id, row.technology): row for row in rows}


def _networks(
    answer: ServiceQualification, areas: dict[Key, CoverageArea], at: datetime
) -> list[Network]:
    """Put the facts of then beside those of today, network by network."""
    then = {_key(kept): kept for kept in answer.lines}
    now = {key: judging.fact_as_json(judging.fact(row)) for key, row in areas.items()}
    counts = _counts(areas.values(), at)
    networks = []
    for key in sorted(then.keys() | now.keys()):
        old, new = then.get(key), now.get(key)
        shown = old or new or {}
        area = areas.get(key)
        networks.append(
            Network(
                provider_name=shown["provider_name"],
                technology_name=shown["technology_name"],
                is_on_net=shown["is_on_net"],
                facts=_compared(old, new),
                free_then=_free_words(old),
                free_now=counts.get(area.node_id or 0, "not counted") if area else "—",
                then=old is not None,
                # What a network told of itself is in no list that could be looked at today.
                now=new is not None or not shown["key"],
            )
        )
    return networks


def _compared(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[Fact]:
    if old is None or new is None:
        words = _words(old or new or {})
        return [Fact(label, words[label]) for label in COLUMNS]
    then, now = _words(old), _words(new)
    return [
        Fact(label, then[label], now[label] if now[label] != then[label] else "")
        for label in COLUMNS
    ]


def _words(kept: dict[str, Any]) -> dict[str, str]:
    line = judging.line_from_json(kept)
    speeds = f"{in_mbits(kept['usable_download_kbps'])} / {in_mbits(kept['usable_upload_kbps'])}"
    loop = f", loop {line.loop_length_m} m" if line.loop_length_m else ""
    ready = f"{line.install_days} days"
    if line.construction_days:
        ready += f" and {line.construction_days} of construction"
    if line.construction_fee:
        ready += f", {format_money(line.construction_fee, settings.CURRENCY)}"
    if line.planned_date:
        ready = f"planned for {in_words(line.planned_date)}"
    return {
        "Node": kept["node"] or "—",
        "Up to": speeds + loop if line.max_download_kbps else "passes by",
        "Response": "short" if line.low_latency else "long",
        "Ready in": ready,
        "Known for": "this address" if kept["is_of_the_place"] else "the whole cell",
    }


def _free_words(kept: dict[str, Any] | None) -> str:
    if kept is None:
        return "—"
    free = kept["free_ports"]
    if free is None:
        return "not counted"
    return f"{free} or more" if free >= queries.MOST_PORTS_COUNTED else str(free)


def _counts(areas: Iterable[CoverageArea], at: datetime) -> dict[int, str]:
    """Count the ports of the nodes at the place in words: `2 of 4, 1 held`."""
    nodes = [area.node_id for area in areas if area.node_id]
    if not nodes:
        return {}
    rows = (
        AccessPort.objects.filter(node__in=nodes)
        .order_by()
        .values("node")
        .annotate(
            total=Count("pk"),
            free=Count("pk", filter=is_free(at)),
            held=Count("pk", filter=Q(held_until__gt=at)),
        )
    )
    return {
        row["node"]: f"{row['free']} of {row['total']}"
        + (f", {row['held']} held" if row["held"] else "")
        for row in rows
    }


def _override_of(answer: ServiceQualification) -> AuditEntry | None:
    if answer.overrides_id is None:
        return None
    said = AuditEntry.objects.filter(subject=answer.public_id, action="qualification.overridden")
    return said.select_related("actor").first()


def _held(answer: ServiceQualification, at: datetime) -> AccessPort | None:
    held = AccessPort.objects.held(at).filter(held_for=answer.public_id)
    return held.select_related("node__provider").first()


def _on_counted_ports(
    offers: Iterable[QualifiedOffer], areas: dict[Key, CoverageArea]
) -> list[QualifiedOffer]:
    """Return one plan for each network that has a port to hold."""
    found = {
        _offer_key(offer): offer
        for offer in offers
        if offer.eligible and _is_plan(offer) and _has_node(areas.get(_offer_key(offer)))
    }
    return list(found.values())


def _has_node(area: CoverageArea | None) -> bool:
    return area is not None and area.node_id is not None


def _is_plan(offer: QualifiedOffer) -> bool:
    return offer.offering.kind in ("access", "bundle")


def _key(kept: dict[str, Any]) -> Key:
    return kept["provider"], kept["technology"]


def _offer_key(offer: QualifiedOffer) -> Key:
    return offer.provider_id or 0, offer.technology if offer.technology is not None else -1
