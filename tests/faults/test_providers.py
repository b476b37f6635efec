"""A worker dies while a provider is being asked: the question is asked again, with one effect.

Worker, beat and provider are processes of their own.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from ispops.models import Event, WorkerHeartbeat
from qualification.models import (
    InquiryAttempt,
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    ServiceQualification,
)
from tests.offnet import DemoNetwork, ask, connect, demo_network, eligible, later
from tests.small_isp import SmallIsp

if TYPE_CHECKING:
    from tests.stack import Stack

pytestmark = pytest.mark.faults


@pytest.fixture
def network(tmp_path: Path) -> Iterator[DemoNetwork]:
    with demo_network(tmp_path / "network") as running:
        yield running


def state_of(answer: ServiceQualification) -> str:
    answer.refresh_from_db()
    return str(answer.state)


def test_a_worker_that_is_killed_while_it_asks_is_replaced_without_a_second_effect(
    live: Stack, isp: SmallIsp, network: DemoNetwork
) -> None:
    off = connect(isp, network.base_url, at=timezone.now(), timeout_seconds=10)
    network.misbehave("slow", seconds=8)
    live.start("worker", "beat")
    live.until(WorkerHeartbeat.objects.exists, "the worker reports")
    answer = ask(off.knox, at=timezone.now())
    live.until(InquiryAttempt.objects.exists, "the worker asks")
    live.kill("worker")
    inquiry = answer.inquiries.get()
    assert (inquiry.state, inquiry.attempts) == ("pending", 1)
    assert inquiry.leased_until is not None
    assert inquiry.leased_until > later(timezone.now(), 10), "the lease outlives the call"

    network.misbehave("")
    # So that the test need not wait for the lease: as if that time had passed.
    ProviderInquiry.objects.update(leased_until=timezone.now())
    live.start("worker")
    live.until(lambda: state_of(answer) == "qualified", "the answer is settled")
    tries = InquiryAttempt.objects.order_by("number").values_list("outcome", flat=True)
    assert list(tries) == ["lost", "answered"]
    assert ProviderAnswer.objects.count() == 1
    assert Event.objects.filter(kind="qualification.settled").count() == 1
    assert "cable-1000" in eligible(answer)


def test_a_provider_that_comes_back_closes_its_breaker_by_itself(
    live: Stack, isp: SmallIsp, network: DemoNetwork
) -> None:
    off = connect(
        isp, network.base_url, at=timezone.now(), timeout_seconds=2, breaker_threshold=2,
        breaker_pause_seconds=3, give_up_after_seconds=120,
    )  # fmt: skip
    network.misbehave("error")
    live.start("worker", "beat")
    answers = [ask(house, at=timezone.now()) for house in (off.knox, off.dry)]

    def is_open() -> bool:
        return ProviderConnection.objects.filter(open_until__gt=timezone.now()).exists()

    live.until(is_open, "the breaker is open", seconds=60)
    network.misbehave("")
    live.until(
        lambda: [state_of(answer) for answer in answers] == ["qualified", "not_qualified"],
        "both are answered",
        seconds=60,
    )
    row = ProviderConnection.objects.get()
    assert (row.failures, row.open_until, row.last_error) == (0, None, "")


def test_a_provider_is_asked_by_files_from_end_to_end(live: Stack, isp: SmallIsp) -> None:
    """The worker writes the question, the provider's side answers, beat has it picked up."""
    off = connect(isp, "", at=timezone.now(), adapter="files", folder="tidewater")
    folder = live.folder / "providers" / "tidewater"
    live.start("worker", "beat")
    answer = ask(off.knox, at=timezone.now())
    requested = folder / "requests" / f"{answer.inquiries.get().public_id}.csv"
    live.until(requested.exists, "the question is written")
    with requested.open() as file:
        [asked] = csv.DictReader(file)
    answered = folder / "answers" / "from-the-provider.csv"
    answered.parent.mkdir(parents=True, exist_ok=True)
    unfinished = answered.with_suffix(".part")
    unfinished.write_text(
        "inquiry,street,unit,postal_code,serviceable,technology,max_download_kbps,max_upload_kbps\n"
        f"{asked['inquiry']},{asked['street']},,{asked['postal_code']},yes,40,1200000,35000\n"
    )
    before = time.time() - 5
    os.utime(unfinished, (before, before))
    unfinished.replace(answered)
    live.until(lambda: state_of(answer) == "qualified", "the answer is settled")
    assert "cable-1000" in eligible(answer)
    live.until((folder / "done" / answered.name).exists, "the file is put away")
