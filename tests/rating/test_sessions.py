"""The accounting inbox becomes usage: octets once, to the right line, in the right period."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from ipam.models import AddressServer
from ispops.parties.models import Subscriber
from provisioning.models import AccessServer, AccountingRecord, Service
from rating import interims, sessions, storing, tasks, usage
from rating.models import MeteredSession, Usage
from tests import factories
from tests.rating.ground import MAY, NOON, Shop, posted, rate, rated, total

pytestmark = pytest.mark.django_db
NAS = "192.0.2.1"


@pytest.fixture
def server(line: Service) -> AddressServer:
    return factories.address_server(at=NOON)


def told(
    server: AddressServer,
    line: Service | None,
    kind: str = "Interim-Update",
    *,
    age: int = 300,
    up: int = 0,
    down: int = 0,
    start: datetime = NOON,
    **other: Any,
) -> AccountingRecord:
    """One message about a session that began at noon; upload is what the RFC calls input."""
    event_at = start + timedelta(seconds=age)
    return AccountingRecord.objects.create(
        **{
            "server": server,
            "status_type": kind,
            "session_id": "s1",
            "unique_session_id": "u1",
            "username": line.credential.username if line else "stranger",
            "nas_ip": NAS,
            "session_seconds": age,
            "input_octets": up % 2**32,
            "output_octets": down % 2**32,
            "input_gigawords": up // 2**32,
            "output_gigawords": down // 2**32,
            "event_at": event_at,
            "received_at": event_at,
            **other,
        }
    )


def meter(limit: int = 1000) -> int:
    return usage.meter_accounting(at=NOON + timedelta(hours=1), limit=limit)


def octets() -> tuple[int, int]:
    rows = [use.attributes for use in Usage.objects.filter(source="network")]
    return sum(r["download_bytes"] for r in rows), sum(r["upload_bytes"] for r in rows)


def test_a_session_becomes_usage_of_its_line(
    server: AddressServer, line: Service, ada: Subscriber
) -> None:
    told(server, line, "Start", age=0)
    told(server, line, age=300, up=100, down=1_000, framed_ip="100.64.0.9")
    told(server, line, "Stop", age=500, up=150, down=5 * 2**32)
    assert meter() == 3
    first, second = Usage.objects.with_state().order_by("pk")
    assert (first.subscriber, first.service, first.offering) == (ada, line, line.offering)
    assert (first.quantity, first.unit, first.state) == (1_100, "byte", "received")
    assert first.attributes == {"download_bytes": 1_000, "upload_bytes": 100}
    assert (first.started_at, first.ended_at) == (NOON, NOON + timedelta(seconds=300))
    assert second.quantity == 50 + 5 * 2**32 - 1_000
    session = MeteredSession.objects.get()
    assert (session.service, session.nas_ip, session.framed_ip) == (line, NAS, "100.64.0.9")
    assert (session.input_bytes, session.output_bytes) == (150, 5 * 2**32)
    assert (session.sequence, session.ended_at) == (2, NOON + timedelta(seconds=500))
    assert meter() == 0


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_octets_are_counted_once_in_whatever_batches_order_and_number(
    server: AddressServer, line: Service, limit: int
) -> None:
    chance = random.Random(7)
    totals = [(0, 0)]
    for _ in range(12):
        up, down = totals[-1]
        totals.append((up + chance.randrange(2**20), down + chance.randrange(2**34)))
    messages = list(enumerate(totals)) * 2
    chance.shuffle(messages)
    for number, (up, down) in messages:
        told(server, line, age=number * 300, up=up, down=down)
    while meter(limit):
        pass
    assert octets() == (totals[-1][1], totals[-1][0])
    session = MeteredSession.objects.get()
    assert (session.input_bytes, session.output_bytes) == totals[-1]
    assert Usage.objects.count() == session.sequence


def test_a_device_that_counts_the_other_way_round(server: AddressServer, line: Service) -> None:
    AccessServer.objects.create(name="bng-1", nas_ip=NAS, counters_reversed=True)
    told(server, line, up=100, down=1_000)
    meter()
    assert octets() == (100, 1_000)


def test_two_devices_may_use_one_session_id(server: AddressServer, line: Service) -> None:
    told(server, line, down=10)
    told(server, line, down=20, nas_ip="192.0.2.2")
    told(server, line, down=30, nas_ip=None)
    meter()
    told(server, line, age=600, down=35, nas_ip=None)
    meter()
    assert octets() == (65, 0)
    assert MeteredSession.objects.count() == 3


def test_use_of_an_unknown_name_is_kept(server: AddressServer, line: Service) -> None:
    told(server, None, down=500)
    meter()
    use = Usage.objects.with_state().get()
    assert (use.state, use.error_code, use.subscriber_ref) == ("error", "unknown_user", "stranger")
    assert use.quantity == 500
    line.credential.username = "stranger"
    line.credential.save()
    assert usage.recycle(usage_ids=[use.pk], actor=None, at=NOON) == 1
    use = Usage.objects.with_state().get()
    assert (use.state, use.service) == ("received", line)


def test_names_with_odd_characters(server: AddressServer, line: Service) -> None:
    told(server, line, down=500, username="a\\b\tc\n'\"%s")
    meter()
    assert Usage.objects.get().subscriber_ref == "a\\b\tc\n'\"%s"


def test_a_session_id_used_again_is_a_new_incarnation(server: AddressServer, line: Service) -> None:
    told(server, line, "Stop", age=600, down=1_000, session_class="a")
    meter()
    again = NOON + timedelta(hours=2)
    told(server, line, "Start", age=0, start=again, session_class="b")
    told(server, line, age=300, down=70, start=again, session_class="b")
    meter()
    assert octets() == (1_070, 0)
    rows = MeteredSession.objects.order_by("incarnation")
    assert list(rows.values_list("incarnation", "output_bytes")) == [
        (0, 1_000),
        (1, 70),
    ]


def test_a_restart_closes_the_sessions_of_its_device(server: AddressServer, line: Service) -> None:
    told(server, line, age=300, down=10)
    told(server, line, age=300, down=10, unique_session_id="u2", nas_ip="192.0.2.2")
    told(server, line, "Accounting-On", age=400, unique_session_id="on")
    told(server, line, "Start", age=0, start=NOON + timedelta(seconds=500), unique_session_id="u3")
    meter()
    ended = dict(MeteredSession.objects.values_list("unique_session_id", "ended_at"))
    assert ended == {"u1": NOON + timedelta(seconds=300), "u2": None, "u3": None}


def test_a_silent_session_is_closed_at_its_mark_and_goes_on_from_there(
    server: AddressServer, line: Service
) -> None:
    told(server, line, age=300, down=10)
    meter()
    heard = NOON + timedelta(seconds=300)
    assert usage.close_stale(at=heard + sessions.STALE_AFTER) == 0
    assert usage.close_stale(at=heard + sessions.STALE_AFTER + timedelta(seconds=1)) == 1
    assert MeteredSession.objects.get().ended_at == heard
    told(server, line, age=3_000, down=25)
    meter()
    assert (octets(), MeteredSession.objects.get().ended_at) == ((25, 0), None)


def test_a_slice_over_the_end_of_a_period_is_cut(
    server: AddressServer, line: Service, ada: Subscriber
) -> None:
    start = MAY.end - timedelta(seconds=100)
    told(server, line, age=300, down=1_000, up=5, start=start)
    meter()
    first, second = Usage.objects.order_by("pk")
    assert (first.ended_at, second.started_at) == (MAY.end, MAY.end)
    assert first.attributes == {"download_bytes": 333, "upload_bytes": 1, "estimated": True}
    assert second.attributes == {"download_bytes": 667, "upload_bytes": 4, "estimated": True}


def test_a_session_older_than_time_does_not_stop_the_others(
    server: AddressServer, line: Service
) -> None:
    told(server, line, session_seconds=2**40)
    told(server, line, age=600, down=1_000)
    meter()
    assert octets_of_good() == 1_000
    assert Usage.objects.with_state().get(state="error").error_code == "implausible_counter"


def test_damaged_counters_are_seen_and_count_nothing(server: AddressServer, line: Service) -> None:
    told(server, line, age=300, down=1_000)
    told(server, line, age=600, output_gigawords=2**31)
    told(server, line, age=900, down=1_500)
    meter()
    assert octets_of_good() == 1_500
    use = Usage.objects.with_state().get(state="error")
    assert (use.error_code, use.quantity) == ("implausible_counter", 0)
    assert usage.recycle(usage_ids=[use.pk], actor=None, at=NOON) == 0


def octets_of_good() -> int:
    return sum(
        Usage.objects.with_state().filter(state="received").values_list("quantity", flat=True)
    )


def test_a_message_of_another_kind_is_put_aside(server: AddressServer, line: Service) -> None:
    told(server, line, "Tunnel-Start", down=5)
    assert (meter(), Usage.objects.count()) == (1, 0)


@pytest.mark.parametrize("where", ["queue", "_emit"])
def test_a_crash_in_the_middle_counts_nothing(
    server: AddressServer, line: Service, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """One message is counted as columns and two by themselves; each is cut off at its last step."""
    for session, age in (("u1", 300), ("u2", 300), ("u2", 600)):
        told(server, line, age=age, down=age, unique_session_id=session)

    def power_cut(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr(storing if where == "queue" else sessions._Batch, where, power_cut)
        with pytest.raises(SystemExit):
            meter()
    assert (MeteredSession.objects.count(), Usage.objects.count()) == (0, 0)
    assert meter() == 3
    assert octets() == (900, 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_columns_count_what_one_message_after_the_other_counts(
    server: AddressServer, line: Service, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Sessions do all that devices do: clocks that are wrong, resets, names and Classes that
    change, a period's end, counters without their wraps, restarts."""
    AccessServer.objects.create(name="bng-2", nas_ip="192.0.2.2", counters_reversed=True)
    chance = random.Random(seed)
    lives = [
        _life(chance, f"u{number}", MAY.end - timedelta(seconds=3_000)) for number in range(30)
    ]
    for messages in itertools.zip_longest(*lives):
        for message in filter(None, messages):
            told(server, line, **message)

    def counted(limit: int) -> tuple[list[Any], list[Any], list[int]]:
        alone: list[int] = []
        usual = interims.left

        def left(columns: Any) -> Any:
            rows = usual(columns)
            alone.append(len(rows))
            return rows

        with transaction.atomic(), monkeypatch.context() as watched:
            watched.setattr(interims, "left", left)
            while meter(limit):
                pass
            marks = list(MeteredSession.objects.order_by(*key).values(*marked))
            names = {str(row.pk): str(row) for row in MeteredSession.objects.all()}
            uses = [
                (names.get(event_id.split("/")[0]), event_id.split("/")[1:], *facts)
                for event_id, *facts in Usage.objects.values_list("event_id", *used)
            ]
            transaction.set_rollback(True)
        return marks, sorted(uses, key=repr), alone

    key = ("unique_session_id", "nas_ip", "incarnation")
    marked = [field.name for field in MeteredSession._meta.fields if field.name != "id"]
    used = ("subscriber_ref", "service", "offering", "started_at", "ended_at", "quantity",
            "attributes", "error_code")  # fmt: skip
    marks, uses, alone = counted(25)
    monkeypatch.setattr(interims, "count", lambda **_: None)
    marks_alone, uses_alone, all_alone = counted(25)
    assert (marks, uses) == (marks_alone, uses_alone)
    assert 0 < sum(alone) < sum(all_alone) * 0.7


def _life(chance: random.Random, session: str, start: datetime) -> Iterator[dict[str, Any]]:
    age, up, down, usual = 0, 0, 0, chance.choice(["", "a", "b"])
    nas = chance.choice([NAS, "192.0.2.2", None])
    for _ in range(chance.randrange(5, 12)):
        age += chance.choice([300, 300, 300, 0, -300, 900]) if age else chance.choice([0, 60])
        up += chance.choice([0, 1_000, 2**31])
        down += chance.choice([0, 50_000, 2**33])
        if not chance.randrange(8):
            up, down = 0, chance.choice([0, 7])
        strange: dict[str, Any] = {}
        if not chance.randrange(8):
            strange = chance.choice([
                {"input_gigawords": None, "output_gigawords": None}, {"output_gigawords": 2**31},
                {"session_class": "other"}, {"username": "stranger"}, {"session_seconds": 2**40},
                {"session_seconds": 2**32 - 1}, {"session_seconds": 10**7},
                {"start": start + timedelta(seconds=chance.choice([-20, 40, 4_000]))},
                {"kind": "Stop"}, {"kind": "Accounting-On"}, {"kind": "Tunnel-Start"},
                {"framed_ip": "100.64.0.9"},
            ])  # fmt: skip
        yield {
            "age": max(age, 0), "up": up, "down": down, "start": start, "nas_ip": nas,
            "unique_session_id": session, "session_class": usual, **strange,
        }  # fmt: skip


def test_a_batch_takes_few_queries(
    server: AddressServer, line: Service, django_assert_max_num_queries
) -> None:
    for number in range(100):
        told(server, line, down=10, unique_session_id=f"u{number}")
    with django_assert_max_num_queries(28):
        assert meter() == 100
    assert octets() == (1_000, 0)


def test_traffic_beyond_the_allowance_is_charged_by_started_blocks(
    server: AddressServer, line: Service, ada: Subscriber, shop: Shop
) -> None:
    """1 TB is included; then USD 10 for each started 50 GB."""
    terabyte = 10**12
    for age, down in ((300, terabyte), (600, terabyte + 1), (900, terabyte + 60 * 10**9)):
        told(server, line, age=age, down=down)
    tasks.meter_accounting()
    assert rate() == 0
    rows = rated(ada)
    assert [c.amount_net for c in rows] == [Decimal(0), Decimal(10), Decimal(10)]
    assert total(rows, "network_provider_share") == 0
    assert rows[0].network_provider == shop.isp.fibre
    [charge] = posted(ada)
    assert charge.explanation["arithmetic"] == (
        "1,060,000,000,000 bytes after 0 in the period: 1,000,000,000,000 included + "
        "2 started x 50,000,000,000 at 10.00; 20.00 - 0.00 = 20.00"
    )


def test_a_plan_without_a_price_by_use_includes_all(
    server: AddressServer, line: Service, ada: Subscriber, shop: Shop
) -> None:
    line.offering.prices.filter(charge="usage").update(valid_to=NOON)
    told(server, line, down=10**13)
    meter()
    assert rate() == 1
    assert (Usage.objects.with_state().get().state, rated(ada)) == ("rated", [])
