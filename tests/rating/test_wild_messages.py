"""Messages that cannot be true, of servers that are broken or mean it: they stop no others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ipam.models import AddressServer
from ispops.parties.models import Subscriber
from provisioning.models import Service, WaitingAccounting
from provisioning.waiting import Range, halves
from rating import metered, usage
from rating.guiding import Guided
from rating.metering import IMPLAUSIBLE
from rating.models import MeteredSession, Usage
from tests.rating.ground import NOON, rate, rated
from tests.rating.test_sessions import NAS, meter, octets_of_good, server, told

__all__ = ["server"]
pytestmark = pytest.mark.django_db
MOST = IMPLAUSIBLE - 1


def in_error() -> list[Usage]:
    return list(Usage.objects.with_state().filter(state="error").order_by("started_at"))


@pytest.mark.parametrize("limit", [1, 1_000])
def test_resets_without_end_cannot_take_a_session_past_what_any_carries(
    server: AddressServer, line: Service, limit: int
) -> None:
    """By columns and one after the other; what goes past it is seen, and the others count."""
    for number in range(1, 8):
        told(server, line, age=number * 10, down=MOST if number % 2 else 0)
    told(server, line, age=300, down=5, unique_session_id="u2")
    while meter(limit):
        pass
    assert octets_of_good() == MOST + 5
    assert MeteredSession.objects.get(unique_session_id="u1").output_bytes == MOST
    assert [(use.error_code, use.quantity) for use in in_error()] == [
        ("implausible_counter", 0)
    ] * 3


@pytest.mark.parametrize("age", [2**32 - 1_000, 100 * 86_400], ids=["136 years", "before the line"])
def test_the_octets_of_a_session_without_a_beginning_count_at_its_messages(
    server: AddressServer, line: Service, ada: Subscriber, age: int
) -> None:
    """Each once, at the price of that moment; that the age is wrong is told once."""
    for seconds, down in ((300, 10**10), (300, 10**10), (600, 10**10 + 5)):
        told(server, line, age=seconds, down=down, session_seconds=age + seconds)
        meter()
    good = Usage.objects.filter(error_code="").order_by("pk")
    heard, last = NOON + timedelta(seconds=300), NOON + timedelta(seconds=600)
    assert list(good.values_list("started_at", "ended_at", "quantity")) == [
        (heard, heard, 10**10),
        (heard, last, 5),
    ]
    assert [use.error_code for use in in_error()] == ["implausible_age"]
    assert (rate(), len(rated(ada))) == (2, 2)


@pytest.mark.parametrize("session_class", ["", "a"])
def test_a_wild_age_in_between_is_no_other_session(
    server: AddressServer, line: Service, session_class: str
) -> None:
    """The true ages after it still count; a Class alone does not make a wild age true."""
    for seconds, age in ((300, 300), (600, 2**32 - 1), (900, 100 * 86_400), (1_200, 1_200)):
        told(
            server, line, age=seconds, down=seconds, session_seconds=age,
            session_class=session_class,
        )  # fmt: skip
        meter()
    assert octets_of_good() == 1_200
    session = MeteredSession.objects.get()
    assert (session.session_seconds, session.sequence) == (1_200, 4)


@pytest.mark.parametrize("limit", [1, 100])
def test_a_message_from_far_in_the_future_is_one_use(
    server: AddressServer, line: Service, limit: int
) -> None:
    told(server, line, age=300, down=10, session_class="a")
    told(
        server, line, age=600, down=30, session_class="a", start=NOON + timedelta(days=60_000),
    )  # fmt: skip
    while meter(limit):
        pass
    assert (octets_of_good(), Usage.objects.count()) == (30, 2)


@pytest.mark.parametrize("counted", ["as columns", "by itself"])
def test_a_message_that_breaks_its_batch_is_put_aside_and_the_others_count(
    server: AddressServer, line: Service, counted: str
) -> None:
    """The database refuses a slice that it knows; a person sees the message, and only that."""
    name = line.credential.username
    known = MeteredSession.objects.create(
        unique_session_id="u4", nas_ip=NAS, started_at=NOON, last_event_at=NOON,
        username=name if counted == "as columns" else "another",
    )  # fmt: skip
    use = metered.use(
        event_id=f"{known.pk}/1/0", username=name, guided=Guided(error_code="unknown_user"),
        started_at=NOON, ended_at=NOON, quantity=0, facts={},
    )  # fmt: skip
    metered.store(uses=[use], at=NOON)
    records = [
        told(server, line, age=300, down=10**number, unique_session_id=f"u{number}")
        for number in range(9)
    ]
    assert meter() == 9
    assert octets_of_good() == 111_101_111
    assert not WaitingAccounting.objects.filter(reader="metering").exists()
    known.refresh_from_db()
    assert (known.output_bytes, known.sequence) == (0, 0)
    [aside] = [use for use in in_error() if use.error_code == "uncountable_message"]
    assert (aside.quantity, aside.attributes) == (0, {"accounting_record": records[4].pk})
    assert usage.recycle(usage_ids=[aside.pk], actor=None, at=NOON) == 0


def test_a_batch_is_cut_in_two_wherever_its_ranges_end() -> None:
    assert halves([Range(5, 5)]) == ([], [Range(5, 5)])
    assert halves([Range(1, 1), Range(3, 7)]) == ([Range(1, 1), Range(3, 4)], [Range(5, 7)])
    assert halves([Range(1, 4), Range(9, 9)]) == ([Range(1, 2)], [Range(3, 4), Range(9, 9)])
