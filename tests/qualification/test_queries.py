"""Completion while typing, and the indexes under the look-ups."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from ispops.parties import accounts
from qualification import coverage, qualify, queries
from qualification.countries import us
from qualification.models import Premises
from tests.small_isp import LAUNCH, OAK, SmallIsp, make_small_isp

AT = LAUNCH + timedelta(days=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("1 Oa", ["1 Oak Street, Barre, VT 05641"]),
        ("1 Oak Stre", ["1 Oak Street, Barre, VT 05641"]),
        ("1 oak street barre", ["1 Oak Street, Barre, VT 05641"]),
        ("5 oak", ["5 Oak Street #1, Barre, VT 05641", "5 Oak Street #2, Barre, VT 05641"]),
        ("9", []),
        ("oak", []),
        ("", []),
        ("1 Oak%", ["1 Oak Street, Barre, VT 05641"]),
        ("1 _ak", []),
    ],
)
def test_suggestions(isp: SmallIsp, typed: str, found: list[str]) -> None:
    assert [str(place) for place in queries.suggest(typed)] == found


def test_suggestions_are_few_and_only_of_the_lists(isp: SmallIsp) -> None:
    qualify.qualify_address(text="1 Oak Lane, Barre, VT 05641", channel="portal", at=AT)
    assert Premises.objects.filter(source=Premises.Source.ASKED).count() == 1
    assert [place.street for place in queries.suggest("1 Oak")] == ["1 Oak Street"]
    assert len(queries.suggest("1", limit=1)) == 1


def plan_of(rows: QuerySet[Any]) -> str:
    """Return how PostgreSQL answers a query when it may use its indexes."""
    sql, parameters = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE qualification_premises")
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


def test_looking_up_and_completing_use_the_index(isp: SmallIsp) -> None:
    streets = [{"street": f"{number} Maple Street", **OAK} for number in range(1, 3_000)]
    coverage.import_premises(rows=streets, at=AT)
    seen: list[QuerySet[Any]] = []
    plain = QuerySet._fetch_all

    def remember(rows: QuerySet[Any]) -> None:
        if rows._result_cache is None:
            seen.append(rows)
        plain(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QuerySet, "_fetch_all", remember)
        readings = us.parse("77 Maple Street #4, Barre, VT 05641")
        assert queries.premises_matching(readings)
        assert queries.suggest("77 Maple Str")
        assert not queries.near_misses(readings[0])
    plans = [plan_of(rows) for rows in seen]
    assert len(plans) == 3
    for plan in plans:
        assert "Seq Scan" not in plan, plan
        assert "Index Cond" in plan, plan


def test_asker_is_a_login_a_partner_or_nobody(isp: SmallIsp) -> None:
    ada = accounts.create_login(
        email="ada@example.com", password="lovelace-1843", name="Ada", email_is_verified=True,
        at=AT,
    )  # fmt: skip
    assert queries.asker_of(ada) == f"user_{ada.pk}"
    assert queries.asker_of(isp.films.service_user) == "partner_films"
    assert queries.asker_of(None) == ""
    answer = qualify.qualify_address(
        text="1 Oak Street, Barre, VT 05641", channel="portal", asker="user_1", at=AT
    )
    assert list(queries.asked_by("user_1")) == [answer]
    assert not queries.asked_by("user_2").exists()
    assert not queries.asked_by("").exists()


def test_wrong_key_of_a_unit_does_not_hide_the_others_of_a_large_building(isp: SmallIsp) -> None:
    units = [{"street": "9 Tower Road", "unit": str(number), **OAK} for number in range(1, 251)]
    coverage.import_premises(rows=units, at=AT)
    last = qualify.qualify_address(text="9 Tower Rd #250, Barre, VT 05641", channel="csr", at=AT)
    assert last.premises.unit == "#250"
    some = qualify.qualify_address(text="9 Tower Rd, Barre, VT 05641", channel="csr", at=AT)
    assert len(some.candidates) == queries.MOST_CANDIDATES
    assert some.remark == "There are more. Add the unit, such as #12, to the address."
