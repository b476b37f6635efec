"""Workers and one inquiry, several inquiries and one answer; and the same without the guards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from ispops import db
from ispops.models import Event
from ispops.parties.models import Partner
from qualification import asking, inquiries
from qualification.models import (
    InquiryAttempt,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    ServiceQualification,
)
from qualification.providers.base import Answer, Deliverable, Question, Waiting
from tests.offnet import OffNet, ask, connect, later, now
from tests.small_isp import LAUNCH, make_partner, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 6


class Provider:
    """Answers every question after all who were let through have asked; counts them."""

    def __init__(self) -> None:
        self.asked = 0
        self.lock = threading.Lock()

    def ask(self, question: Question) -> Answer | Waiting:
        with self.lock:
            self.asked += 1
        return Answer(lines=(Deliverable(40, 1_000_000, 35_000),))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    found = Provider()
    monkeypatch.setattr(asking, "provider_of", lambda _: found)
    return found


@pytest.fixture
def off() -> OffNet:
    return connect(make_small_isp(), "http://127.0.0.1:9/api", at=LAUNCH, at_once=MANY)


def at_once(work: Callable[[int], Any], *, many: int = MANY) -> list[Any]:
    """Do the work in threads with connections of their own, released together."""
    start = threading.Barrier(many)

    def one(number: int) -> Any:
        try:
            start.wait(timeout=20)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(one, range(many)))


def settled_events() -> int:
    return Event.objects.filter(kind="qualification.settled").count()


def test_many_workers_ask_one_question_once(off: OffNet, provider: Provider) -> None:
    answer = ask(off.knox, at=now())
    key = answer.inquiries.get().pk
    done = at_once(lambda _: asking.ask(inquiry_id=key, at=now()))
    assert sum(done) == 1
    assert provider.asked == 1
    assert InquiryAttempt.objects.count() == ProviderAnswer.objects.count() == 1
    answer.refresh_from_db()
    assert (answer.state, settled_events()) == ("qualified", 1)


def test_without_the_lease_one_question_is_asked_by_all(
    off: OffNet, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: it is the claim that keeps the others away."""
    ask(off.knox, at=now())

    def unguarded(rows: Any, **_: Any) -> list[ProviderInquiry]:
        return list(rows)

    waiting = threading.Barrier(MANY)
    called = provider.ask

    def together(question: Question) -> Answer | Waiting:
        waiting.wait(timeout=20)
        return called(question)

    monkeypatch.setattr(asking.jobs, "claim", unguarded)
    monkeypatch.setattr(asking, "InquiryAttempt", _NoAttempts)
    monkeypatch.setattr(provider, "ask", together)
    monkeypatch.setattr(asking, "_end", lambda *_: None)
    at_once(lambda _: asking.ask_next(at=now()))
    assert provider.asked == MANY


class _NoAttempts:
    """Stands in for the attempts, whose numbers would tell the workers apart as well."""

    class objects:  # noqa: N801 - it is called as the manager is
        @staticmethod
        def create(*, inquiry: ProviderInquiry, **_: Any) -> InquiryAttempt:
            return InquiryAttempt(inquiry=inquiry, number=1)

        filter = InquiryAttempt.objects.filter


def several_providers(off: OffNet) -> list[ProviderConnection]:
    """More networks that are asked about every place."""
    made = []
    for number in range(MANY - 1):
        partner = make_partner(
            f"net-{number}", f"Net {number}", Partner.Kind.NETWORK_PROVIDER, LAUNCH
        )
        made.append(
            ProviderConnection.objects.create(
                partner=partner, adapter="tmf645", base_url="http://127.0.0.1:9/api",
                asked_everywhere=True,
            )
        )  # fmt: skip
    return made


def test_the_last_of_several_answers_settles_and_only_it(
    off: OffNet, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    several_providers(off)
    answer = ask(off.knox, at=now())
    keys = list(answer.inquiries.values_list("pk", flat=True))
    assert len(keys) == MANY
    monkeypatch.setattr(asking, "_is_busy", lambda *_: False)
    at_once(lambda number: asking.ask(inquiry_id=keys[number], at=now()))
    answer.refresh_from_db()
    assert (answer.state, settled_events(), provider.asked) == ("qualified", 1, MANY)
    assert answer.inquiries.filter(state="answered").count() == MANY
    assert {line["provider_name"] for line in answer.lines} >= {"Tidewater Cable", "Net 0", "Net 4"}


def test_without_the_lock_on_the_answer_nobody_settles_it_or_two_do(
    off: OffNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: two who close the last two inquiries each still see the other's open."""
    several_providers(off)
    answer = ask(off.knox, at=now())
    keys = list(answer.inquiries.order_by("pk").values_list("pk", flat=True))
    for key in keys[2:]:
        _close(key, now())
    both_closed = threading.Barrier(2)
    unlocked = db.lock

    def no_lock(model: Any, pk: Any) -> Any:
        return model.objects.get(pk=pk) if model is ServiceQualification else unlocked(model, pk)

    monkeypatch.setattr(inquiries.db, "lock", no_lock)

    def close(number: int) -> str:
        with transaction.atomic():
            inquiry = inquiries.lock(keys[number])
            try:
                inquiries.give_up(inquiry=inquiry, reason="x", at=now())
            finally:
                both_closed.wait(timeout=20)
        return "closed"

    assert at_once(close, many=2) == ["closed", "closed"]
    answer.refresh_from_db()
    assert not answer.inquiries.filter(state="pending").exists()
    assert (answer.state, settled_events()) == ("pending", 0), "nobody was the last"


def _close(inquiry_id: Any, at: datetime) -> None:
    with transaction.atomic():
        inquiries.give_up(inquiry=inquiries.lock(inquiry_id), reason="x", at=at)


def test_giving_up_and_answering_at_the_same_moment_end_in_one_of_the_two(
    off: OffNet, provider: Provider
) -> None:
    from tests import factories

    otto = factories.staff("Operations", at=LAUNCH)
    for house in (off.knox, off.dry, off.knox_unit):
        answer = ask(house, at=now())
        key = answer.inquiries.get().pk

        def work(number: int, key: Any = key) -> bool:
            if number == 0:
                return asking.ask(inquiry_id=key, at=now())
            try:
                inquiries.give_up_now(inquiry_id=key, actor=otto, reason="x", at=now())
            except inquiries.IllegalTransition:
                return False
            return True

        at_once(work, many=2)
        answer.refresh_from_db()
        inquiry = answer.inquiries.get()
        assert answer.settled_at is not None
        assert (inquiry.state == "answered") == (inquiry.answer is not None)
    assert settled_events() == 3


def test_one_probe_at_a_time_goes_through_a_half_open_breaker(
    off: OffNet, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now()
    keys = [ask(house, at=at).inquiries.get().pk for house in (off.knox, off.dry, off.knox_unit)]
    ProviderConnection.objects.update(failures=5, open_until=later(at, -1))
    begun = at_once(lambda number: asking._begin(keys[number], at), many=3)
    assert len([attempt for attempt in begun if attempt]) == 1


def test_a_provider_is_asked_once_for_one_answer(off: OffNet) -> None:
    answer = ask(off.knox, at=now())
    again = answer.inquiries.get()
    again.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save(force_insert=True)
