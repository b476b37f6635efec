"""Coverage lists in the console: sent, followed, previewed, applied, thrown away, rolled back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from qualification import import_work
from qualification.models import CoverageArea, CoverageImport
from tests.console.conftest import NOW, World
from tests.small_isp import ELM_POINT, STOWE_POINT, cell_of

STOWE, ELM = cell_of(STOWE_POINT), cell_of(ELM_POINT)
HEADER = "technology,h3_res8,max_download_mbps,max_upload_mbps,remark"
LIST = f"{HEADER}\n50,{STOWE},500,500,new\n50,{ELM},250,250,new\n50,nowhere,1,1,=1+1\n"


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def ops(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


def send(client: Client, content: str = LIST, name: str = "spring.csv", **fields: str) -> Any:
    chosen = {"format": "locations", "provider": "fast-fibre"} | fields
    file = SimpleUploadedFile(name, content.encode(), "text/csv")
    return client.post(reverse("admin:console_imports"), {"file": file, **chosen}, follow=True)


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def page(client: Client, row: CoverageImport, **headers: str) -> Any:
    return client.get(reverse("admin:console_import", args=[row.public_id]), headers=headers)


def press(client: Client, name: str, row: CoverageImport, **fields: str) -> str:
    address = reverse(f"admin:console_{name}_import", args=[row.public_id])
    return text_of(client.post(address, fields, follow=True))


def checked(client: Client, **fields: str) -> CoverageImport:
    send(client, **fields)
    import_work.work_on(at=NOW)
    return CoverageImport.objects.latest("pk")


def test_a_list_is_sent_followed_looked_at_and_applied(world: World, ops: Client) -> None:
    sent = text_of(send(ops))
    for words in ("spring.csv", "Waiting", "0 of 3 rows", "Fast Fibre", "Discard this list"):
        assert words in sent, words
    assert "Apply this list" not in sent
    row = CoverageImport.objects.get()
    part = page(ops, row, **{"HX-Request": "true"})
    assert 'hx-trigger="every 1s"' in part.content.decode()
    assert "HX-Refresh" not in part

    import_work.work_on(at=NOW)

    assert page(ops, row, **{"HX-Request": "true"})["HX-Refresh"] == "true"
    seen = text_of(page(ops, row))
    for words in (
        "Checked, not applied yet",
        "From now on Fast Fibre delivers at 2 places more, differently at 0, and no more at 0.",
        "Columns that were not read: remark.",
        "This is no H3 cell of resolution 8.",
        "Line 4, h3_res8",
        f"H3 cell {STOWE}",
        "500 Mbit/s",
    ):
        assert words in seen, words
    assert "Fiber" in seen
    assert not CoverageArea.objects.filter(h3_res8=STOWE).exists()

    assert "The list is being applied." in press(ops, "apply", row)
    import_work.work_on(at=NOW)

    done = text_of(page(ops, row))
    assert "Applied" in done
    assert "Roll this list back" in done
    assert "Discard this list" not in done
    assert CoverageArea.objects.get(h3_res8=STOWE, technology=50).added_by == row
    assert AuditEntry.objects.get(action="coverage_import.applied").actor is not None


def test_the_rejected_rows_and_the_list_can_be_fetched(world: World, ops: Client) -> None:
    row = checked(ops)

    def fetch(name: str) -> Any:
        return ops.get(reverse(f"admin:{name}", args=[row.public_id]))

    rejected = fetch("console_import_rejects")
    assert rejected["Content-Disposition"] == 'attachment; filename="spring-rejected.csv"'
    lines = b"".join(rejected.streaming_content).decode().splitlines()
    assert lines[1:] == ["4,h3_res8,This is no H3 cell of resolution 8.,50,nowhere,1,1,'=1+1"]
    original = fetch("console_import_file")
    assert b"".join(original.streaming_content).decode() == LIST
    Path(row.file.path).unlink()
    assert fetch("console_import_file").status_code == 404
    clean = checked(ops, content=f"{HEADER}\n50,{STOWE},1,1,\n")
    address = reverse("admin:console_import_rejects", args=[clean.public_id])
    assert ops.get(address).status_code == 404


def test_discarding_changes_nothing(world: World, ops: Client) -> None:
    row = checked(ops)
    before = CoverageArea.objects.count()
    assert "The list is discarded. Nothing was changed." in press(ops, "discard", row)
    assert "This is not possible any more" in press(ops, "apply", row)
    assert CoverageArea.objects.count() == before
    assert AuditEntry.objects.filter(action="coverage_import.discarded").count() == 1


def test_rolling_back_needs_a_reason_and_tells_what_came_of_it(world: World, ops: Client) -> None:
    row = checked(ops)
    press(ops, "apply", row)
    import_work.work_on(at=NOW)
    assert "Say why" in press(ops, "roll_back", row)
    assert "The list is being rolled back." in press(ops, "roll_back", row, reason="The wrong one")
    row.refresh_from_db()
    assert row.state == "rolling_back"
    later = NOW.replace(hour=13)
    import_work.work_on(at=later)
    words = "Rolled back: 2 that the list had added ended, 0 that it had ended began again."
    assert words in text_of(page(ops, row))
    assert AuditEntry.objects.get(action="coverage_import.rolled_back").reason == "The wrong one"


@pytest.mark.parametrize(
    ("fields", "content", "words", "field"),
    [
        ({}, "a,b\n1,2\n", "The header lacks technology, max_download_kbps", "file"),
        ({}, "", "file", "file"),
        ({"provider": ""}, LIST, "Choose the network whose coverage this is.", "provider"),
        ({"provider": "films"}, LIST, "Choose the network", "provider"),
        ({"format": "xml"}, LIST, "Choose what the list is.", "format"),
    ],
)
def test_what_cannot_be_taken_is_said_beside_the_form(
    world: World, ops: Client, fields: dict[str, str], content: str, words: str, field: str
) -> None:
    answer = send(ops, content, **fields)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert f'href="#{field}"' in answer.content.decode()
    assert not CoverageImport.objects.exists()


def test_a_form_without_a_file_asks_for_one(world: World, ops: Client) -> None:
    answer = ops.post(reverse("admin:console_imports"), {"format": "locations"})
    assert (answer.status_code, "Choose a file." in answer.content.decode()) == (422, True)


def test_a_list_of_places_needs_no_network(world: World, ops: Client) -> None:
    content = "street,city,state,zip\n9 Oak Street,Barre,VT,05641\n"
    row = checked(ops, content=content, format="premises", is_complete="1", use_cells="1")
    assert (row.provider, row.is_complete, row.use_cells) == (None, False, False)
    seen = text_of(page(ops, row))
    assert "1 place becomes known and 0 are corrected" in seen
    assert "9 Oak Street, Barre, VT 05641" in seen


def test_the_choices_of_the_form_are_kept(world: World, ops: Client) -> None:
    row = checked(ops, is_complete="1")
    assert (row.is_complete, row.removed) == (True, 1)
    assert "and no more at 1." in text_of(page(ops, row))
    seen = text_of(send(ops, "a\n1\n", is_complete="1", provider="old-copper"))
    assert 'value="old-copper" selected' in seen
    assert 'name="is_complete" value="1" checked' in seen


def test_who_may_not_send_sees_the_lists_without_the_form(
    world: World, ops: Client, as_role: Callable[[str], Client]
) -> None:
    row = checked(ops)
    csr = as_role(roles.CSR)
    assert send(csr).status_code == 200
    assert CoverageImport.objects.count() == 1
    listing = text_of(csr.get(reverse("admin:console_imports")))
    assert "spring.csv" in listing
    assert "Check the list" not in listing
    seen = text_of(page(csr, row))
    for words in ("Apply this list", "Discard this", "Download the"):
        assert words not in seen, words


def test_lists_that_wait_for_a_decision_are_a_queue(world: World, ops: Client) -> None:
    checked(ops)
    dashboard = text_of(ops.get(reverse("admin:index")))
    assert "Coverage lists to decide on" in dashboard
    address = reverse("admin:console_imports")
    assert "spring.csv" in text_of(ops.get(address, {"state": "previewed"}))
    assert "spring.csv" not in text_of(ops.get(address, {"state": "applied"}))


def test_the_pages_cost_the_same_queries_however_many_lists(world: World, ops: Client) -> None:
    def cost(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ops.get(address).status_code == 200
        return len(queries)

    row = checked(ops)
    listing = reverse("admin:console_imports")
    few = cost(listing)
    for _ in range(3):
        checked(ops)
    assert cost(listing) == few <= 12
    assert cost(reverse("admin:console_import", args=[row.public_id])) <= 10
