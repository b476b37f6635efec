"""Wording notices in the console: preview, saving, tests, history; and who may."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from ispops.notices import contacts, notify
from ispops.notices.models import Notice, NoticeTemplate
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from tests import factories
from tests.console.conftest import NOW, World

BUDGET = 16


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CATALOGUE_MANAGER)


def address(action: str, code: str = "line_resumed") -> str:
    return reverse(f"admin:console_{action}", args=[code])


def words(**other: Any) -> dict[str, Any]:
    return {
        "channel": "email",
        "based_on": "0",
        "subject": "On again, {{ name }}",
        "body": "It is on: {{ plan }}.",
    } | other


def text_of(answer: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def test_the_list_says_when_by_what_and_in_whose_words(
    world: World, desk: Client, django_assert_max_num_queries: Any
) -> None:
    desk.post(address("save_notice"), words())
    with django_assert_max_num_queries(BUDGET):
        answer = desk.get(reverse("admin:console_notices"))
    text = text_of(answer)
    assert "Line resumed when a suspended line was switched on again E-mail : yours, now" in text
    assert "SMS : the product's" in text


def test_a_page_shows_the_words_the_variables_and_how_it_reads(
    world: World, desk: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(BUDGET):
        answer = desk.get(address("notice"))
    html, text = answer.content.decode(), text_of(answer)
    assert "Your line at {{ premises }} is on again" in unescape(html)
    assert "Your line at 1 Oak Street, Barre, VT 05641 is on again" in text
    assert "{{ premises }} the line's address" in text
    assert "Nobody has edited this text" in text
    assert desk.get(address("notice", "no_such")).status_code == 404
    assert desk.get(address("notice"), {"channel": "fax"}).status_code == 404
    assert desk.get(address("notice", "invitation"), {"channel": "sms"}).status_code == 404


def test_the_preview_of_an_sms_counts_its_parts(world: World, desk: Client) -> None:
    asked = {"channel": "sms", "body": "{{ isp }}: “on” again, {{ name }}. " + "x" * 60}
    answer = desk.post(address("preview_notice"), asked, headers={"HX-Request": "true"})
    assert b"<html" not in answer.content
    text = text_of(answer)
    assert "Harbor Broadband: “on” again, Ada Lovelace." in text
    assert "2 parts , 104 characters in UCS-2. Because of “” a part holds 70" in text
    whole = desk.post(address("preview_notice"), asked)
    assert "2 parts" in text_of(whole)
    assert "{{ isp }}: “on” again" in unescape(whole.content.decode())


def test_the_preview_says_what_is_wrong(world: World, desk: Client) -> None:
    answer = desk.post(
        address("preview_notice"), words(body="{{ plane }}"), headers={"HX-Request": "true"}
    )
    assert "There is no {{ plane }} in this notice." in text_of(answer)
    assert not NoticeTemplate.objects.exists()


def test_saving_and_the_history_of_it(world: World, desk: Client) -> None:
    answer = desk.post(address("save_notice"), words(), follow=True)
    assert "What is written from now on has these words." in text_of(answer)
    answer = desk.post(
        address("save_notice"), words(based_on="1", body="It works: {{ plan }}."), follow=True
    )
    html = answer.content.decode()
    assert "<del>- It is on: {{ plan }}.</del>" in html
    assert "<ins>+ It works: {{ plan }}.</ins>" in html
    assert html.index("Version 2") < html.index("Version 1")
    assert AuditEntry.objects.filter(action="notice_template.saved").count() == 2


def test_words_that_cannot_be_used_stay_in_the_form(world: World, desk: Client) -> None:
    answer = desk.post(address("save_notice"), words(body="Hello {{ plan|upper }} <b>"))
    assert answer.status_code == 422
    html = answer.content.decode()
    assert '<a class="c-link" href="#body">' in html
    assert "Hello {{ plan|upper }} &lt;b&gt;</textarea>" in html
    assert not NoticeTemplate.objects.exists()


def test_who_comes_second_is_told_and_keeps_the_words(world: World, desk: Client) -> None:
    desk.post(address("save_notice"), words())
    answer = desk.post(address("save_notice"), words(body="Mine: {{ plan }}"))
    assert answer.status_code == 422
    assert "Somebody else has changed this text" in text_of(answer)
    assert "Mine: {{ plan }}" in answer.content.decode()
    # Saving again what was seen to be old is refused again.
    assert 'name="based_on" value="0"' in answer.content.decode()


@pytest.mark.parametrize("based_on", ["", "x", "-1", "9" * 40, "²"])
def test_a_number_that_is_none_is_no_version(world: World, desk: Client, based_on: str) -> None:
    desk.post(address("save_notice"), words())
    answer = desk.post(address("save_notice"), words(body="x", based_on=based_on))
    assert answer.status_code == 422


def test_a_test_goes_to_whoever_edits_and_once(world: World, desk: Client) -> None:
    form = words(key="abc", body="Hello {{ name }}: {{ plan }}")
    for _ in range(2):
        answer = desk.post(address("test_notice"), form)
        assert answer.status_code == 200
    assert "Hello {{ name }}: {{ plan }}" in answer.content.decode()
    notice = Notice.objects.get(recipient__startswith="user_")
    assert (notice.subscriber, notice.subject) == (None, "On again, Ada Lovelace")
    assert notice.body == "Hello Ada Lovelace: Fiber 500\n"
    assert AuditEntry.objects.get(action="notice_template.tested").subject == (
        "notice_line_resumed_email"
    )
    assert not NoticeTemplate.objects.exists()
    wrong = desk.post(address("test_notice"), words(body="{{ plane }}", key="other"))
    assert wrong.status_code == 422


def test_a_test_by_sms_needs_a_number(world: World, desk: Client) -> None:
    form = {"channel": "sms", "body": "On: {{ plan }}", "key": "k"}
    answer = desk.post(address("test_notice"), form | {"number": "12"})
    assert answer.status_code == 422
    assert '<a class="c-link" href="#number">' in answer.content.decode()
    desk.post(address("test_notice"), form | {"number": "802 555 0117"})
    assert Notice.objects.get(channel="sms").address == "+18025550117"


def test_back_to_the_products_words(world: World, desk: Client) -> None:
    desk.post(address("save_notice"), words())
    answer = desk.post(address("reset_notice"), {"channel": "email", "based_on": "1"}, follow=True)
    text = text_of(answer)
    assert "The text is the one of the product again." in text
    assert "Version 2 : back to the product's words" in text


def test_who_may_only_look_gets_no_form_to_send(
    world: World, as_role: Callable[[str], Client]
) -> None:
    html = as_role(roles.CSR).get(address("notice")).content.decode()
    assert "Save</button>" not in html
    assert "readonly" in html


def parked(world: World) -> Notice:
    (notice,) = notify.send(
        kind="line_resumed", subscriber=world.ada, cause="event:1", at=NOW,
        plan="Fibre 500", premises="1 Oak Street", date="today",
    )  # fmt: skip
    Notice.objects.filter(pk=notice.pk).update(
        state="parked", next_attempt_at=None, last_error="550 no such user"
    )
    return notice


def test_a_parked_notice_is_seen_and_sent_again(
    world: World, as_role: Callable[[str], Client]
) -> None:
    notice, csr = parked(world), as_role(roles.CSR)
    page = text_of(csr.get(reverse("admin:console_subscriber", args=[world.ada.public_id])))
    assert "E-mail to ada@example.com was not sent: Your line at 1 Oak Street is on again" in page
    assert "E-mail: needs a person now Line resumed" in page
    assert "your line Fibre 500 at 1 Oak Street is on again since today" in page
    listed = csr.get(reverse("admin:notices_notice_changelist"), {"state__exact": "parked"})
    assert "550 no such user" in listed.content.decode()
    done = csr.post(
        reverse("admin:notices_notice_changelist"),
        {"action": "send_again", "_selected_action": [str(notice.pk)]},
        follow=True,
    )
    assert "1 notices will be sent again." in done.content.decode()
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == ("pending", 0)


def test_the_number_for_sms_is_on_the_subscribers_page(
    world: World, as_role: Callable[[str], Client]
) -> None:
    csr = as_role(roles.CSR)
    address = reverse("admin:console_subscriber", args=[world.ada.public_id])
    assert "SMS Not agreed to" in text_of(csr.get(address))
    contacts.agree_to_sms(
        subscriber=world.ada, number="802 555 0199", actor=world.ada.users.get(), at=NOW
    )
    assert "SMS +18025550199 ! unconfirmed" in text_of(csr.get(address))
    contacts.confirm_sms(
        subscriber=world.ada, code=factories.code_of(world.ada), actor=world.ada.users.get(), at=NOW
    )
    page = text_of(csr.get(address))
    assert "SMS +18025550199" in page
    assert "unconfirmed" not in page


def test_a_secret_is_on_no_page(world: World, as_role: Callable[[str], Client]) -> None:
    (notice,) = notify.send(
        kind="invitation", subscriber=world.ada, cause="x", at=NOW,
        invitation_url="https://isp.example/s3cret/", valid_until="tomorrow",
    )  # fmt: skip
    csr = as_role(roles.CSR)
    for page in (
        reverse("admin:console_subscriber", args=[world.ada.public_id]),
        reverse("admin:notices_notice_change", args=[notice.pk]),
    ):
        html = csr.get(page).content.decode()
        assert "[only in the message itself]" in html
        assert "s3cret" not in html
