"""Messages that cannot be true, of servers that are broken or mean it: they stop no others."""

from __future__ import annotations

import pytest

from ipam.models import AddressServer
from provisioning.models import Service, WaitingAccounting
from provisioning.waiting import Range, halves
from rating import metered, usage
from rating.guiding import Guided
from rating.metering import IMPLAUSIBLE
from rating.models import MeteredSession, Usage
from tests.rating.ground import NOON
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
