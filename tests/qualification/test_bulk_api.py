"""Files of addresses over REST: the owner, a stranger, nobody, and files that are none."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from ispops.parties.models import AuditEntry, Partner
from qualification import bulk_qualify
from qualification.models import BulkQualification
from tests.qualification.test_api import bearer
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
URL = "/api/v1/bulk_qualifications"
CSV = b'id,address\n1,"1 Oak Street, Barre, VT 05641"\n2,Elm Street\n'


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def send(
    web: Client, who: dict[str, str], content: bytes = CSV, key: str = "k1", **fields: str
) -> Any:
    file = SimpleUploadedFile("list.csv", content, "text/csv")
    return web.post(URL, {"file": file, **fields}, headers=who | {"Idempotency-Key": key})


def send_body(
    web: Client, who: dict[str, str], content: bytes = CSV, key: str = "k1", query: str = ""
) -> Any:
    return web.post(
        URL + query, content, content_type="text/csv", headers=who | {"Idempotency-Key": key}
    )


def fetched(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode()


@pytest.mark.parametrize("sender", [send, send_body])
def test_partner_sends_follows_and_fetches(client: Client, isp: SmallIsp, sender: Any) -> None:
    own = bearer(isp.films)
    answer = sender(client, own)
    assert answer.status_code == 202, answer.content
    body = answer.json()
    assert answer["Location"] == body["href"] == f"{URL}/{body['id']}"
    assert {name: body[name] for name in ("state", "rows_total", "rows_done", "outcomes")} == {
        "state": "queued", "rows_total": 2, "rows_done": 0, "outcomes": {},
    }  # fmt: skip
    assert client.get(body["result"], headers=own).status_code == 404
    bulk_qualify.qualify_next(at=timezone.now())
    done = client.get(body["href"], headers=own).json()
    assert (done["state"], done["rows_done"], done["error"]) == ("completed", 2, "")
    assert done["outcomes"] == {"qualified": 1, "unusable": 1}
    result = client.get(body["result"], headers=own | {"Accept": "text/csv"})
    assert (result.status_code, result["Content-Type"]) == (200, "text/csv")
    text = fetched(result)
    assert len(text.encode()) == int(result["Content-Length"])
    header, first, second = text.splitlines()
    assert header.startswith("id,address,result_state,")
    assert first.startswith('1,"1 Oak Street, Barre, VT 05641",qualified,green,')
    assert second.startswith("2,Elm Street,unusable,")
    stored = BulkQualification.objects.get()
    assert (stored.asker, stored.public_id) == ("partner_films", body["id"])
    assert AuditEntry.objects.get(action="bulk_qualification.submitted").subject == body["id"]


def test_kind_of_subscriber_comes_in_the_form_or_the_query(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    assert send(client, own, subscriber_kind="business").json()["subscriber_kind"] == "business"
    body = send_body(client, own, key="k2", query="?subscriber_kind=business").json()
    assert body["subscriber_kind"] == "business"
    refused = send(client, own, key="k3", subscriber_kind="robot")
    assert refused.json()["errors"][0]["field"] == "subscriber_kind"
    assert BulkQualification.objects.count() == 2


def test_gzip_is_taken_in_both_ways(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    for number, sender in enumerate((send, send_body)):
        assert sender(client, own, gzip.compress(CSV), f"k{number}").json()["rows_total"] == 2


def test_stranger_sees_fetches_and_cancels_nothing(client: Client, isp: SmallIsp) -> None:
    own, other = bearer(isp.films), bearer(isp.fibre)
    body = send(client, own).json()
    bulk_qualify.qualify_next(at=timezone.now())
    for url in (body["href"], body["result"]):
        assert client.get(url, headers=other).status_code == 404
    assert cancel(client, other, body).status_code == 404
    assert client.get(URL, headers=other).json()["items"] == []
    assert [entry["id"] for entry in client.get(URL, headers=own).json()["items"]] == [body["id"]]
    for unknown in ("blk_1", "blk_" + "0" * 32, "qlf_" + "0" * 32):
        assert client.get(f"{URL}/{unknown}", headers=own).status_code == 404


def cancel(web: Client, who: dict[str, str], body: dict[str, str], key: str = "c1") -> Any:
    return web.post(
        f"{body['href']}/cancellation",
        content_type="application/json",
        headers=who | {"Idempotency-Key": key},
    )


def test_owner_cancels_and_a_finished_file_stays(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    first = send(client, own).json()
    assert cancel(client, own, first).json()["state"] == "cancelled"
    assert cancel(client, own, first, "c2").json()["state"] == "cancelled"
    second = send(client, own, key="k2").json()
    while bulk_qualify.qualify_next(at=timezone.now()):
        pass
    assert client.get(first["href"], headers=own).json()["rows_done"] == 0
    refused = cancel(client, own, second, "c3")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/illegal_transition")


@pytest.mark.parametrize("sender", [send, send_body])
def test_repeat_gives_the_first_answer_and_another_file_is_refused(
    client: Client, isp: SmallIsp, sender: Any
) -> None:
    own = bearer(isp.films)
    first, again = sender(client, own), sender(client, own)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again["Idempotent-Replay"] == "true"
    assert sender(client, own, CSV + b"3,Oak Street\n").status_code == 409
    assert BulkQualification.objects.count() == 1


def test_nobody_and_the_wrong_scope_get_nothing(client: Client, isp: SmallIsp) -> None:
    assert send(client, {}).status_code == 401
    assert send(client, bearer(isp.films, "qualification:read")).status_code == 403
    assert client.get(URL, headers=bearer(isp.fibre, "orders:read")).status_code == 403
    assert not BulkQualification.objects.exists()


def test_partner_that_was_stopped_gets_nothing(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    body = send(client, own).json()
    Partner.objects.filter(pk=isp.films.pk).update(active=False)
    assert send(client, own, key="k2").status_code == 403
    for url in (URL, body["href"], body["result"]):
        assert client.get(url, headers=own).status_code == 403


def test_open_files_of_a_caller_are_limited(client: Client, isp: SmallIsp) -> None:
    own = bearer(isp.films)
    made = [send(client, own, key=f"k{number}") for number in range(4)]
    assert [answer.status_code for answer in made] == [202, 202, 202, 409]
    assert made[3].json()["type"] == "/problems/too_many_open_files"
    assert send(client, bearer(isp.fibre)).status_code == 202


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"name\nAda\n", "names no column to find a place by"),
        (b'address\n"1 Oak\n', "row that begins in line 2"),
        (b"address\ncaf\xe9\n", "Line 2 is not in UTF-8"),
        (b"address\n" + b"," * 1_000_000, "Line 2 is longer than"),
        (b"PK\x03\x04x", "damaged"),
    ],
)
@pytest.mark.parametrize("sender", [send, send_body])
def test_unusable_file_names_the_field_and_leaves_nothing(
    client: Client,
    isp: SmallIsp,
    settings: LazySettings,
    sender: Any,
    content: bytes,
    words: str,
) -> None:
    if sender is send_body and not content:
        words = "No file was submitted"
    answer = sender(client, bearer(isp.films), content)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    [error] = answer.json()["errors"]
    assert error["field"] == "file"
    assert words in error["detail"]
    assert not BulkQualification.objects.exists()
    assert not any(Path(settings.MEDIA_ROOT).rglob("*.csv"))


@pytest.mark.parametrize("sender", [send, send_body])
def test_body_that_is_too_large_is_not_read(
    client: Client, isp: SmallIsp, settings: LazySettings, sender: Any
) -> None:
    settings.UPLOAD_MOST_BYTES = 1_000
    answer = sender(client, bearer(isp.films), CSV * 100)
    assert answer.status_code == 413, answer.content
    assert answer.json()["type"] == "/problems/too_big"
    assert answer.json()["detail"] == "Up to 1 kB can be sent at once."


def test_other_bodies_are_refused(client: Client, isp: SmallIsp) -> None:
    answer = client.post(
        URL, '{"file": 1}', content_type="application/json",
        headers=bearer(isp.films) | {"Idempotency-Key": "k1"},
    )  # fmt: skip
    assert answer.status_code == 415
    answer = client.post(
        URL, {"file": "no file"}, headers=bearer(isp.fibre) | {"Idempotency-Key": "k1"}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "file")


def test_calls_cost_few_queries(
    client: Client, isp: SmallIsp, django_assert_max_num_queries: Any
) -> None:
    own = bearer(isp.films)
    body = send(client, own).json()
    bulk_qualify.qualify_next(at=timezone.now())
    for url in (URL, body["href"], body["result"]):
        with django_assert_max_num_queries(4):
            answer = client.get(url, headers=own)
            assert answer.status_code == 200
            if answer.streaming:
                fetched(answer)
