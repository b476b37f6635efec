"""Who joins and leaves the waitlist, and who is looked at when a network comes."""

from collections.abc import Iterator
from datetime import timedelta

import h3
import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ispops import events
from ispops.errors import InvalidInput, NotFound
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from qualification import coverage, qualify, reach, waitlist
from qualification.models import (
    CoverageArea,
    Premises,
    ReachedCell,
    ServiceQualification,
    WaitlistEntry,
)
from tests import factories
from tests.qualification.waiting import (
    AT,
    FIBRE,
    LATER,
    STOWE,
    UNLISTED,
    ask,
    cover,
    join,
    tell_of,
    work,
)
from tests.small_isp import LAUNCH, OAK_POINT, STOWE_POINT, SmallIsp, cell_of, make_small_isp

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def isp() -> SmallIsp:
    made = make_small_isp()
    factories.deliver_events(at=LAUNCH)
    return made


@pytest.fixture(autouse=True)
def _clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(LATER, tick=False) as traveller:
        yield traveller


# --- Joining and leaving ------------------------------------------------------------------------


def test_somebody_waits_once_for_a_place_however_often_they_ask(isp: SmallIsp) -> None:
    first = waitlist.join_waitlist(
        qualification=ask(), email=" Ada@Example.com", name="Ada", channel="portal", at=AT
    )
    again = join("ada@example.com", at=LATER)
    assert again == first
    assert (first.email, first.name) == ("ada@example.com", "Ada")
    assert (first.h3_res8, first.region, first.postal_code) == (
        cell_of(STOWE_POINT), "VT", "05672",
    )  # fmt: skip
    assert (first.place_key, first.consent_version) == (isp.stowe.public_id, "2026-11")
    assert WaitlistEntry.objects.count() == 1
    join("ada@example.com", "1 Elm St, Barre, VT 05641")
    join("bob@example.com")
    assert WaitlistEntry.objects.waiting().count() == 3


@pytest.mark.parametrize(
    "email",
    ["", "nobody", "a@b", "a b@example.com", "x" * 300 + "@b.com", "a@example.com\nBcc: b@c.com",
     "a\x00@example.com"],
)  # fmt: skip
def test_what_is_no_e_mail_address_is_refused(isp: SmallIsp, email: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        join(email)
    assert refusal.value.field == "email"


@pytest.mark.parametrize("name", ["x" * 201, "Eve\nBcc: all@example.com", "\x00", "a\u202eb"])
def test_a_name_that_is_none_is_refused(isp: SmallIsp, name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        waitlist.join_waitlist(
            qualification=ask(), email="a@example.com", name=name, channel="portal", at=AT
        )
    assert refusal.value.field == "name"
    assert not WaitlistEntry.objects.exists()


def test_nobody_waits_before_a_place_is_chosen(isp: SmallIsp) -> None:
    with pytest.raises(InvalidInput, match="Choose one"):
        join(text="5 Oak Street, Barre, VT 05641")


def test_a_place_outside_the_footprint_is_kept_by_its_zip_code(isp: SmallIsp) -> None:
    entry = join(text=UNLISTED)
    assert entry.qualification.state == "out_of_footprint"
    assert (entry.place_key, entry.h3_res8) == (UNLISTED.upper(), "")
    assert (entry.region, entry.postal_code) == ("VT", "05672")


def test_who_enters_a_caller_is_in_the_audit_trail(isp: SmallIsp) -> None:
    cara = factories.staff(roles.CSR, at=AT)
    answer = ask()
    for _ in range(2):
        entry = waitlist.join_waitlist(
            qualification=answer, email="eve@example.com", channel="csr", actor=cara, at=AT
        )
    assert entry.added_by == cara
    noted = AuditEntry.objects.get(action="waitlist.joined")
    assert (noted.actor, noted.subject) == (cara, answer.public_id)


def test_leaving_is_for_all_places_and_changes_nothing_twice(isp: SmallIsp) -> None:
    entry = join()
    other = join(text="1 Elm St, Barre, VT 05641")
    bob = join("bob@example.com")
    assert waitlist.leave_waitlist(email="eve@example.com", at=LATER) == 2
    assert waitlist.leave_waitlist(email="eve@example.com", at=LATER + DAY) == 0
    for gone in (entry, other):
        gone.refresh_from_db()
        assert (gone.state, gone.withdrawn_at, gone.next_attempt_at) == ("withdrawn", LATER, None)
    cover(isp)
    work(at=LATER)
    bob.refresh_from_db()
    assert bob.state == "notified"
    assert WaitlistEntry.objects.withdrawn().count() == 2


def test_who_left_may_join_again(isp: SmallIsp) -> None:
    first = join()
    waitlist.leave_waitlist(email=first.email, at=AT)
    again = join(answer=first.qualification, at=LATER)
    assert again != first
    assert WaitlistEntry.objects.waiting().get() == again


def test_a_link_is_only_good_as_we_signed_it(isp: SmallIsp) -> None:
    entry = join()
    token = waitlist.leave_token(entry)
    assert waitlist.entry_of_token(token) == entry
    for wrong in ("", "1", token[:-1], f"9{token}", token.replace(":", ":x"), "\x00:y"):
        with pytest.raises(NotFound):
            waitlist.entry_of_token(wrong)


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"next_attempt_at": None}, "nobody_who_waits_is_forgotten"),
        ({"notified_at": LATER, "next_attempt_at": None}, "told_of_an_answer"),
        ({"withdrawn_at": LATER}, "nothing_to_do_for_a_closed_entry"),
    ],
)
def test_the_database_holds_what_must_never_be_false(
    isp: SmallIsp, wrong: dict[str, object], constraint: str
) -> None:
    entry = join()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        WaitlistEntry.objects.filter(pk=entry.pk).update(**wrong)


# --- A network comes ----------------------------------------------------------------------------


def test_a_network_that_comes_finds_who_waits_there_and_nobody_else(isp: SmallIsp) -> None:
    here, elsewhere = join(), join("bob@example.com", "1 Elm St, Barre, VT 05641")
    work(at=AT)
    answers = ServiceQualification.objects.count()
    cover(isp)
    assert waitlist.look_again(at=LATER) == here
    assert waitlist.look_again(at=LATER) is None
    here.refresh_from_db()
    elsewhere.refresh_from_db()
    assert here.state == "found"
    found = here.found
    assert found is not None
    assert (found.state, found.premises, found.channel) == ("qualified", isp.stowe, "portal")
    assert found.asker == waitlist.ASKER
    assert elsewhere.state == "waiting"
    assert ServiceQualification.objects.count() == answers + 1


def test_a_network_that_comes_to_one_house_finds_that_one(isp: SmallIsp) -> None:
    entry = join()
    cover(isp, premises=isp.stowe)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.state == "notified"


def test_an_unlisted_place_is_found_by_coverage_in_its_zip_code(isp: SmallIsp) -> None:
    by_cell, far = join(text=UNLISTED), join("bob@example.com", "9 Elm Rd, Derby, VT 05829")
    work(at=AT)
    cover(isp)
    work(at=LATER)
    by_cell.refresh_from_db()
    far.refresh_from_db()
    assert by_cell.state == "notified"
    assert by_cell.found is not None
    assert by_cell.found.premises is not None
    assert by_cell.found.premises.source == Premises.Source.ASKED
    assert (far.state, far.latest_answer) == ("waiting", None)


def test_a_house_that_is_passed_by_is_not_found(isp: SmallIsp) -> None:
    entry = join()
    cover(isp, premises=isp.stowe, max_download_kbps=0, max_upload_kbps=0)
    work(at=LATER)
    entry.refresh_from_db()
    assert (entry.state, entry.latest_answer) == ("waiting", None)


def test_what_has_to_be_built_first_is_found_too(isp: SmallIsp) -> None:
    entry = join()
    cover(isp, construction_fee="350", construction_days=45)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.state == "notified"
    assert entry.found is not None
    assert entry.found.state == "qualified_with_construction"


def test_no_plan_for_the_line_is_not_service(isp: SmallIsp) -> None:
    """Slow fibre that no plan is sold on: asked for once, and not again with every event."""
    entry = join()
    cover(isp, max_download_kbps=1_000, max_upload_kbps=1_000)
    assert work(at=LATER) == 1
    entry.refresh_from_db()
    assert entry.state == "waiting"
    assert entry.latest_answer is not None
    assert entry.next_attempt_at == LATER + waitlist.LOOK_AGAIN_AFTER
    assert work(at=LATER) == 0
    cover(isp, at=LATER + DAY)
    assert work(at=LATER + DAY) == 2


def test_better_service_is_found_where_there_was_some(isp: SmallIsp) -> None:
    entry = join(text="1 Elm St, Barre, VT 05641")
    assert entry.qualification.state == "qualified"
    cover(isp, cell=isp.elm_1.h3_res8, max_download_kbps=5_000, max_upload_kbps=5_000)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.state == "waiting", "no plan there is faster than the one they declined"
    cover(isp, cell=isp.elm_1.h3_res8, at=LATER + DAY)
    with time_machine.travel(LATER + DAY, tick=False):
        work(at=LATER + DAY)
    entry.refresh_from_db()
    assert entry.state == "notified"


def test_the_kind_of_subscriber_is_kept(isp: SmallIsp) -> None:
    entry = join(answer=ask(subscriber_kind="business"))
    cover(isp)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.found is not None
    assert entry.found.subscriber_kind == "business"


def test_coverage_that_is_in_force_only_later_is_found_on_that_day(isp: SmallIsp) -> None:
    start = LATER + timedelta(days=3)
    known, new = join(), None
    work(at=AT)
    coverage.import_coverage(
        provider=isp.fibre, rows=[FIBRE | {"h3_res8": cell_of(STOWE_POINT)}], at=start
    )
    tell_of(isp.fibre, at=LATER)
    new = join("new@example.com", at=LATER)
    work(at=LATER)
    for entry in (known, new):
        entry.refresh_from_db()
        assert (entry.state, entry.next_attempt_at) == ("waiting", start)
    assert work(at=start - timedelta(seconds=1)) == 0
    work(at=start)
    for entry in (known, new):
        entry.refresh_from_db()
        assert entry.state == "notified"


def test_coverage_that_comes_before_somebody_joins_on_an_old_answer_is_found(
    isp: SmallIsp,
) -> None:
    old = ask()
    cover(isp)
    entry = join(answer=old, at=LATER + DAY)
    work(at=LATER + DAY)
    entry.refresh_from_db()
    assert entry.state == "notified"


def test_where_a_network_is_a_free_port_is_found_within_a_month(isp: SmallIsp) -> None:
    cover(isp, node=isp.fibre_node.name, tell=False, at=AT)
    for port in isp.fibre_node.ports.all():
        isp.fibre_node.ports.filter(pk=port.pk).update(service_ref=f"svc_{port.pk}", taken_at=AT)
    entry = join(at=LATER)
    assert entry.qualification.state == "not_qualified"
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.state == "waiting"
    isp.fibre_node.ports.update(service_ref=None, taken_at=None)
    work(at=LATER + waitlist.LOOK_AGAIN_AFTER + timedelta(hours=1))
    entry.refresh_from_db()
    assert entry.state == "notified"


def test_where_nothing_is_looking_again_asks_nothing(isp: SmallIsp) -> None:
    join()
    before = ServiceQualification.objects.count()
    later = AT + 2 * waitlist.LOOK_AGAIN_AFTER
    assert work(at=later) == 1
    assert ServiceQualification.objects.count() == before


def test_a_planned_network_is_not_there_yet(isp: SmallIsp) -> None:
    entry = join()
    CoverageArea.objects.create(
        provider=isp.fibre, h3_res8=cell_of(STOWE_POINT), technology=50, valid_from=LATER,
        max_download_kbps=1_000_000, max_upload_kbps=1_000_000,
        planned_date=(LATER + 90 * DAY).date(),
    )  # fmt: skip
    tell_of(isp.fibre, at=LATER)
    work(at=LATER)
    entry.refresh_from_db()
    assert (entry.state, entry.latest_answer) == ("waiting", None)


def test_a_network_that_was_stopped_finds_nobody(isp: SmallIsp) -> None:
    entry = join()
    isp.fibre.active = False
    isp.fibre.save()
    cover(isp)
    work(at=LATER)
    entry.refresh_from_db()
    assert entry.state == "waiting"


# --- Answers that wait for a provider -----------------------------------------------------------


def pending(entry: WaitlistEntry) -> ServiceQualification:
    """An answer for the entry that waits for a provider, as the inquiry of a provider makes it."""
    return ServiceQualification.objects.create(
        asked_text=STOWE, channel="portal", asker=waitlist.ASKER, state="pending", asked_at=LATER,
        premises=entry.qualification.premises, expires_at=LATER + 30 * DAY,
    )  # fmt: skip


def test_a_pending_answer_is_waited_for_until_it_is_settled(
    isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = join()
    cover(isp)
    waits = pending(entry)
    monkeypatch.setattr(qualify, "qualify_address", lambda **_: waits)
    work(at=LATER)
    entry.refresh_from_db()
    assert (entry.state, entry.latest_answer) == ("waiting", waits)
    assert entry.next_attempt_at == LATER + waitlist.PENDING_PAUSE
    monkeypatch.undo()
    answers = ServiceQualification.objects.count()
    soon = LATER + timedelta(minutes=1)
    settle(waits, isp, at=soon)
    work(at=soon)
    entry.refresh_from_db()
    assert (entry.state, entry.found) == ("notified", waits)
    assert ServiceQualification.objects.count() == answers, "nobody was asked a second time"


def settle(answer: ServiceQualification, isp: SmallIsp, *, at: object) -> None:
    with transaction.atomic():
        answer.offers.create(
            offering=isp.fast, offering_name=isp.fast.name, eligible=True, currency="USD",
            download_kbps=500_000, upload_kbps=500_000, recurring_amount=60,
        )  # fmt: skip
        ServiceQualification.objects.filter(pk=answer.pk).update(state="qualified", settled_at=at)
        events.publish("qualification.settled", subject=answer.public_id, at=at)
    with time_machine.travel(at, tick=False):
        factories.deliver_events(at=at)


def test_an_answer_that_is_never_settled_is_asked_for_anew_after_a_day(
    isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = join()
    cover(isp)
    monkeypatch.setattr(qualify, "qualify_address", lambda **_: pending(entry))
    work(at=LATER)
    monkeypatch.undo()
    assert work(at=LATER + timedelta(minutes=11)) == 1
    entry.refresh_from_db()
    assert entry.state == "waiting"
    work(at=LATER + DAY)
    entry.refresh_from_db()
    assert entry.state == "notified"


# --- When something goes wrong ------------------------------------------------------------------


def test_one_look_that_fails_is_put_off_and_holds_up_nobody(
    isp: SmallIsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = join("bad@example.com", UNLISTED), join("good@example.com")
    work(at=AT)
    cover(isp)
    real = qualify.qualify_address

    def broken(**asked: object) -> ServiceQualification:
        if asked.get("text"):
            raise RuntimeError("out of order")
        return real(**asked)  # type: ignore[arg-type]

    monkeypatch.setattr(qualify, "qualify_address", broken)
    work(at=LATER)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert good.state == "notified"
    assert (bad.state, bad.attempts, bad.last_error) == (
        "waiting", 1, "RuntimeError: out of order",
    )  # fmt: skip
    assert bad.next_attempt_at is not None
    assert bad.next_attempt_at > LATER
    monkeypatch.undo()
    work(at=LATER + timedelta(minutes=2))
    bad.refresh_from_db()
    assert (bad.state, bad.last_error) == ("notified", "")


def test_a_look_and_a_call_cost_few_queries(isp: SmallIsp) -> None:
    for number in range(5):
        join(f"person{number}@example.com")
    work(at=AT)
    cover(isp, tell=False)
    with CaptureQueriesContext(connection) as calling:
        called = waitlist.call_up(provider_id=isp.fibre.pk, changed_at=LATER, at=LATER)
    assert called == 5
    # The statement, its transaction's savepoint, and no more with more entries.
    assert len(calling) <= 3
    with CaptureQueriesContext(connection) as looking:
        waitlist.look_again(at=LATER)
    assert len(looking) <= 20, [query["sql"] for query in looking]


# --- The cells that networks reach --------------------------------------------------------------


def reached_by(isp: SmallIsp, resolution: int = 8) -> set[str]:
    rows = ReachedCell.objects.filter(provider=isp.fibre, is_reached=True)
    cells = rows.values_list("cell", flat=True)
    return {cell for cell in cells if h3.get_resolution(cell) == resolution}


def test_reached_cells_are_those_of_lists_by_cell_and_by_premises(isp: SmallIsp) -> None:
    oak, stowe = cell_of(OAK_POINT), cell_of(STOWE_POINT)
    assert reached_by(isp) == {oak}
    cover(isp, premises=isp.stowe)
    assert reached_by(isp) == {oak, stowe}
    for resolution in range(3, 8):
        larger = {h3.cell_to_parent(cell, resolution) for cell in (oak, stowe)}
        assert reached_by(isp, resolution) == larger
    coverage.end_coverage(provider=isp.fibre, technology=50, h3_res8=oak, at=LATER + DAY)
    reach.refresh(provider_id=isp.fibre.pk, at=LATER + DAY)
    assert reached_by(isp) == {stowe}
    isp.fibre.active = False
    isp.fibre.save()
    reach.refresh(provider_id=isp.fibre.pk, at=LATER)
    assert not ReachedCell.objects.filter(provider=isp.fibre).exists()


def test_what_stays_as_it_is_is_not_written_again(isp: SmallIsp) -> None:
    reach.refresh(provider_id=isp.fibre.pk, at=AT)
    before = list(ReachedCell.objects.order_by("pk").values_list("pk", flat=True))
    cover(isp, premises=isp.stowe)
    after = list(ReachedCell.objects.order_by("pk").values_list("pk", flat=True))
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_a_cell_that_is_only_planned_has_its_earliest_day(isp: SmallIsp) -> None:
    for days, technology in ((90, 50), (60, 40)):
        CoverageArea.objects.create(
            provider=isp.fibre, h3_res8=cell_of(STOWE_POINT), technology=technology,
            max_download_kbps=1_000, max_upload_kbps=1_000, valid_from=AT,
            planned_date=(AT + days * DAY).date(),
        )  # fmt: skip
    reach.refresh(provider_id=isp.fibre.pk, at=LATER)
    row = ReachedCell.objects.get(cell=cell_of(STOWE_POINT))
    assert (row.is_reached, row.planned_date) == (False, (AT + 60 * DAY).date())
    # And it is reached once it is built, whatever is planned beside.
    cover(isp)
    row.refresh_from_db()
    assert (row.is_reached, row.planned_date) == (True, (AT + 60 * DAY).date())
