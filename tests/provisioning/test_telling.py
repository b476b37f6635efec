"""What subscribers are told of their orders and lines, by the events that happened."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core import mail

from ispops import events
from ispops.models import EventDelivery
from ispops.notices import catalogue
from ispops.notices.models import Notice
from ispops.parties.models import Subscriber, User
from provisioning import notice_kinds, orders, services, telling
from provisioning.models import ProductOrder, ServiceSuspension
from tests import factories
from tests.small_isp import SmallIsp, place


def kinds() -> list[str]:
    return list(Notice.objects.order_by("created_at", "pk").values_list("kind", flat=True))


def letter(kind: str) -> Notice:
    return Notice.objects.get(kind=kind, channel="email")


def test_an_order_is_received_and_the_line_welcomed(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
    factories.work(at=at)
    assert sorted(kinds()) == ["order_received", "welcome"]
    received = letter("order_received")
    assert (received.subscriber, received.cause) == (ada, order.public_id)
    assert received.subject.startswith("We have your order: Fibre 500 at 1 O")
    assert f"/orders/{order.public_id}/" in received.body
    assert telling.day(order.expected_at) in received.body
    factories.send_notices(at=at)
    assert [message.to for message in mail.outbox] == [["ada@example.com"]] * 2


def test_an_aggregated_plan_goes_by_its_own_name(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, isp.bundle.code, at=at)
    assert telling.in_words(order).startswith(f"{isp.bundle} at 1 O")


def test_products_beside_the_plan_are_named(isp: SmallIsp, ada: Subscriber, at: datetime) -> None:
    order = factories.order(ada, isp.oak_1, isp.fast.code, isp.streaming.code, at=at)
    assert telling.in_words(order).startswith(f"{isp.fast} with {isp.streaming} at 1 O")


def test_an_order_that_is_taken_back(
    isp: SmallIsp, ada: Subscriber, otto: User, at: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, "fibre-500", at=at)
    factories.deliver_events(at=at)
    orders.cancel_order(order_id=order.pk, actor=otto, reason="Looks like a fraud", at=at)
    factories.work(at=at)
    # The line never was in use: nobody is told that it has ended.
    assert kinds() == ["order_received", "order_cancelled"]
    assert "fraud" not in letter("order_cancelled").body


def test_a_line_that_is_suspended_resumed_and_ceased(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    line = factories.live_line(isp, ada, isp.streaming.code, at=at)
    before = set(kinds())
    later = at + timedelta(days=1)
    ServiceSuspension.objects.create(
        service=line, reason="non_payment", treatment="walled_garden",
        note="Pay bill 2026-0117 to go on.", started_at=later,
    )  # fmt: skip
    services.suspend(service=line, reason="non_payment", at=later)
    factories.work(at=later)
    services.activate(service=line, at=later + timedelta(hours=1))
    factories.work(at=later + timedelta(hours=1))
    services.cease(service=line, at=later + timedelta(hours=2))
    factories.work(at=later + timedelta(hours=2))
    assert before == {"order_received", "welcome"}
    assert kinds()[-3:] == ["line_suspended", "line_resumed", "line_ceased"]
    suspended = letter("line_suspended")
    assert "is suspended since May 5, 2026,\nbecause bills are not paid." in suspended.body
    assert "Pay bill 2026-0117 to go on.\n\nYour account says" in suspended.body
    assert "has ended on May 5, 2026" in letter("line_ceased").body


@pytest.mark.parametrize(
    ("reason", "words"),
    [("requested", "as you asked"), ("abuse", "because it was used against our rules"),
     ("", "for now"), ("anything else", "for now")],
)  # fmt: skip
def test_why_a_line_is_suspended(
    isp: SmallIsp, ada: Subscriber, at: datetime, reason: str, words: str
) -> None:
    line = factories.live_line(isp, ada, at=at)
    telling.line_suspended(line=line, cause="event:1", reason=reason, at=at)
    assert words in letter("line_suspended").body
    assert "\n\n\n" not in letter("line_suspended").body


def test_each_suspension_is_told_of_and_each_event_once(
    isp: SmallIsp, ada: Subscriber, at: datetime
) -> None:
    line = factories.live_line(isp, ada, at=at)
    for day in (1, 2):
        now = at + timedelta(days=day)
        services.suspend(service=line, reason="requested", at=now)
        services.activate(service=line, at=now + timedelta(hours=1))
        factories.work(at=now + timedelta(hours=1))
    handled = EventDelivery.objects.filter(handler__startswith="provisioning.write_line")
    handled.update(delivered_at=None, next_attempt_at=at)
    factories.deliver_events(at=at + timedelta(days=3))
    assert Notice.objects.filter(kind="line_suspended").count() == 2
    assert Notice.objects.filter(kind="line_resumed").count() == 2


def test_an_order_that_does_not_keep_its_day_says_so_once(
    isp: SmallIsp, ada: Subscriber, otto: User, at: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, "fibre-500", at=at)

    def be_late(now: datetime) -> int:
        for kind in ("reserve_port", "go_live"):
            events.publish("order.task_in_jeopardy", subject=order.public_id, at=now, task=kind)
        factories.deliver_events(at=now)
        return Notice.objects.filter(kind="order_delayed").count()

    assert be_late(order.expected_at - timedelta(seconds=1)) == 0
    assert be_late(order.expected_at) == 1
    assert be_late(order.expected_at + timedelta(days=1)) == 1
    assert f"by {telling.day(order.expected_at)}, and it is not" in letter("order_delayed").body
    other = factories.order(ada, place("3 OAK ST"), "fibre-500", at=at)
    orders.cancel_order(order_id=other.pk, actor=otto, reason="Not wanted", at=at)
    order = other
    assert be_late(other.expected_at) == 1


@pytest.mark.parametrize(
    ("intent", "received", "done", "words"),
    [
        ("change", True, "plan_changed", "{plan} at {place}"),
        ("move", True, "order_completed", "{plan} at {other}"),
        ("provider_change", True, "order_completed", "{plan} at {other}"),
        ("suspend", False, None, "{plan} at {place}"),
        ("resume", False, None, "{plan} at {place}"),
        ("cease", True, None, "the end of {plan} at {place}"),
    ],
)
def test_later_orders(
    isp: SmallIsp, ada: Subscriber, at: datetime, intent: str, received: bool, done: str | None,
    words: str,
) -> None:  # fmt: skip
    line = factories.live_line(isp, ada, at=at)
    moves = intent in {"move", "provider_change"}
    rests_on = factories.qualified(isp.elm_1 if moves else isp.oak_1, at=at)
    order = ProductOrder.objects.create(
        subscriber=ada, intent=intent, line=line, qualification=rests_on, channel="portal",
        idempotency_key=intent, placed_at=at, expected_at=at,
        suspension="requested" if intent in {"suspend", "resume"} else "",
        treatment="block" if intent == "suspend" else "",
    )  # fmt: skip
    expected = words.format(plan=line.offering, place=isp.oak_1, other=isp.elm_1)
    assert telling.in_words(order) == expected
    Notice.objects.all().delete()
    telling.order_received(order=order, at=at)
    assert kinds() == ["order_received"] * received
    telling.order_done(order=order, at=at)
    assert kinds()[received:] == ([done] if done else [])
    telling.order_cancelled(order=order, at=at)
    assert ("order_cancelled" in kinds()) is received


def test_every_kind_is_registered() -> None:
    ours = {kind.code for kind in vars(notice_kinds).values() if isinstance(kind, catalogue.Kind)}
    assert ours < {kind.code for kind in catalogue.every_kind()}
    with pytest.raises(ValueError, match="registered already"):
        catalogue.register(notice_kinds.WELCOME)
