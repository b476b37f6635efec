"""Files of usage in the console: sent for a partner or the network, followed, and their rejects."""

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
from provisioning.models import PartnerSubscriber
from rating import purchases, reported, retrying, usage_files
from rating.models import Purchase, Usage, UsageConflict, UsageFile
from tests.console.conftest import NOW, World

HEADER = "event_id,subscriber_ref,offering,started_at,quantity,unit\n"
CSV = (
    f"{HEADER}e1,psb_nobody,one-film,{NOW.isoformat()},1,film\n"
    "=e2,psb_nobody,one-film,yesterday,1,film\n"
)


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def operator(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.OPERATIONS)


def send(client: Client, content: str = CSV, **fields: str) -> Any:
    file = SimpleUploadedFile("may.csv", content.encode(), "text/csv")
    given = {"file": file, "format": "csv", "partner": "films", **fields}
    return client.post(reverse("admin:console_usage_files"), given, follow=True)


def page_of(client: Client, name: str, file: UsageFile, **headers: str) -> Any:
    return client.get(reverse(f"admin:{name}", args=[file.public_id]), headers=headers)


def work() -> None:
    while usage_files.read_next(at=NOW):
        pass


def test_staff_send_follow_and_fetch_the_rejects(world: World, operator: Client) -> None:
    page = send(operator).content.decode()
    for words in ("may.csv", "Waiting", "0 of 2 rows", "Cancel the file"):
        assert words in page, words
    file = UsageFile.objects.get()
    part = page_of(operator, "console_usage_file", file, **{"HX-Request": "true"})
    assert "hx-get" in part.content.decode()

    work()

    part = page_of(operator, "console_usage_file", file, **{"HX-Request": "true"})
    assert part["HX-Refresh"] == "true"
    page = page_of(operator, "console_usage_file", file).content.decode()
    for words in ("Completed", "2 of 2 rows, 100 %", "Rejected", "Wait for what is missing"):
        assert words in page, words
    rejects = page_of(operator, "console_usage_file_rejects", file)
    assert rejects["Content-Disposition"] == 'attachment; filename="may-rejects.csv"'
    header, waits, rejected = b"".join(rejects.streaming_content).decode().splitlines()
    assert header == f"row,outcome,code,field,reason,{HEADER.strip()}"
    assert waits.startswith("1,error,unknown_subscriber,,You know no")
    assert rejected.startswith("2,rejected,invalid_event,started_at,started_at must be a time")
    assert ",'=e2," in rejected
    assert AuditEntry.objects.get(action="usage_file.submitted").subject == file.public_id

    again = send(operator).content.decode()
    assert "The same file came" in again
    listing = operator.get(reverse("admin:console_usage_files")).content.decode()
    assert listing.count("may.csv") == 2


def test_a_file_that_is_cancelled_is_read_no_more(world: World, operator: Client) -> None:
    send(operator)
    file = UsageFile.objects.get()
    page = operator.post(reverse("admin:console_cancel_usage_file", args=[file.public_id]))
    assert page.status_code == 302
    work()
    file.refresh_from_db()
    assert (file.state, file.rows_done, Usage.objects.count()) == ("cancelled", 0, 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"partner": ""}, "Choose the partner"),
        ({"partner": "fibre"}, "Choose the partner"),
        ({"format": "pdf"}, "Choose what the file is"),
        ({"content": ""}, "The file is empty"),
        ({"content": HEADER}, "a header and no rows"),
        ({"content": "event_id,unit\n1,2\n"}, "lacks the columns subscriber_ref"),
        ({"content": f'{HEADER}"a\n'}, "row that begins in line 2"),
        ({"format": "ipdr"}, "Line 1 is no XML"),
        ({"format": "ipdr", "content": "<!DOCTYPE a><a/>"}, "no document type"),
        ({"format": "ipdr", "content": "<a/>"}, "no element IPDR"),
        ({"format": "network_csv", "content": "a\nb\n"}, "lacks the columns meter"),
    ],
)
def test_an_unusable_file_is_told_and_not_kept(
    world: World, operator: Client, fields: dict[str, str], words: str
) -> None:
    page = send(operator, **fields)
    assert page.status_code == 422
    assert words in page.content.decode()
    assert not UsageFile.objects.exists()


def test_errors_are_listed_filtered_and_tried_again(
    world: World,
    operator: Client,
    as_role: Callable[[str], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(operator, CSV + f"e3,psb_nobody,nothing,{NOW.isoformat()},1,film\n")
    work()
    address = reverse("admin:console_rating_errors")
    page = operator.get(address).content.decode()
    for words in ("2 uses cannot be rated", "e1", "e3", "✕ Unknown subscriber", "psb_nobody"):
        assert words in page, words
    for query, shown in (("source=films", 2), ("code=unknown_subscriber", 2), ("age=day", 0),
                         ("source=other", 0), ("code=%00", 2)):  # fmt: skip
        assert f"{shown} use" in operator.get(f"{address}?{query}").content.decode(), query
    assert "You cannot try again yourself" not in page
    assert "Operations and Finance can" in as_role(roles.CSR).get(address).content.decode()
    file = operator.get(reverse("admin:console_rating_errors_file"))
    assert len(b"".join(file.streaming_content).splitlines()) == 3

    def again(**given: Any) -> str:
        return operator.post(reverse("admin:console_recycle"), given, follow=True).content.decode()

    for no_key in ("", "x", "9" * 19, "9" * 30):
        assert "Choose errors first" in again(use=no_key)
    assert "1 still cannot be" in again(use=reported.in_error().latest("pk").pk)
    with monkeypatch.context() as few:
        few.setattr(retrying, "MOST_AT_ONCE", 1)
        assert "1 more were left for another time" in again(which="all", asked="source=films")
    known = PartnerSubscriber.objects.get(partner=world.film.provider, subscriber=world.ada)
    PartnerSubscriber.objects.filter(pk=known.pk).update(reference="psb_nobody")
    bought = Purchase.objects.get(offering=world.film)
    purchases.complete_purchase(service_order_id=bought.service_order_id, at=NOW)
    page = again(which="all", asked="source=films")
    assert "1 will be rated" in page
    assert "1 still cannot be" in page


def test_contradictions_are_shown_beside_what_counts(world: World, operator: Client) -> None:
    UsageConflict.objects.create(
        source="films", event_id="e1", digest="d", kept={"quantity": 7, "unit": "film"},
        told={"quantity": 8, "unit": "film"}, first_at=NOW, last_at=NOW,
    )  # fmt: skip
    page = operator.get(reverse("admin:console_usage_conflicts")).content.decode()
    assert "e1" in page
    assert "Quantity" in page
    assert ">Unit<" not in page
