"""Lists as files, for tests: how they are sent and worked on, without a worker."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from ispops.parties.models import Partner
from qualification import import_work, imports
from qualification.models import CoverageImport
from tests.small_isp import LAUNCH

AT = LAUNCH + timedelta(days=1)
PUBLIC_HEADER = (
    "frn,provider_id,brand_name,location_id,technology,max_advertised_download_speed,"
    "max_advertised_upload_speed,low_latency,business_residential_code,state_usps,block_geoid,"
    "h3_res8_id"
)
REAL_ROW = "0003768165,130317,Xfinity,1037392925,50,100,100,1,B,VT,500110102002027,882bab5303fffff"


def csv_of(columns: str, *rows: Sequence[Any]) -> str:
    """Write rows below a header that is given as `a,b,c`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns.split(","), *rows])
    return text.getvalue()


def submit(
    content: str | bytes,
    provider: Partner | None,
    list_format: str = "locations",
    *,
    at: datetime = AT,
    **options: Any,
) -> CoverageImport:
    data = content.encode() if isinstance(content, str) else content
    return imports.submit_list(
        upload=io.BytesIO(data),
        file_name="list.csv",
        list_format=list_format,
        provider=provider,
        actor=options.pop("actor", None),
        actor_name="a test",
        at=at,
        **options,
    )


def check(*arguments: Any, **options: Any) -> CoverageImport:
    """Send a list and have it checked."""
    row = submit(*arguments, **options)
    return work(row, at=options.get("at", AT))


def apply(row: CoverageImport, *, at: datetime = AT) -> CoverageImport:
    imports.apply_list(import_id=row.pk, actor=None, actor_name="a test", at=at)
    return work(row, at=at)


def work(row: CoverageImport, *, at: datetime | None = None) -> CoverageImport:
    assert import_work.work_on(import_id=row.pk, at=at or timezone.now())
    row.refresh_from_db()
    return row


def counts(row: CoverageImport) -> tuple[int, int, int, int, int]:
    """Added, changed, removed, unchanged, rejected."""
    return row.added, row.changed, row.removed, row.unchanged, row.rejected


def rejects(row: CoverageImport) -> list[list[str]]:
    with row.rejects.open("r") as file:
        return list(csv.reader(file))
