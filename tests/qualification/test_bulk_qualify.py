"""Files of addresses: what comes out, and that no row is lost or done twice whatever happens."""

import csv
import gzip
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from ispops import filework
from ispops.errors import IllegalTransition, InvalidInput, NotFound
from ispops.parties.models import AuditEntry, User
from ispops.uploads import UnusableFile
from qualification import bulk_qualify, estimates, queries, together
from qualification.bulk_qualify import TooManyOpenFiles
from qualification.models import BulkQualification, Premises, ServiceQualification
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db
AT = LAUNCH + timedelta(days=10)
LATER = AT + timedelta(minutes=10)
OAK = "1 Oak Street, Barre, VT 05641"


@pytest.fixture(autouse=True)
def _own_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture
def staff(isp: SmallIsp) -> User:
    return factories.staff("CSR", at=AT)


def submit(
    who: User, content: str | bytes, *, asker: str = "user_1", **facts: Any
) -> BulkQualification:
    body = content.encode() if isinstance(content, str) else content
    return bulk_qualify.submit_file(
        upload=io.BytesIO(body), file_name="list.csv", asker=asker, created_by=who, at=AT, **facts
    )


def work(*, at: datetime = AT) -> None:
    while bulk_qualify.qualify_next(at=at):
        pass


def answers(bulk: BulkQualification) -> list[dict[str, str]]:
    bulk.refresh_from_db()
    text = b"".join(queries.answers_of(bulk)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def files_in(folder: str) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def test_every_row_comes_out_in_its_place_with_its_answer(isp: SmallIsp, staff: User) -> None:
    elm = isp.elm_1
    bulk = submit(
        staff,
        "Id,Address,Street,Unit,City,State,Zip,Location_ID,Premises ID,Note\n"
        f'a,"{OAK}",,,,,,,,=1+1\n'
        "b,,5 Oak Street,2,Barre,VT,5641,,,\n"
        f"c,,,,,,,,{elm.public_id},\n"
        "d,\"7 Oak Street, Barre, VT 05641\",,,,,,,,\n"
        "e,\"5 Oak Street, Barre, VT 05641\",,,,,,,,\n"
        "f,\"1 Alpine Road, Stowe, VT 05672\",,,,,,,,\n"
        "g,\"9 Nowhere Road, Reno, NV 89501\",,,,,,,,\n"
        "h,Oak Street,,,,,,,,\n"
        "i,,,,,,,,prm_0,\n"
        "j,,,,,,,12345,,\n"
        "k\n"
        "l,,,,,,,,,,,,\n",
    )  # fmt: skip
    assert (bulk.state, bulk.rows_total, bulk.rows_done) == ("queued", 12, 0)
    work()
    rows = {row["Id"]: row for row in answers(bulk)}
    assert list(rows) == list("abcdefghijkl")
    assert (bulk.state, bulk.rows_done, bulk.finished_at is None) == ("completed", 12, False)
    assert bulk.outcomes == {
        "qualified": 4, "choose": 1, "not_qualified": 1, "out_of_footprint": 1, "unusable": 5,
    }  # fmt: skip
    oak = rows["a"]
    assert {name: oak[name] for name in ("Address", "Note")} == {"Address": OAK, "Note": "'=1+1"}
    assert {name: value for name, value in oak.items() if name.startswith("result_")} == {
        "result_state": "qualified",
        "result_confidence": "green",
        "result_address": OAK,
        "result_premises_id": isp.oak_1.public_id,
        "result_location_id": "",
        "result_candidates": "1",
        "result_remark": "",
        "result_provider": "Fast Fibre",
        "result_technology": "Fiber",
        "result_download_kbps": "1000000",
        "result_upload_kbps": "1000000",
        "result_cheapest_plan": "dsl-6",
        "result_price": "30.00",
        "result_currency": "USD",
        "result_plans": "dsl-25 dsl-6 fibre-500 fibre-and-films",
        "result_confirm_with": "",
        "result_refused_plan": "fibre-office",
        "result_reason_code": "subscriber_kind",
        "result_reason": "It is for businesses only.",
        "result_error_field": "",
        "result_error": "",
    }
    assert rows["b"]["result_address"] == "5 Oak Street #2, Barre, VT 05641"
    assert rows["c"]["result_address"] == str(elm)
    assert rows["c"]["result_plans"] == "dsl-6"
    assert rows["c"]["result_reason_code"] == "loop_too_long"
    new = rows["d"]
    assert (new["result_confidence"], new["result_premises_id"]) == ("yellow", "")
    assert new["result_address"] == "7 Oak St, Barre, VT 05641"
    assert "not have this address on our list" in new["result_remark"]
    assert rows["e"]["result_candidates"] == "2"
    assert rows["f"]["result_reason_code"] == "no_coverage"
    assert rows["g"]["result_candidates"] == "0"
    errors = {key: (rows[key]["result_error_field"], rows[key]["result_error"]) for key in "hijkl"}
    assert errors == {
        "h": ("address", errors["h"][1]),
        "i": ("premises_id", "There is no place with this id."),
        "j": ("location_id", "We know no place with this location id."),
        "k": ("row", "The row names no place."),
        "l": ("row", "The row has 13 values for 10 columns."),
    }


def test_a_file_writes_nothing_but_its_own_row(isp: SmallIsp, staff: User) -> None:
    places = Premises.objects.count()
    submit(staff, 'address\n"7 Oak Street, Barre, VT 05641"\n')
    work()
    assert Premises.objects.count() == places
    assert not ServiceQualification.objects.exists()


def test_answers_can_be_sent_as_questions_again(isp: SmallIsp, staff: User) -> None:
    first = submit(staff, f'id,address\n=7,"{OAK}"\n')
    work()
    text = b"".join(queries.answers_of(BulkQualification.objects.get(pk=first.pk)))
    second = submit(staff, text)
    work()
    assert answers(second) == answers(first)
    assert answers(second)[0]["id"] == "'=7"


def test_business_gets_the_offers_for_businesses(isp: SmallIsp, staff: User) -> None:
    bulk = submit(staff, f'address\n"{OAK}"\n', subscriber_kind="business")
    work()
    assert "fibre-office" in answers(bulk)[0]["result_plans"].split()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"name,phone\nAda,1\n", "names no column to find a place by: address, or street"),
        (b"city,state,zip\nBarre,VT,05641\n", "names no column"),
        (b"address\n", "no rows"),
        (b'address\n"1 Oak\n', "row that begins in line 2"),
        (b"address\ncaf\xe9\n", "Line 2 is not in UTF-8"),
        (b"address\n\0\n", "NUL"),
        (b"address\n" + b"," * 1_000_000, "Line 2 is longer"),
        (b"address\n" + b"x\n" * 11, "more than 10 rows"),
        (gzip.compress(b"x" * 20_000_000, mtime=0), "unpacks to more than"),
    ],
)
def test_unusable_file_is_refused_whole_and_nothing_is_kept(
    isp: SmallIsp, staff: User, settings: LazySettings, content: bytes, words: str
) -> None:
    settings.BULK_MOST_ROWS = 10
    settings.UNPACKED_MOST_BYTES = 10_000_000
    with pytest.raises(UnusableFile, match=words) as refusal:
        submit(staff, content)
    assert refusal.value.field == "file"
    assert not BulkQualification.objects.exists()
    assert files_in(settings.MEDIA_ROOT) == []


def test_unknown_kind_of_subscriber_is_refused(staff: User) -> None:
    with pytest.raises(InvalidInput) as refusal:
        submit(staff, f'address\n"{OAK}"\n', subscriber_kind="robot")
    assert refusal.value.field == "subscriber_kind"


def test_an_asker_has_so_many_open_files(
    isp: SmallIsp, staff: User, settings: LazySettings
) -> None:
    settings.BULK_MOST_OPEN = 2
    first, _ = (submit(staff, f'address\n"{OAK}"\n') for _ in range(2))
    with pytest.raises(TooManyOpenFiles, match="2 of your files"):
        submit(staff, f'address\n"{OAK}"\n')
    assert len(files_in(settings.MEDIA_ROOT)) == 2
    submit(staff, f'address\n"{OAK}"\n', asker="user_2")
    bulk_qualify.cancel(bulk=first, actor=staff, at=AT)
    submit(staff, f'address\n"{OAK}"\n')


@pytest.fixture
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_qualify, "MOST_ROWS_A_BATCH", 2)


NUMBERED = "id,address\n" + "".join(f'{number},"{OAK}"\n' for number in range(9))


@pytest.mark.usefixtures("batches_of_two")
def test_a_turn_ends_and_the_next_one_goes_on(
    isp: SmallIsp, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filework, "TURN_SECONDS", 0)
    bulk = submit(staff, NUMBERED)
    done = []
    at = AT
    while bulk_qualify.qualify_next(at=at):
        at += timedelta(seconds=10)
        bulk.refresh_from_db()
        done.append((bulk.state, bulk.rows_done, len(answers(bulk)), bulk.attempts))
    assert done == [
        ("running", 2, 2, 0), ("running", 4, 4, 0), ("running", 6, 6, 0), ("running", 8, 8, 0),
        ("running", 9, 9, 0), ("completed", 9, 9, 1),
    ]  # fmt: skip
    assert [row["id"] for row in answers(bulk)] == [str(number) for number in range(9)]


@pytest.fixture
def when_answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Any], None]:
    """Do something before the answers of batch so-and-so are given."""
    real, calls, plans = estimates.Estimates.answer, [0], {}

    def answer(self: Any, questions: Any, at: datetime) -> Any:
        calls[0] += 1
        if act := plans.get(calls[0]):
            act()
        return real(self, questions, at)

    monkeypatch.setattr(estimates.Estimates, "answer", answer)
    return lambda number, act: plans.__setitem__(number, act)


class Killed(BaseException):
    """What no worker survives."""


def die() -> None:
    raise Killed


@pytest.mark.usefixtures("batches_of_two")
def test_successor_of_a_dead_worker_goes_on_without_loss_or_repeat(
    isp: SmallIsp, staff: User, when_answering: Callable[[int, Any], None], settings: LazySettings
) -> None:
    bulk = submit(staff, NUMBERED)
    when_answering(3, die)
    with pytest.raises(Killed):
        bulk_qualify.qualify_next(at=AT)
    bulk.refresh_from_db()
    assert (bulk.state, bulk.rows_done) == ("running", 4)
    with Path(bulk.result.path).open("ab") as file:
        file.write(b"half a row that was never recorded")
    assert not bulk_qualify.qualify_next(at=AT), "the lease of the dead worker still runs"
    work(at=LATER)
    assert [row["id"] for row in answers(bulk)] == [str(number) for number in range(9)]
    assert (bulk.state, bulk.outcomes) == ("completed", {"qualified": 9})
    assert len(files_in(settings.MEDIA_ROOT)) == 2, "the file of the dead worker is gone"


@pytest.mark.usefixtures("batches_of_two")
def test_worker_that_was_only_slow_spoils_nothing(
    isp: SmallIsp, staff: User, when_answering: Callable[[int, Any], None]
) -> None:
    """While it answers its second batch its lease runs out and another one does all the rest."""
    bulk = submit(staff, NUMBERED)
    when_answering(2, lambda: work(at=LATER))
    assert bulk_qualify.qualify_next(at=AT)
    assert [row["id"] for row in answers(bulk)] == [str(number) for number in range(9)]
    assert (bulk.state, bulk.rows_done, bulk.outcomes) == ("completed", 9, {"qualified": 9})


@pytest.mark.usefixtures("batches_of_two")
def test_cancelling_stops_at_once_and_keeps_what_is_done(
    isp: SmallIsp, staff: User, when_answering: Callable[[int, Any], None]
) -> None:
    bulk = submit(staff, NUMBERED)
    when_answering(3, lambda: bulk_qualify.cancel(bulk=bulk, actor=staff, at=AT))
    work()
    assert [row["id"] for row in answers(bulk)] == ["0", "1", "2", "3"]
    assert (bulk.state, bulk.rows_done, bulk.finished_at) == ("cancelled", 4, AT)
    assert bulk_qualify.cancel(bulk=bulk, actor=staff, at=LATER).finished_at == AT
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))[-2:] == [
        "bulk_qualification.submitted", "bulk_qualification.cancelled",
    ]  # fmt: skip


def test_addresses_that_take_long_shorten_their_batch_and_lose_no_row(
    isp: SmallIsp, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "MOST_ALONE", 3)
    sizes = []
    real = estimates.Estimates.answer

    def answer(self: Any, questions: Any, at: datetime) -> Any:
        answers = real(self, questions, at)
        sizes.append(len(answers))
        return answers

    monkeypatch.setattr(estimates.Estimates, "answer", answer)
    unlisted = [f'{number},"{number} Oak Street, Barre, VT 05641"' for number in range(10, 18)]
    known = [f'{number},"{OAK}"' for number in range(20, 30)]
    bulk = submit(staff, "\n".join(["id,address", *known[:2], *unlisted, *known]))
    work()
    assert [row["id"] for row in answers(bulk)] == [
        *("20", "21"), *map(str, range(10, 18)), *map(str, range(20, 30)),
    ]  # fmt: skip
    assert bulk.outcomes == {"qualified": 20}
    assert sizes[0] == 5
    assert sum(sizes) == 20


def test_a_file_that_is_over_cannot_be_cancelled(isp: SmallIsp, staff: User) -> None:
    bulk = submit(staff, NUMBERED)
    work()
    with pytest.raises(IllegalTransition, match="is completed already"):
        bulk_qualify.cancel(bulk=bulk, actor=staff, at=AT)


@pytest.mark.usefixtures("batches_of_two")
def test_fault_is_tried_again_and_then_told(
    isp: SmallIsp, staff: User, when_answering: Callable[[int, Any], None]
) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    bulk = submit(staff, NUMBERED)
    for number in range(2, 10):
        when_answering(number, fault)
    at = AT
    for attempt in range(1, filework.MOST_ATTEMPTS):
        assert bulk_qualify.qualify_next(at=at)
        bulk.refresh_from_db()
        assert (bulk.state, bulk.attempts, bulk.rows_done) == ("running", attempt, 2)
        assert bulk.next_attempt_at > at
        at += timedelta(minutes=10)
    work(at=at)
    bulk.refresh_from_db()
    assert bulk.state == "failed"
    assert bulk.error.startswith("It stopped after 2 of 9 rows: there is a fault on our side.")
    assert len(answers(bulk)) == 2


def test_file_that_kills_every_worker_is_given_up_on(
    isp: SmallIsp, staff: User, when_answering: Callable[[int, Any], None]
) -> None:
    bulk = submit(staff, NUMBERED)
    at = AT
    for number in range(1, filework.MOST_ATTEMPTS + 1):
        when_answering(number, die)
        with pytest.raises(Killed):
            bulk_qualify.qualify_next(at=at)
        at += timedelta(minutes=10)
    work(at=at)
    bulk.refresh_from_db()
    assert (bulk.state, bulk.next_attempt_at, bulk.leased_until) == ("failed", None, None)
    assert "every worker that took it was lost" in bulk.error


def test_file_that_is_gone_is_told(isp: SmallIsp, staff: User) -> None:
    bulk = submit(staff, NUMBERED)
    Path(bulk.file.path).unlink()
    work()
    bulk.refresh_from_db()
    assert (bulk.state, bulk.rows_done) == ("failed", 0)
    assert "its file is gone" in bulk.error


def test_nothing_can_be_fetched_before_anything_is_done(isp: SmallIsp, staff: User) -> None:
    with pytest.raises(NotFound, match="Nothing is done yet"):
        queries.answers_of(submit(staff, NUMBERED))


def test_older_file_waits_less(isp: SmallIsp, staff: User) -> None:
    first, second = submit(staff, NUMBERED), submit(staff, NUMBERED)
    bulk_qualify.qualify_next(at=AT)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("completed", "queued")


def test_asker_sees_its_own_files_only(isp: SmallIsp, staff: User) -> None:
    own = submit(staff, NUMBERED, asker="partner_films")
    submit(staff, NUMBERED, asker="user_7")
    assert list(queries.files_of("partner_films")) == [own]
    assert list(queries.files_of("")) == []


def test_wide_rows_are_answered_a_few_at_a_time(
    isp: SmallIsp, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value takes many times as much memory as in the file, and two thousand rows are held."""
    sizes = []
    real = bulk_qualify._Turn._answers

    def counted(turn: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        return real(turn, batch)

    monkeypatch.setattr(bulk_qualify._Turn, "_answers", counted)
    bulk = submit(staff, "address\n" + ("ab," * 20_000 + "\n") * 100)
    work()
    bulk.refresh_from_db()
    assert (bulk.state, bulk.rows_done, bulk.outcomes) == ("completed", 100, {"unusable": 100})
    assert (sum(sizes), max(sizes)) == (100, 34)
