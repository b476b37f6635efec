"""Callers who wait: entered, found again, taken off, written to again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from ispops.parties import roles
from ispops.parties.models import AuditEntry
from qualification import qualify, waitlist
from qualification.models import ServiceQualification, WaitlistEntry
from tests.console.conftest import NOW, World

LIST = "/console/qualification/waitlistentry/"


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def answer(world: World) -> ServiceQualification:
    return qualify.qualify_address(
        text="1 Alpine Rd, Stowe, VT 05672", channel="csr", at=NOW - timedelta(days=1)
    )


def enter(client: Client, answer: ServiceQualification, **data: str) -> str:
    address = reverse("admin:console_join_waitlist", args=[answer.public_id])
    given = {"email": "eve@example.com", "name": "Eve", "consent": "yes"} | data
    page = client.post(address, given, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_a_caller_is_entered_by_who_read_them_the_words(
    csr: Client, answer: ServiceQualification
) -> None:
    page = csr.get(reverse("admin:console_qualification", args=[answer.public_id]))
    assert waitlist.CONSENT in page.content.decode()
    assert "They are on the list" in enter(csr, answer)
    entry = WaitlistEntry.objects.get()
    assert (entry.email, entry.name, entry.channel) == ("eve@example.com", "Eve", "csr")
    assert AuditEntry.objects.get(action="waitlist.joined").actor == entry.added_by


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"consent": ""}, "Ask the caller"),
        ({"email": "nobody"}, "Enter an e-mail address"),
        ({"email": ""}, "Enter an e-mail address"),
        ({"email": "a\x00@example.com"}, "Enter an e-mail address"),
        ({"name": "x" * 201}, "name of up to 200"),
        ({"name": "<b>\x00"}, "name of up to 200"),
    ],
)
def test_what_cannot_be_entered_is_said_and_nothing_is_stored(
    csr: Client, answer: ServiceQualification, data: dict[str, str], words: str
) -> None:
    assert words in enter(csr, answer, **data)
    assert not WaitlistEntry.objects.exists()
    assert not AuditEntry.objects.filter(action="waitlist.joined").exists()


def test_where_a_unit_must_be_chosen_first_the_form_is_not_there(world: World, csr: Client) -> None:
    several = qualify.qualify_address(text="5 Oak Street, Barre, VT 05641", channel="csr", at=NOW)
    page = csr.get(reverse("admin:console_qualification", args=[several.public_id]))
    assert b"Put the caller on the waitlist" not in page.content


def test_who_may_only_look_sees_no_form(
    as_role: Callable[[str], Client], answer: ServiceQualification
) -> None:
    client = as_role(roles.CATALOGUE_MANAGER)
    page = client.get(reverse("admin:console_qualification", args=[answer.public_id]))
    assert b"Put the caller on the waitlist" not in page.content
    entry = waitlist.join_waitlist(
        qualification=answer, email="eve@example.com", channel="portal", at=NOW
    )
    act(client, "take_off", entry)
    assert WaitlistEntry.objects.waiting().get() == entry


def listed(client: Client, query: str) -> set[str]:
    page = client.get(LIST + query)
    assert page.status_code == 200
    return {row.email for row in page.context["cl"].result_list}


def test_the_list_is_filtered_by_what_became_of_people(
    csr: Client, answer: ServiceQualification
) -> None:
    for name in ("waiting", "found", "notified", "withdrawn"):
        enter(csr, answer, email=f"{name}@example.com")
    rows = WaitlistEntry.objects
    rows.filter(email__startswith="found").update(found=answer)
    rows.filter(email__startswith="notified").update(
        found=answer, notified_at=NOW, next_attempt_at=None
    )
    waitlist.leave_waitlist(email="withdrawn@example.com", at=NOW)
    for state in ("waiting", "found", "notified", "withdrawn"):
        assert listed(csr, f"?state={state}") == {f"{state}@example.com"}
    assert len(listed(csr, "")) == 4
    assert listed(csr, f"?q={answer.h3_res8}&state=waiting") == {"waiting@example.com"}
    assert listed(csr, "?q=notified@example") == {"notified@example.com"}
    assert listed(csr, "?q=05672&state=found") == {"found@example.com"}
    assert len(listed(csr, "?state=nonsense")) == 4


def test_hostile_names_are_shown_as_they_are_and_run_nothing(
    csr: Client, answer: ServiceQualification
) -> None:
    enter(csr, answer, name="<script>alert(1)</script>{{ 7*7 }}", email="o'eve+x@example.com")
    page = csr.get(LIST).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}" in page


def act(client: Client, action: str, entry: WaitlistEntry) -> None:
    done = client.post(LIST, {"action": action, "_selected_action": [entry.pk]}, follow=True)
    assert done.status_code == 200


def test_a_caller_is_taken_off_for_all_places(
    world: World, csr: Client, answer: ServiceQualification
) -> None:
    enter(csr, answer)
    elm = qualify.qualify_address(text="1 Elm St, Barre, VT 05641", channel="csr", at=NOW)
    enter(csr, elm)
    act(csr, "take_off", WaitlistEntry.objects.earliest("pk"))
    assert WaitlistEntry.objects.withdrawn().count() == 2
    assert AuditEntry.objects.filter(action="waitlist.left").count() == 2


def test_a_letter_that_was_given_up_on_is_tried_again(
    csr: Client, answer: ServiceQualification
) -> None:
    enter(csr, answer)
    entry = WaitlistEntry.objects.get()
    act(csr, "write_again", entry)
    entry.refresh_from_db()
    assert entry.next_attempt_at is not None
    assert not AuditEntry.objects.filter(action="waitlist.letter_retried").exists()
    WaitlistEntry.objects.update(found=answer, next_attempt_at=None, attempts=12)
    act(csr, "write_again", entry)
    entry.refresh_from_db()
    assert (entry.next_attempt_at, entry.attempts) == (NOW, 0)
