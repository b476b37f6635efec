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
from rating import retrying, usage_files
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
