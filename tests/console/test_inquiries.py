"""Networks that are asked, in the console: connections, inquiries, and what people do with them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from qualification import asking, connections
from qualification.models import ProviderConnection, ProviderInquiry, ServiceQualification
from tests import factories
from tests.offnet import OffNet, ask, connect, later
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db


@pytest.fixture
def off() -> OffNet:
    """A provider that cannot be reached."""
    return connect(make_small_isp(), "http://127.0.0.1:9/api", at=LAUNCH)


@pytest.fixture
def otto(db: None) -> User:
    return factories.staff(roles.OPERATIONS, at=LAUNCH)


@pytest.fixture
def desk(otto: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(otto)


@pytest.fixture
def pending(off: OffNet) -> ServiceQualification:
    """An answer that waits, after one try that failed."""
    answer = ask(off.knox, at=timezone.now())
    asking.ask(inquiry_id=answer.inquiries.get().pk, at=timezone.now())
    return answer


def page_of(inquiry: ProviderInquiry) -> str:
    return reverse("admin:console_inquiry", args=[inquiry.public_id])


def test_an_inquiry_shows_its_attempts_and_what_was_said(
    pending: ServiceQualification, desk: Client
) -> None:
    inquiry = pending.inquiries.get()
    text = desk.get(page_of(inquiry)).content.decode()
    for said in (
        "Tidewater Cable: 12 Knox Street, Manchester, CT 06040", "Waiting for the provider",
        "No usable answer", "It cannot be reached (ConnectionError).", "Ask again…", "Give up now…",
        "failing",
    ):  # fmt: skip
        assert said in text, said


def test_an_answered_inquiry_shows_the_lines(off: OffNet, desk: Client) -> None:
    from tests.portal.test_waiting import CABLE, tell

    answer = ask(off.knox, at=timezone.now())
    tell(answer, CABLE)
    text = desk.get(page_of(answer.inquiries.get())).content.decode()
    assert "What it answered" in text
    assert "1.2 Gbit/s" in text
    assert "Ask again…" not in text


def test_asking_again_and_giving_up_need_a_reason_and_are_audited(
    pending: ServiceQualification, desk: Client, otto: User
) -> None:
    inquiry = pending.inquiries.get()
    again = reverse("admin:console_ask_again", args=[inquiry.public_id])
    give_up = reverse("admin:console_give_up", args=[inquiry.public_id])
    text = desk.post(again, {"reason": " "}, follow=True).content.decode()
    assert "Say why" in text
    assert not AuditEntry.objects.filter(action="inquiry.asked_again").exists()

    text = desk.post(again, {"reason": "They called."}, follow=True).content.decode()
    assert "The network is being asked again now." in text
    text = desk.post(give_up, {"reason": "The caller hung up."}, follow=True).content.decode()
    assert "We wait for this network no longer." in text
    assert "The caller hung up." in text, "the timeline tells it"
    text = desk.post(give_up, {"reason": "Twice"}, follow=True).content.decode()
    assert "This question is closed" in text
    pending.refresh_from_db()
    assert pending.settled_at is not None
    assert set(
        AuditEntry.objects.filter(actor=otto).values_list("action", flat=True)
    ) >= {"inquiry.asked_again", "inquiry.given_up"}  # fmt: skip


def test_the_answer_s_page_says_who_is_asked_and_when_it_is_settled(
    pending: ServiceQualification, desk: Client, otto: User
) -> None:
    text = desk.get(
        reverse("admin:console_qualification", args=[pending.public_id])
    ).content.decode()
    assert "Networks that are being asked" in text
    poll = reverse("admin:console_asking", args=[pending.public_id])
    assert f'hx-get="{poll}"' in text
    assert "Networks that are being asked" in desk.get(poll).content.decode()

    inquiry = pending.inquiries.get()
    asking.ask(inquiry_id=inquiry.pk, at=inquiry.give_up_at)
    settled = desk.get(poll).content.decode()
    assert "All networks have been asked." in settled
    assert 'role="status"' in settled
    assert "hx-get" not in settled
    text = desk.get(
        reverse("admin:console_qualification", args=[pending.public_id])
    ).content.decode()
    assert "Networks that were asked" in text
    assert f'hx-get="{poll}"' not in text


def test_lists_lead_to_the_page_about_an_inquiry(
    pending: ServiceQualification, desk: Client
) -> None:
    inquiry = pending.inquiries.get()
    listed = desk.get(reverse("admin:qualification_providerinquiry_changelist"))
    assert inquiry.last_error in listed.content.decode()
    row = reverse("admin:qualification_providerinquiry_change", args=[inquiry.pk])
    assert desk.get(row)["Location"] == page_of(inquiry)
    assert desk.get(row.replace(str(inquiry.pk)[:8], "00000000")).status_code == 404


def test_the_connections_say_whether_they_answer(
    pending: ServiceQualification, desk: Client
) -> None:
    listed = reverse("admin:qualification_providerconnection_changelist")
    assert "failing, still asked" in desk.get(listed).content.decode()
    ProviderConnection.objects.update(failures=5, open_until=later(timezone.now(), 60))
    assert "left alone for now" in desk.get(listed).content.decode()
    home = desk.get(reverse("admin:index")).content.decode()
    assert "Networks that do not answer" in home
    ProviderConnection.objects.update(open_until=later(timezone.now(), -60))
    assert "the next question is a test" in desk.get(listed).content.decode()


FORM = {
    "base_url": "https://api.tidewater.example/v4", "folder": "", "active": "on",
    "timeout_seconds": "4", "at_once": "3", "give_up_after_seconds": "300",
    "answer_valid_seconds": "86400", "breaker_threshold": "5", "breaker_pause_seconds": "60",
    "new_token": "",
}  # fmt: skip


def test_another_host_is_named_with_its_token_or_not_at_all(off: OffNet, desk: Client) -> None:
    row = reverse("admin:qualification_providerconnection_change", args=[off.connection.pk])
    text = desk.post(row, FORM).content.decode()
    assert "names another host. Enter the secret that is meant for it" in text
    assert ProviderConnection.objects.get().base_url == off.connection.base_url
    assert desk.post(row, FORM | {"new_token": "theirs"}).status_code == 302
    assert ProviderConnection.objects.get().token == "theirs"


def test_a_connection_is_changed_in_its_form_and_the_token_is_never_shown(
    off: OffNet, desk: Client, otto: User
) -> None:
    row = reverse("admin:qualification_providerconnection_change", args=[off.connection.pk])
    text = desk.get(row).content.decode()
    assert off.connection.token not in text
    assert re.search(r'<input[^>]*type="password"[^>]*name="new_token"', text)

    stays = FORM | {"base_url": f"{off.connection.base_url}/v4"}
    assert desk.post(row, stays).status_code == 302
    changed = ProviderConnection.objects.get()
    assert (changed.at_once, changed.token) == (3, off.connection.token)
    assert desk.post(row, stays | {"new_token": "a-new-one"}).status_code == 302
    changed.refresh_from_db()
    assert changed.token == "a-new-one"
    notes = AuditEntry.objects.filter(action="connection.changed", actor=otto).order_by("pk")
    assert [sorted(note.detail) for note in notes] == [
        ["adapter", "at_once", "base_url", "timeout_seconds"], ["adapter", "token"],
    ]  # fmt: skip
    assert "a-new-one" not in str([note.detail for note in notes])
    assert "a-new-one" not in desk.get(row).content.decode()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("base_url", "nothing at all", "Enter a valid URL"),
        ("base_url", "ftp://x.example", "must begin with https://"),
        ("base_url", "https://u:p@x.example", "no user or password"),
        ("base_url", "", "Enter the address of the provider"),
        ("timeout_seconds", "99", "from 0.1 to 30"),
        ("at_once", "0", "from 1 to 20"),
    ],
)
def test_what_the_verb_refuses_is_said_beside_its_field(
    off: OffNet, desk: Client, field: str, value: str, said: str
) -> None:
    row = reverse("admin:qualification_providerconnection_change", args=[off.connection.pk])
    answer = desk.post(row, FORM | {field: value})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert ProviderConnection.objects.get().at_once == off.connection.at_once


def test_a_network_is_connected_in_a_form(off: OffNet, desk: Client) -> None:
    add = reverse("admin:qualification_providerconnection_add")
    text = desk.get(add).content.decode()
    copper = off.isp.copper
    assert f'value="{copper.pk}"' in text
    assert f'<option value="{off.isp.films.pk}"' not in text, "a product's partner has no network"
    assert f'<option value="{off.tidewater.pk}"' not in text, "it is connected already"
    given = FORM | {"partner": copper.pk, "adapter": "files", "base_url": "", "folder": "copper"}
    assert desk.post(add, given).status_code == 302
    made = ProviderConnection.objects.get(partner=copper)
    assert (made.adapter, made.folder, made.at_once) == ("files", "copper", 3)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (roles.OPERATIONS, True), (roles.CATALOGUE_MANAGER, True), (roles.CSR, False),
        (roles.FINANCE, False),
    ],
)  # fmt: skip
def test_who_may_change_how_a_network_is_asked(
    off: OffNet, as_role: Callable[[str], Client], role: str, may: bool
) -> None:
    client = as_role(role)
    row = reverse("admin:qualification_providerconnection_change", args=[off.connection.pk])
    client.post(row, FORM | {"at_once": "7", "base_url": off.connection.base_url})
    assert (ProviderConnection.objects.get().at_once == 7) == may
    added = client.get(reverse("admin:qualification_providerconnection_add")).status_code
    assert added == (200 if may else 403)


def test_a_csr_may_wait_no_longer_and_finance_may_not(
    pending: ServiceQualification, as_role: Callable[[str], Client]
) -> None:
    inquiry = pending.inquiries.get()
    give_up = reverse("admin:console_give_up", args=[inquiry.public_id])
    assert as_role(roles.FINANCE).post(give_up, {"reason": "x"}).status_code == 403
    assert as_role(roles.CSR).post(give_up, {"reason": "x"}).status_code == 302
    inquiry.refresh_from_db()
    assert inquiry.state == "given_up"


def test_the_page_keeps_to_few_queries(
    pending: ServiceQualification, desk: Client, django_assert_max_num_queries: object
) -> None:
    inquiry = pending.inquiries.get()
    for number in range(2, 12):
        inquiry.tries.create(number=number, started_at=timezone.now(), outcome="failed")
    desk.get(page_of(inquiry))
    with django_assert_max_num_queries(14):  # type: ignore[operator]
        desk.get(page_of(inquiry))


def test_connections_cannot_be_deleted(off: OffNet, desk: Client) -> None:
    gone = reverse("admin:qualification_providerconnection_delete", args=[off.connection.pk])
    assert desk.post(gone, {"post": "yes"}).status_code == 403
    assert connections.ProviderConnection.objects.exists()
