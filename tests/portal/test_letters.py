"""What we wrote to a subscriber, and the choice of SMS: for nobody's eyes but theirs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from ispops.notices import notify, queries
from ispops.notices.models import Notice
from ispops.parties.models import AuditEntry, Subscriber
from tests import factories
from tests.portal.pages import page

pytestmark = pytest.mark.django_db
LIST, CHOOSE = "/account/messages/", "/account/messages/choose/"
CONFIRM = "/account/messages/confirm/"


@pytest.fixture(autouse=True)
def _with_sms(settings: Any) -> None:
    settings.SMS_GATEWAY = "files"


def write(subscriber: Subscriber, at: datetime, *, cause: str = "1", **other: str) -> Notice:
    values = {"plan": "Fibre 500", "premises": "1 Oak Street", "date": "today"} | other
    kind = values.pop("kind", "line_resumed")
    return notify.send(kind=kind, subscriber=subscriber, cause=cause, at=at, **values)[0]


def test_letters_are_listed_newest_first_and_read_as_they_were(
    owner: Client, ada: Subscriber, now: datetime, django_assert_max_num_queries: Any
) -> None:
    write(ada, now - timedelta(days=2), cause="1", premises="An older place")
    newest = write(ada, now, cause="2", plan="Fibre <b>500</b>")
    with django_assert_max_num_queries(8):
        found = page(owner.get(LIST))
    assert found.text.index("1 Oak Street") < found.text.index("An older place")
    assert "Sent" not in found.text
    assert "On its way" in found.text
    (link,) = [a for a in found.all("a") if newest.public_id in a["href"]]
    letter = page(owner.get(link["href"]))
    assert "your line Fibre &lt;b&gt;500&lt;/b&gt; at 1 Oak Street is on again" in letter.html
    assert ada.email in letter.text


def test_nothing_yet_says_so(owner: Client) -> None:
    assert "We have not written to you yet" in page(owner.get(LIST)).text


def test_a_long_list_has_pages(owner: Client, ada: Subscriber, now: datetime) -> None:
    for number in range(31):
        write(ada, now + timedelta(seconds=number), cause=str(number), premises=f"Place {number}")
    first = page(owner.get(LIST))
    assert "Place 30" in first.text
    assert "Place 0 " not in first.text
    assert "Place 0 " in page(owner.get(LIST, {"page": 2})).text


def test_what_is_given_up_on_was_not_written(owner: Client, ada: Subscriber, now: datetime) -> None:
    lost = write(ada, now)
    Notice.objects.filter(pk=lost.pk).update(state="parked", next_attempt_at=None)
    assert "We have not written to you yet" in page(owner.get(LIST)).text
    assert owner.get(f"{LIST}{lost.public_id}/").status_code == 404


def test_letters_of_others_do_not_exist(
    stranger: Client, client: Client, ada: Subscriber, now: datetime
) -> None:
    letter = write(ada, now)
    assert stranger.get(f"{LIST}{letter.public_id}/").status_code == 404
    assert "Oak" not in page(stranger.get(LIST)).text
    assert stranger.get(f"{LIST}ntc_x/").status_code == 404
    for path in (LIST, CHOOSE, f"{LIST}{letter.public_id}/"):
        assert client.get(path)["Location"].startswith("/accounts/login/")


def test_a_secret_is_not_shown_again(owner: Client, ada: Subscriber, now: datetime) -> None:
    notify.send(
        kind="invitation", subscriber=ada, cause="x", at=now,
        invitation_url="https://isp.example/s3cret/", valid_until="tomorrow",
    )  # fmt: skip
    letter = Notice.objects.get()
    found = page(owner.get(f"{LIST}{letter.public_id}/"))
    assert "[only in the message itself]" in found.text
    assert "s3cret" not in found.html


def test_agreeing_to_sms_and_having_no_more(owner: Client, ada: Subscriber, now: datetime) -> None:
    form = page(owner.get(CHOOSE))
    assert form.value("number") == ada.phone
    assert not [box for box in form.all("input", name="wants_sms") if "checked" in box]
    answer = owner.post(CHOOSE, {"wants_sms": "on", "number": "802 555 0117"}, follow=True)
    assert "We have sent an SMS with a code to +18025550117" in page(answer).text
    assert queries.sms_number_of(ada) == ""
    found = page(owner.get(LIST))
    assert "not confirmed yet" in found.text
    assert "your code is [only in the message itself]" in found.text
    found = page(owner.post(CONFIRM, {"code": ""}), status=422)
    assert found.all("a", href="#id_code")
    found = page(owner.post(CONFIRM, {"code": "12345x"}), status=422)
    assert "This is not the code" in found.text
    answer = owner.post(CONFIRM, {"again": "1"}, follow=True)
    assert "Wait a minute" in page(answer).text
    answer = owner.post(CONFIRM, {"code": factories.code_of(ada)}, follow=True)
    assert "We also write to you by SMS, to +18025550117." in page(answer).text
    Notice.objects.filter(kind="number_code").delete()
    assert owner.get(CONFIRM).status_code == 302
    assert queries.sms_number_of(ada) == "+18025550117"
    form = page(owner.get(CHOOSE))
    assert form.value("number") == "+18025550117"
    assert [box for box in form.all("input", name="wants_sms") if "checked" in box]
    write(ada, now)
    found = page(owner.get(LIST))
    assert "Harbor Broadband: your line Fibre 500 is on again." in found.text
    sms = Notice.objects.get(channel="sms")
    assert "Message by SMS" in page(owner.get(f"{LIST}{sms.public_id}/")).text
    answer = owner.post(CHOOSE, {"number": "802 555 0117"}, follow=True)
    assert "We write to you by e-mail alone." in page(answer).text
    assert queries.sms_number_of(ada) == ""
    said = AuditEntry.objects.filter(action__startswith="contact.", actor=ada.users.get())
    assert said.count() == 3


@pytest.mark.parametrize("number", ["", "12", "not a number", "5" * 60])
def test_a_number_that_is_none_is_refused_at_its_field(
    owner: Client, ada: Subscriber, number: str
) -> None:
    found = page(owner.post(CHOOSE, {"wants_sms": "on", "number": number}), status=422)
    assert found.all("a", href="#id_number")
    assert queries.sms_number_of(ada) == ""


def test_there_is_no_choice_where_no_sms_are_sent(owner: Client, settings: Any) -> None:
    settings.SMS_GATEWAY = ""
    assert owner.get(CHOOSE).status_code == 404
    assert "SMS" not in page(owner.get(LIST)).text
