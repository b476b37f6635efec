"""Use as a stream: lines of JSON come in by one call, and their answers go out by it meanwhile.

The body is read from the socket line by line and stored chunk by chunk, each chunk in a transaction
of its own; so memory does not grow with the body, and what was answered is stored. Many callers
send all before they read anything. As long as such a caller's side is full, its answers wait in a
file: if they were written all the same, each side would wait for the other.
"""

import io
import json
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from tempfile import TemporaryFile
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from ispops.parties.models import Partner
from ispops.uploads import in_megabytes
from rating import intake, usage_lines
from rating.usage import RowResult
from rating.usage_events import UnusableEvent
from rating.usage_lines import Counts, outcome

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/x-ndjson"
ROWS_A_CHUNK = 5_000
BYTES_A_CHUNK = 2_000_000
# A caller that is silent for so long is not kept a place for.
IDLE_SECONDS = 30.0
# Nor is one that sends a little now and then; to read its answers it has as long once more.
MOST_SECONDS = 3_600.0
# How much of the answers waits for a caller that sends; then it has to read before it is read on.
MOST_KEPT = 64_000_000
_BROKE_OFF = (
    "The body broke off, or nothing came for too long, or it took more than an hour. The lines "
    "that have an answer are stored; send the others again."
)
_READ_AT_ONCE = 1 << 16
# What is written at once to a socket that says it can take something.
_PIECE = 4_096


def answer(request: HttpRequest, partner: Partner) -> StreamingHttpResponse:
    """Take in a body of NDJSON; the answer has a line for each of its lines, then a summary.

    Raises:
        RequestDataTooBig: the body says that it is over the limit; nothing of it was read.
    """
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    if size > settings.USAGE_STREAM_MOST_BYTES:
        raise RequestDataTooBig(
            f"Up to {in_megabytes(settings.USAGE_STREAM_MOST_BYTES)} can be sent in one stream."
        )
    connection: socket.socket | None = request.META.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(IDLE_SECONDS)
    written = _Stream(partner, _readline_of(request), size).answers()
    if connection is not None:
        written = _patiently(written, connection)
    response = StreamingHttpResponse(written, content_type=MEDIA_TYPE)
    response["X-Accel-Buffering"] = "no"
    return response


def _readline_of(request: HttpRequest) -> Callable[[int], bytes]:
    """Return what reads a line; the web server itself knows where a body in chunks ends."""
    read: Callable[[int], bytes] = request.read
    if request.META.get("wsgi.input_terminated") and "CONTENT_LENGTH" not in request.META:
        read = request.META["wsgi.input"].read
    return io.BufferedReader(_Body(read), _READ_AT_ONCE).readline


class _Body(io.RawIOBase):
    """A body that is read in large pieces; the web server's own lines take a copy of the rest."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._until = time.monotonic() + MOST_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if time.monotonic() > self._until:
            raise TimeoutError("it took too long")
        piece = self._read(len(into))
        into[: len(piece)] = piece
        return len(piece)


class _OverLimit(Exception):
    """More came than one stream may have."""


class _Stream:
    """One stream: what was counted of it, and why it stopped if it did."""

    def __init__(self, partner: Partner, readline: Callable[[int], bytes], size: int) -> None:
        self._partner = partner
        self._body_readline = readline
        # What the body was said to hold; zero when it comes in chunks.
        self._size = size
        self._read = 0
        self._counts = Counts()
        self._lines = 0
        self._problem = ""

    def answers(self) -> Iterator[bytes]:
        """Yield the answers of each chunk when it is stored, and the summary at the end."""
        try:
            for chunk in self._chunks():
                results = intake.take_in(
                    partner=self._partner, rows=chunk, received_at=timezone.now()
                )
                yield self._told(results)
        except Exception:
            log.exception("a stream of %s stopped after line %d", self._partner, self._lines)
            self._problem = "There is a fault on our side. Send the rest again in a while."
        summary = {
            "lines": self._lines,
            **asdict(self._counts),
            "is_complete": not self._problem,
            "problem": self._problem,
        }
        yield json.dumps({"summary": summary}).encode() + b"\n"

    def _told(self, results: list[RowResult]) -> bytes:
        self._counts.add(results)
        first = self._lines + 1
        self._lines += len(results)
        return b"".join(
            json.dumps(told).encode() + b"\n"
            for number, result in enumerate(results, start=first)
            for told in [{"line": number, **result._asdict(), "status": outcome(result)}]
        )

    def _chunks(self) -> Iterator[list[Any]]:
        """Yield what the lines say, some at a time; a line that cannot be read is its result."""
        chunk: list[Any] = []
        begun = 0
        for end, line in self._incoming():
            try:
                chunk.append(usage_lines.read_line(line))
            except UnusableEvent as error:
                chunk.append(intake.unreadable(error))
            if len(chunk) >= ROWS_A_CHUNK or end - begun > BYTES_A_CHUNK:
                yield chunk
                chunk, begun = [], end
        if chunk:
            yield chunk

    def _incoming(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the lines until the body, the limit or the caller's patience ends."""
        try:
            yield from usage_lines.lines(self._readline)
        except _OverLimit:
            most = in_megabytes(settings.USAGE_STREAM_MOST_BYTES)
            self._problem = (
                f"Up to {most} can be sent in one stream. The lines that have no answer were not "
                "read: send them in another one."
            )
            return
        except Exception as broken:
            log.info("the body of a stream of %s broke off: %s", self._partner, broken)
            self._problem = _BROKE_OFF
        if self._read < self._size:
            self._problem = _BROKE_OFF

    def _readline(self, most: int) -> bytes:
        line = self._body_readline(most)
        self._read += len(line)
        # Here and not line by line, because empty lines and an endless one are never handed on.
        if self._read > settings.USAGE_STREAM_MOST_BYTES:
            raise _OverLimit
        return line


def _patiently(answers: Iterator[bytes], connection: socket.socket) -> Iterator[bytes]:
    """Yield answers while the caller takes them in; keep them while it does not, up to a limit.

    The caller reads at the latest when it has sent all, so then they are written whatever it does.

    Raises:
        TimeoutError: the caller still reads long after its body should have ended.
    """
    until = time.monotonic() + 2 * MOST_SECONDS
    with TemporaryFile() as kept:
        taken = 0
        for written in answers:
            size = kept.seek(0, 2) + kept.write(written)
            while size > MOST_KEPT or _takes_more(connection):
                piece = _piece(kept, taken, until)
                if not piece:
                    kept.truncate(0)
                    taken = 0
                    break
                taken += len(piece)
                yield piece
        while piece := _piece(kept, taken, until):
            taken += len(piece)
            yield piece


def _piece(kept: IO[bytes], start: int, until: float) -> bytes:
    if time.monotonic() > until:
        raise TimeoutError("the answers of a stream were not read in time")
    kept.seek(start)
    return kept.read(_PIECE)


def _takes_more(connection: socket.socket) -> bool:
    return bool(select.select((), (connection,), (), 0)[1])
