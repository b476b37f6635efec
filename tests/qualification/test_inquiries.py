"""Pending answers: what is known at once, what the provider adds, and what becomes of silence.

The provider is the demonstration's, in a process of its own; each of its faults is tried.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from pytest_django import Settings

from ispops.errors import IllegalTransition
from ispops.models import Event
from ispops.parties import partners
from ispops.parties.models import AuditEntry, User, WebhookDelivery
from ispops.parties.roles import OPERATIONS
from provisioning import orders
from qualification import asking, connections, inquiries, settling
from qualification.models import (
    InquiryAttempt,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    ServiceQualification,
)
from tests import factories
from tests.offnet import DemoNetwork, OffNet, ask, connect, eligible, later, now
from tests.small_isp import LAUNCH, make_small_isp

State = ServiceQualification.State
ON_NET = {"fibre-500", "films-streaming", "extra-address", "fibre-and-films"}
CABLE = {"cable-1000", "cable-200"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def off(network: DemoNetwork) -> OffNet:
    return make(network)


def make(network: DemoNetwork, **settings: Any) -> OffNet:
    patient = {"timeout_seconds": 5, "give_up_after_seconds": 60, "breaker_pause_seconds": 20}
    return connect(make_small_isp(), network.base_url, at=LAUNCH, **(patient | settings))


def change(off: OffNet, **settings: Any) -> None:
    connections.change_connection(connection_id=off.connection.pk, at=now(), **settings)


def inquiry_of(answer: ServiceQualification) -> ProviderInquiry:
    return answer.inquiries.select_related("connection").get()


def go_on(answer: ServiceQualification, at: datetime) -> ProviderInquiry:
    """Do what a worker does with the one inquiry of an answer, if it is due."""
    asking.ask(inquiry_id=inquiry_of(answer).pk, at=at)
    answer.refresh_from_db()
    return inquiry_of(answer)


def outcomes(inquiry: ProviderInquiry) -> list[str]:
    return list(inquiry.tries.order_by("number").values_list("outcome", flat=True))


# --- Asking and being answered ------------------------------------------------------------------


def test_what_is_known_is_promised_at_once_and_the_rest_when_the_provider_has_answered(
    off: OffNet,
) -> None:
    at = now()
    answer = ask(off.knox, at=at)
    assert (answer.state, answer.settled_at) == (State.PENDING, None)
    assert eligible(answer) == ON_NET
    assert not answer.offers.filter(eligible=False).exists()
    first = {row.pk: row.recurring_amount for row in answer.offers.all()}

    inquiry = go_on(answer, at)
    assert (inquiry.state, inquiry.attempts, outcomes(inquiry)) == ("answered", 1, ["answered"])
    assert (answer.state, answer.confidence, answer.remark) == (State.QUALIFIED, "green", "")
    assert eligible(answer) == ON_NET | CABLE
    assert set(first) <= set(answer.offers.values_list("pk", flat=True))
    refused = answer.offers.filter(eligible=False)
    assert set(refused.values_list("offering__code", flat=True)) == {
        "fibre-office", "dsl-25", "dsl-6",
    }  # fmt: skip
    assert answer.settled_at is not None
    [event] = Event.objects.filter(kind="qualification.settled")
    assert (event.subject, event.payload) == (answer.public_id, {"state": "qualified"})


def test_the_provider_s_own_word_counts_and_not_its_list(off: OffNet) -> None:
    """The list says 300 Mbit/s; the provider says that it has built faster since."""
    answer = ask(off.knox, at=now())
    go_on(answer, now())
    offer = answer.offers.get(offering=off.cable)
    assert (offer.eligible, offer.coverage, offer.provider) == (True, None, off.tidewater)
    assert (offer.confidence, offer.install_days, offer.low_latency) == ("green", 7, True)
    [line] = [line for line in answer.lines if line["provider"] == off.tidewater.pk]
    assert (line["max_download_kbps"], line["technology"], line["key"]) == (1_200_000, 40, 0)


def test_a_provider_that_says_no_is_not_offered_though_its_list_says_yes(off: OffNet) -> None:
    answer = ask(off.dry, at=now())
    assert answer.state == State.PENDING
    inquiry = go_on(answer, now())
    assert (inquiry.state, answer.state) == ("answered", State.NOT_QUALIFIED)
    assert inquiry.answer is not None
    assert (inquiry.answer.serviceable, inquiry.answer.reason) == (
        False, "Our cables do not reach this address.",
    )  # fmt: skip
    assert eligible(answer) == set()


def test_a_unit_of_a_building_is_asked_about_as_such(off: OffNet, network: DemoNetwork) -> None:
    answer = ask(off.knox_unit, at=now())
    assert go_on(answer, now()).state == "answered"
    place = network.questions()[-1]["serviceQualificationItem"][0]["service"]["place"][0]
    assert place["geographicSubAddress"] == [{"name": "#2"}]
    assert (place["streetNr"], place["streetName"]) == ("14", "Knox Street")


def test_an_answer_is_kept_for_the_next_who_asks_until_it_expires(
    off: OffNet, network: DemoNetwork
) -> None:
    go_on(ask(off.knox, at=now()), now())
    asked = len(network.questions())
    second = ask(off.knox, at=now())
    assert (second.state, second.settled_at) == (State.QUALIFIED, None)
    assert eligible(second) == ON_NET | CABLE
    kept = inquiry_of(second)
    assert (kept.state, kept.answer) == ("answered", ProviderAnswer.objects.get())
    third = ask(off.knox, at=later(now(), off.connection.answer_valid_seconds + 60))
    assert third.state == State.PENDING
    assert len(network.questions()) == asked


def test_two_who_wait_for_the_same_place_are_both_served_by_one_answer(
    off: OffNet, network: DemoNetwork
) -> None:
    at = now()
    first, second = ask(off.knox, at=at), ask(off.knox, at=at)
    asked = len(network.questions())
    go_on(first, at)
    inquiry = go_on(second, now())
    assert (inquiry.state, inquiry.attempts, second.state) == ("answered", 0, State.QUALIFIED)
    assert len(network.questions()) == asked + 1
    assert ProviderAnswer.objects.count() == 1


def test_a_place_that_no_list_of_the_provider_names_is_not_asked_about(
    network: DemoNetwork,
) -> None:
    off = connect(make_small_isp(), network.base_url, at=LAUNCH, is_listed=False)
    answer = ask(off.knox, at=now())
    assert (answer.state, answer.inquiries.count()) == (State.QUALIFIED, 0)
    change(off, asked_everywhere=True)
    assert ask(off.isp.stowe, at=now()).state == State.PENDING


def test_a_connection_that_is_off_leaves_the_lists(off: OffNet) -> None:
    change(off, active=False)
    answer = ask(off.knox, at=now())
    assert (answer.state, answer.inquiries.count()) == (State.QUALIFIED, 0)
    assert eligible(answer) == ON_NET | {"cable-200"}


def test_what_is_known_at_once_can_be_ordered_while_the_answer_is_pending(off: OffNet) -> None:
    ada = factories.subscriber(at=LAUNCH)
    answer = ask(off.knox, at=now())
    placed = orders.place_order(
        subscriber=ada, qualification=answer, offering_codes=["fibre-500"], channel="portal",
        placed_by=ada.users.first(), idempotency_key="k", at=now(),
    )  # fmt: skip
    go_on(answer, now())
    assert placed.state == "acknowledged"
    assert "fibre-500" in eligible(answer)


def test_a_line_that_only_the_provider_told_of_can_be_ordered(network: DemoNetwork) -> None:
    """No list of ours names it, so no port is counted: the provider delivers it."""
    off = connect(
        make_small_isp(), network.base_url, at=LAUNCH, is_listed=False, asked_everywhere=True
    )
    ada = factories.subscriber(at=LAUNCH)
    answer = ask(off.knox, at=now())
    go_on(answer, now())
    placed = orders.place_order(
        subscriber=ada, qualification=answer, offering_codes=["cable-1000"], channel="portal",
        placed_by=ada.users.first(), idempotency_key="k", at=now(),
    )  # fmt: skip
    factories.work(at=now())
    placed.refresh_from_db()
    assert placed.state == "completed"


def test_a_partner_that_asked_is_told_by_webhook(off: OffNet, settings: Settings) -> None:
    settings.WEBHOOKS_MAY_STAY_LOCAL = True
    films = off.isp.films
    partners.set_webhook_url(partner_id=films.pk, webhook_url="http://127.0.0.1:9/h", at=now())
    answer = ask(off.knox, at=now(), asker="partner_films")
    assert not WebhookDelivery.objects.exists()
    go_on(answer, now())
    [told] = WebhookDelivery.objects.filter(partner=films)
    assert (told.kind, told.subject) == ("qualification.settled", answer.public_id)
    assert told.body["data"]["state"] == "qualified"


# --- The faults of a provider -------------------------------------------------------------------


def test_a_slow_provider_is_tried_again_and_then_answers(off: OffNet, network: DemoNetwork) -> None:
    change(off, timeout_seconds="0.3")
    network.misbehave("slow", seconds=1)
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    assert (inquiry.state, outcomes(inquiry)) == ("pending", ["failed"])
    assert inquiry.last_error == "It did not answer within 0.3 s."
    assert inquiry.next_attempt_at is not None
    pause = inquiry.next_attempt_at - inquiry.tries.get().ended_at  # type: ignore[operator]
    assert timedelta(seconds=0.5) <= pause <= timedelta(seconds=1)
    assert eligible(answer) == ON_NET

    go_on(answer, inquiry.tries.get().started_at)
    assert inquiry.tries.count() == 1, "it is not due yet"
    network.misbehave("")
    change(off, timeout_seconds=5)
    inquiry = go_on(answer, later(now(), 2))
    assert (inquiry.state, outcomes(inquiry)) == ("answered", ["failed", "answered"])
    assert eligible(answer) == ON_NET | CABLE


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error", "It answers 500: it is in trouble."),
        ("garbage", "Its answer is no JSON."),
    ],
)
def test_a_provider_that_stays_in_trouble_is_given_up_on_and_its_list_is_not_confirmed(
    off: OffNet, network: DemoNetwork, fault: str, said: str
) -> None:
    network.misbehave(fault)
    asked_at = now()
    answer = ask(off.knox, at=asked_at)
    assert go_on(answer, asked_at).last_error == said
    inquiry = go_on(answer, later(asked_at, 61))
    assert (inquiry.state, inquiry.last_error, inquiry.answer) == ("given_up", said, None)
    assert (answer.state, answer.confidence) == (State.QUALIFIED, "green")
    assert answer.remark == (
        "Tidewater Cable did not confirm this address in time. "
        "We confirm it before we install anything."
    )
    # What its list says: 300 Mbit/s, and nobody has confirmed it.
    assert eligible(answer) == ON_NET | {"cable-200"}
    assert answer.offers.get(offering__code="cable-200").confidence == "red"
    assert answer.offers.get(offering__code="cable-1000").reason_code == "too_slow"


def test_an_answer_for_another_address_is_refused_at_once(
    off: OffNet, network: DemoNetwork
) -> None:
    network.misbehave("wrong_address")
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    assert (inquiry.state, outcomes(inquiry)) == ("given_up", ["failed"])
    assert (
        inquiry.last_error
        == "The answer is for another address: 1 Elsewhere Avenue Manchester 06040."
    )
    assert answer.state == State.QUALIFIED
    assert not ProviderAnswer.objects.exists()
    off.connection.refresh_from_db()
    assert off.connection.failures == 1


def test_a_provider_that_takes_its_time_is_looked_at_until_it_has_answered(
    off: OffNet, network: DemoNetwork
) -> None:
    network.misbehave("later")
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    reference = inquiry.reference
    assert reference.startswith("csq-")
    for seconds in (5, 10):
        inquiry = go_on(answer, later(now(), seconds))
        assert inquiry.reference == reference
    assert outcomes(inquiry) == ["waiting", "waiting", "answered"]
    assert (answer.state, eligible(answer)) == (State.QUALIFIED, ON_NET | CABLE)
    assert [q["externalId"] for q in network.questions()].count(inquiry.public_id) == 1


def test_a_provider_that_never_answers_is_given_up_on_when_its_time_is_over(
    off: OffNet, network: DemoNetwork
) -> None:
    network.misbehave("silent")
    asked_at = now()
    answer = ask(off.knox, at=asked_at)
    go_on(answer, asked_at)
    for seconds in (20, 40):
        inquiry = go_on(answer, later(asked_at, seconds))
        assert inquiry.state == "pending"
    inquiry = go_on(answer, later(asked_at, 60))
    assert (inquiry.state, outcomes(inquiry)) == ("given_up", ["waiting"] * 3)
    assert inquiry.last_error == "It did not answer in time."
    assert answer.state == State.QUALIFIED


def test_a_question_that_the_provider_has_lost_is_put_anew(
    off: OffNet, network: DemoNetwork
) -> None:
    answer = ask(off.knox, at=now())
    inquiry = inquiry_of(answer)
    inquiry.reference = "csq-of-a-provider-that-was-rebuilt"
    inquiry.save()
    inquiry = go_on(answer, now())
    assert (inquiry.state, inquiry.reference) == ("pending", "")
    assert "does not know our question any more" in inquiry.last_error
    inquiry = go_on(answer, later(now(), 5))
    assert outcomes(inquiry) == ["failed", "answered"]


def test_a_wrong_token_is_told_at_once_and_costs_nobody_any_waiting(off: OffNet) -> None:
    change(off, token="a-wrong-one")
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    assert inquiry.state == "given_up"
    assert inquiry.last_error == "It answers 401: it does not take our token."
    off.connection.refresh_from_db()
    assert (off.connection.failures, off.connection.last_error) == (0, inquiry.last_error)


def test_a_provider_that_is_away_is_tried_again(off: OffNet) -> None:
    change(off, base_url="http://127.0.0.1:9/api", token="another")
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    assert inquiry.state == "pending"
    assert inquiry.last_error == "It cannot be reached (ConnectionError)."


def test_where_nobody_could_be_asked_and_nothing_is_known_the_answer_has_failed(
    network: DemoNetwork,
) -> None:
    off = connect(
        make_small_isp(), network.base_url, at=LAUNCH, is_listed=False, asked_everywhere=True,
        give_up_after_seconds=60,
    )  # fmt: skip
    network.misbehave("error")
    asked_at = now()
    answer = ask(off.isp.stowe, at=asked_at)
    go_on(answer, later(asked_at, 60))
    assert answer.state == State.FAILED
    assert answer.remark == (
        "Tidewater Cable did not answer, so we cannot say what there is here. "
        "Check the address again in a few minutes, or call us."
    )
    assert eligible(answer) == set()
    # Where there is a line, it is known what there is, except of the one who did not answer.
    elsewhere = ask(off.knox, at=asked_at)
    go_on(elsewhere, later(asked_at, 60))
    assert elsewhere.state == State.QUALIFIED
    assert elsewhere.remark.startswith("Tidewater Cable did not answer.")


# --- The breaker --------------------------------------------------------------------------------


def test_the_breaker_opens_lets_others_wait_and_closes_after_a_probe(
    off: OffNet, network: DemoNetwork
) -> None:
    change(off, breaker_threshold=2)
    network.misbehave("error")
    at = now()
    first, second, third = (ask(off.knox, at=at) for _ in range(3))
    go_on(first, at)
    go_on(second, at)
    row = ProviderConnection.objects.get()
    assert row.failures == 2
    assert row.open_until is not None
    assert timedelta(seconds=20) <= row.open_until - at < timedelta(seconds=22)

    waiting = go_on(third, at)
    assert (waiting.state, waiting.attempts) == ("pending", 0)
    assert waiting.next_attempt_at == row.open_until

    # The first question after the pause is a probe, and fails: another pause.
    assert go_on(third, row.open_until).attempts == 1
    row.refresh_from_db()
    assert row.failures == 3
    assert go_on(first, later(row.open_until, -1)).attempts == 1

    network.misbehave("")
    assert go_on(first, row.open_until).state == "answered"
    row.refresh_from_db()
    assert (row.failures, row.open_until, row.last_error) == (0, None, "")
    assert go_on(third, later(now(), 60)).state == "answered"


def test_while_a_probe_runs_the_others_wait(off: OffNet) -> None:
    at = now()
    first, second = ask(off.knox, at=at), ask(off.dry, at=at)
    ProviderConnection.objects.update(failures=5, open_until=later(at, -1))
    probe = asking._begin(inquiry_of(first).pk, at)
    assert probe is not None
    assert go_on(second, at).attempts == 0
    assert inquiry_of(second).next_attempt_at == probe.inquiry.leased_until


def test_a_question_that_waits_for_the_breaker_is_given_up_on_in_time(off: OffNet) -> None:
    at = now()
    ProviderConnection.objects.update(failures=9, open_until=later(at, 3_600))
    answer = ask(off.knox, at=at)
    inquiry = go_on(answer, at)
    assert (inquiry.next_attempt_at, inquiry.attempts) == (inquiry.give_up_at, 0)
    assert go_on(answer, inquiry.give_up_at).state == "given_up"
    assert answer.state == State.QUALIFIED


# --- How many at a time -------------------------------------------------------------------------


def test_a_provider_is_not_asked_more_at_a_time_than_it_is_allowed(off: OffNet) -> None:
    change(off, at_once=1)
    at = now()
    first, second = ask(off.knox, at=at), ask(off.dry, at=at)
    attempt = asking._begin(inquiry_of(first).pk, at)
    assert attempt is not None
    assert not asking.ask(inquiry_id=inquiry_of(second).pk, at=at)
    assert not asking.ask_next(at=at)
    asking._record(attempt, Exception("later"), at)
    assert asking.ask_next(at=at)
    assert inquiry_of(second).state == "answered"


def test_all_providers_together_leave_room_for_other_work(off: OffNet, settings: Settings) -> None:
    settings.PROVIDER_CALLS_AT_ONCE = 1
    at = now()
    first, second = ask(off.knox, at=at), ask(off.dry, at=at)
    assert asking._begin(inquiry_of(first).pk, at)
    assert not asking.ask_next(at=at)
    assert inquiry_of(second).attempts == 0


def test_the_sweep_goes_on_with_everything_that_is_due(off: OffNet) -> None:
    answers = [ask(house, at=now()) for house in (off.knox, off.dry, off.knox_unit)]
    count = 0
    while asking.ask_next(at=now()):
        count += 1
    assert count == 3
    for answer in answers:
        answer.refresh_from_db()
        assert answer.settled_at is not None


# --- People, and what must not happen -----------------------------------------------------------


@pytest.fixture
def otto(db: None) -> User:
    return factories.staff(OPERATIONS, at=LAUNCH)


def test_somebody_asks_again_even_while_the_provider_is_left_alone(off: OffNet, otto: User) -> None:
    at = now()
    answer = ask(off.knox, at=at)
    ProviderConnection.objects.update(failures=5, open_until=later(at, 3_600))
    go_on(answer, at)
    inquiries.ask_again(
        inquiry_id=inquiry_of(answer).pk, actor=otto, reason="They called: it works.", at=at
    )
    assert go_on(answer, at).state == "answered"
    [note] = AuditEntry.objects.filter(action="inquiry.asked_again")
    assert (note.actor, note.reason) == (otto, "They called: it works.")
    assert note.detail["provider"] == "tidewater-cable"
    with pytest.raises(IllegalTransition, match="closed"):
        inquiries.ask_again(inquiry_id=inquiry_of(answer).pk, actor=otto, reason="x", at=at)


def test_somebody_gives_up_and_the_answer_is_settled(off: OffNet, otto: User) -> None:
    answer = ask(off.knox, at=now())
    key = inquiry_of(answer).pk
    inquiries.give_up_now(inquiry_id=key, actor=otto, reason="The caller waits.", at=now())
    answer.refresh_from_db()
    assert (answer.state, inquiry_of(answer).state) == (State.QUALIFIED, "given_up")
    assert AuditEntry.objects.filter(action="inquiry.given_up", actor=otto).count() == 1
    with pytest.raises(IllegalTransition):
        inquiries.give_up_now(inquiry_id=key, actor=otto, reason="Again", at=now())


def test_an_attempt_that_runs_is_not_disturbed_and_one_that_is_given_up_on_changes_nothing(
    off: OffNet, otto: User
) -> None:
    at = now()
    answer = ask(off.knox, at=at)
    attempt = asking._begin(inquiry_of(answer).pk, at)
    assert attempt is not None
    with pytest.raises(IllegalTransition, match="right now"):
        inquiries.ask_again(inquiry_id=attempt.inquiry_id, actor=otto, reason="x", at=at)
    inquiries.give_up_now(inquiry_id=attempt.inquiry_id, actor=otto, reason="x", at=at)
    told = asking._call(attempt.inquiry)
    asking._record(attempt, told, at)
    assert inquiry_of(answer).state == "given_up"
    assert not ProviderAnswer.objects.exists()


def test_a_connection_that_is_switched_off_is_waited_for_no_longer(off: OffNet) -> None:
    answer = ask(off.knox, at=now())
    change(off, active=False)
    inquiry = go_on(answer, now())
    assert (inquiry.state, inquiry.last_error) == ("given_up", "It is not asked any more.")
    assert answer.state == State.QUALIFIED


def test_a_fault_of_ours_is_recorded_and_does_not_stop_the_worker(
    off: OffNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(asking, "question_of", broken)
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    assert (inquiry.state, outcomes(inquiry)) == ("pending", ["failed"])
    assert "a fault of ours" in inquiry.last_error


def test_an_answer_is_settled_in_a_transaction_and_once(off: OffNet) -> None:
    answer = ask(off.knox, at=now())
    go_on(answer, now())
    with pytest.raises(DatabaseError, match="settled once"), transaction.atomic():
        settling.settle(qualification=answer, at=now())
    assert answer.offers.count() == len(set(answer.offers.values_list("offering", flat=True)))


def test_attempts_are_numbered_and_an_inquiry_keeps_them(off: OffNet) -> None:
    answer = ask(off.knox, at=now())
    inquiry = go_on(answer, now())
    [attempt] = InquiryAttempt.objects.filter(inquiry=inquiry)
    assert (attempt.number, str(attempt), str(inquiry.connection)) == (
        1, "attempt 1", "Tidewater Cable (REST, TM Forum TMF645)",
    )  # fmt: skip
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.started_at
