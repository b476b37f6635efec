"""The page of demand: map, table and file say the same, whatever the address asks for."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta

import h3
import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from ispops.console import demand_page
from ispops.console.views import demand as view
from ispops.parties import roles
from qualification import qualify, reach, waitlist
from qualification.models import Premises, ReachedCell, ServiceQualification, WaitlistEntry
from tests.console.conftest import NOW, World
from tests.small_isp import STOWE_POINT, cell_of

PAGE = "/console/demand/"
CELL = cell_of(STOWE_POINT)
# Session, user, demand, networks near (2), networks behind, and the sidebar's counts.
BUDGET = 10


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def ask(text: str = "1 Alpine Rd, Stowe, VT 05672", **facts: object) -> ServiceQualification:
    at = NOW - timedelta(days=3)
    return qualify.qualify_address(text=text, channel="portal", at=at, **facts)  # type: ignore[arg-type]


def wait(answer: ServiceQualification, email: str = "eve@example.com") -> WaitlistEntry:
    return waitlist.join_waitlist(
        qualification=answer, email=email, channel="portal", at=answer.asked_at
    )


def look(client: Client, query: str = "") -> str:
    answer = client.get(PAGE + query)
    assert answer.status_code == 200
    return answer.content.decode()


def shapes(page: str) -> list[tuple[str, str]]:
    """Where each shape of the map leads, and what it says."""
    return re.findall(r'<a href="([^"]*)" class="c-shade-\d" aria-label="([^"]*)"', page)


def test_nothing_wanted_says_so(world: World, csr: Client) -> None:
    page = look(csr)
    assert "Nobody waits here" in page
    assert "<svg class=" not in page


def test_a_shape_says_what_its_row_says_and_leads_to_it(world: World, csr: Client) -> None:
    wait(ask())
    page = look(csr, "?size=8")
    ((href, title),) = shapes(page)
    assert title == "Stowe, VT 05672: 1 place, 1 waiting, 1 turned away"
    assert href == f"#area-{CELL}"
    assert f'id="area-{CELL}"' in page
    assert "1 place where somebody waits or we turned somebody away in the last 90 days" in page
    assert "3 days ago" in page
    waiting = (
        f"{reverse('admin:qualification_waitlistentry_changelist')}?state=waiting&amp;q={CELL}"
    )
    assert waiting in page
    listed = csr.get(waiting.replace("&amp;", "&"))
    assert [row.email for row in listed.context["cl"].result_list] == ["eve@example.com"]


def test_the_usual_size_of_an_area_fits_what_is_looked_at(world: World, csr: Client) -> None:
    ask()
    for query, resolution in [
        ("", 3), ("?region=VT", 5), (f"?area={h3.cell_to_parent(CELL, 5)}", 7), ("?size=4", 4),
        (f"?area={CELL}", 8),
    ]:  # fmt: skip
        page = look(csr, query)
        assert f"area-{h3.cell_to_parent(CELL, resolution)}" in page, query


def test_looking_closer_and_back_again_keeps_the_other_filters(world: World, csr: Client) -> None:
    wait(ask())
    page = look(csr, "?region=VT&kind=waiting")
    larger = h3.cell_to_parent(CELL, 5)
    closer = f"?region=VT&amp;area={larger}&amp;kind=waiting"
    assert f'href="{closer}"' in page
    page = look(csr, closer.replace("&amp;", "&"))
    assert h3.cell_to_parent(CELL, 7) in page
    assert 'href="?region=VT&amp;kind=waiting">Show all areas again' in page


def test_networks_are_drawn_behind_and_named_beside(world: World, csr: Client) -> None:
    oak = ask("1 Oak St, Barre, VT 05641")
    wait(oak)
    reach.refresh(provider_id=world.isp.fibre.pk, at=NOW)
    page = look(csr, "?size=8")
    assert re.search(r'<path class="c-reached" d="M[^"]+"', page)
    assert "a network reaches some place in it" in page
    assert "Fast Fibre" in page
    ReachedCell.objects.update(is_reached=False, planned_date=NOW.date())
    page = look(csr, "?size=8")
    assert f"{NOW:%d %b %Y}" in page
    assert "a network reaches" not in page


def test_what_has_no_cell_is_in_the_table_alone(world: World, csr: Client) -> None:
    wait(ask("9 Valley View Rd, Stowe, VT 05672"))
    page = look(csr)
    assert not shapes(page)
    assert "1 place known only by its ZIP code is in the table" in page
    assert 'id="zip-05672"' in page


@pytest.mark.parametrize("sort", ["area", "-area", "places", "-waiting", "asked", "-first"])
def test_the_table_is_sorted_as_the_address_says(world: World, csr: Client, sort: str) -> None:
    wait(ask())
    ask("1 Elm St, Barre, VT 05641", subscriber_kind="business")
    for number in (1, 2):
        wait(ask("1 Elm St, Barre, VT 05641"), f"p{number}@example.com")
    page = look(csr, f"?size=8&sort={sort}")
    assert f'aria-sort="{"descending" if sort.startswith("-") else "ascending"}"' in page
    listed = [(row["area"].waiting, row["city"]) for row in csr.get(
        f"{PAGE}?size=8&sort={sort}").context["table"]]  # fmt: skip
    if sort == "-waiting":
        assert listed == [(2, "Barre"), (1, "Stowe")]
    if sort == "-area":
        assert [city for _, city in listed] == ["Stowe", "Barre"]


def test_a_shape_leads_to_the_page_of_the_table_that_has_its_row(
    world: World, csr: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PER_PAGE", 1)
    for text in ("1 Alpine Rd, Stowe, VT 05672", "1 Elm St, Barre, VT 05641"):
        wait(ask(text))
    here, there = sorted(href for href, _ in shapes(look(csr, "?size=8")))
    assert here.startswith("#")
    query, _, row = there.replace("&amp;", "&").partition("#")
    assert f'id="{row}"' in look(csr, query)


def test_of_too_many_areas_those_with_most_places_are_drawn(
    world: World, csr: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand_page, "MOST_ON_MAP", 1)
    for text in ("1 Alpine Rd, Stowe, VT 05672", "1 Elm St, Barre, VT 05641"):
        wait(ask(text))
    page = look(csr, "?size=8")
    assert len(shapes(page)) == 1
    assert "1 more are in the table" in page


@pytest.mark.parametrize(
    "query",
    [
        "?region=%00", "?region=<script>", "?region=VTX", "?area=zz", f"?area={'8' * 500}",
        "?area=%00", "?area=ffffffffffffffff", "?size=2", "?size=x", "?size=99", "?sort=drop",
        "?sort=-", "?kind=%27", "?page=x", "?page=-1", "?page=999999",
        "?size=3&area=882bab5303fffff",
    ],
)  # fmt: skip
def test_what_cannot_be_used_of_an_address_counts_as_not_there(
    world: World, csr: Client, query: str
) -> None:
    wait(ask())
    page = look(csr, query)
    assert "<script>" not in page.partition("<main")[2]
    assert csr.get(f"{PAGE}areas.csv{query}").status_code == 200


def test_a_long_file_is_made_in_pieces(
    world: World, csr: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand_page, "PIECE", 1)
    wait(ask())
    wait(ask("1 Elm St, Barre, VT 05641"))
    assert [row["city"] for row in rows_of(csr, "?size=8&sort=area")] == ["Barre", "Stowe"]


def rows_of(client: Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"{PAGE}areas.csv{query}")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="demand-2026-11-23.csv"'
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))


def test_the_file_has_the_filters_and_the_order_of_the_page(world: World, csr: Client) -> None:
    wait(ask())
    wait(ask("9 Valley View Rd, Stowe, VT 05672"), "bob@example.com")
    reach.refresh(provider_id=world.isp.fibre.pk, at=NOW)
    by_cell, by_zip = sorted(rows_of(csr, "?size=8"), key=lambda row: row["h3_cell"] == "")
    asked_at = (NOW - timedelta(days=3)).isoformat()
    assert by_cell == {
        "h3_cell": CELL, "resolution": "8", "city": "Stowe", "state": "VT",
        "postal_code": "05672", "places": "1", "waiting": "1", "turned_away_90_days": "1",
        "first_asked_at": asked_at, "networks_near": "", "planned_date": "",
        "as_of": NOW.isoformat(),
    }  # fmt: skip
    assert (by_zip["h3_cell"], by_zip["resolution"]) == ("", "")
    assert rows_of(csr, "?region=NY") == []


def test_names_from_outside_are_neither_formulas_nor_markup(world: World, csr: Client) -> None:
    hostile = "=cmd|'/C calc'!A0<img src=x onerror=alert(1)>"
    Premises.objects.filter(pk=world.isp.stowe.pk).update(city=hostile)
    qualify.qualify_address(
        premises_id=world.isp.stowe.public_id, channel="portal", at=NOW - timedelta(days=1)
    )
    (row,) = rows_of(csr, "?size=8")
    assert row["city"].startswith("'=cmd")
    page = look(csr, "?size=8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_the_page_keeps_to_its_budget(
    world: World, csr: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    wait(ask())
    with django_assert_max_num_queries(BUDGET) as first:
        look(csr, "?size=8")
    for number in range(2, 8):
        wait(ask(f"{number} Nowhere Rd, Stowe, VT 05672"), f"p{number}@example.com")
    wait(ask("1 Elm St, Barre, VT 05641"))
    with django_assert_max_num_queries(len(first)):
        look(csr, "?size=8")
