"""Who is online now, and which live sessions could not be changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ispops.console import queues
from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from provisioning.models import AccessServer, AccessSession, SessionCommand
from tests.console.conftest import NOW, World
from tests.provisioning import online

BUDGET = 16


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def live(world: World) -> AccessSession:
    AccessServer.objects.create(name="bng-north", nas_ip=online.NAS)
    row: AccessSession = online.session(world.line, at=NOW)
    return row


def text(client: Client, query: str = "") -> str:
    answer = client.get(reverse("admin:console_online") + query)
    assert answer.status_code == 200
    return answer.content.decode()


def stuck(live: AccessSession) -> AccessSession:
    AccessSession.objects.filter(pk=live.pk).update(trouble="server_takes_no_changes")
    return live


def test_nobody_is_online(world: World, csr: Client) -> None:
    assert "Nobody is online" in text(csr)


def test_who_is_online_since_when_where_and_as_what(
    world: World, csr: Client, live: AccessSession
) -> None:
    page = text(csr)
    for words in ("Ada Lovelace", "100.64.0.10", "AA-BB-CC-00-11-22", "bng-north", "Up to date"):
        assert words in page, words
    assert reverse("admin:console_subscriber", args=[world.ada.public_id]) in page


def test_a_session_that_has_ended_is_not_listed(csr: Client, live: AccessSession) -> None:
    AccessSession.objects.update(ended_at=NOW)
    assert "Nobody is online" in text(csr)


@pytest.mark.parametrize(
    ("query", "is_there"),
    [
        (f"?server={online.NAS}", True),
        ("?q=lovelace", True),
        ("?q=100.64.0.10", True),
        ("?q=nobody", False),
        ("?server=no%00address", True),
        ("?q=%00", True),
        ("?trouble=1", False),
    ],
)
def test_filters(csr: Client, live: AccessSession, query: str, is_there: bool) -> None:
    assert ("Ada Lovelace" in text(csr, query)) == is_there


def test_another_servers_sessions(world: World, csr: Client, live: AccessSession) -> None:
    online.session(world.line, at=NOW, nas_ip="192.0.2.9", framed_ip="100.64.0.99")
    page = text(csr, "?server=192.0.2.9")
    assert "100.64.0.99" in page
    assert "100.64.0.10<" not in page


def test_a_session_in_trouble_says_why_and_is_tried_again(
    world: World, csr: Client, live: AccessSession
) -> None:
    stuck(live)
    page = text(csr, "?trouble=1")
    assert "The access server takes no changes" in page
    address = reverse("admin:console_retry_session", args=[live.pk])
    assert address in page
    answer = csr.post(address, {"next": reverse("admin:console_online") + "?trouble=1"})
    assert answer["Location"].endswith("?trouble=1")
    live.refresh_from_db()
    assert (live.trouble, live.next_attempt_at) == ("", NOW)
    assert AuditEntry.objects.get(action="session.retried").subscriber == world.ada


def test_a_session_that_is_gone_cannot_be_tried(csr: Client, world: World) -> None:
    answer = csr.post(reverse("admin:console_retry_session", args=[0]), follow=True)
    assert "There is no such session." in answer.content.decode()


def test_who_may_only_see_has_no_button(
    as_role: Callable[[str], Client], live: AccessSession
) -> None:
    finance = as_role(roles.FINANCE)
    assert finance.get(reverse("admin:console_online")).status_code == 403
    assert finance.post(reverse("admin:console_retry_session", args=[live.pk])).status_code == 403


def test_the_queue_counts_the_trouble(live: AccessSession, boss: User) -> None:
    assert queues._count(boss, queues.QUEUES)["sessions"] == 0
    stuck(live)
    assert queues._count(boss, queues.QUEUES)["sessions"] == 1


def test_the_subscriber_page_shows_sessions_and_what_was_told(
    world: World, csr: Client, live: AccessSession
) -> None:
    SessionCommand.objects.create(
        session=live, kind="change", revision=2, sent_at=NOW, outcome="refused",
        detail="The access server refused: it is not allowed.",
    )  # fmt: skip
    for number in range(6):
        online.session(
            world.line, at=NOW - timedelta(days=number + 1), ended_at=NOW, end_cause="Lost-Carrier"
        )
    answer = csr.get(reverse("admin:console_subscriber", args=[world.ada.public_id]))
    page = answer.content.decode()
    assert "it is not allowed" in page
    assert page.count("Ended: Lost-Carrier") == 4, "the last five sessions"


def test_the_page_keeps_to_its_budget(
    world: World, csr: Client, live: AccessSession, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(BUDGET) as first:
        text(csr)
    for number in range(10):
        online.session(world.line, at=NOW, nas_ip=f"192.0.2.{number + 20}")
    with django_assert_max_num_queries(len(first)):
        text(csr)
