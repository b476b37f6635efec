"""Files of addresses in the console: sent, followed, fetched and cancelled by staff."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from qualification import bulk_qualify
from qualification.models import BulkQualification
from tests.console.conftest import NOW, World

CSV = b'id,address\n1,"1 Oak Street, Barre, VT 05641"\n=2,Elm Street\n3,"5 Oak Street, Barre, VT"\n'


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


def send(client: Client, content: bytes = CSV, kind: str = "consumer") -> Any:
    file = SimpleUploadedFile("spring.csv", content, "text/csv")
    return client.post(
        reverse("admin:console_bulk"), {"file": file, "subscriber_kind": kind}, follow=True
    )


def page_of(client: Client, name: str, bulk: BulkQualification, **headers: str) -> Any:
    return client.get(reverse(f"admin:{name}", args=[bulk.public_id]), headers=headers)


def work() -> None:
    while bulk_qualify.qualify_next(at=NOW):
        pass


def test_staff_send_follow_and_fetch_a_file(world: World, csr: Client) -> None:
    sent = send(csr)
    assert sent.status_code == 200
    page = sent.content.decode()
    assert "spring.csv" in page
    assert "Waiting" in page
    assert "0 of 3 rows" in page
    assert "No row is done yet" in page
    bulk = BulkQualification.objects.get()
    assert page_of(csr, "console_bulk_answers", bulk).status_code == 302

    work()

    part = page_of(csr, "console_bulk_file", bulk, **{"HX-Request": "true"})
    assert part["HX-Refresh"] == "true"
    assert "<html" not in part.content.decode()
    page = page_of(csr, "console_bulk_file", bulk).content.decode()
    for words in ("Completed", "3 of 3 rows, 100 %", "Qualified", "Several addresses match",
                  "Unusable row", "1 · 33 %", "Download the answers"):  # fmt: skip
        assert words in page, words
    assert "hx-get" not in page
    assert "Cancel the file" not in page
    answers = page_of(csr, "console_bulk_answers", bulk)
    assert answers["Content-Disposition"] == 'attachment; filename="spring-answers.csv"'
    text = b"".join(answers.streaming_content).decode("utf-8-sig")
    assert [line[:3] for line in text.splitlines()] == ["id,", '1,"', "'=2", '3,"']
    assert AuditEntry.objects.get(action="bulk_qualification.submitted").subject == bulk.public_id


def test_open_file_asks_for_its_progress_and_can_be_cancelled(world: World, csr: Client) -> None:
    send(csr)
    bulk = BulkQualification.objects.get()
    part = page_of(csr, "console_bulk_file", bulk, **{"HX-Request": "true"})
    assert "hx-get" in part.content.decode()
    assert "HX-Refresh" not in part
    assert "Cancel the file" in page_of(csr, "console_bulk_file", bulk).content.decode()

    page = csr.post(reverse("admin:console_cancel_bulk", args=[bulk.public_id]), follow=True)

    assert "The file is cancelled" in page.content.decode()
    bulk.refresh_from_db()
    assert bulk.state == "cancelled"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"name\nAda\n", "names no column to find a place by"),
        (b'address\n"1 Oak\n', "row that begins in line 2"),
    ],
)
def test_unusable_file_is_told_at_the_field(
    world: World, csr: Client, content: bytes, words: str
) -> None:
    page = send(csr, content)
    assert page.status_code == 422
    assert words in page.content.decode()
    assert 'href="#file"' in page.content.decode()
    assert not BulkQualification.objects.exists()


def test_file_that_is_too_large_is_not_read(
    world: World, csr: Client, settings: LazySettings
) -> None:
    settings.UPLOAD_MOST_BYTES = 1_000
    csr.get(reverse("admin:console_bulk"))
    csr.handler.enforce_csrf_checks = True  # What reads the form first in earnest.
    page = send(csr, CSV * 100)
    assert page.status_code == 413
    assert "Up to 1 kB can be sent at once. Nothing of what you sent was kept." in (
        page.content.decode()
    )


def test_nothing_chosen_and_an_unknown_kind_are_told(world: World, csr: Client) -> None:
    page = csr.post(reverse("admin:console_bulk"), {"subscriber_kind": "consumer"})
    assert (page.status_code, "Choose a file." in page.content.decode()) == (422, True)
    assert "Choose consumer or business." in send(csr, kind="robot").content.decode()


def test_who_may_only_look_sends_nothing(world: World, as_role: Callable[[str], Client]) -> None:
    reader = as_role(roles.CATALOGUE_MANAGER)
    page = send(reader).content.decode()
    assert "Nobody has sent a file yet" in page
    assert 'type="file"' not in page
    assert not BulkQualification.objects.exists()


def test_file_of_a_partner_is_seen_by_staff(world: World, csr: Client) -> None:
    with SimpleUploadedFile("theirs.csv", CSV) as file:
        bulk_qualify.submit_file(
            upload=file, file_name="theirs.csv", asker="partner_films",
            created_by=world.ada.users.get(), at=NOW,
        )  # fmt: skip
    assert "theirs.csv" in csr.get(reverse("admin:console_bulk")).content.decode()
    assert (
        "Qualify a file of addresses" in csr.get(reverse("admin:console_qualify")).content.decode()
    )


def test_pages_cost_few_queries(
    world: World, csr: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(3):
        send(csr)
    with django_assert_max_num_queries(16):
        csr.get(reverse("admin:console_bulk"))
    bulk = BulkQualification.objects.latest("pk")
    with django_assert_max_num_queries(8):
        page_of(csr, "console_bulk_file", bulk, **{"HX-Request": "true"})
