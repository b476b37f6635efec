"""Files of usage by the API: a partner sees its own, and the sweep lets go of what became known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from ispops.parties.models import AuditEntry, Partner
from provisioning.models import PartnerSubscriber, Service
from rating import retrying, tasks, usage_files
from rating.models import Usage, UsageFile
from tests.rating.calls import token
from tests.rating.ground import NOON, Shop, event, report, subscribed

pytestmark = pytest.mark.django_db
NOW = NOON + timedelta(hours=2)
CSV = "Event ID,subscriber_ref,offering,started_at,quantity,unit,device\n"


@pytest.fixture(autouse=True)
def around(settings: LazySettings, tmp_path: Path) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def ask(client: Client, shop: Shop) -> Callable[..., Any]:
    def call(partner: Partner, name: str, body: str | None = None, **how: Any) -> Any:
        scopes = how.get("scopes", ["usage:read", "usage:write"])
        headers = {"Authorization": f"Bearer {token(partner, scopes)}"}
        address = reverse(name, args=how.get("args", [])) + how.get("query", "")
        if body is None:
            return client.get(address, headers=headers)
        headers["Idempotency-Key"] = how.get("key", f"key-{UsageFile.objects.count()}")
        kind = how.get("content_type", "text/csv")
        return client.post(address, body, content_type=kind, headers=headers)

    return call


@pytest.fixture
def told(shop: Shop, line: Service) -> dict[str, Any]:
    subscribed(line, shop.minutes)
    return dict(event(line, shop.minutes, 12))


def as_csv(told: dict[str, Any]) -> str:
    values = [told[key] for key in ("event_id", "subscriber_ref", "offering", "started_at")]
    return CSV + ",".join([*values, str(told["quantity"]), told["unit"], "tv"]) + "\n"


def work() -> None:
    while usage_files.read_next(at=NOW):
        pass


def test_a_partner_sends_follows_and_lists_its_file(
    shop: Shop, ask: Any, told: dict[str, Any]
) -> None:
    sent = ask(shop.films, "usage-files", as_csv(told), key="k1")
    assert (sent.status_code, sent["Location"]) == (202, sent.json()["href"])
    assert ask(shop.films, "usage-files", as_csv(told), key="k1").json() == sent.json()
    assert UsageFile.objects.count() == 1
    key = sent.json()["id"]
    assert ask(shop.films, "usage-file-rejects", args=[key]).status_code == 404
    work()
    seen = ask(shop.films, "usage-file", args=[key]).json()
    assert {name: seen[name] for name in ("state", "rows_total", "rows_done", "accepted")} == {
        "state": "completed", "rows_total": 1, "rows_done": 1, "accepted": 1,
    }  # fmt: skip
    assert Usage.objects.get().attributes == {"device": "tv"}
    assert [row["id"] for row in ask(shop.films, "usage-files").json()["items"]] == [key]
    posted = ask(shop.films, "usage", query=f"?event_id={told['event_id']}").json()["items"]
    assert [row["event_id"] for row in posted] == [told["event_id"]]


def test_another_partner_and_a_reader_get_nothing(
    shop: Shop, ask: Any, told: dict[str, Any]
) -> None:
    key = ask(shop.films, "usage-files", as_csv(told)).json()["id"]
    for name in ("usage-file", "usage-file-rejects"):
        assert ask(shop.backup, name, args=[key]).status_code == 404
    assert ask(shop.backup, "usage-file-cancellation", "", args=[key]).status_code == 404
    assert ask(shop.backup, "usage-files").json()["items"] == []
    reader = {"scopes": ["usage:read"]}
    assert ask(shop.films, "usage-files", as_csv(told), **reader).status_code == 403
    assert ask(shop.isp.fibre, "usage-files", as_csv(told)).status_code == 422
    # The same file of another partner is another file, and tells nobody of the first.
    theirs = ask(shop.backup, "usage-files", as_csv(told)).json()
    assert theirs["same_as"] is None


def test_a_file_that_waits_can_be_cancelled(shop: Shop, ask: Any, told: dict[str, Any]) -> None:
    key = ask(shop.films, "usage-files", as_csv(told)).json()["id"]
    for turn in range(2):
        done = ask(shop.films, "usage-file-cancellation", "", args=[key], key=f"c{turn}")
        assert (done.status_code, done.json()["state"]) == (200, "cancelled")
    work()
    assert not Usage.objects.exists()


def test_only_so_many_files_may_wait(
    shop: Shop, ask: Any, told: dict[str, Any], settings: LazySettings
) -> None:
    settings.USAGE_FILES_MOST_OPEN = 1
    ask(shop.films, "usage-files", as_csv(told))
    refused = ask(shop.films, "usage-files", as_csv(told))
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/too_many_open_files")
    assert UsageFile.objects.count() == 1


def _kept(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_a_file_that_is_over_is_deleted_after_its_time(
    shop: Shop, ask: Any, told: dict[str, Any], tmp_path: Path
) -> None:
    key = ask(shop.films, "usage-files", as_csv(told | {"quantity": -1})).json()["id"]
    work()
    waits = ask(shop.films, "usage-files", as_csv(told | {"quantity": -2})).json()["id"]
    assert ask(shop.films, "usage-file-rejects", args=[key]).status_code == 200
    with time_machine.travel(NOW + timedelta(days=29), tick=False):
        tasks.delete_old_usage_files()
    assert _kept(tmp_path) == 3
    with time_machine.travel(NOW + timedelta(days=31), tick=False):
        tasks.delete_old_usage_files()
    assert _kept(tmp_path) == 1
    gone = ask(shop.films, "usage-file-rejects", args=[key])
    assert (gone.status_code, "deleted" in gone.json()["detail"]) == (404, True)
    assert ask(shop.films, "usage-file", args=[key]).json()["rejected"] == 1
    work()
    assert ask(shop.films, "usage-file", args=[waits]).json()["state"] == "completed"


def test_the_oldest_files_make_room_for_a_new_one(
    shop: Shop, ask: Any, told: dict[str, Any], settings: LazySettings, tmp_path: Path,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    """What is over goes, of that partner alone; one that is not read yet stays whatever comes."""
    text = as_csv(told)
    settings.USAGE_FILES_MOST_BYTES = 2 * len(text)
    ask(shop.backup, "usage-files", text)
    keys = []
    for _ in range(4):
        with django_capture_on_commit_callbacks(execute=True):
            keys.append(ask(shop.films, "usage-files", text).json()["id"])
        if len(keys) < 4:
            ask(shop.films, "usage-file-cancellation", "", args=[keys[-1]], key=keys[-1])
    left = [file.public_id for file in UsageFile.objects.order_by("pk") if file.file]
    assert left[1:] == keys[1:]
    assert _kept(tmp_path) == 4


def test_errors_leave_by_themselves_once_their_reason_is_gone(
    shop: Shop, line: Service, told: dict[str, Any]
) -> None:
    known = PartnerSubscriber.objects.get(partner=shop.films)
    PartnerSubscriber.objects.filter(pk=known.pk).update(reference="psb_elsewhere")
    report(shop.films, told, told | {"event_id": "other", "subscriber_ref": "psb_nobody"}, at=NOW)
    before = AuditEntry.objects.count()
    assert retrying.retry_guided_wrong(at=NOW) == 0
    assert AuditEntry.objects.count() == before
    PartnerSubscriber.objects.filter(pk=known.pk).update(reference=known.reference)
    assert retrying.retry_guided_wrong(at=NOW) == 1
    assert {use.event_id: use.error_code for use in Usage.objects.all()} == {
        told["event_id"]: "",
        "other": "unknown_subscriber",
    }
