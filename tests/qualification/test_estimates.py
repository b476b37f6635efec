"""A file and a single answer agree, on the demonstration's real addresses and on odd ones."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ispops.benches import million
from ispops.catalog import publishing
from ispops.demo import places
from ispops.errors import Refusal
from ispops.parties.models import Partner
from qualification import inquiries, judging, qualify, sheets, together
from qualification.estimates import Estimates
from qualification.models import Premises, ProviderAnswer, ProviderConnection
from qualification.sheets import Question
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
AT = LAUNCH + timedelta(days=10)
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


def answer_of(question: Question, kind: str = "consumer", at: datetime = AT) -> dict[str, str]:
    return answers_of([question], kind, at)[0]


def answers_of(
    questions: list[Question], kind: str = "consumer", at: datetime = AT
) -> list[dict[str, str]]:
    worker = Estimates(kind)
    worker.begin(at)
    rows: list[tuple[str, ...]] = []
    while len(rows) < len(questions):
        rows += worker.answer(questions[len(rows) :], at)
    return [dict(zip(sheets.RESULT_COLUMNS, row, strict=True)) for row in rows]


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
def test_file_and_single_answers_agree() -> None:
    million.load(4_400, at=LAUNCH)
    chance = random.Random(7)
    real = chance.sample([str(place) for place in Premises.objects.order_by("match_key")], 120)
    misspelt = [text.replace("e", "", 1) for text in real[:30]]
    renumbered = [text.replace("1", "7", 1) for text in real[30:60]]
    moved = [text[:-5] + other[-5:] for text, other in zip(real[60:80], real[80:100], strict=True)]
    texts = [*real, *misspelt, *renumbered, *moved, *ODD]
    many = answers_of([Question(address=text) for text in texts])
    states = set()
    for text, row in zip(texts, many, strict=True):
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


def test_business_and_consumer_are_told_apart() -> None:
    make_small_isp()
    oak = Question(address="1 Oak Street, Barre, VT 05641")
    assert "fibre-office" not in answer_of(oak)["result_plans"]
    assert "fibre-office" in answer_of(oak, "business")["result_plans"]


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def oak(number: int = 1) -> Question:
    return Question(address=f"{number} Oak Street, Barre, VT 05641")


def connect(partner: Partner, *, active: bool = True) -> None:
    ProviderConnection.objects.create(
        partner=partner, adapter="tmf645", base_url="https://example.com", active=active
    )


def test_provider_that_is_to_be_asked_has_not_promised_anything(isp: SmallIsp) -> None:
    elm = Question(address="1 Elm Street, Barre, VT 05641")
    assert answer_of(elm)["result_state"] == "qualified"
    connect(isp.copper)
    only_copper, both = answer_of(elm), answer_of(oak())
    assert (only_copper["result_state"], only_copper["result_confirm_with"]) == (
        "confirm_with_provider", "old-copper",
    )  # fmt: skip
    assert (both["result_state"], both["result_confirm_with"]) == ("qualified", "old-copper")
    stowe = answer_of(Question(address="1 Alpine Road, Stowe, VT 05672"))
    assert (stowe["result_state"], stowe["result_confirm_with"]) == ("not_qualified", "")


def test_connection_that_is_switched_off_asks_nobody(isp: SmallIsp) -> None:
    connect(isp.copper, active=False)
    row = answer_of(Question(address="1 Elm Street, Barre, VT 05641"))
    assert (row["result_state"], row["result_confirm_with"]) == ("qualified", "")


def test_word_of_a_provider_counts_before_its_list_until_it_expires(isp: SmallIsp) -> None:
    connect(isp.copper)
    elm = Question(address="1 Elm Street, Barre, VT 05641")
    told = ProviderAnswer.objects.create(
        connection=isp.copper.qualification_connection, premises=isp.elm_1, serviceable=False,
        lines=[], received_at=AT - timedelta(hours=1), expires_at=AT + timedelta(hours=1),
    )  # fmt: skip
    row = answer_of(elm)
    assert (row["result_state"], row["result_confirm_with"]) == ("not_qualified", "")
    listed = judging.known_facts(isp.elm_1, at=AT)[0].line
    ProviderAnswer.objects.create(
        connection=told.connection, premises=isp.elm_1, serviceable=True,
        lines=[judging.line_as_json(replace(listed, key=0, loop_length_m=300))],
        received_at=AT, expires_at=AT + timedelta(hours=2),
    )  # fmt: skip
    row = answer_of(elm)
    assert (row["result_state"], row["result_confirm_with"]) == ("qualified", "")
    assert row["result_plans"] == "dsl-25 dsl-6"
    row = answer_of(elm, at=AT + timedelta(hours=2))
    assert (row["result_state"], row["result_plans"]) == ("confirm_with_provider", "dsl-6")


def test_provider_that_is_asked_everywhere_is_named_everywhere(isp: SmallIsp) -> None:
    connect(isp.copper)
    ProviderConnection.objects.update(asked_everywhere=True)
    stowe = answer_of(Question(address="1 Alpine Road, Stowe, VT 05672"))
    assert (stowe["result_state"], stowe["result_confirm_with"]) == ("not_qualified", "old-copper")


def test_lines_of_many_are_those_of_one() -> None:
    million.load_demo(at=LAUNCH)
    connect(Partner.objects.get(code="copperline"))
    some = list(Premises.objects.order_by("match_key")[::10])
    connection = ProviderConnection.objects.get()
    for place in some[::4]:
        ProviderAnswer.objects.create(
            connection=connection, premises=place, serviceable=False, lines=[],
            received_at=AT, expires_at=AT + timedelta(hours=1),
        )  # fmt: skip
    many = together.LinesOfMany().at(some, AT)
    for place, reaching in zip(some, many, strict=True):
        one = inquiries.known_at(premises=place, at=AT)
        asked = {row.partner_id for row in one.to_ask}
        assert reaching.to_ask == asked
        assert [line for line in reaching.lines if line.provider not in asked] == [
            replace(fact.line, key=0) for fact in one.facts
        ]
    assert {len(reaching.lines) for reaching in many} == {0, 1, 2, 3}
    assert not all(line.has_free_port for reaching in many for line in reaching.lines)


def test_what_is_kept_is_read_anew_at_the_next_turn(isp: SmallIsp) -> None:
    worker = Estimates("consumer")
    worker.begin(AT)
    plans = sheets.RESULT_COLUMNS.index("result_plans")
    assert worker.answer([oak()], AT)[0][plans] == "dsl-25 dsl-6 fibre-500 fibre-and-films"
    publishing.withdraw_offering(offering=isp.dsl, at=AT)
    later = AT + timedelta(seconds=5)
    worker.begin(later)
    assert worker.answer([oak()], later)[0][plans] == "dsl-6 fibre-500 fibre-and-films"


def test_a_batch_of_known_addresses_costs_few_queries() -> None:
    million.load_demo(at=LAUNCH)
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
