"""Records of the network that come as files: each octet counts once, whatever files tell of it.

Running totals go through the same metering as accounting messages, so a record that comes again, or
late, adds nothing. A span of time is counted when no other of its meter and name overlaps it, which
the database guards; then it is a session that has ended.
"""

import csv
import hashlib
import io
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from tempfile import TemporaryFile
from typing import IO, Any
from xml.etree import ElementTree

from django.db import connection, transaction

from ipam.selection import UnusableDevice, normalise_device
from ispops import bulk, uploads
from provisioning.models import AccountingRecord
from rating import culprits, ipdr, network_records, sessions
from rating.metering import LONGEST_SESSION, WRAP
from rating.models import MeteredInterval, MeteredSession
from rating.network_records import Span, Totals
from rating.usage import RowResult
from rating.usage_events import FUTURE_BY, OLDEST

# One file at a time, because where a flow began may only be known from the record before.
_HOLDING = 0x1BD12
_INSERT = """
INSERT INTO rating_meteredinterval
    (meter, username, started_at, ended_at, download_bytes, upload_bytes)
VALUES %s ON CONFLICT DO NOTHING RETURNING id, meter, username, started_at, ended_at
"""


def unfold_ipdr(kept: IO[bytes]) -> int:
    """Turn a file of IPDR documents in XML into a table of its records, in place.

    So a worker can go on at any record. Returns how many records there are.

    Raises:
        UnusableFile: it is no XML, has a document type, or holds no record.
    """
    _refuse_document_types(kept)
    kept.seek(0)
    with TemporaryFile() as table:
        text = io.TextIOWrapper(table, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(network_records.IPDR_COLUMNS)
        try:
            count = ipdr.read_records(kept, network_records.IPDR_COLUMNS, writer.writerow)
        except ipdr.UnusableDocument as error:
            raise uploads.UnusableFile(str(error), field="file") from error
        except ElementTree.ParseError as error:
            raise uploads.UnusableFile(
                f"Line {error.position[0]:,} is no XML.", field="file", line=error.position[0]
            ) from error
        if not count:
            raise uploads.UnusableFile("The document has no element IPDR.", field="file")
        text.flush()
        table.seek(0)
        kept.seek(0)
        kept.truncate()
        shutil.copyfileobj(table, kept)
        text.detach()
    return count


def _refuse_document_types(kept: IO[bytes]) -> None:
    """Refuse what could make a few bytes of XML grow without end, before it is parsed."""
    kept.seek(0)
    end = b""
    while piece := kept.read(1 << 20):
        if b"<!DOCTYPE" in end + piece:
            raise uploads.UnusableFile("The document may have no document type.", field="file")
        end = piece[-8:]


@transaction.atomic
def take_in(*, rows: Sequence[Any], at: datetime) -> list[RowResult]:
    """Turn records into usage; returns what became of each, in their order.

    A row is a `Totals`, a `Span`, or a `RowResult` of one that could not be read. `duplicate` adds
    nothing to what is counted; `conflict` overlaps what was counted with other numbers; `error` is
    counted, for a name that no line has yet.
    """
    _hold()
    return culprits.without(lambda some: _take_in(some, at), rows, _refused)


def _refused(row: Any) -> RowResult:
    return RowResult("", "error", "unreadable", "This cannot be counted as it is.", "row")


def _take_in(rows: Sequence[Any], at: datetime) -> list[RowResult]:
    results: list[RowResult | None] = [
        row if isinstance(row, RowResult) else _unbelievable(row, at) for row in rows
    ]
    left = [place for place, result in enumerate(results) if result is None]
    spans = {place: rows[place] for place in left if isinstance(rows[place], Span)}
    totals = {place: rows[place] for place in left if isinstance(rows[place], Totals)}
    stored, refused = _store_spans(spans)
    messages = [*_of_spans(spans, stored), *_of_totals(totals)]
    for message in messages:
        message.received_at = at
    came = sessions.meter_records(records=messages, at=at) if messages else {}
    for place in left:
        results[place] = refused.get(place) or _result(came.get(place), place in stored)
    return [result for result in results if result is not None]


def _hold() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_HOLDING])


def _unbelievable(row: Totals | Span, at: datetime) -> RowResult | None:
    first = row.started_at
    last, field = (
        (row.ended_at, "ended_at") if isinstance(row, Span) else (row.event_at, "event_at")
    )
    if last > at + FUTURE_BY:
        return RowResult("", "error", "in_future", "This is in the future.", field)
    if last < at - OLDEST:
        reason = f"This is more than {OLDEST.days} days ago."
        return RowResult("", "error", "too_old", reason, field)
    if first is not None and last - first >= timedelta(seconds=LONGEST_SESSION):
        return RowResult("", "error", "too_long", "Nothing lasts as long.", field)
    return None


def _result(came: str | None, is_span: bool) -> RowResult:
    if came == "unknown_user":
        return RowResult("", "error", "unknown_user", "No line has this name.")
    if came == "implausible":
        reason = "With it the session has carried more than any can."
        return RowResult("", "error", "implausible_counter", reason, "octets")
    if came is None and not is_span:
        return RowResult("", "duplicate")
    return RowResult("", "accepted")


# --- Spans of time ------------------------------------------------------------------------------


def _store_spans(spans: dict[int, Span]) -> tuple[dict[int, int], dict[int, RowResult]]:
    """Store spans that overlap none; returns their keys, and what became of the others."""
    if not spans:
        return {}, {}
    told = [
        (span.meter, span.username, span.started_at, span.ended_at, span.download_bytes,
         span.upload_bytes)
        for span in spans.values()
    ]  # fmt: skip
    keys = {row[1:]: row[0] for row in bulk.insert_returning(_INSERT, told)}
    stored: dict[int, int] = {}
    refused: dict[int, RowResult] = {}
    for place, span in spans.items():
        key = keys.pop((span.meter, span.username, span.started_at, span.ended_at), None)
        if key is None:
            refused[place] = _overlapping(span)
        else:
            stored[place] = key
    return stored, refused


def _overlapping(span: Span) -> RowResult:
    """Say what a span overlaps: itself when it comes again, or another one."""
    other = MeteredInterval.objects.filter(
        meter=span.meter,
        username=span.username,
        started_at__lt=span.ended_at,
        ended_at__gt=span.started_at,
    ).first()
    names = ("started_at", "ended_at", "download_bytes", "upload_bytes")
    if other is None or all(getattr(other, name) == getattr(span, name) for name in names):
        return RowResult("", "duplicate")
    return RowResult(
        "",
        "conflict",
        "overlaps",
        f"From {other.started_at:%Y-%m-%d %H:%M:%S} to {other.ended_at:%Y-%m-%d %H:%M:%S} UTC "
        f"{other.download_bytes + other.upload_bytes:,} octets are counted, which stay.",
    )


def _of_spans(spans: dict[int, Span], stored: dict[int, int]) -> list[AccountingRecord]:
    return [
        _message(
            place,
            f"interval/{key}",
            spans[place].username,
            spans[place].started_at,
            spans[place].ended_at,
            spans[place].download_bytes,
            spans[place].upload_bytes,
            is_last=True,
        )
        for place, key in stored.items()
    ]


# --- Running totals -----------------------------------------------------------------------------


def _of_totals(totals: dict[int, Totals]) -> list[AccountingRecord]:
    ids = {place: _session_id(record) for place, record in totals.items()}
    begun = _begun(totals, ids)
    return [
        _message(
            place,
            ids[place],
            record.username,
            record.started_at or begun[ids[place]],
            record.event_at,
            record.download_bytes,
            record.upload_bytes,
            is_last=record.is_last,
            # Without its start a flow is told apart by its name alone.
            session_class="" if record.started_at else ids[place],
            address=record.address,
        )
        for place, record in totals.items()
    ]


def _session_id(record: Totals) -> str:
    return hashlib.sha256(f"{record.meter}\x1f{record.flow}".encode()).hexdigest()


def _begun(totals: dict[int, Totals], ids: dict[int, str]) -> dict[str, datetime]:
    """Return when flows begin whose start nobody tells: with the first record of them."""
    untold = {ids[place] for place, record in totals.items() if record.started_at is None}
    begun = dict(
        MeteredSession.objects.filter(
            unique_session_id__in=untold, nas_ip=None, incarnation=0
        ).values_list("unique_session_id", "started_at")
    )
    for place, record in sorted(totals.items(), key=lambda item: item[1].event_at):
        begun.setdefault(ids[place], record.event_at)
    return begun


def _message(
    place: int,
    session_id: str,
    username: str,
    started_at: datetime,
    event_at: datetime,
    download_bytes: int,
    upload_bytes: int,
    *,
    is_last: bool,
    session_class: str = "",
    address: str = "",
) -> AccountingRecord:
    """Return a record as an accounting message would tell it; it is not stored."""
    name = _device(username)
    return AccountingRecord(
        pk=place,
        status_type="Stop" if is_last else "Interim-Update",
        session_id=session_id,
        unique_session_id=session_id,
        session_class=session_class,
        username=name,
        calling_station_id=name if name != username else "",
        framed_ip=_address(address),
        session_seconds=max(0, int((event_at - started_at).total_seconds())),
        input_octets=upload_bytes % WRAP,
        input_gigawords=upload_bytes // WRAP,
        output_octets=download_bytes % WRAP,
        output_gigawords=download_bytes // WRAP,
        event_at=event_at,
    )


def _device(name: str) -> str:
    """Return the one spelling of a hardware address; any other name as it is."""
    try:
        device = normalise_device(name)
    except UnusableDevice:
        return name
    return device if device.count(":") == 5 else name


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text.partition("%")[0]))  # without the interface, if it is named
    except ValueError:
        return None
