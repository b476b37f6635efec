"""Reads for many places at once: what each can have by the lists, without asking and keeping.

The same functions find and judge a place as for a single answer; only the reads are shared by all
places of a batch, and places with the same lines are judged once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet

from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.errors import InvalidInput, NotFound, Refusal
from ispops.money import round_to_minor_unit
from qualification import countries, eligibility, judging, locating
from qualification.eligibility import Line, Offer
from qualification.judging import Fact, Judgement
from qualification.locating import Place
from qualification.models import (
    AccessNode,
    AccessPort,
    CoverageArea,
    Premises,
    ProviderConnection,
    ServiceQualification,
)
from qualification.sheets import Question

State = ServiceQualification.State
# What only a file of answers says: no place is named, or a provider that is to be asked delivers.
UNUSABLE = "unusable"
CONFIRM = "confirm_with_provider"
_PLANS = frozenset({"access", "bundle"})
_MOST_KEPT = 20_000
_NO_OFFERS = ("",) * 12
_NONE: dict[tuple[int, int], Line] = {}
_Lines = defaultdict[object, dict[tuple[int, int], Line]]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What some lines come to: the state, and the columns from `result_provider` on."""

    state: str
    columns: tuple[str, ...]


class Estimates:
    """Answers questions in batches; keeps what it worked out from one batch to the next."""

    def __init__(self, subscriber_kind: str) -> None:
        self._subscriber_kind = subscriber_kind
        self._outcomes: dict[tuple[Line, ...], _Outcome] = {}
        self._sold: Sequence[SoldOffering] = ()
        self._connected: frozenset[int] = frozenset()

    def answer(self, questions: Sequence[Question], at: datetime) -> list[tuple[str, ...]]:
        """Return the values of `sheets.RESULT_COLUMNS` for each question; the first is the state.

        Nothing is written, nobody is asked and no port is held: a premises that a single answer
        would make up is described and has no id.
        """
        self._refresh(at)
        found = places_of(questions, at)
        premises = [one.premises for one in found if isinstance(one, Place) and one.premises]
        lines = iter(lines_of(premises, at))
        return [
            _unusable(place)
            if isinstance(place, Refusal)
            else self._row(place, next(lines) if place.premises else (), at)
            for place in found
        ]

    def _refresh(self, at: datetime) -> None:
        """Forget what was worked out from another catalogue, or of other providers to be asked."""
        sold = catalogue_at(at, settings.CURRENCY)
        connected = frozenset(
            ProviderConnection.objects.filter(active=True).values_list("partner", flat=True)
        )
        if (
            sold is not self._sold
            or connected != self._connected
            or len(self._outcomes) > _MOST_KEPT
        ):
            self._sold, self._connected, self._outcomes = sold, connected, {}

    def _row(self, place: Place, lines: tuple[Line, ...], at: datetime) -> tuple[str, ...]:
        premises = place.premises
        if premises is None:
            state = State.CHOOSE if place.candidates else State.OUT_OF_FOOTPRINT
            return (
                state, place.confidence, "", "", "", str(len(place.candidates)), place.remark,
                *_NO_OFFERS, "", "",
            )  # fmt: skip
        outcome = self._outcome(lines, at)
        return (
            outcome.state,
            place.confidence,
            str(premises),
            "" if premises._state.adding else premises.public_id,
            premises.location_id or "",
            "1",
            place.remark,
            *outcome.columns,
            "",
            "",
        )

    def _outcome(self, lines: tuple[Line, ...], at: datetime) -> _Outcome:
        known = self._outcomes.get(lines)
        if known is None:
            facts = [Fact(line) for line in lines]
            judged = judging.judge(facts, subscriber_kind=self._subscriber_kind, at=at)
            known = self._outcomes[lines] = _summed_up(judged, self._connected)
        return known


@cache
def kept_for(subscriber_kind: str) -> Estimates:
    """Return the estimates of this process, with what they have worked out so far."""
    return Estimates(subscriber_kind)


def places_of(questions: Sequence[Question], at: datetime) -> list[Place | Refusal]:
    """Find the place of each question as a single answer would, or say why there is none."""
    named = Premises.objects.in_bulk(
        [key for question in questions if (key := Premises.key_of(question.premises_id))]
    )
    wanted = [question.location_id for question in questions if question.location_id]
    listed = {place.location_id: place for place in Premises.objects.filter(location_id__in=wanted)}
    found: list[Place | Refusal] = []
    for question in questions:
        try:
            found.append(_place_of(question, named, listed, at))
        except Refusal as refusal:
            found.append(refusal)
    return found


def lines_of(places: Sequence[Premises], at: datetime) -> list[tuple[Line, ...]]:
    """Return the lines of each place, as `queries.coverage_at` finds them for one.

    The lines have no key, so that places with the same lines are the same to whoever compares.
    """
    areas = CoverageArea.objects.at(at).filter(provider__active=True)
    in_cell: _Lines = defaultdict(dict)
    at_place: _Lines = defaultdict(dict)
    cells = {place.h3_res8 for place in places if place.h3_res8}
    for row, line in _with_lines(areas.filter(h3_res8__in=cells), at):
        in_cell[row.h3_res8][row.provider_id, row.technology] = line
    for row, line in _with_lines(areas.filter(premises__in=[one.pk for one in places]), at):
        at_place[row.premises_id][row.provider_id, row.technology] = line
    found = []
    for place in places:
        lines = in_cell.get(place.h3_res8, _NONE)
        if own := at_place.get(place.pk):
            lines = lines | own
        found.append(tuple([lines[key] for key in sorted(lines)]))
    return found


def _with_lines(
    areas: "QuerySet[CoverageArea]", at: datetime
) -> Iterator[tuple[CoverageArea, Line]]:
    rows = list(areas.prefetch_related("provider"))
    nodes = {row.node_id for row in rows if row.node_id}
    ports = AccessPort.objects.filter(node=OuterRef("pk")).free(at)
    open_nodes = AccessNode.objects.filter(Exists(ports), pk__in=nodes).values_list("pk", flat=True)
    having = set(open_nodes) if nodes else set()
    for row in rows:
        row.free_ports = int(row.node_id in having) if row.node_id else None
        yield row, replace(judging.line_of(row), key=0)


def _place_of(
    question: Question,
    named: dict[UUID, Premises],
    listed: dict[str | None, Premises],
    at: datetime,
) -> Place:
    """Find one place among those that were read for all, or as for a single answer."""
    if question.error:
        raise InvalidInput(question.error, field="row")
    if question.premises_id:
        key = Premises.key_of(question.premises_id)
        if key not in named:
            raise NotFound("There is no place with this id.", field="premises_id")
        return locating.known(named[key])
    if question.location_id:
        if question.location_id not in listed:
            raise NotFound("There is no place with this location id.", field="location_id")
        return locating.known(listed[question.location_id])
    text = question.address or countries.here().one_line(**dict(question.fields))
    return locating.by_text(text, at)


def _unusable(refusal: Refusal) -> tuple[str, ...]:
    blank = ("",) * 6
    return (UNUSABLE, *blank, *_NO_OFFERS, refusal.field, refusal.detail)


def _summed_up(judged: Judgement, connected: frozenset[int]) -> _Outcome:
    """Sum a judgement up; a provider that is to be asked has not promised anything yet."""
    plans = [(sold, offer) for sold, offer in judged.verdicts if offer.product.kind in _PLANS]
    eligible = [(sold, offer) for sold, offer in plans if offer.eligible]
    sure = [
        offer
        for _, offer in judged.verdicts
        if offer.line is None or offer.line.provider not in connected
    ]
    state = eligibility.outcome(sure)
    if state == State.NOT_QUALIFIED and eligible:
        state = CONFIRM
    to_ask = {
        sold.offering.provider.code if sold.offering.provider else offer.line.provider_name
        for sold, offer in eligible
        if offer.line and offer.line.provider in connected
    }
    return _Outcome(
        state,
        (
            *_best_line([offer.line for _, offer in eligible if offer.line]),
            *_cheapest(sold for sold, _ in eligible),
            " ".join(sorted(sold.offering.code for sold, _ in eligible)),
            " ".join(sorted(to_ask)),
            *_nearest([(sold, offer) for sold, offer in plans if not offer.eligible]),
        ),
    )


def _best_line(lines: Iterable[Line]) -> tuple[str, ...]:
    """Return provider, technology and speeds of the fastest line that a plan can be had on."""
    reached = [(eligibility.usable_kbps(line), line) for line in lines]
    if not reached:
        return ("",) * 4
    (down, up), line = max(reached, key=lambda pair: pair[0])
    return line.provider_name, line.technology_name, str(down), str(up)


def _cheapest(plans: Iterable[SoldOffering]) -> tuple[str, ...]:
    """Return the plan with the lowest price of a month before tax, the price and its currency."""
    priced = [(plan.recurring_amount or Decimal(0), plan.offering.code) for plan in plans]
    if not priced:
        return ("",) * 3
    amount, code = min(priced)
    currency = settings.CURRENCY
    return code, str(round_to_minor_unit(amount, currency)), currency


def _nearest(refused: Sequence[tuple[SoldOffering, Offer]]) -> tuple[str, ...]:
    """Return the plan that was refused for the reason nearest to an offer, and the reason."""
    if not refused:
        return ("",) * 3
    sold, offer = max(refused, key=lambda pair: eligibility.REASON_CODES.index(pair[1].reason_code))
    return sold.offering.code, offer.reason_code, offer.reason
