"""Callers of a stream that would keep a web thread, or fill the disk, for as long as they like."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from rating import usage_stream
from tests.rating.ground import Shop


@pytest.mark.django_db
@pytest.mark.parametrize("endless", [b"\n", b"x", b" \n"], ids=["empty", "one", "blank"])
def test_a_stream_without_lines_ends_at_the_limit(
    shop: Shop, settings: LazySettings, endless: bytes
) -> None:
    settings.USAGE_STREAM_MOST_BYTES = 300_000
    body = io.BytesIO(endless * 600_000)
    stream = usage_stream._Stream(shop.films, body.readline, 0)
    [last] = [json.loads(row) for row in b"".join(stream.answers()).splitlines()]
    assert "Up to 300 kB" in last["summary"]["problem"]
    assert body.tell() < 400_000


def test_a_caller_that_does_not_read_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers wait up to a limit; once it reads, it gets all of them, in their order."""
    monkeypatch.setattr(usage_stream, "MOST_KEPT", 50_000)
    written = [bytes([65 + number]) * 10_000 for number in range(20)]
    asked: list[bytes] = []

    def answers() -> Iterator[bytes]:
        for answer in written:
            asked.append(answer)
            yield answer

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while ours.send(b"x" * 65_536):
                pass
        told = usage_stream._patiently(answers(), ours)
        pieces = [next(told)]
        assert len(asked) == 6
        pieces += told
    assert b"".join(pieces) == b"".join(written)


def test_a_caller_that_reads_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_stream, "MOST_SECONDS", -1.0)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        next(usage_stream._patiently(iter([b"answer"]), ours))
