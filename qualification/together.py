"""Reads for many places at once: where they are, and which lines reach them.

The same functions find a place as for a single answer; only the reads are shared by all places of
a batch.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from ispops.errors import InvalidInput, Refusal
from qualification import countries, gazetteer, judging, locating, queries
from qualification.addresses import Address
from qualification.eligibility import Line
from qualification.gazetteer import Localities
from qualification.locating import Place
from qualification.models import (
    AccessNode,
    AccessPort,
    CoverageArea,
    Premises,
    ProviderAnswer,
)
from qualification.sheets import Question

# So many misspelt or unlisted addresses are looked for in one batch: each takes milliseconds.
MOST_ALONE = 50
# By network and technology.
_Lines = dict[tuple[int, int], Line]


@dataclass(frozen=True, slots=True)
class Reaching:
    """The lines at a place, and the providers that a single answer would ask first.

    The lines of those are what their lists say. Of a provider that was asked lately they are what
    it said. No line has a key, so that places with the same lines are the same to who compares.
    """

    lines: tuple[Line, ...] = ()
    to_ask: frozenset[int] = frozenset()


class LinesOfMany:
    """The lines of many places, as `inquiries.known_at` finds them for one.

    What covers a cell is read once for as long as this is kept.
    """

    def __init__(self) -> None:
        self._cells: dict[str, _Lines] = {"": {}}
        self._connections = list(queries.active_connections())

    def at(self, places: Sequence[Premises], at: datetime) -> list[Reaching]:
        """Return what reaches each place."""
        areas = CoverageArea.objects.at(at).filter(provider__active=True)
        new = {place.h3_res8 for place in places}.difference(self._cells)
        if new:
            self._cells |= {cell: {} for cell in new}
            for row, line in _with_lines(areas.filter(h3_res8__one_of=new), at):
                self._cells[row.h3_res8][row.provider_id, row.technology] = line
        keys = [place.pk for place in places]
        own: defaultdict[UUID | None, _Lines] = defaultdict(dict)
        for row, line in _with_lines(areas.filter(premises__pk__one_of=keys), at):
            own[row.premises_id][row.provider_id, row.technology] = line
        listed = [_in_order(self._cells[one.h3_res8], own.get(one.pk)) for one in places]
        if not self._connections:
            return [Reaching(lines) for lines in listed]
        told = self._told(keys, at)
        return [
            self._with_word_of_providers(lines, told.get(key, {}))
            for key, lines in zip(keys, listed, strict=True)
        ]

    def _told(self, keys: list[UUID], at: datetime) -> dict[UUID, dict[int, ProviderAnswer]]:
        """Return what providers said of places lately: the latest by place and connection."""
        found: defaultdict[UUID, dict[int, ProviderAnswer]] = defaultdict(dict)
        answers = ProviderAnswer.objects.filter(premises__pk__one_of=keys, expires_at__gt=at)
        for answer in answers.order_by("expires_at", "pk"):
            found[answer.premises_id][answer.connection_id] = answer
        return found

    def _with_word_of_providers(
        self, listed: tuple[Line, ...], told: dict[int, ProviderAnswer]
    ) -> Reaching:
        reached = {line.provider for line in listed if line.max_download_kbps > 0}
        asked = [
            row for row in self._connections if row.asked_everywhere or row.partner_id in reached
        ]
        answered = {row.partner_id: told[row.pk] for row in asked if row.pk in told}
        said = [fact.line for answer in answered.values() for fact in judging.facts_of(answer)]
        return Reaching(
            lines=(*(line for line in listed if line.provider not in answered), *said),
            to_ask=frozenset(row.partner_id for row in asked if row.pk not in told),
        )


def _in_order(of_cell: _Lines, of_place: _Lines | None) -> tuple[Line, ...]:
    """Return the lines of a place: for one network and technology its own before its cell's."""
    lines = of_cell | of_place if of_place else of_cell
    return tuple([lines[key] for key in sorted(lines)])


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
        yield row, judging.line_of(row, key=0)


def places_of(
    questions: Sequence[Question], known: Localities, at: datetime
) -> list[Place | Refusal]:
    """Find the places of questions as a single answer would, or say why there is none.

    Ids and the addresses of known places are looked up for all together; only what is left over,
    which is misspelt or not listed, is looked for one by one, and ends the list when it is much.
    """
    by_id = Premises.objects.in_bulk(
        [key for question in questions if (key := Premises.key_of(question.premises_id))]
    )
    wanted = [question.location_id for question in questions if question.location_id]
    listed = {place.location_id: place for place in Premises.objects.filter(location_id__in=wanted)}
    texts = {question: text for question in questions if (text := _text(question))}
    by_text = _at_addresses(dict.fromkeys(texts.values()), known, at)
    found: list[Place | Refusal] = []
    for question in questions:
        key = Premises.key_of(question.premises_id)
        if question in texts:
            if texts[question] not in by_text:
                break
            found.append(by_text[texts[question]])
        elif premises := by_id.get(key) if key else listed.get(question.location_id):
            found.append(locating.known(premises))
        else:
            found.append(_named(question))
    return found


def _text(question: Question) -> str:
    return question.address or (
        countries.here().one_line(**dict(question.fields)) if question.fields else ""
    )


def _at_addresses(
    texts: Iterable[str], known: Localities, at: datetime
) -> dict[str, Place | Refusal]:
    found: dict[str, Place | Refusal] = {}
    readings: dict[str, list[Address]] = {}
    for text in texts:
        try:
            readings[text] = countries.here().parse(text)
        except Refusal as refusal:
            found[text] = refusal
    likeliest = [asked[0] for asked in readings.values()]
    rows = gazetteer.first_matching_each(likeliest, known)
    for text, asked, listed in zip(list(readings), likeliest, rows, strict=True):
        # The first step of `locating.among`; for most it is the last.
        if asked.postal_code and (place := locating.exactly(listed, asked)):
            found[text] = place
            del readings[text]
    alone = dict(islice(readings.items(), MOST_ALONE))
    rows = gazetteer.premises_matching_each(list(alone.values()), known)
    for (text, all_readings), listed in zip(alone.items(), rows, strict=True):
        found[text] = _one_by_one(all_readings, listed, at)
    return found


def _one_by_one(
    readings: Sequence[Address], listed: Sequence[Premises], at: datetime
) -> Place | Refusal:
    try:
        return locating.meant(readings, listed, at, as_written=False)
    except Refusal as refusal:
        return refusal


def _named(question: Question) -> Place | Refusal:
    """Look once more for a place that was not found by its id, for the words of the refusal."""
    try:
        if question.premises_id:
            return locating.by_id(question.premises_id)
        if question.location_id:
            return locating.by_location(question.location_id)
    except Refusal as refusal:
        return refusal
    return InvalidInput(question.error, field="row")
