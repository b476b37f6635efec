"""Speed boosts that were wanted for a time: when they end, what is charged, what the line does."""

from datetime import datetime, timedelta

import pytest

from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, Subscriber
from provisioning import boosts
from provisioning.models import Service
from tests import factories
from tests.provisioning import later, online
from tests.small_isp import SmallIsp, place

WEEK = timedelta(days=7)
PLAIN, BOOSTED = (500_000, 500_000), (700_000, 600_000)


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, at: datetime) -> Service:
    later.boost()
    return factories.live_line(isp, ada, at=at)


@pytest.fixture
def boosted(line: Service, at: datetime) -> Service:
    """A line with a boost for a week, both live."""
    later.change(line, at, add=["boost"], boosts_until=at + WEEK)
    factories.work(at=at)
    return line


def end_all(at: datetime) -> int:
    ended = 0
    while boosts.end_next(at=at):
        ended += 1
    return ended


def test_it_ends_by_itself_and_is_charged_to_its_moment(boosted: Service, at: datetime) -> None:
    assert later.speed(boosted) == BOOSTED
    assert end_all(at + WEEK - timedelta(seconds=1)) == 0
    # An hour late, as after an outage.
    assert end_all(at + WEEK + timedelta(hours=1)) == 1
    assert later.speed(boosted) == PLAIN
    boost = boosted.carried.get()
    assert boost.state == "ceased"
    assert later.periods(boost) == [("boost", "active", at, at + WEEK)]
    said = AuditEntry.objects.get(action="boost.ended")
    assert (said.subject, said.actor_name) == (boosted.public_id, "worker")
    assert end_all(at + WEEK + timedelta(hours=2)) == 0


def test_it_reaches_the_live_session(boosted: Service, at: datetime) -> None:
    session = online.session(boosted, at=at + timedelta(hours=1))
    end_all(at + WEEK)
    session.refresh_from_db()
    assert session.next_attempt_at is not None


def test_one_that_is_ended_before_is_not_ended_twice(boosted: Service, at: datetime) -> None:
    later.change(boosted, at + WEEK / 2, remove=["boost"], qualification=None)
    factories.work(at=at + WEEK / 2)
    assert end_all(at + WEEK) == 0
    assert not AuditEntry.objects.filter(action="boost.ended").exists()


def test_a_pending_order_does_not_keep_it(boosted: Service, at: datetime) -> None:
    """The order that would end it later finds it gone, and is done all the same."""
    order = later.change(
        boosted, at, remove=["boost"], qualification=None, wanted_from=at + 2 * WEEK
    )
    assert end_all(at + WEEK) == 1
    factories.work(at=at + 2 * WEEK)
    order.refresh_from_db()
    assert order.state == "completed"
    assert later.periods(boosted.carried.get())[-1][3] == at + WEEK


def test_a_paused_line_ends_it_too(boosted: Service, at: datetime) -> None:
    later.suspend(boosted, at)
    factories.work(at=at)
    assert end_all(at + WEEK) == 1
    assert boosted.carried.get().state == "ceased"


def test_it_ends_with_the_line_that_moves(boosted: Service, at: datetime) -> None:
    later.move(boosted, place("3 OAK ST"), at)
    factories.work(at=at)
    assert end_all(at + WEEK) == 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"add": ["boost"], "boosts_until": timedelta(0)}, "end before it begins"),
        ({"add": ["boost"], "boosts_until": -WEEK}, "from today on"),
        ({"add": ["boost"], "boosts_until": timedelta(days=400)}, "within a year"),
        ({"add": ["films-streaming"], "boosts_until": WEEK}, "Only a speed boost"),
    ],
)
def test_an_end_that_makes_no_sense(
    line: Service, at: datetime, wanted: dict[str, object], words: str
) -> None:
    after = wanted["boosts_until"]
    assert isinstance(after, timedelta)
    with pytest.raises(InvalidInput, match=words) as refused:
        later.change(line, at, **wanted | {"boosts_until": at + after})
    assert refused.value.field == "boosts_until"
    assert not line.carried.exists()


def test_an_order_is_amended_to_another_end(line: Service, at: datetime) -> None:
    from provisioning import amending

    order = later.change(line, at, add=["boost"], boosts_until=at + 2 * WEEK, wanted_from=at + WEEK)
    amending.amend_order(
        order_id=order.pk, add=["boost"], boosts_until=at + 3 * WEEK, actor=None, reason="", at=at
    )
    living = line.carried.exclude(state="ceased").get()
    assert living.ends_at == at + 3 * WEEK
