"""What the tests of the waitlist share: somebody who waits in Stowe, and a network that comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ispops.catalog.models import Technology
from ispops.parties.models import Partner
from qualification import coverage, letters, qualify, waitlist
from qualification.models import ServiceQualification, WaitlistEntry
from tests import factories
from tests.small_isp import LAUNCH, STOWE_POINT, SmallIsp, cell_of

AT = LAUNCH + timedelta(days=1)
LATER = AT + timedelta(days=1)
STOWE = "1 Alpine Rd, Stowe, VT 05672"
# A street that no list has, in the ZIP code of the one place in Stowe that is listed.
UNLISTED = "9 Valley View Rd, Stowe, VT 05672"
FIBRE = {
    "technology": Technology.FIBRE,
    "max_download_kbps": 1_000_000,
    "max_upload_kbps": 1_000_000,
    "install_days": 5,
}


def ask(text: str = STOWE, *, at: datetime = AT, **facts: Any) -> ServiceQualification:
    return qualify.qualify_address(text=text, channel="portal", at=at, **facts)


def join(
    email: str = "eve@example.com",
    text: str = STOWE,
    *,
    at: datetime = AT,
    answer: ServiceQualification | None = None,
) -> WaitlistEntry:
    return waitlist.join_waitlist(
        qualification=answer or ask(text, at=at), email=email, channel="portal", at=at
    )


def cover(
    isp: SmallIsp, *, at: datetime = LATER, cell: str = "", tell: bool = True, **facts: Any
) -> None:
    """Bring fast fibre to a cell, to Stowe's when none is named, or to one premises."""
    where = {} if "premises" in facts else {"h3_res8": cell or cell_of(STOWE_POINT)}
    report = coverage.import_coverage(provider=isp.fibre, rows=[FIBRE | where | facts], at=at)
    assert not report.rejected
    if tell:
        factories.deliver_events(at=at)


def tell_of(provider: Partner, *, at: datetime) -> None:
    """Say that coverage changed, as an import does, and have it handled."""
    with transaction.atomic():
        coverage.publish_change(provider, at=at)
    factories.deliver_events(at=at)


def work(*, at: datetime) -> int:
    """Do what the workers do until nothing is due; returns how many looks and letters it was."""
    for count in range(50):
        if waitlist.look_again(at=at) is None and not letters.send_next(at=at):
            return count
    raise AssertionError("the work does not end")
