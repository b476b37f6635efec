"""What many places can have, by the lists, without asking anybody and keeping anything.

A place is judged as for a single answer; places with the same lines are judged once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache

from django.conf import settings

from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.errors import Refusal
from ispops.money import round_to_minor_unit
from ispops.parties.models import Partner
from qualification import eligibility, gazetteer, judging, together
from qualification.eligibility import Line, Offer
from qualification.judging import Fact, Judgement
from qualification.locating import Place
from qualification.models import ServiceQualification
from qualification.sheets import Question
from qualification.together import Reaching

State = ServiceQualification.State
# What only a file of answers says: no place is named, or a provider that is to be asked delivers.
UNUSABLE = "unusable"
CONFIRM = "confirm_with_provider"
_PLANS = frozenset({"access", "bundle"})
_MOST_KEPT = 20_000
_NO_OFFERS = ("",) * 12
_NOTHING = Reaching()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What some lines come to: the state, and the columns from `result_provider` on."""

    state: str
    columns: tuple[str, ...]


class Estimates:
    """Answers questions in batches; what was read for one serves the next until `begin`."""

    def __init__(self, subscriber_kind: str) -> None:
        self._subscriber_kind = subscriber_kind
        self._outcomes: dict[Reaching, _Outcome] = {}
        self._sold: Sequence[SoldOffering] = ()

    def begin(self, at: datetime) -> None:
        """Read anew what may have changed: prices, providers, cities and the lines of cells."""
        sold = catalogue_at(at, settings.CURRENCY)
        if sold is not self._sold or len(self._outcomes) > _MOST_KEPT:
            self._sold, self._outcomes = sold, {}
        self._localities = gazetteer.localities()
        self._lines = together.LinesOfMany()

    def answer(self, questions: Sequence[Question], at: datetime) -> list[tuple[str, ...]]:
        """Return the values of `sheets.RESULT_COLUMNS` for the questions; the first is the state.

        Those that follow on `together.MOST_ALONE` addresses which are looked for by themselves are
        left out, so that no batch takes long. Nothing is written, nobody is asked and no port is
        held: a premises that a single answer would make up is described and has no id.
        """
        found = together.places_of(questions, self._localities, at)
        premises = [one.premises for one in found if isinstance(one, Place) and one.premises]
        reaching = iter(self._lines.at(premises, at))
        return [
            _unusable(place)
            if isinstance(place, Refusal)
            else self._row(place, next(reaching) if place.premises else _NOTHING, at)
            for place in found
        ]

    def _row(self, place: Place, reaching: Reaching, at: datetime) -> tuple[str, ...]:
        premises = place.premises
        if premises is None:
            state = State.CHOOSE if place.candidates else State.OUT_OF_FOOTPRINT
            return (
                state, place.confidence, "", "", "", str(len(place.candidates)), place.remark,
                *_NO_OFFERS, "", "",
            )  # fmt: skip
        outcome = self._outcome(reaching, at)
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

    def _outcome(self, reaching: Reaching, at: datetime) -> _Outcome:
        known = self._outcomes.get(reaching)
        if known is None:
            facts = [Fact(line) for line in reaching.lines]
            judged = judging.judge(facts, subscriber_kind=self._subscriber_kind, at=at)
            known = self._outcomes[reaching] = _summed_up(judged, reaching.to_ask)
        return known


@cache
def kept_for(subscriber_kind: str) -> Estimates:
    """Return the estimates of this process, with what they have worked out so far."""
    return Estimates(subscriber_kind)


def _unusable(refusal: Refusal) -> tuple[str, ...]:
    blank = ("",) * 6
    return (UNUSABLE, *blank, *_NO_OFFERS, refusal.field, refusal.detail)


def _summed_up(judged: Judgement, to_ask: frozenset[int]) -> _Outcome:
    """Sum a judgement up; a provider that is to be asked has not promised anything yet."""
    plans = [(sold, offer) for sold, offer in judged.verdicts if offer.product.kind in _PLANS]
    eligible = [(sold, offer) for sold, offer in plans if offer.eligible]
    sure = [
        offer
        for _, offer in judged.verdicts
        if offer.line is None or offer.line.provider not in to_ask
    ]
    state = eligibility.outcome(sure)
    if state == State.NOT_QUALIFIED and eligible:
        state = CONFIRM
    codes = Partner.objects.filter(pk__in=to_ask).values_list("code", flat=True) if to_ask else ()
    return _Outcome(
        state,
        (
            *_best_line([offer.line for _, offer in eligible if offer.line]),
            *_cheapest(sold for sold, _ in eligible),
            " ".join(sorted(sold.offering.code for sold, _ in eligible)),
            " ".join(sorted(codes)),
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
