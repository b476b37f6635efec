"""Finding places among many: completion while typing, misspellings, points, and the indexes."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ispops.benches import million
from ispops.errors import Refusal
from qualification import coverage, gazetteer, qualify
from qualification.gazetteer import suggest
from qualification.models import Premises, ServiceQualification
from tests.small_isp import ELM_POINT, LAUNCH, OAK, OAK_POINT, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def ask(text: str, *, as_written: bool = False) -> ServiceQualification:
    return qualify.qualify_address(text=text, channel="csr", as_written=as_written, at=AT)


def addresses_of(answer: ServiceQualification) -> list[str]:
    return [entry["address"] for entry in answer.candidates]


def add(*rows: dict[str, object]) -> None:
    assert not coverage.import_premises(rows=rows, at=AT).rejected


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("1 Oa", ["1 Oak Street, Barre, VT 05641"]),
        ("1 Oak Stre", ["1 Oak Street, Barre, VT 05641"]),
        ("1 oak street barre", ["1 Oak Street, Barre, VT 05641"]),
        ("5 oak", ["5 Oak Street #1, Barre, VT 05641", "5 Oak Street #2, Barre, VT 05641"]),
        ("5 oak st #2", ["5 Oak Street #2, Barre, VT 05641"]),
        ("9", []),
        ("oak", ["Oak Street, Barre, VT 05641"]),
        ("Oak Street, Ba", ["Oak Street, Barre, VT 05641"]),
        ("alpine stowe", []),
        ("05641", ["Elm Street, Barre, VT 05641", "Oak Street, Barre, VT 05641"]),
        ("05641 1", ["Elm Street, Barre, VT 05641", "Oak Street, Barre, VT 05641"]),
        ("05641 1 oak", ["1 Oak Street, Barre, VT 05641"]),
        ("05672 1 oak", []),
        ("05641, elm", ["Elm Street, Barre, VT 05641"]),
        ("", []),
        ("1 Oak%", ["1 Oak Street, Barre, VT 05641"]),
        ("1 _ak", []),
        ("улица", []),
        ("1 Oak\x00", []),
    ],
)
def test_suggestions(isp: SmallIsp, typed: str, found: list[str]) -> None:
    assert [entry.text for entry in suggest(typed)] == found


def test_street_to_be_completed_has_no_id(isp: SmallIsp) -> None:
    assert [bool(entry.premises_id) for entry in suggest("oak")] == [False]
    assert [entry.premises_id for entry in suggest("1 oak")] == [isp.oak_1.public_id]


def test_suggestions_are_few_and_only_of_the_lists(isp: SmallIsp) -> None:
    ask("1 Oak Lane, Barre, VT 05641", as_written=True)
    assert Premises.objects.filter(source=Premises.Source.ASKED).count() == 1
    assert [entry.text for entry in suggest("1 Oak")] == ["1 Oak Street, Barre, VT 05641"]
    assert [entry.text for entry in suggest("oak")] == ["Oak Street, Barre, VT 05641"]
    assert len(suggest("1", limit=1)) == 1


def test_units_of_a_building_come_in_the_order_of_their_numbers(isp: SmallIsp) -> None:
    add(*({"street": "9 Tower Road", "unit": str(number), **OAK} for number in range(1, 12)))
    assert addresses_of(ask("9 Tower Rd, Barre, VT 05641"))[:3] == [
        f"9 Tower Road #{number}, Barre, VT 05641" for number in (1, 2, 3)
    ]
    assert [entry.text for entry in suggest("9 tower rd #11")] == [
        "9 Tower Road #11, Barre, VT 05641"
    ]


def test_large_building_shows_some_and_finds_each(isp: SmallIsp) -> None:
    add(*({"street": "9 Tower Road", "unit": str(number), **OAK} for number in range(1, 251)))
    last = ask("9 Tower Rd #250, Barre, VT 05641")
    assert last.premises.unit == "#250"
    some = ask("9 Tower Rd, Barre, VT 05641")
    assert len(some.candidates) == gazetteer.MOST_CANDIDATES
    assert some.remark == "There are more. Add the unit, such as #12, to the address."


@pytest.mark.parametrize(
    "text",
    [
        "1 Alpin Road, Stowe, VT 05672",
        "1 Apline Rd, Stowe, VT 05672",
        "1 Alpine Street, Stowe, VT 05672",
        "1 North Alpine, Stowe, VT 05672",
        "1 Alpin Road, 05672",
        "1 Alpin Road, Stowe, VT",
        "1 Alpine Road, Stow, VT",
        "1 Alpine Road, Stowe, NH",
        "1 Alpine Road, Stowe, VT 05641",
    ],
)
def test_what_is_nearly_a_known_place_asks_whether_it_is_meant(isp: SmallIsp, text: str) -> None:
    answer = ask(text)
    assert answer.state == "choose"
    assert [entry["id"] for entry in answer.candidates] == [isp.stowe.public_id]
    assert (answer.confidence, "Did you mean" in answer.remark) == ("yellow", True)
    assert not Premises.objects.filter(source=Premises.Source.ASKED).exists()


@pytest.mark.parametrize("text", ["1 Oka Street, Barre, VT 05641", "3 Oak Avenue, Barre, VT 05641"])
def test_asker_may_say_that_the_address_is_right_as_it_is(isp: SmallIsp, text: str) -> None:
    assert ask(text).state == "choose"
    answer = ask(text, as_written=True)
    assert (answer.state, answer.confidence) == ("qualified", "yellow")
    assert answer.premises.source == Premises.Source.ASKED
    assert "near " in answer.remark, "the street that is alike still tells the area"


def test_wrong_zip_code_is_taken_when_the_asker_says_so(isp: SmallIsp) -> None:
    answer = ask("1 Alpine Road, Stowe, VT 05641", as_written=True)
    assert (answer.premises.postal_code, answer.premises.source) == ("05641", "asked")


def test_known_street_is_not_taken_for_another_that_is_alike(isp: SmallIsp) -> None:
    add({"street": "7 Oat Street", **OAK})
    answer = ask("7 Oak Street, Barre, VT 05641")
    assert (answer.state, answer.candidates) == ("qualified", [])


def test_likeliest_street_comes_first(isp: SmallIsp) -> None:
    add(*({"street": f"8 {name} Road", **OAK} for name in ("Quarry Hall", "Quarry Hill", "Elmo")))
    assert addresses_of(ask("8 Quarry Hil Rd, Barre, VT 05641")) == [
        "8 Quarry Hill Road, Barre, VT 05641",
        "8 Quarry Hall Road, Barre, VT 05641",
    ]


def test_misspelt_street_without_a_postal_code_in_a_large_city_needs_one(isp: SmallIsp) -> None:
    big = {"city": "Metropolis", "region": "VT"}
    add(*({"street": "8 Quarry Road", **big, "postal_code": f"0590{n}"} for n in range(9)))
    with pytest.raises(Refusal, match="Add the ZIP code"):
        ask("8 Quary Road, Metropolis, VT")
    assert len(addresses_of(ask("8 Quary Road, Metropolis, VT 05903"))) == 1


def test_range_of_numbers_offers_the_places_in_it(isp: SmallIsp) -> None:
    assert addresses_of(ask("1-5 Oak Street, Barre, VT 05641")) == [
        "1 Oak Street, Barre, VT 05641",
        "3 Oak Street, Barre, VT 05641",
        "5 Oak Street #1, Barre, VT 05641",
        "5 Oak Street #2, Barre, VT 05641",
    ]
    assert addresses_of(ask("2-4 Oak Street, Barre, VT 05641")) == []


def test_number_within_a_range_of_the_list_is_that_place(isp: SmallIsp) -> None:
    point = {"latitude": OAK_POINT[0], "longitude": OAK_POINT[1]}
    add({"street": "10-14 Oak Street", **OAK, **point})
    answer = ask("12 Oak Street, Barre, VT 05641")
    assert (str(answer.premises), answer.confidence) == (
        "10-14 Oak Street, Barre, VT 05641", "yellow",
    )  # fmt: skip
    assert answer.remark.startswith("We know this place as 10-14 Oak Street.")
    assert ask("10-14 Oak Street, Barre, VT 05641").confidence == "green"
    assert ask("13 Oak Street, Barre, VT 05641").premises.source == Premises.Source.ASKED


def test_what_others_asked_for_is_shown_to_nobody(isp: SmallIsp) -> None:
    mine = ask("7 Oak Street #3, Barre, VT 05641")
    assert mine.premises.source == Premises.Source.ASKED
    other = ask("7 Oak Street, Barre, VT 05641")
    assert (other.candidates, other.premises.unit) == ([], "")
    assert ask("7 Oak Street, Barre, VT 05641").premises == other.premises
    assert ask("7 Oak Street #3, Barre, VT 05641").premises == mine.premises
    ask("5 Oak Street #9, Barre, VT 05641")
    assert addresses_of(ask("5 Oak Street, Barre, VT 05641")) == [
        f"5 Oak Street #{unit}, Barre, VT 05641" for unit in (1, 2)
    ]


def around(point: tuple[float, float], north_m: float = 0) -> list[tuple[str, int]]:
    where = (Decimal(str(point[0] + north_m / 111_195)), Decimal(str(point[1])))
    return [
        (place.premises.street, place.distance_m)
        for place in gazetteer.near(*where, within_m=None, limit=20)
    ]


def test_places_around_a_point_come_with_their_distance(isp: SmallIsp) -> None:
    north, east = ELM_POINT
    add({"street": "8 Far Road", **OAK, "latitude": north + 0.001, "longitude": east})
    assert around(ELM_POINT) == [("1 Elm Street", 0), ("8 Far Road", 111)]
    assert around(ELM_POINT, 100) == [("8 Far Road", 11), ("1 Elm Street", 100)]
    assert around((0, 0)) == []
    assert around((90, 180)) == around((-90, -180)) == []


MANY = 40_000


def queries_of(call: Callable[[], object]) -> Iterator[tuple[str, str]]:
    """Yield each query of a call that reads places, with PostgreSQL's plan of it."""
    with CaptureQueriesContext(connection) as seen:
        call()
    with connection.cursor() as cursor:
        for query in seen.captured_queries:
            if "FROM " in query["sql"] and "qualification_premises" in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                yield query["sql"], "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.timeout(300)
def test_no_question_reads_all_of_many_places_and_suggestions_come_at_once() -> None:
    million.load(MANY, at=LAUNCH)
    assert Premises.objects.count() >= MANY
    known = random.Random(1).choice(million.some(100))
    street = known.street.partition(" ")[2]
    rest = f"{known.city}, {known.region} {known.postal_code}"
    typed = [
        "1", "10", "108 e", "1 m", "main", "e", "zzz", known.postal_code, f"{known.postal_code} 1",
        f"{known.postal_code} {street[:4]}", f"{known.postal_code} 1 {street[:1]}", str(known),
    ]  # fmt: skip
    calls = [lambda text=text: suggest(text) for text in typed]
    texts = [
        str(known), f"{known.street}, {known.postal_code}", str(known).rpartition(" ")[0],
        f"{known.street}x, {rest}", f"{known.street}x, {known.city}, {known.region}",
        f"{known.street}, {known.city}x, {known.region}", f"99999 {street}, {rest}",
        f"1-9 {street}, {rest}", f"1 Zebra Crossing, {rest}",
    ]  # fmt: skip
    calls += [lambda text=text: ask_quietly(text=text) for text in texts]
    north, east = float(known.latitude or 0), float(known.longitude or 0)
    calls += [
        lambda step=step: ask_quietly(latitude=north + step, longitude=east)
        for step in (0, 0.001, 0.006, 9)
    ]
    calls.append(lambda: ask_quietly(location_id=known.location_id))
    seen = 0
    for call in calls:
        for sql, plan in queries_of(call):
            seen += 1
            assert "Seq Scan on qualification_premises" not in plan, f"{sql}\n{plan}"
    assert seen > len(calls)
    for text in typed:
        assert best_of(5, lambda text=text: suggest(text)) < 0.1, text


def ask_quietly(**place: object) -> None:
    with contextlib.suppress(Refusal):
        qualify.qualify_address(**place, channel="csr", at=AT)


def best_of(times: int, call: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return min(once() for _ in range(times))
