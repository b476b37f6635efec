"""A file and a single answer agree, on the demonstration's real addresses and on odd ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ispops.benches import million
from ispops.demo import places
from ispops.errors import Refusal
from ispops.parties.models import Partner
from qualification import inquiries, qualify, together
from qualification.estimates import Estimates
from qualification.models import Premises, ProviderAnswer, ProviderConnection
from qualification.sheets import Question
from tests.qualification.test_estimates import AT, answers_of, connect
from tests.small_isp import LAUNCH

# Together, because the places are made once for all of them.
pytestmark = pytest.mark.xdist_group("many_places")
ODD = (
    places.TWO_NETWORKS, places.DSL_ONLY, places.NOT_COVERED, places.SEVERAL_UNITS,
    places.WITH_CONSTRUCTION, places.FULL_NODE, places.UNLISTED, places.OUTSIDE,
    "x" * 301, "Main Street", "12 Knox Street", "PO Box 1, Barre, VT 05641",
    "12 Knox Street, Manchester", "12 Knox Street, Manchester, CT", "12 Knox Street, 06040",
    "12 KNOX ST MANCHESTER CT 06040-1234", "12 knox st., manchester ct", "12 Knox Street, CT 06040",
    "12 Knoks Street, Manchester, CT 06040", "12 Knox Street, Manchester, CT 06042",
    "12 Knox Street, Mancester, CT 06040", "12 Knox Street, Hartford, CT 06040",
    "12 Knox Street Apt 9, Manchester, CT 06040", "10-16 Knox Street, Manchester, CT 06040",
    "1150 South Clarizz Boulevard #2, Bloomington, IN 47401", "1150 S Clarizz Blvd",
    "Caf\N{LATIN SMALL LETTER E WITH ACUTE}, 12 Knox Street, Manchester, CT 06040",
    "\N{CYRILLIC CAPITAL LETTER U}lica 1", "12 Knox Street\nManchester, CT 06040", "12\x07 Knox",
    "12 Knox Street, Manchester, CT 06040, USA", "8 Holland Ct D, Nowhere, VT 05641",
)  # fmt: skip


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The demonstration's places, and more: every test works in a savepoint on top of them."""
    with django_db_blocker.unblock(), transaction.atomic():
        million.load(4_400, at=LAUNCH)
        yield
        transaction.set_rollback(True)


def single(text: str, kind: str) -> dict[str, str]:
    """What a single answer says, in the words of the file."""
    try:
        answer = qualify.qualify_address(text=text, channel="partner", subscriber_kind=kind, at=AT)
    except Refusal as refusal:
        return {
            "result_state": "unusable", "result_error_field": refusal.field,
            "result_error": refusal.detail,
        }  # fmt: skip
    plans = answer.offers.filter(eligible=True, offering__kind__in=("access", "bundle"))
    return {
        "result_state": answer.state,
        "result_confidence": answer.confidence,
        "result_address": answer.address,
        "result_remark": answer.remark,
        "result_candidates": str(len(answer.candidates) or int(bool(answer.premises))),
        "result_plans": " ".join(sorted(plans.values_list("offering__code", flat=True))),
        "result_error_field": "",
        "result_error": "",
    }


@pytest.mark.timeout(300)
def test_file_and_single_answers_agree(many: None, db: None) -> None:
    chance = random.Random(7)
    real = chance.sample([str(place) for place in Premises.objects.order_by("match_key")], 60)
    misspelt = [text.replace("e", "", 1) for text in real[:15]]
    renumbered = [text.replace("1", "7", 1) for text in real[15:30]]
    moved = [text[:-5] + other[-5:] for text, other in zip(real[30:40], real[40:50], strict=True)]
    texts = [*real, *misspelt, *renumbered, *moved, *ODD]
    of_file = answers_of([Question(address=text) for text in texts])
    states = set()
    for text, row in zip(texts, of_file, strict=True):
        with transaction.atomic():
            one = single(text, "consumer")
            # It keeps the place that it made up, which the next ones are not to find.
            transaction.set_rollback(True)
        assert {name: row[name] for name in one} == one, text
        states.add(row["result_state"])
    assert states == {
        "qualified", "qualified_with_construction", "not_qualified", "choose", "out_of_footprint",
        "unusable",
    }  # fmt: skip


def test_lines_of_many_are_those_of_one(many: None, db: None) -> None:
    connect(Partner.objects.get(code="copperline"))
    some = list(Premises.objects.order_by("match_key")[::10])
    connection = ProviderConnection.objects.get()
    for place in some[::4]:
        ProviderAnswer.objects.create(
            connection=connection, premises=place, serviceable=False, lines=[],
            received_at=AT, expires_at=AT + timedelta(hours=1),
        )  # fmt: skip
    found = together.LinesOfMany().at(some, AT)
    for place, reaching in zip(some, found, strict=True):
        one = inquiries.known_at(premises=place, at=AT)
        asked = {row.partner_id for row in one.to_ask}
        assert reaching.to_ask == asked
        assert [line for line in reaching.lines if line.provider not in asked] == [
            replace(fact.line, key=0) for fact in one.facts
        ]
    assert {len(reaching.lines) for reaching in found} == {0, 1, 2, 3}
    assert not all(line.has_free_port for reaching in found for line in reaching.lines)


def test_a_batch_of_known_addresses_costs_few_queries(many: None, db: None) -> None:
    known = Premises.objects.filter(unit="", match_key__contains=" ST, ").order_by("match_key")
    questions = [Question(address=str(place)) for place in known[:300]]
    worker = Estimates("consumer")
    worker.begin(AT)
    worker.answer(questions, AT)
    with CaptureQueriesContext(connection) as first:
        worker.answer(questions[:10], AT)
    with CaptureQueriesContext(connection) as again:
        worker.answer(questions, AT)
    assert len(again) <= len(first) + 2
    assert len(again) <= 8
