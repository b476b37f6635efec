"""Documents that are made to fill memory are refused before they do, and real ones are read."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from rating import ipdr

COLUMNS = ["CMmacAddress", "RecType"]


def read(document: bytes) -> list[list[str]]:
    rows: list[list[str]] = []
    assert ipdr.read_records(io.BytesIO(document), COLUMNS, rows.append) == len(rows)
    return rows


def test_records_are_found_whatever_is_around_and_inside() -> None:
    document = (
        b'<IPDRDoc xmlns:x="urn:x"><IPDRDoc.End/>text<group><x:IPDR>\n<RecType> 1\n 2 </RecType>'
        b'<other><RecType>9</RecType></other><x:CMmacAddress a="">A&amp;B</x:CMmacAddress></x:IPDR>'
        b"</group><IPDR><RecType>" + b" " * 300 + b"y" * 300 + b"</RecType></IPDR><IPDR/></IPDRDoc>"
    )
    assert read(document) == [["A&B", "1 2"], ["", "y" * 200], ["", ""]]


@pytest.mark.parametrize(
    ("begin", "part", "words"),
    [
        (b"<a>", b"<b>x</b>", ""),
        (b"<a><IPDR>", b"<b>x</b>", ""),
        (b"<a><IPDR><RecType>", b"x" * 1_000, ""),
        (b"<a>", b"<!-- comment -->", ""),
        (b"<a ", b"b" * 10_000, "longer than 1,000,000 bytes"),
        (b"<a><!-- ", b"b" * 10_000, "longer than 1,000,000 bytes"),
        (b"", b"<a>", "50 deep"),
        (b"<a>", b"<b%d/>", "1,000 names"),
        (b"<a>", b"<b c%d='1'/>", "1,000 names"),
        (b"<a>", b"<b xmlns:p%d='x'/>", "1,000 names"),
    ],
)  # fmt: skip
def test_memory_does_not_grow_with_a_document(begin: bytes, part: bytes, words: str) -> None:
    """Each would be read for ever; one that is not refused is only cut off."""
    document = io.BytesIO(begin + _repeated(part, 6_000_000 if len(part) > 999 else 1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises((ipdr.UnusableDocument, SyntaxError), match=words or "no element found"):
            ipdr.read_records(document, COLUMNS, lambda row: None)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 5_000_000


def _repeated(part: bytes, size: int) -> bytes:
    count = size // len(part)
    if b"%d" not in part:
        return part * count
    return b"".join(part % number for number in range(count))
