"""Checkers of identity and credit that are asked by HTTP: a real server, and what can go wrong."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from ispops import settings_people
from ispops.parties import check_asking, checks, roles
from ispops.parties.models import (
    AuditEntry,
    CheckInquiry,
    CheckProvider,
    Subscriber,
    SubscriberCheck,
)
from tests import checker, factories

pytestmark = pytest.mark.django_db
AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECRET = "a-secret-of-the-checker"
SOON = timedelta(minutes=5)


@pytest.fixture
def far() -> Iterator[checker.FakeChecker]:
    with checker.answering() as running:
        yield running


@pytest.fixture(autouse=True)
def by_http(settings: Settings, far: checker.FakeChecker) -> None:
    asked = {"url": far.url, "secret": SECRET, "timeout_seconds": 0.3}
    settings.CHECKS = {"identity": "http", "credit": "manual"}
    settings.CHECKERS = {"identity": asked, "credit": asked}
    settings.CHECKED = set()


@pytest.fixture
def ada() -> Subscriber:
    return factories.subscriber(at=AT, email="ada@example.com")


@pytest.fixture
def row(ada: Subscriber) -> SubscriberCheck:
    return checks.request_check(subscriber=ada, kind="identity", at=AT)


def ask(at: datetime = AT) -> bool:
    return check_asking.ask_next(kind="identity", at=at)


def fresh(row: SubscriberCheck) -> SubscriberCheck:
    return SubscriberCheck.objects.get(pk=row.pk)


def inquiry() -> CheckInquiry:
    return CheckInquiry.objects.latest("pk")


def provider() -> CheckProvider:
    return CheckProvider.objects.get(kind="identity")


class TestVerdicts:
    def test_nobody_is_asked_while_the_order_is_written(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        assert (row.state, row.next_attempt_at) == ("asking", AT)
        assert far.asked == []

    def test_a_pass_is_a_pass(self, row: SubscriberCheck, far: checker.FakeChecker) -> None:
        far.answers = [
            (200, {"verdict": "pass", "reason": "Known\n at the address", "reference": "C-1"})
        ]
        assert ask()
        assert not ask()
        done = fresh(row)
        assert (done.state, done.reason, done.reference) == (
            "passed",
            "Known at the address",
            "C-1",
        )
        assert done.decided_by is None
        (asked,) = far.asked
        assert asked.body == {
            "id": row.public_id, "kind": "identity", "name": "Ada Lovelace",
            "email": "ada@example.com", "phone": "+1 802 555 0117", "account_kind": "consumer",
        }  # fmt: skip
        assert asked.headers["Authorization"] == f"Bearer {SECRET}"
        assert asked.headers["Idempotency-Key"] == row.public_id
        assert AuditEntry.objects.get(action="check.passed").actor_name == "checker"

    def test_what_it_refers_is_for_staff(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.answers = [(200, {"verdict": "refer", "reason": "Two of that name"})]
        ask()
        waits = fresh(row)
        assert waits.state == "pending"
        assert waits.referral == "The checker is not sure: Two of that name"
        staff = factories.staff(roles.CSR, at=AT)
        checks.decide_check(check_id=row.pk, passed=True, actor=staff, reason="Called.", at=AT)
        assert fresh(row).state == "passed"

    def test_a_refusal_is_one_and_the_next_time_staff_decide(
        self, row: SubscriberCheck, ada: Subscriber, far: checker.FakeChecker
    ) -> None:
        far.answers = [(200, {"verdict": "refuse", "reason": "No such person"})]
        ask()
        assert (fresh(row).state, fresh(row).reason) == ("refused", "No such person")
        again = checks.request_check(subscriber=ada, kind="identity", at=AT)
        assert (again.state, again.referral) == ("pending", "Refused before: No such person")
        assert not ask()
        assert len(far.asked) == 1

    def test_each_kind_has_its_own_way(self, ada: Subscriber, far: checker.FakeChecker) -> None:
        by_hand = checks.request_check(subscriber=ada, kind="credit", at=AT)
        assert by_hand.state == "pending"
        assert not check_asking.ask_next(kind="credit", at=AT)

    def test_staff_may_decide_while_it_is_asked(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        """And the answer that comes later changes nothing."""
        staff = factories.staff(roles.CSR, at=AT)
        taken = check_asking._claim("identity", AT)
        assert taken is not None
        checks.decide_check(check_id=row.pk, passed=False, actor=staff, reason="Known.", at=AT)
        answer = check_asking._ask(check_asking.check_registry.checker_of("identity"), taken)  # type: ignore[arg-type]
        check_asking._record(taken, answer, asked_at=AT, ended_at=AT)
        assert (fresh(row).state, fresh(row).decided_by) == ("refused", staff)
        assert not CheckInquiry.objects.exists()


class TestFaults:
    @pytest.mark.parametrize(
        ("status", "said", "words"),
        [
            (500, {"error": "down"}, "It answered 500."),
            (429, {}, "It answered 429."),
            (302, {}, "It answered 302."),
            (200, b"<html>Sorry</html>", "none of ours"),
            (200, {"verdict": "maybe"}, "none of ours"),
            (200, ["pass"], "none of ours"),
            (200, {"verdict": ["pass"]}, "none of ours"),
            (200, {"verdict": "pass", "id": "chk_of_another"}, "somebody else"),
            (200, b"x" * 100_000, "RequestException"),
        ],
        ids=["500", "busy", "elsewhere", "html", "maybe", "list", "odd", "another", "long"],
    )
    def test_what_is_no_answer_is_asked_again(
        self, row: SubscriberCheck, far: checker.FakeChecker, status: int, said: Any, words: str
    ) -> None:
        far.answers = [(status, said), (200, {"verdict": "pass"})]
        assert ask()
        waits = fresh(row)
        assert (waits.state, waits.leased_until) == ("asking", None)
        assert waits.next_attempt_at is not None
        assert AT < waits.next_attempt_at <= AT + timedelta(seconds=11)
        assert (inquiry().outcome, words in inquiry().detail) == ("retry", True)
        assert not ask()
        assert ask(AT + SOON)
        assert fresh(row).state == "passed"
        assert len({each.body["id"] for each in far.asked}) == 1
        assert (provider().failures, provider().last_error) == (0, "")

    def test_one_that_does_not_answer_in_time(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.before_answer = lambda: time.sleep(0.6)
        ask()
        assert fresh(row).state == "asking"
        assert "ReadTimeout" in inquiry().detail

    def test_one_whose_answer_drips_in(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.seconds_a_byte = 0.1
        ask()
        assert fresh(row).state == "asking"
        assert "Timeout" in inquiry().detail

    def test_nobody_there(
        self, row: SubscriberCheck, settings: Settings, far: checker.FakeChecker
    ) -> None:
        settings.CHECKERS = {
            "identity": {"url": "http://127.0.0.1:9/", "secret": "x", "timeout_seconds": 0.3}
        }
        ask()
        assert "ConnectionError" in inquiry().detail

    def test_one_that_will_not_be_asked_is_for_staff_at_once(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.answers = [(401, {"error": "key"})]
        ask()
        assert fresh(row).state == "pending"
        assert fresh(row).referral == "The checker cannot be asked: It answered 401."
        assert provider().failures == 0

    def test_after_some_time_staff_look_instead(
        self, row: SubscriberCheck, far: checker.FakeChecker, settings: Settings
    ) -> None:
        far.answers = [(500, {})]
        ask()
        ask(AT + settings.CHECK_ANSWERED_WITHIN)
        assert (fresh(row).state, inquiry().outcome) == ("pending", "parked")
        assert "It answered 500." in fresh(row).referral

    def test_a_checker_that_fails_is_left_alone_and_then_probed(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.answers = [(503, {})]
        at = AT
        for _ in range(check_asking.BREAKER_THRESHOLD):
            assert ask(at)
            at += SOON
        at -= SOON
        assert provider().open_until is not None
        others = [
            checks.request_check(subscriber=factories.subscriber(at=AT), kind="identity", at=at)
            for _ in range(2)
        ]
        assert not ask(at + timedelta(seconds=30))
        assert len(far.asked) == check_asking.BREAKER_THRESHOLD
        far.answers = [(200, {"verdict": "pass"})]
        at += timedelta(minutes=6)
        assert ask(at)
        assert provider().open_until is None
        while ask(at):
            pass
        assert {fresh(each).state for each in [row, *others]} == {"passed"}

    def test_while_it_is_left_alone_nobody_waits_for_ever(
        self, row: SubscriberCheck, settings: Settings, far: checker.FakeChecker
    ) -> None:
        late = AT + settings.CHECK_ANSWERED_WITHIN
        CheckProvider.objects.create(
            kind="identity", failures=9, open_until=late + SOON, last_error="It answered 500."
        )
        assert not ask(late - timedelta(seconds=1))
        assert fresh(row).state == "asking"
        assert not ask(late)
        assert fresh(row).state == "pending"
        assert fresh(row).referral == "The checker cannot be reached: It answered 500."

    def test_a_worker_that_was_lost_is_followed_by_another(
        self, row: SubscriberCheck, far: checker.FakeChecker, settings: Settings
    ) -> None:
        lost = check_asking._claim("identity", AT)
        assert lost is not None
        assert not ask(AT + timedelta(seconds=1))
        later = AT + settings.TASK_LEASE
        assert ask(later)
        assert fresh(row).state == "passed"
        # What the lost one finds counts for nothing.
        refusal = check_asking.Answer(check_asking.Verdict.REFUSE, "No.", "", None, None)
        check_asking._record(lost, refusal, asked_at=AT, ended_at=later)
        assert fresh(row).state == "passed"

    def test_a_setting_that_was_taken_back_leaves_it_to_staff(
        self, row: SubscriberCheck, settings: Settings
    ) -> None:
        settings.CHECKS = {"identity": "manual", "credit": "manual"}
        ask()
        assert fresh(row).referral == "The checker cannot be asked: No checker is set any more."


class TestPrivacy:
    def test_neither_secrets_nor_persons_are_kept(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.answers = [
            (
                200,
                {
                    "verdict": "refer",
                    "reason": "ADA LOVELACE (ada@example.com) is on a list; token=abcdef123",
                    "reference": "C-2",
                    "born": "1815-12-10",
                    "matches": [{"name": "Ada King"}],
                    "api_key": "k-9999",
                },
            )
        ]
        ask()
        kept = inquiry()
        assert kept.request["id"] == row.public_id
        assert kept.request["kind"] == "identity"
        assert kept.reply["body"]["reference"] == "C-2"
        everything = json.dumps([kept.request, kept.reply, kept.detail, fresh(row).referral])
        for private in (
            SECRET, "Ada", "ADA", "Lovelace", "ada@example.com", "555 0117", "1815", "King",
            "k-9999", "abcdef123",
        ):  # fmt: skip
            assert private not in everything, private

    def test_nor_what_a_broken_checker_says(
        self, row: SubscriberCheck, far: checker.FakeChecker
    ) -> None:
        far.answers = [(500, b"Traceback: Ada Lovelace, born 1815")]
        ask()
        assert "1815" not in json.dumps([inquiry().request, inquiry().reply, inquiry().detail])


@pytest.mark.parametrize(
    ("guard", "statement"),
    [
        ("check_is_due_while_asked", "UPDATE parties_subscribercheck SET next_attempt_at = NULL"),
        ("check_is_due_while_asked", "UPDATE parties_subscribercheck SET state = 'pending'"),
        (
            "decided_check_says_when_and_why",
            "UPDATE parties_subscribercheck SET decided_at = now()",
        ),
    ],
)
def test_the_database_refuses(row: SubscriberCheck, guard: str, statement: str) -> None:
    with (
        pytest.raises(IntegrityError, match=guard),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"IDENTITY_CHECK": "htpp"}, "IDENTITY_CHECK is htpp"),
        ({"IDENTITY_CHECK": "http"}, "IDENTITY_CHECK_URL"),
        ({"IDENTITY_CHECK": "http", "IDENTITY_CHECK_URL": "http://far.example"}, "https"),
        ({"IDENTITY_CHECK": "http", "IDENTITY_CHECK_URL": "http://127.0.0.1.far.example"}, "https"),
        ({"IDENTITY_CHECK": "http", "IDENTITY_CHECK_URL": "https://far.example"}, "SECRET"),
        (
            {
                "IDENTITY_CHECK": "http",
                "IDENTITY_CHECK_URL": "https://far.example",
                "IDENTITY_CHECK_SECRET": "x",
                "IDENTITY_CHECK_TIMEOUT_SECONDS": "nan",
            },
            "at most 10",
        ),
    ],
)
def test_settings_that_are_of_no_use_are_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(ImproperlyConfigured, match=words):
            importlib.reload(settings_people)
    finally:
        monkeypatch.undo()
        importlib.reload(settings_people)
