"""The availability filing from coverage that was made by hand, as a file and as counts."""

import csv
import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ispops.catalog import publishing
from ispops.errors import InvalidInput
from ispops.parties import partners
from ispops.parties.models import AuditEntry, Partner
from qualification import coverage, filing
from qualification.availability import COLUMNS
from qualification.models import CoverageArea, Premises
from tests.small_isp import ELM_POINT, LAUNCH, OAK, OAK_POINT, cell_of, make_partner

AT = LAUNCH
NOW = LAUNCH + timedelta(days=30)
OAK_CELL, ELM_CELL = cell_of(OAK_POINT), cell_of(ELM_POINT)
FIBRE, COPPER = 50, 10
FAST = {"technology": FIBRE, "max_download_kbps": 1_000_000, "max_upload_kbps": 500_000}
FIRST = 1_000_000_001

pytestmark = pytest.mark.django_db


@pytest.fixture
def network() -> Partner:
    made = make_partner("fast-fibre", "Fast Fibre", "network_provider", AT, on_net=True)
    return partners.set_fcc_identity(
        partner_id=made.pk, fcc_provider_id="030317", brand_name="Fast!", at=AT
    )


def house(number: int, **change: Any) -> Premises:
    """A house of Oak Street with the FCC's location id of its number."""
    row = {"street": f"{number} Oak Street", **OAK, "latitude": OAK_POINT[0],
           "longitude": OAK_POINT[1], "location_id": FIRST - 1 + number} | change  # fmt: skip
    assert not coverage.import_premises(rows=[row], at=AT).rejected
    return Premises.objects.get(match_key__startswith=f"{number} OAK ST, ")


def cover(network: Partner, *rows: dict[str, Any], at: datetime = AT) -> None:
    assert not coverage.import_coverage(rows=rows, provider=network, at=at).rejected


def file_of(network: Partner, as_of: datetime = NOW) -> list[dict[str, str]]:
    made = filing.prepare(provider=network, as_of=as_of, at=NOW)
    text = "".join(filing.lines(made))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert made.total == len(rows)
    return rows


def speeds(rows: list[dict[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    return {
        (row["location_id"], row["technology"]): (
            row["max_advertised_download_speed"],
            row["max_advertised_upload_speed"],
        )
        for row in rows
    }


def test_a_place_in_a_covered_cell_is_one_row_for_each_technology(network: Partner) -> None:
    house(1)
    cover(
        network,
        FAST | {"h3_res8": OAK_CELL},
        {"technology": COPPER, "h3_res8": OAK_CELL, "max_download_kbps": 50_000,
         "max_upload_kbps": 10_000, "low_latency": False},
    )  # fmt: skip
    rows = file_of(network)
    assert list(rows[0]) == list(COLUMNS)
    assert [list(row.values()) for row in rows] == [
        ["030317", "Fast!", "1000000001", "10", "50", "10", "0", "X"],
        ["030317", "Fast!", "1000000001", "50", "1000", "500", "1", "X"],
    ]


def test_the_row_of_a_place_wins_over_its_cells(network: Partner) -> None:
    slower, passed_by, other = house(1), house(2), house(3)
    slow = {"technology": FIBRE, "max_download_kbps": 100_000, "max_upload_kbps": 100_000}
    none = {"technology": FIBRE, "max_download_kbps": 0, "max_upload_kbps": 0}
    cover(
        network,
        FAST | {"h3_res8": OAK_CELL},
        slow | {"premises": slower},
        none | {"premises": passed_by},
        # A row of another technology takes nothing from the cell's.
        slow | {"technology": 40, "premises": other},
    )
    assert speeds(file_of(network)) == {
        ("1000000001", "50"): ("100", "100"),
        ("1000000003", "50"): ("1000", "500"),
        ("1000000003", "40"): ("100", "100"),
    }
    made = filing.prepare(provider=network, as_of=NOW, at=NOW)
    assert (made.filed, made.left_out) == ({40: 1, 50: 2}, {"not_served": 1})


def test_copper_is_filed_as_fast_as_its_length_allows(network: Partner) -> None:
    for number in (1, 2, 3):
        house(number)
    dsl = {"technology": COPPER, "max_download_kbps": 100_000, "max_upload_kbps": 40_000}
    cover(
        network,
        dsl | {"location_id": str(FIRST), "loop_length_m": 900},
        dsl | {"location_id": str(FIRST + 1), "loop_length_m": 2_000},
        dsl | {"location_id": str(FIRST + 2), "loop_length_m": 9_000},
    )
    assert speeds(file_of(network)) == {
        ("1000000001", "10"): ("40", "8"),
        ("1000000002", "10"): ("10", "1"),
    }


def test_what_is_left_out_is_counted_by_its_reason(network: Partner) -> None:
    house(1)
    house(2, location_id="")
    house(3, location_id="lot-3")
    cover(
        network,
        FAST | {"h3_res8": OAK_CELL},
        FAST | {"premises": house(4), "construction_fee": Decimal(100)},
        FAST | {"premises": house(5), "construction_days": 30},
        FAST | {"premises": house(6), "install_days": 20},
    )
    planned = CoverageArea(
        provider=network, premises=house(7), valid_from=AT, planned_date=date(2027, 1, 1), **FAST
    )
    planned.save()
    assert set(speeds(file_of(network))) == {("1000000001", "50")}
    assert filing.prepare(provider=network, as_of=NOW, at=NOW).left_out == {
        "planned": 1,
        "needs_construction": 2,
        "installed_late": 1,
        "no_location_id": 1,
        "foreign_location_id": 1,
    }


def test_a_place_that_somebody_only_asked_for_is_not_filed(network: Partner) -> None:
    house(1)
    cover(network, FAST | {"h3_res8": OAK_CELL})
    Premises.objects.update(source=Premises.Source.ASKED)
    made = filing.prepare(provider=network, as_of=NOW, at=NOW)
    assert (made.filed, made.left_out) == ({}, {})


def test_a_filing_is_as_of_its_moment_and_of_its_network(network: Partner) -> None:
    house(1)
    other = make_partner("other", "Other", "network_provider", AT, on_net=True)
    cover(other, FAST | {"h3_res8": OAK_CELL, "technology": 40})
    cover(network, FAST | {"h3_res8": OAK_CELL})
    change = AT + timedelta(days=10)
    cover(network, FAST | {"h3_res8": OAK_CELL, "max_download_kbps": 2_000_000}, at=change)
    coverage.end_coverage(
        provider=network, technology=FIBRE, h3_res8=OAK_CELL, at=change + timedelta(days=10)
    )
    day = timedelta(days=1)
    assert file_of(network, AT - day) == []
    assert speeds(file_of(network, change - day)) == {("1000000001", "50"): ("1000", "500")}
    assert speeds(file_of(network, change)) == {("1000000001", "50"): ("2000", "500")}
    assert file_of(network, change + 10 * day) == []
    assert [row["technology"] for row in file_of(other)] == ["40"]


def test_whom_a_technology_is_sold_to_is_told(network: Partner) -> None:
    house(1)
    cover(network, FAST | {"h3_res8": OAK_CELL}, FAST | {"h3_res8": OAK_CELL, "technology": 40})
    facts = {"kind": "access", "provider": network, "download_kbps": 1, "upload_kbps": 1}
    publishing.create_offering(
        code="office", name="Office", technology=FIBRE, subscriber_kind="business", at=AT, **facts
    )
    publishing.create_offering(
        code="home", name="Home", technology=40, subscriber_kind="consumer", at=AT, **facts
    )
    codes = {row["technology"]: row["business_residential_code"] for row in file_of(network)}
    assert codes == {"40": "R", "50": "B"}


def test_without_a_brand_the_networks_name_is_filed(network: Partner) -> None:
    house(1)
    cover(network, FAST | {"h3_res8": OAK_CELL})
    partners.set_fcc_identity(partner_id=network.pk, fcc_provider_id="", brand_name="", at=AT)
    network.refresh_from_db()
    (row,) = file_of(network)
    assert (row["provider_id"], row["brand_name"]) == ("", "Fast Fibre")


def test_a_filing_imports_into_the_coverage_it_came_from(network: Partner) -> None:
    """Each row, taken as a location list of another network, reaches the same place as well."""
    for number in range(1, 6):
        house(number)
    house(6, latitude=ELM_POINT[0], longitude=ELM_POINT[1])
    cover(
        network,
        FAST | {"h3_res8": OAK_CELL},
        FAST | {"location_id": str(FIRST + 2), "max_upload_kbps": 20_000, "low_latency": False},
        {"technology": COPPER, "h3_res8": ELM_CELL, "max_download_kbps": 50_000,
         "max_upload_kbps": 8_000, "loop_length_m": 800},
    )  # fmt: skip
    first = file_of(network)
    again = make_partner("again", "Fast!", "network_provider", AT, on_net=True)
    partners.set_fcc_identity(
        partner_id=again.pk, fcc_provider_id="030317", brand_name="Fast!", at=AT
    )
    again.refresh_from_db()
    cover(
        again,
        *(
            {
                "location_id": row["location_id"],
                "technology": row["technology"],
                "max_download_kbps": int(row["max_advertised_download_speed"]) * 1_000,
                "max_upload_kbps": int(row["max_advertised_upload_speed"]) * 1_000,
                "low_latency": row["low_latency"] == "1",
            }
            for row in first
        ),
    )
    assert len(first) == 6
    assert file_of(again) == first


def test_only_our_own_network_is_filed_and_not_its_future(network: Partner) -> None:
    other = make_partner("old-copper", "Old Copper", "network_provider", AT)
    with pytest.raises(filing.NotOurNetwork):
        filing.export_availability(provider=other, as_of=AT, actor_name="test", at=NOW)
    with pytest.raises(InvalidInput) as refused:
        filing.export_availability(
            provider=network, as_of=NOW + timedelta(seconds=1), actor_name="test", at=NOW
        )
    assert refused.value.field == "as_of"
    assert not AuditEntry.objects.filter(action="availability.exported").exists()


def test_taking_a_filing_out_is_audited(network: Partner) -> None:
    house(1)
    house(2, location_id="")
    cover(network, FAST | {"h3_res8": OAK_CELL})
    made = filing.export_availability(provider=network, as_of=NOW, actor_name="test", at=NOW)
    assert made.file_name == "availability-fast-fibre-2026-01-30.csv"
    entry = AuditEntry.objects.get(action="availability.exported")
    assert (entry.actor_name, entry.subject, entry.at) == ("test", "partner_fast-fibre", NOW)
    assert entry.detail["filed"] == 1
    assert entry.detail["left_out"] == {"no_location_id": 1}


def test_the_file_comes_in_portions_through_a_cursor_of_the_server(
    network: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "_PORTION", 2)
    for number in range(1, 6):
        house(number)
    cover(network, FAST | {"h3_res8": OAK_CELL})
    made = filing.prepare(provider=network, as_of=NOW, at=NOW)
    with CaptureQueriesContext(connection) as queries:
        portions = list(filing.lines(made))
    assert [text.count("\r\n") for text in portions] == [1, 2, 2, 1]
    assert len(queries) <= 2


@pytest.mark.django_db(transaction=True)
def test_a_file_that_nobody_takes_to_its_end_leaves_nothing_open(network: Partner) -> None:
    house(1)
    cover(network, FAST | {"h3_res8": OAK_CELL})
    made = filing.prepare(provider=network, as_of=NOW, at=NOW)
    text = filing.lines(made)
    assert [next(text), next(text)][1].startswith("030317,")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE is_holdable")
        assert cursor.fetchone() == (1,)
        text.close()  # type: ignore[attr-defined]
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE is_holdable")
        assert cursor.fetchone() == (0,)


# --- The command --------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with time_machine.travel(NOW, tick=False):
        call_command("file_availability", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_writes_the_file_and_says_what_is_in_it(network: Partner) -> None:
    house(1)
    house(2, location_id="")
    cover(network, FAST | {"h3_res8": OAK_CELL})
    out, err = run("fast-fibre")
    assert out.splitlines()[1] == "030317,Fast!,1000000001,50,1000,500,1,X"
    assert "1 locations filed" in err
    assert "1 not filed: They have no location id" in err
    assert run("fast-fibre", "--on", "2025-12-30")[0].count("\n") == 1
    assert run("fast-fibre", "--on", "2026-01-30")[0].count("\n") == 2
    assert AuditEntry.objects.filter(action="availability.exported").count() == 3


@pytest.mark.parametrize(
    "arguments",
    [["nobody"], ["old-copper"], ["fast-fibre", "--on", "June"],
     ["fast-fibre", "--on", "9999-12-31"]],
)  # fmt: skip
def test_the_command_says_what_is_wrong(network: Partner, arguments: list[str]) -> None:
    make_partner("old-copper", "Old Copper", "network_provider", AT)
    with pytest.raises(CommandError):
        run(*arguments)
    assert not AuditEntry.objects.filter(action="availability.exported").exists()
