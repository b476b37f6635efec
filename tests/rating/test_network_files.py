"""Records of the network that come as files: each octet counts once (figure 9B)."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioning.models import EquipmentModel, Service, SubscriberEquipment
from rating import network_files, retrying, usage_files
from rating.metering import IMPLAUSIBLE
from rating.models import MeteredInterval, Usage, UsageFile
from rating.network_records import RecordColumns, Totals
from rating.usage_events import UnusableEvent
from tests.rating.ground import NOON, rate

pytestmark = pytest.mark.django_db
MODEM = "00:1A:2B:3C:4D:5E"
NOW = NOON + timedelta(hours=5)


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def modem(line: Service) -> SubscriberEquipment:
    model = EquipmentModel.objects.create(name="Cable modem", parameters="")
    return SubscriberEquipment.objects.create(
        service=line, model=model, serial="001A2B3C4D5E", noted_at=NOON
    )


def ipdr(*records: tuple[int, int, int, int], **more: str) -> str:
    """A document: minutes after noon, direction, octets so far, type of record."""
    written = "".join(
        "<ipdr:IPDR>"
        "<CMTShostName>cmts-1</CMTShostName>"
        f"<CMmacAddress>{MODEM.replace(':', '-')}</CMmacAddress>"
        "<CMcpeIpv4List>192.0.2.7 192.0.2.8</CMcpeIpv4List>"
        f"<RecType>{kind}</RecType>"
        f"<RecCreationTime>{(NOON + timedelta(minutes=minute)).isoformat()}</RecCreationTime>"
        f"<serviceDirection>{way}</serviceDirection>"
        f"<serviceOctetsPassed>{octets}</serviceOctetsPassed>"
        "<serviceTimeCreated>4711</serviceTimeCreated>"
        + "".join(f"<{name}>{value}</{name}>" for name, value in more.items())
        + "</ipdr:IPDR>\n"
        for minute, way, octets, kind in records
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ipdr:IPDRDoc xmlns:ipdr="http://www.ipdr.org/namespaces/ipdr">{written}</ipdr:IPDRDoc>'
    )


def spans(*rows: tuple[int, int, int, int], name: str) -> str:
    """Spans of time: minutes after noon of start and end, octets down and up."""
    header = "meter,username,started_at,ended_at,download_bytes,upload_bytes\n"
    return header + "".join(
        f"bng-1,{name},{(NOON + timedelta(minutes=start)).isoformat()},"
        f"{(NOON + timedelta(minutes=end)).isoformat()},{down},{up}\n"
        for start, end, down, up in rows
    )


def read(content: str, file_format: str = "ipdr") -> UsageFile:
    file = usage_files.submit_file(
        upload=io.BytesIO(content.encode()), file_name="x", file_format=file_format,
        actor=None, actor_name="tests", at=NOW,
    )  # fmt: skip
    while usage_files.read_next(at=NOW):
        pass
    file.refresh_from_db()
    assert file.state == "completed", file.error
    return file


def octets() -> tuple[int, int]:
    """What is counted in all: (download, upload)."""
    told = [use.attributes for use in Usage.objects.filter(source="network", quantity__gt=0)]
    return sum(t["download_bytes"] for t in told), sum(t["upload_bytes"] for t in told)


class TestIpdr:
    def test_running_totals_of_both_directions_become_usage_of_the_line(
        self, line: Service, modem: SubscriberEquipment
    ) -> None:
        file = read(
            ipdr((15, 1, 2**33, 1), (15, 2, 500, 1), (30, 1, 2**33 + 70, 2), (30, 2, 900, 2))
        )
        assert (file.rows_total, file.accepted, file.rejected) == (4, 4, 0)
        assert octets() == (2**33 + 70, 900)
        assert {use.service for use in Usage.objects.all()} == {line}
        assert rate(at=NOW) == 4

    def test_the_same_file_and_one_that_overlaps_count_nothing_twice(
        self, modem: SubscriberEquipment
    ) -> None:
        first = read(ipdr((15, 1, 100, 1), (30, 1, 250, 1)))
        assert read(ipdr((15, 1, 100, 1), (30, 1, 250, 1))).same_as == first
        overlapping = read(ipdr((30, 1, 250, 1), (10, 1, 60, 1), (45, 1, 400, 2)))
        assert (overlapping.accepted, overlapping.duplicates) == (1, 2)
        assert octets() == (400, 0)

    def test_resets_cannot_take_a_flow_past_what_any_carries(
        self, modem: SubscriberEquipment
    ) -> None:
        most = IMPLAUSIBLE - 1
        file = read(ipdr((10, 1, most, 1), (20, 1, 0, 1), (30, 1, most, 1)))
        assert (file.accepted, file.duplicates, file.rejected) == (1, 1, 1)
        assert octets() == (most, 0)

    def test_the_start_of_a_flow_follows_from_the_time_of_the_device(
        self, modem: SubscriberEquipment
    ) -> None:
        read(ipdr((20, 1, 100, 1), CMTSsysUpTime=str(4711 + 20 * 60 * 100)))
        assert Usage.objects.get().started_at == NOON

    def test_a_modem_that_is_not_known_waits_until_it_is(self, line: Service) -> None:
        file = read(ipdr((15, 1, 100, 1)))
        assert (file.in_error, file.accepted) == (1, 0)
        assert retrying.retry_guided_wrong(at=NOW) == 0
        model = EquipmentModel.objects.create(name="Cable modem", parameters="")
        SubscriberEquipment.objects.create(service=line, model=model, serial=MODEM, noted_at=NOON)
        assert retrying.retry_guided_wrong(at=NOW) == 1
        assert Usage.objects.get().service == line

    def test_a_device_without_a_clock_and_one_that_names_an_interface(
        self, modem: SubscriberEquipment
    ) -> None:
        text = ipdr((15, 1, 100, 1), (16, 1, 150, 1), CMTSsysUpTime="999999999999")
        no_clock = text.replace((NOON + timedelta(minutes=15)).isoformat(), "0001-01-01T00:00:00Z")
        text = no_clock.replace("192.0.2.7", "fe80::1%eth0").replace("999999999999", "60000000")
        for content in (no_clock, text):
            assert (file := read(content)).rejected >= 1
            assert b"too_old" in file.rejects.read()
        assert octets() == (150, 0)

    def test_bad_records_have_their_reason_and_the_good_ones_count(
        self, modem: SubscriberEquipment
    ) -> None:
        text = ipdr((15, 1, 100, 1), (16, 3, 1, 1), (17, 1, -5, 1), (18, 1, 10**30, 1),
                    (19, 1, 200, 9), (10_000, 1, 300, 1), (30, 1, 150, 1))  # fmt: skip
        file = read(text.replace(">-5<", ">NaN<"))
        assert (file.accepted, file.rejected, octets()) == (2, 5, (150, 0))
        rejects = file.rejects.read().decode().splitlines()
        assert [row.split(",")[3] for row in rejects[1:]] == [
            "serviceDirection", "serviceOctetsPassed", "serviceOctetsPassed", "RecType", "event_at",
        ]  # fmt: skip


class TestSpansOfTime:
    def test_spans_count_once_and_an_overlap_is_told(self, line: Service) -> None:
        name = line.credential.username
        file = read(spans((0, 15, 100, 10), (15, 30, 50, 5), name=name), "network_csv")
        assert (file.accepted, octets()) == (2, (150, 15))
        again = read(
            spans((15, 30, 50, 5), (15, 30, 51, 5), (20, 40, 9, 9), (30, 40, 7, 0), name=name),
            "network_csv",
        )
        assert (again.duplicates, again.conflicts, again.accepted) == (1, 2, 1)
        assert octets() == (157, 15)
        assert b"octets are counted, which stay" in again.rejects.read()

    def test_the_database_itself_refuses_an_overlap(self) -> None:
        def store(start: int, end: int, meter: str = "bng-1") -> None:
            MeteredInterval.objects.create(
                meter=meter, username="a", started_at=NOON + timedelta(minutes=start),
                ended_at=NOON + timedelta(minutes=end), download_bytes=1, upload_bytes=1,
            )  # fmt: skip

        store(0, 15)
        store(15, 30)
        store(0, 15, "bng-2")
        for start, end in ((14, 16), (0, 15), (3, 3)):
            with pytest.raises(DatabaseError), transaction.atomic():
                store(start, end)

    def test_running_totals_of_sessions(self, line: Service) -> None:
        header = (
            "meter,session_id,username,session_started_at,event_at,status,"
            "download_total_bytes,upload_total_bytes\n"
        )
        name = line.credential.username
        rows = [f"bng-1,s1,{name},{NOON.isoformat()},{(NOON + timedelta(minutes=m)).isoformat()},"
                f"{status},{down},{up}\n"
                for m, status, down, up in ((10, "interim", 100, 1), (20, "stop", 300, 2),
                                            (10, "interim", 100, 1))]  # fmt: skip
        file = read(header + "".join(rows), "network_csv")
        assert (file.accepted, file.duplicates, octets()) == (2, 1, (300, 2))


def test_a_record_that_breaks_what_it_comes_with_costs_itself(
    line: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the checks do not know yet."""

    def breaking(name: str) -> str:
        if name == "evil":
            raise OverflowError
        return name

    monkeypatch.setattr(network_files, "_device", breaking)
    good = [spans((start, start + 15, 100, 10), name=line.credential.username) for start in (0, 15)]
    evil = spans((0, 15, 1, 1), name="evil")
    rows = [good[0], *("".join(text.splitlines(True)[1:]) for text in (evil, good[1]))]
    file = read("".join(rows), "network_csv")
    assert (file.accepted, file.rejected, octets()) == (2, 1, (200, 20))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_octets_in_are_octets_out_whatever_comes_twice_or_late(data: Any, line: Service) -> None:
    """Records of one flow in several files, cut, repeated and shuffled at random."""
    steps = data.draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=12))
    totals = [sum(steps[: n + 1]) for n in range(len(steps))]
    records = [
        Totals("cmts-1", "flow", line.credential.username, NOON + timedelta(minutes=n), None,
               total, 0, is_last=False)
        for n, total in enumerate(totals)
    ]  # fmt: skip
    files = data.draw(st.lists(st.lists(st.sampled_from(records), min_size=1), max_size=4))
    with transaction.atomic():
        for file in [*files, data.draw(st.permutations(records))]:
            network_files.take_in(rows=file, at=NOW)
        assert octets() == (totals[-1], 0)
        counted = Usage.objects.aggregate(all=Sum("quantity"))["all"] or 0
        assert counted == totals[-1]
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("m,u,2026-05-04T12:00:00,2026-05-04T13:00:00Z,1,1", "started_at"),
        ("m,u,2026-05-04T12:00:00Z,2026-05-04T12:00:00Z,1,1", "ended_at"),
        ("m" * 65 + ",u,2026-05-04T12:00:00Z,2026-05-04T13:00:00Z,1,1", "meter"),
        ("m,,2026-05-04T12:00:00Z,2026-05-04T13:00:00Z,1,1", "username"),
        ("m,u,2026-05-04T12:00:00Z,2026-05-04T13:00:00Z,1.5,1", "download_bytes"),
        ("m,u,2026-05-04T12:00:00Z,2026-05-04T13:00:00Z,1,1,1", "row"),
    ],
)
def test_rows_that_are_no_records(row: str, field: str) -> None:
    columns = RecordColumns(
        ["meter", "username", "started_at", "ended_at", "download_bytes", "upload_bytes"]
    )
    with pytest.raises(UnusableEvent) as refused:
        columns.record(row.split(","))
    assert refused.value.field == field


def test_the_command_reads_a_file_and_says_what_came_of_it(
    modem: SubscriberEquipment, tmp_path: Path
) -> None:
    file = tmp_path / "may.xml"
    file.write_text(ipdr((15, 1, 100, 1), (16, 9, 1, 1)))
    told = io.StringIO()
    with time_machine.travel(NOW):
        for _ in range(2):
            call_command("import_usage", str(file), stdout=told)
    words = " ".join(told.getvalue().split())
    assert "accepted 1 duplicates 0 conflicts 0 in error 0 rejected 1" in words
    assert "The same file came before" in words
    assert "duplicates 1" in words
    for options, refused in (
        (["nowhere.xml"], "No such file"),
        ([str(file), "--partner", "nobody"], "no partner nobody"),
        ([str(file), "--format", "csv"], "Choose the partner"),
    ):
        with pytest.raises(CommandError, match=refused):
            call_command("import_usage", *options)
