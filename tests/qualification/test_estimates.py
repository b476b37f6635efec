"""What a file of addresses is answered."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ispops.catalog import publishing
from ispops.parties.models import Partner
from qualification import judging, sheets
from qualification.estimates import Estimates
from qualification.models import ProviderAnswer, ProviderConnection
from qualification.sheets import Question
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
AT = LAUNCH + timedelta(days=10)


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


def test_what_is_kept_is_read_anew_at_the_next_turn(isp: SmallIsp) -> None:
    worker = Estimates("consumer")
    worker.begin(AT)
    plans = sheets.RESULT_COLUMNS.index("result_plans")
    assert worker.answer([oak()], AT)[0][plans] == "dsl-25 dsl-6 fibre-500 fibre-and-films"
    publishing.withdraw_offering(offering=isp.dsl, at=AT)
    later = AT + timedelta(seconds=5)
    worker.begin(later)
    assert worker.answer([oak()], later)[0][plans] == "dsl-6 fibre-500 fibre-and-films"
