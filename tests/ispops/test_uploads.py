"""Files that people send: every packing and encoding, and everything that is none."""

import gzip
import io
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
from django.core.exceptions import RequestDataTooBig
from hypothesis import given
from hypothesis import strategies as st

from ispops import uploads
from ispops.uploads import Limits, Table, UnusableFile

LIMITS = Limits(sent_bytes=1_000_000, unpacked_bytes=3_000_000, rows=1_000)
PLAIN = b'id,Address\r\n1,"1 Oak Street\r\nBarre, VT"\r\n\r\n2,caf\xc3\xa9\r\n'
ROWS = [["1", "1 Oak Street\nBarre, VT"], ["2", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]]


def read(content: bytes, limits: Limits = LIMITS) -> tuple[Table, int]:
    return uploads.receive(io.BytesIO(content), limits)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return kept.getvalue()


def gzipped(content: bytes, level: int = 9) -> bytes:
    """Without the time of day, which would make the name of a test differ in every process."""
    return gzip.compress(content, level, mtime=0)


def as_utf_16(content: bytes) -> bytes:
    return content.decode().encode("utf-16")


@pytest.mark.parametrize(
    "packed",
    [
        lambda content: content,
        gzipped,
        lambda content: zipped({"list.csv": content}),
        lambda content: zipped({"__MACOSX/._list.csv": b"x", "a/": b"", "a/list.csv": content}),
        lambda content: zipped({"list.csv": content}, zipfile.ZIP_STORED),
        lambda content: b"\xef\xbb\xbf" + content,
        as_utf_16,
        lambda content: gzipped(as_utf_16(content)),
        lambda content: content.decode().encode("utf-16-be").join([b"\xfe\xff", b""]),
        lambda content: content.replace(b"\r\n", b"\r"),
        lambda content: content.replace(b"\r\n", b"\n").rstrip(),
    ],
)
def test_one_table_comes_out_however_it_was_sent(packed: Callable[[bytes], bytes]) -> None:
    table, count = read(packed(PLAIN))
    assert (table.columns, count) == (["id", "Address"], 2)
    assert [row for _, row in table.rows()] == ROWS
    assert table.find("address") == 1
    assert table.find("zip", "id") == 0
    assert table.find("city") is None


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0\r", codec="utf-8")), min_size=2,
                 max_size=4),
        min_size=1, max_size=20,
    ),
    st.data(),
)  # fmt: skip
def test_reading_goes_on_at_the_byte_where_it_stopped(
    rows: list[list[str]], data: st.DataObject
) -> None:
    table, _ = read("\n".join(["one,two", *(_written(row) for row in rows)]).encode())
    whole = list(table.rows())
    assert [row for _, row in whole] == rows
    stop = data.draw(st.integers(0, len(whole) - 1))
    assert list(table.rows(whole[stop][0])) == whole[stop + 1 :]


def _written(row: list[str]) -> str:
    return ",".join('"' + value.replace('"', '""') + '"' for value in row)


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"", "The file is empty", None),
        (b"\n\n", "The file is empty", None),
        (b"id,address\n", "no rows", None),
        (gzipped(b""), "The file is empty", None),
        (b"id,address\n1,\"1 Oak\n2,2 Oak\n", "row that begins in line 2", 2),
        (b"id,address\n1,1 Oak\n\n2,\"2\" Oak\n", "row that begins in line 4", 4),
        (b"id,address\n1,1 Oak\n2,caf\xe9\n", "Line 3 is not in UTF-8", 3),
        (b"id,address\n1,1 Oak\n2,caf\xc3", "Line 3 is not in UTF-8", 3),
        (b"id,address\n1,\x002 Oak\n", "Line 2 has a NUL", 2),
        ("id,address\n1,2 Oak\n".encode("utf-16-le"), "Line 1 has a NUL", 1),
        (b"\xff\xfei\x00\n\x00\x00\xd8", "Line 2 is not in UTF-8", 2),
        (b"id,address\n" + b"," * 999_000 + b"\n", "Line 2 is longer than 65,536", 2),
        (b"id\n1\n" + b'"\n",' * 30_000, "row that begins in line 3 is longer than 65,536", 3),
        (b"," * 1_000 + b"\n1\n", "1,001 columns; up to 100", 1),
        (b"id,Id\n1,2\n", "the column “id” twice", 1),
        (b"id\n" + b"1\n" * 1_001, "more than 1,000 rows", None),
        (b"id\n" + b"1\n" * 500_000, "is larger than 1 MB", None),
        (gzipped(b"id\n" + b"1\n" * 2_000_000), "unpacks to more than 3 MB", None),
        (zipped({"a.csv": b"id\n" + bytes(2_000_000)}), "Line 2 has a NUL", 2),
        (gzipped(PLAIN)[:-9], "damaged or cut off", None),
        (gzipped(PLAIN)[:20] + b"xx" + gzipped(PLAIN)[22:], "damaged", None),
        (zipped({"a.csv": PLAIN})[:-30], "damaged or cut off", None),
        (b"PK\x03\x04nothing", "damaged or cut off", None),
        (zipped({}), "holds 0 files", None),
        (zipped({"a.csv": PLAIN, "b.csv": PLAIN}), "holds 2 files", None),
        (zipped({"[Content_Types].xml": b"", "xl/a.xml": b""}), "This is a workbook", None),
        (zipped({"a.csv": PLAIN}, zipfile.ZIP_LZMA), "in an unusual way", None),
        (zipped({"a.zip": zipped({"a.csv": PLAIN})}), "Line 1 ", 1),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused_with_the_reason(
    content: bytes, words: str, line: int | None
) -> None:
    with pytest.raises(UnusableFile, match=words) as refusal:
        read(content)
    assert refusal.value.field == "file"
    assert refusal.value.facts.get("line") == line


def test_zip_with_a_password_is_refused() -> None:
    content = bytearray(zipped({"a.csv": PLAIN}))
    content[6] |= 1  # The flag, in the file's own header and in the directory at the end.
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnusableFile, match="password"):
        read(bytes(content))


@pytest.mark.parametrize(
    ("place", "bytes_there"),
    [
        (6, b"\xff"),  # A version that is not known.
        (8, b"\x20"),  # A patch of another file.
        (42, b"\xff\xff\xff\x7f"),  # The file is behind the end.
        (46, b"\xff"),  # A name that is not in UTF-8, which it says it is.
        (-10, b"\xff\xff\xff"),  # More of a directory than there is.
        (-6, b"\xff\xff"),  # The directory is elsewhere, so all begins before the beginning.
    ],
)
def test_zip_with_a_made_up_directory_is_refused(place: int, bytes_there: bytes) -> None:
    content = bytearray(zipped({"\N{LATIN SMALL LETTER E WITH ACUTE}.csv": PLAIN}))
    begin = content.index(b"PK\x01\x02") + place if place > 0 else len(content) + place
    content[begin : begin + len(bytes_there)] = bytes_there
    with pytest.raises(UnusableFile, match="damaged or cut off"):
        read(bytes(content))


def test_bomb_takes_no_memory() -> None:
    """A thousandth of a gigabyte is sent; it would unpack to one."""
    piece = gzipped(b"x" * 10_000_000, 9)
    bomb = io.BytesIO(piece * 60)
    tracemalloc.start()
    with pytest.raises(UnusableFile, match="unpacks to more than 3 MB"):
        uploads.receive(bomb, LIMITS)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_what_unpacks_to_far_more_than_lists_do_is_refused() -> None:
    content = gzipped(b"id\n" + b"1\n" * 10_000_000)
    limits = Limits(sent_bytes=10**9, unpacked_bytes=10**9, rows=10**9)
    with pytest.raises(UnusableFile, match="unpacks to more than 10 MB"):
        read(content, limits)


@pytest.mark.parametrize(("header", "first_line"), [(b"", 1), (b"Id, NAME\n", 2)])
def test_form_may_come_without_a_header(header: bytes, first_line: int) -> None:
    kept = io.BytesIO(header + b'7,"a\nb"\n7,7\n')
    table = Table(kept, LIMITS, ("id", "name"))
    found = [(table.line, row) for _, row in table.rows()]
    assert found == [(first_line, ["7", "a\nb"]), (first_line + 2, ["7", "7"])]
    assert [name.lower() for name in table.columns] == ["id", "name"]
    assert table.check() == 2


def test_refused_file_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    made = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(uploads.tempfile, "TemporaryFile", lambda: made.append(real()) or made[0])
    with pytest.raises(UnusableFile):
        read(b"id\n")
    assert made[0].closed


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1-555-0100", "'+1-555-0100"),
        ("-A1", "'-A1"),
        ("\t=1", "'\t=1"),
        ("-12.5", "-12.5"),
        ("+7", "+7"),
        ("'=1+1", "'=1+1"),
        ("-", "'-"),
        ("1 Oak Street", "1 Oak Street"),
        ("", ""),
    ],
)
def test_no_value_is_a_formula(value: str, written: str) -> None:
    assert uploads.harmless(value) == written
    assert uploads.harmless_row([value, written]) == [written, written]


def test_form_that_is_too_large_is_refused_before_it_is_read(settings: object) -> None:
    settings.UPLOAD_MOST_BYTES = 1_000  # type: ignore[attr-defined]
    handler = uploads.SizeLimit()
    handler.handle_raw_input(io.BytesIO(), {}, 1_000, "x")
    with pytest.raises(RequestDataTooBig, match="Up to 1 kB can be sent at once"):
        handler.handle_raw_input(io.BytesIO(), {}, 1_001, "x")


@pytest.mark.parametrize(
    ("size", "words"),
    [(1, "1 kB"), (12_000, "12 kB"), (1_500_000, "1.5 MB"), (2 * 10**8, "200 MB")],
)
def test_sizes_are_written_for_people(size: int, words: str) -> None:
    assert uploads.in_megabytes(size) == words
