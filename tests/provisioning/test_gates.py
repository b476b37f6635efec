"""Webhooks, letters and changes of sessions obey the limits and breakers of the systems page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.db import transaction
from pytest_django import Settings

from ispops.notices import delivery, plain_letters
from ispops.notices.models import Notice, NoticeChannel
from ispops.parties import partners, webhooks
from ispops.parties.models import Partner, Subscriber, User, WebhookDelivery
from provisioning import access_calls, outside, steering, worklist
from provisioning.models import AccessSession, OutsideSystem, Service
from tests import coa_agent, factories, receiver
from tests.provisioning import online
from tests.provisioning.test_steering import outcomes, speed_up
from tests.receiver import Receiver
from tests.small_isp import SmallIsp

SECOND = timedelta(seconds=1)


def limit(key: str, otto: User, at: datetime, **limits: int | None) -> OutsideSystem:
    system = OutsideSystem.objects.get(key=key)
    return outside.set_limits(system_id=system.pk, actor=otto, at=at, **limits)


def waiting(key: str) -> int:
    return int({row.key: row.waiting for row in worklist.systems()}[key])  # type: ignore[attr-defined]


class TestWebhooks:
    @pytest.fixture
    def partner(self, settings: Settings) -> Iterator[Receiver]:
        settings.WEBHOOKS_MAY_STAY_LOCAL = True
        with receiver.listening() as running:
            yield running

    @pytest.fixture
    def films(self, isp: SmallIsp, partner: Receiver, at: datetime) -> Partner:
        partners.set_webhook_url(partner_id=isp.films.pk, webhook_url=partner.url, at=at)
        isp.films.refresh_from_db()
        self.queue(isp.films, at)
        self.send(at)
        return isp.films

    def queue(self, films: Partner, at: datetime, count: int = 1) -> None:
        for _ in range(count):
            number = WebhookDelivery.objects.count()
            with transaction.atomic():
                webhooks.queue_webhook(
                    partner=films, kind="tried", subject=f"x_{number}", data={}, at=at
                )

    def send(self, at: datetime) -> None:
        for key in webhooks.due_deliveries(at=at, limit=50):
            webhooks.deliver(delivery_id=key, at=at)

    def test_so_many_a_minute(
        self, films: Partner, partner: Receiver, otto: User, at: datetime
    ) -> None:
        limit("webhooks:films", otto, at, per_minute=1)
        self.queue(films, at, 5)
        self.send(at)
        assert len(partner.requests) == 1 + 3, "three at once, after a time of rest"
        left = WebhookDelivery.objects.filter(state="pending")
        assert set(left.values_list("attempts", flat=True)) == {0}, "it counts as no attempt"
        assert (left.count(), waiting("webhooks:films")) == (2, 2)
        self.send(at + timedelta(seconds=59))
        assert left.count() == 2
        self.send(at + timedelta(seconds=61))
        assert left.count() == 1

    def test_so_many_at_a_time(
        self, films: Partner, partner: Receiver, otto: User, at: datetime
    ) -> None:
        limit("webhooks:films", otto, at, at_once=1)
        self.queue(films, at, 2)
        first, second = WebhookDelivery.objects.filter(state="pending").order_by("pk")

        def meanwhile() -> None:
            partner.before_answer = None
            claimed.append(webhooks.deliver(delivery_id=second.pk, at=at))

        claimed: list[bool] = []
        WebhookDelivery.objects.filter(pk=first.pk).update(leased_until=at + timedelta(minutes=1))
        meanwhile()
        assert claimed == [False]
        WebhookDelivery.objects.filter(pk=first.pk).update(leased_until=None)
        self.send(at + 2 * SECOND)
        assert not WebhookDelivery.objects.filter(state="pending").exists()

    def test_one_that_fails_is_left_alone_and_tried_by_one_message(
        self, films: Partner, partner: Receiver, otto: User, at: datetime
    ) -> None:
        limit("webhooks:films", otto, at, breaker_threshold=2, breaker_pause_seconds=60)
        partner.statuses = [503, 503, 503]
        self.queue(films, at, 4)
        self.send(at)
        assert len(partner.requests) == 1 + 2
        system = OutsideSystem.objects.get(key="webhooks:films")
        assert (system.failures, system.open_until) == (2, at + timedelta(seconds=60))
        assert webhooks.due_deliveries(at=at + 30 * SECOND, limit=9) == []
        later = at + timedelta(seconds=61)
        self.send(later)
        assert len(partner.requests) == 1 + 3, "a probe, which fails"
        self.send(later + timedelta(seconds=61))
        self.send(later + timedelta(seconds=62))
        assert not WebhookDelivery.objects.filter(state="pending").exists()
        system.refresh_from_db()
        assert (system.failures, system.last_error) == (0, "")

    def test_who_refuses_a_message_is_there(
        self, films: Partner, partner: Receiver, at: datetime
    ) -> None:
        partner.statuses = [400]
        self.queue(films, at)
        self.send(at)
        assert OutsideSystem.objects.get(key="webhooks:films").failures == 0


class TestLetters:
    def write(self, at: datetime, count: int) -> None:
        for number in range(count):
            plain_letters.write(
                kind="tried", address=f"{number}@example.com", subject="x", text="x", at=at
            )

    def test_so_many_a_minute(self, db: None, otto: User, at: datetime) -> None:
        self.write(at, 1)
        factories.send_notices(at=at)
        limit("notices:email", otto, at, per_minute=1)
        self.write(at, 5)
        factories.send_notices(at=at)
        assert Notice.objects.filter(state="sent").count() == 1 + 3
        assert waiting("notices:email") == 2
        assert set(Notice.objects.filter(state="pending").values_list("attempts", flat=True)) == {0}

    def test_a_mail_server_that_is_away_is_shown(
        self, db: None, at: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise ConnectionRefusedError("nobody there")

        self.write(at, 1)
        with monkeypatch.context() as broken:
            broken.setattr(EmailMessage, "send", away)
            factories.send_notices(at=at)
        system = OutsideSystem.objects.get(key="notices:email")
        assert system.failures == 1
        assert "nobody there" in system.last_error
        NoticeChannel.objects.update(rests_until=None)
        assert delivery.deliver_next(channel="email", at=at + timedelta(hours=1))
        system.refresh_from_db()
        assert system.failures == 0


class TestChangesOfSessions:
    @pytest.fixture
    def line(self, isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
        return factories.live_line(isp, ada, at=at)

    def test_an_access_server_is_told_so_much_a_minute(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with coa_agent.running() as agent:
            server = online.access_server(agent)
            for number in range(5):
                online.session(line, at=at, session_id=f"s-{number}")
            outside.Calls().admit(self.gate(server), running=0, at=at - timedelta(days=1))
            limit(f"coa:{online.NAS}", otto, at, per_minute=1)
            speed_up(line, otto, at)
            steering.steer_due(at=at, limit=10)
            assert len(agent.packets) == 3
            assert waiting(f"coa:{online.NAS}") == 2
            steering.steer_due(at=at + timedelta(seconds=62), limit=10)
            assert len(agent.packets) == 4
        assert set(AccessSession.objects.values_list("trouble", flat=True)) == {""}

    def gate(self, server: Any) -> Any:
        found = access_calls.gate_of(server.nas_ip)
        assert found is not None
        return found

    def test_one_that_keeps_silent_is_left_alone(
        self, line: Service, otto: User, at: datetime
    ) -> None:
        with coa_agent.running(change="silent") as agent:
            server = online.access_server(agent)
            online.session(line, at=at)
            outside.Calls().admit(self.gate(server), running=0, at=at)
            limit(f"coa:{online.NAS}", otto, at, breaker_threshold=1, breaker_pause_seconds=300)
            speed_up(line, otto, at)
            steering.steer_due(at=at, limit=10)
            steering.steer_due(at=at + timedelta(minutes=2), limit=10)
            assert outcomes() == [("change", "no_answer")]
            agent.ways["change"] = "ack"
            steering.steer_due(at=at + timedelta(minutes=6), limit=10)
            assert outcomes()[1:] == [("change", "acknowledged")]
        assert OutsideSystem.objects.get(key=f"coa:{online.NAS}").failures == 0
