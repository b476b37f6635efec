"""Tables given out as CSV, line by line while they are read, so that none has to fit in memory."""

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.http import StreamingHttpResponse
from django.utils import timezone

from ispops.uploads import harmless_row


def stream(name: str, lines: Iterable[Sequence[str]]) -> StreamingHttpResponse:
    """Answer with lines as a CSV file; what a spreadsheet would take for a formula is harmless."""
    writer = csv.writer(_Line())
    file = StreamingHttpResponse(
        (writer.writerow(harmless_row(list(line))) for line in lines),
        content_type="text/csv; charset=utf-8",
    )
    today = f"{timezone.now():%Y-%m-%d}"
    file["Content-Disposition"] = f'attachment; filename="{name}-{today}.csv"'
    return file


def utc(moment: datetime | None) -> str:
    """Write a time as machines read it; nothing where there is none."""
    return moment.astimezone(UTC).isoformat() if moment else ""


class _Line:
    """What a CSV writer writes to, so that each line comes back to whoever wrote it."""

    def write(self, line: str) -> str:
        return line
