"""A provider that is asked by files: what is written, taken, refused, and never followed."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ispops.errors import PermanentFault
from qualification import asking, collecting, inquiries
from qualification.models import (
    ProviderAnswer,
    ProviderConnection,
    ProviderInquiry,
    ServiceQualification,
)
from qualification.providers import files
from qualification.providers.files import FileProvider
from tests.offnet import OffNet, ask, connect, eligible, later, now
from tests.small_isp import LAUNCH, make_small_isp

pytestmark = pytest.mark.django_db
HEADER = (
    "inquiry,street,unit,postal_code,serviceable,technology,max_download_kbps,max_upload_kbps,"
    "reason"
)
YES = "{inquiry},12 Knox St,,06040,yes,Cable,1000000,35000,"


@pytest.fixture
def off(settings: Settings, tmp_path: Path) -> OffNet:
    settings.PROVIDER_FILES_DIR = tmp_path / "providers"
    return connect(
        make_small_isp(), "", at=LAUNCH, adapter="files", folder="tidewater",
        give_up_after_seconds=3_600,
    )  # fmt: skip


@pytest.fixture
def folder(off: OffNet, settings: Settings) -> Path:
    return Path(settings.PROVIDER_FILES_DIR) / "tidewater"


@pytest.fixture
def asked(off: OffNet) -> ServiceQualification:
    """An answer that waits for the provider, whose question has been written."""
    answer = ask(off.knox, at=now())
    assert asking.ask_next(at=now())
    return answer


def put(folder: Path, *rows: str, name: str = "answers.csv", header: str = HEADER) -> Path:
    """Lay an answer into the folder, as if it had been there for a while."""
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    path = folder / "answers" / name
    path.write_text("\n".join([header, *rows]) + "\n")
    age(path)
    return path


def age(path: Path) -> None:
    before = time.time() - 60
    os.utime(path, (before, before), follow_symlinks=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def inquiry_of(answer: ServiceQualification) -> ProviderInquiry:
    return answer.inquiries.get()


def yes(answer: ServiceQualification) -> str:
    return YES.format(inquiry=inquiry_of(answer).public_id)


def reasons(folder: Path, name: str = "answers") -> list[dict[str, str]]:
    with (folder / "rejected" / f"{name}.reasons.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_question_is_one_file_that_is_written_once(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    inquiry = inquiry_of(asked)
    [name] = names(folder / "requests")
    assert name == f"{inquiry.public_id}.csv"
    with (folder / "requests" / name).open() as file:
        [row] = csv.DictReader(file)
    assert row == {
        "inquiry": inquiry.public_id, "location_id": "", "street": "12 Knox Street", "unit": "",
        "city": "Manchester", "region": "CT", "postal_code": "06040", "latitude": "41.774166",
        "longitude": "-72.527697", "subscriber_kind": "consumer",
    }  # fmt: skip
    assert inquiry.reference == inquiry.public_id
    (folder / "requests" / name).unlink()  # The provider has taken it away.
    assert asking.ask(inquiry_id=inquiry.pk, at=later(now(), 60))
    assert names(folder / "requests") == []
    assert inquiry_of(asked).state == "pending"


def test_an_answer_is_taken_and_its_file_put_away(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    put(folder, yes(asked))
    assert collecting.collect(at=now()) == 1
    asked.refresh_from_db()
    assert (inquiry_of(asked).state, asked.state) == ("answered", "qualified")
    assert {"cable-1000", "cable-200"} <= eligible(asked)
    assert [names(folder / part) for part in ("answers", "done", "rejected")] == [
        [], ["answers.csv"], [],
    ]  # fmt: skip
    assert collecting.collect(at=now()) == 0


def test_several_rows_are_several_lines_and_no_is_an_answer_too(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    other = ask(off.dry, at=now())
    key = inquiry_of(asked).public_id
    put(
        folder,
        yes(asked),
        f"{key},12 Knox Street,,06040,yes,50,2000000,2000000,",
        f"{inquiry_of(other).public_id},1 Dry Ln,,06040-1234,no,,,,Rocks in the way",
    )
    collecting.collect(at=now())
    told = inquiry_of(asked).answer
    assert told is not None
    assert [line["technology"] for line in told.lines] == [40, 50]
    refused = inquiry_of(other).answer
    assert refused is not None
    assert (refused.serviceable, refused.reason) == (False, "Rocks in the way")


def test_a_file_that_is_read_again_changes_nothing(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    """As when the worker died between taking the rows and putting the file away."""
    row = yes(asked)
    for _ in range(2):
        put(folder, row)
        collecting.collect(at=now())
    assert ProviderAnswer.objects.count() == 1
    assert len(names(folder / "done")) == 2
    assert names(folder / "rejected") == []


def test_an_answer_that_comes_too_late_serves_the_next_who_asks(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    inquiry = inquiry_of(asked)
    assert asking.ask(inquiry_id=inquiry.pk, at=later(now(), 3_700))
    assert inquiry_of(asked).state == "given_up"
    put(folder, yes(asked))
    for _ in range(2):
        collecting.collect(at=now())
    asked.refresh_from_db()
    assert "cable-1000" not in eligible(asked)
    assert "cable-1000" in eligible(ask(off.knox, at=now()))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{key},14 Knox St,,06040,yes,40,1000,1000,", "another address: 14 Knox St 06040"),
        ("{key},12 Knox St,#2,06040,yes,40,1000,1000,", "another address"),
        ("{key},12 Knox St,,06041,yes,40,1000,1000,", "another address"),
        ("{key},,,06040,yes,40,1000,1000,", "not clear which address"),
        ("{key},12 Knox St,,06040,maybe,40,1000,1000,", "serviceable is neither yes nor no"),
        ("{key},12 Knox St,,06040,yes,99,1000,1000,", "technology 99 is not known"),
        ("{key},12 Knox St,,06040,yes,40,fast,1000,", "max_download_kbps is no whole number"),
        ("{key},12 Knox St,,06040,yes,40,0,1000,", "max_download_kbps is 0"),
        ("{key},12 Knox St,,06040,yes,40,1000", "7 cells, the header 9"),
        ("inq_0,12 Knox St,,06040,yes,40,1000,1000,", "none of the questions"),
        (",12 Knox St,,06040,yes,40,1000,1000,", "none of the questions"),
        ("=cmd(),12 Knox St,,06040,yes,40,1000,1000,", "none of the questions"),
    ],
)
def test_a_row_that_cannot_be_used_is_listed_with_its_reason_and_the_question_stays_open(
    off: OffNet, folder: Path, asked: ServiceQualification, row: str, reason: str
) -> None:
    put(folder, row.format(key=inquiry_of(asked).public_id))
    assert collecting.collect(at=now()) == 1
    [told] = reasons(folder)
    assert reason in told["reason"]
    assert told["row"] == "2"
    assert not told["inquiry"].startswith("=")
    assert names(folder / "rejected") == ["answers.csv", "answers.reasons.csv"]
    assert (inquiry_of(asked).state, names(folder / "answers")) == ("pending", [])
    assert not ProviderAnswer.objects.exists()


def test_good_rows_of_a_file_are_taken_and_the_others_listed(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    put(folder, "inq_0,1 Nowhere,,06040,no,,,,", yes(asked))
    collecting.collect(at=now())
    assert inquiry_of(asked).state == "answered"
    assert [row["row"] for row in reasons(folder)] == ["2"]
    assert names(folder / "done") == ["answers.csv"]


def test_rows_that_contradict_each_other_are_refused(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    key = inquiry_of(asked).public_id
    put(folder, yes(asked), f"{key},12 Knox St,,06040,no,,,,")
    collecting.collect(at=now())
    assert [row["row"] for row in reasons(folder)] == ["2", "3"]
    assert inquiry_of(asked).state == "pending"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header lacks inquiry"),
        (b"a,b\n1,2\n", "header lacks inquiry, street, postal_code, serviceable"),
        (b"inquiry,street,postal_code,serviceable,street\n", "names a column twice"),
        (b"\xff\xfe\x00\x01", "no CSV in UTF-8"),
        (b'inquiry,street,postal_code,serviceable\n"unfinished', "no CSV"),
        (b"inquiry,street,postal_code,serviceable\na\x00b,x,y,no\n", "none of the questions"),
        (b"inquiry," * 1_000_000, "larger than 5,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_put_aside_with_the_reason(
    off: OffNet, folder: Path, asked: ServiceQualification, content: bytes, reason: str
) -> None:
    (folder / "answers").mkdir(exist_ok=True)
    path = folder / "answers" / "answers.csv"
    path.write_bytes(content)
    age(path)
    collecting.collect(at=now())
    assert reason in reasons(folder)[0]["reason"]
    assert names(folder / "answers") == []
    assert inquiry_of(asked).state == "pending"


def test_a_file_with_too_many_rows_is_refused_as_a_whole(
    off: OffNet, folder: Path, asked: ServiceQualification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_ROWS", 2)
    put(folder, yes(asked), "a,,,,,,,,", "b,,,,,,,,")
    collecting.collect(at=now())
    assert "more than 2 rows" in reasons(folder)[0]["reason"]
    assert inquiry_of(asked).state == "pending"
    row = ProviderConnection.objects.get()
    assert row.last_error == "answers.csv: The file has more than 2 rows."


def test_links_folders_and_half_written_files_are_left_or_refused(
    off: OffNet, folder: Path, asked: ServiceQualification, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(f"{HEADER}\n{yes(asked)}\n")
    answers = folder / "answers"
    answers.mkdir(exist_ok=True)
    (answers / "link.csv").symlink_to(secret)
    age(answers / "link.csv")
    (answers / "folder.csv").mkdir()
    age(answers / "folder.csv")
    os.mkfifo(answers / "pipe.csv")
    age(answers / "pipe.csv")
    (answers / ".hidden.csv").write_text("x")
    (answers / "upload.csv.part").write_text("x")
    (answers / "young.csv").write_text(HEADER)
    collecting.collect(at=now())
    assert names(answers) == [".hidden.csv", "upload.csv.part", "young.csv"]
    for name in ("link", "folder", "pipe"):
        assert reasons(folder, name)[0]["reason"] == "It is no plain file."
    assert secret.exists()
    assert inquiry_of(asked).state == "pending"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "x" * 101, "-x"])
def test_a_folder_is_one_plain_name_below_ours(name: str) -> None:
    with pytest.raises(PermanentFault):
        FileProvider(folder=name)


def test_a_folder_that_is_a_link_is_not_followed(
    off: OffNet, settings: Settings, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = Path(settings.PROVIDER_FILES_DIR)
    root.mkdir(parents=True)
    (root / "tidewater").symlink_to(elsewhere)
    answer = ask(off.knox, at=now())
    assert asking.ask_next(at=now())
    assert inquiry_of(answer).state == "given_up"
    assert list(elsewhere.iterdir()) == []
    assert collecting.collect(at=now()) == 0
    assert "link to somewhere else" in ProviderConnection.objects.get().last_error


def test_a_disk_that_is_full_is_tried_again(
    off: OffNet, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    answer = ask(off.knox, at=now())
    assert asking.ask_next(at=now())
    inquiry = inquiry_of(answer)
    assert (inquiry.state, inquiry.last_error) == (
        "pending", "Its folder cannot be used (No space left on device).",
    )  # fmt: skip
    monkeypatch.undo()
    assert asking.ask(inquiry_id=inquiry.pk, at=later(now(), 30))
    assert names(folder / "requests") == [f"{inquiry.public_id}.csv"]


def test_nothing_is_left_half_written(
    off: OffNet, folder: Path, asked: ServiceQualification
) -> None:
    assert not [name for name in names(folder / "requests") if name.startswith(".")]
    assert inquiries.fresh_answer(off.connection, off.knox, now()) is None


def test_link_in_the_place_of_an_unfinished_file_is_not_followed(
    off: OffNet, folder: Path, tmp_path: Path
) -> None:
    """The provider knows the name of the reasons, and can try all numbers of processes."""
    other = tmp_path / "ours.txt"
    other.write_text("precious")
    put(folder, "nonsense", name="x.csv", header="no header")
    (folder / "rejected").mkdir()
    (folder / "rejected" / f".x.reasons.csv.{os.getpid()}").symlink_to(other)
    assert collecting.collect(at=now()) == 1
    assert other.read_text() == "precious"
    assert "header lacks" in (folder / "rejected" / "x.reasons.csv").read_text()


def test_name_in_no_encoding_does_not_stop_the_files_behind_it(
    off: OffNet, asked: ServiceQualification, folder: Path
) -> None:
    put(folder, "nonsense", name=os.fsdecode(b"\xff\n.csv"), header="no header")
    inquiry = asked.inquiries.get()
    put(folder, YES.format(inquiry=inquiry.public_id), name="z.csv")
    assert collecting.collect(at=now()) == 2
    inquiry.refresh_from_db()
    assert inquiry.state == "answered"
    assert not list((folder / "answers").iterdir())
