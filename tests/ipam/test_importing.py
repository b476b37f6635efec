"""Blocks from a file: CSV and NetBox's shape, good rows made together, bad ones with the reason."""

import gzip
import io
import ipaddress
import json
import random
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from ipam import block_imports, importing, plan_rows
from ipam.models import Block, BlockImport, Pool
from ispops.errors import InvalidInput
from ispops.parties.models import AuditEntry, User
from tests.ipam.ground import NOON, a_server, a_user

pytestmark = pytest.mark.django_db
# Out of order on purpose: what others are cut from comes last.
GOOD = """network,parent,tier,name,vrf,pool,server,purpose,unit_length
10.0.1.0/24,10.0.0.0/20,pool,North 1,0,north-1,aaa-test,dynamic,
10.0.0.0/20,,region,Town,0,,,,
10.0.0.0/16,,region,Country,0,,,,
10.0.0.0/8,,allocation,Registry,0,,,,
10.0.0.0/8,,allocation,Elsewhere,7,,,,
2001:db8::/32,,allocation,Six,,,,,
2001:db8::/40,,pool,Six,,six,aaa-test,prefix,/56
"""


@pytest.fixture
def user(db: None) -> User:
    a_server()
    return a_user()


def sent(text: str | bytes, user: User) -> BlockImport:
    content = text if isinstance(text, bytes) else text.encode()
    row = block_imports.submit(
        upload=io.BytesIO(content), file_name="plan.csv", actor=user, at=NOON
    )
    return done(row)


def done(row: BlockImport) -> BlockImport:
    """Let workers go on with a file until it is over."""
    hours = count(1)
    while block_imports.read_next(import_id=row.pk, at=NOON + timedelta(hours=next(hours))):
        pass
    row.refresh_from_db()
    assert (row.state, row.error) == ("completed", "")
    return row


def results(row: BlockImport) -> list[tuple[int, str, str]]:
    lines = list(block_imports.results_of(row))[1:]
    return sorted((int(line), outcome, field) for line, _, outcome, _, field in lines)


def outcomes(text: str, user: User, *, keep: bool = True) -> list[tuple[int, str, str]]:
    """Try a file out and, if it is kept, make it: both must come to the same, in the same words."""
    trial = sent(text, user)
    if keep and trial.made:
        made = done(block_imports.make(trial=trial, actor=user, at=NOON))
        assert list(block_imports.results_of(made)) == list(block_imports.results_of(trial))
    return results(trial)


def test_a_preview_makes_nothing_and_the_file_all(user: User) -> None:
    told = outcomes(GOOD, user, keep=False)
    assert not Block.objects.exists()
    assert [entry.action for entry in AuditEntry.objects.all()] == ["blocks.tried"]
    assert told == outcomes(GOOD, user) == [(line, "made", "") for line in range(2, 9)]
    north = Block.objects.get(name="North 1")
    assert [north.parent.name, north.parent.parent.name] == ["Town", "Country"]
    assert {pool.name: pool.unit_length for pool in Pool.objects.all()} == {
        "north-1": 32,
        "six": 56,
    }
    entry = AuditEntry.objects.get(action="blocks.imported")
    assert {name: entry.detail[name] for name in ("made", "already", "refused")} == {
        "made": 7, "already": 0, "refused": 0,
    }  # fmt: skip


def test_a_file_that_comes_twice_changes_nothing(user: User) -> None:
    outcomes(GOOD, user)
    before = list(Block.objects.order_by("pk").values())
    assert {outcome for _, outcome, _ in outcomes(GOOD, user)} == {"already"}
    assert list(Block.objects.order_by("pk").values()) == before


def test_bad_rows_are_told_and_good_ones_made(user: User) -> None:
    header = GOOD.splitlines()[0]
    rows = [
        "10.0.0.0/8,,allocation,,,,,,",
        "10.0.0.1/24,,region,,,,,,",
        "10.0.0.0/33,,region,,,,,,",
        f"10.0.0.0/{'9' * 5_000},,region,,,,,,",
        "fe80::%eth0/64,,region,,,,,,",
        "11.0.0.0/8,10.0.0.0/8,region,,,,,,",
        "12.0.0.0/8,,region,,,,,,",
        "10.0.0.0/16,10.9.0.0/16,region,,,,,,",
        "10.1.0.0/16,,continent,,,,,,",
        ",,region,,,,,,",
        "10.2.0.0/16,,region,,x,,,,",
        "10.3.0.0/16,,region,,,p,aaa-test,dynamic,",
        "10.4.0.0/24,,pool,,,p4,nobody,dynamic,",
        "10.5.0.0/24,,pool,,,p5,aaa-test,prefix,",
        "10.0.0.0/9,,pool,,,,,,",
        "10.0.0.0/10,,region,,,,,,",
    ]
    told = outcomes("\n".join([header, *rows, ""]), user)
    assert [(outcome, field) for _, outcome, field in told] == [
        ("made", ""), ("refused", "network"), ("refused", "network"), ("refused", "network"),
        ("refused", "network"), ("refused", "network"),
        ("refused", "parent"), ("refused", "parent"), ("refused", "tier"), ("refused", "network"),
        ("refused", "vrf"), ("refused", "pool"), ("refused", "server"), ("refused", "purpose"),
        ("refused", "network"), ("made", ""),
    ]  # fmt: skip
    # A row whose pool is refused leaves no block behind.
    assert set(Block.objects.values_list("network", flat=True)) == {"10.0.0.0/8", "10.0.0.0/10"}


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", "network,tier\n", "{", '{"count": 1}', "[" * 100_000, "7"],
    ids=["empty", "columns", "no rows", "cut off", "no results", "deep", "number"],
)
def test_a_file_that_cannot_be_read_is_refused(user: User, text: str) -> None:
    with pytest.raises(InvalidInput):
        outcomes(text, user)
    assert not AuditEntry.objects.exists()
    assert not BlockImport.objects.exists()


def test_too_many_rows_are_refused(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MOST_ROWS", 1)
    with pytest.raises(InvalidInput, match="more than 1"):
        outcomes(json.dumps([prefix("10.0.0.0/8")] * 2), user)


def prefix(network: str, status: str = "container", **fields: Any) -> dict[str, Any]:
    usual = {"id": 1, "vrf": None, "tenant": None, "role": None, "description": ""}
    return {"prefix": network, "status": {"value": status, "label": "x"}, **usual, **fields}


def test_what_no_database_keeps_is_left_out_of_a_name(user: User) -> None:
    text = r'[{"prefix": "10.0.0.0/8", "rir": {}, "description": "To\u0000w\ud800n"}]'
    assert [outcome for _, outcome, _ in outcomes(text, user)] == ["made"]
    assert Block.objects.get().name == "Town"


def test_what_netbox_gives_out_becomes_a_tree(user: User) -> None:
    red = {"id": 4, "name": "red", "rd": "65000:1"}
    entries = [
        prefix("10.1.0.0/24", "active", role={"slug": "access", "name": "Access"}),
        prefix("10.1.0.0/16", description="Town"),
        {"prefix": "10.0.0.0/8", "rir": {"slug": "rfc-1918"}, "description": "Private"},
        prefix("10.1.1.0/24", "deprecated"),
        prefix("172.16.0.0/12"),
        prefix("10.0.0.0/8", vrf=red),
        prefix("10.1.0.0/24", "reserved", vrf=red),
        prefix("192.0.2.0/24", "active"),
        prefix("10.1.2.0/24", vrf={"name": "no number"}),
        "nonsense",
    ]
    told = outcomes(json.dumps({"count": 10, "results": entries}), user)
    assert [outcome for _, outcome, _ in told] == [
        "made", "made", "made", "refused", "made", "made", "made", "refused", "refused", "refused",
    ]  # fmt: skip
    shown = Block.objects.order_by("vrf", "network", "tier")
    assert [(b.vrf, b.network, b.tier, b.name) for b in shown] == [
        (0, "10.0.0.0/8", 0, "Private"), (0, "10.1.0.0/16", 1, "Town"),
        (0, "10.1.0.0/24", 2, "access"), (0, "172.16.0.0/12", 0, ""),
        (4, "10.0.0.0/8", 0, ""), (4, "10.1.0.0/24", 2, ""),
    ]  # fmt: skip
    with pytest.raises(plan_rows.BadRow):
        plan_rows.from_netbox({"prefix": 7})


def test_a_row_that_cannot_be_read_still_names_its_network(user: User) -> None:
    row = sent("network,tier\n10.0.0.0/8,\n10.0.0.1/9,pool\n", user)
    told = {line: (network, words) for line, network, _, words, _ in block_imports.results_of(row)}
    assert told["2"] == ("10.0.0.0/8", "The tier is one of allocation, region, pool.")
    assert told["3"][1] == "'10.0.0.1/9' is an address inside of a network; write 10.0.0.0/9."
    entry = {"prefix": "10.0.0.0/8", "status": {"value": "deprecated"}}
    row = sent(json.dumps([entry]), user)
    assert list(block_imports.results_of(row))[1][1] == "10.0.0.0/8"


def test_what_is_sent_packed_is_unpacked(user: User) -> None:
    assert sent(gzip.compress(GOOD.encode()), user).made == 7


def test_values_that_are_no_text_are_refused_in_their_row(user: User) -> None:
    entries = [
        prefix("10.0.0.0/8"), prefix("11.0.0.0/8", description="a\0b"),
        prefix("12.0.0.0/8", description="\ud800"), prefix("1" * 501),
        prefix("13.0.0.0/8", description="Zürich\nEast"),
    ]  # fmt: skip
    assert outcomes(json.dumps(entries), user) == [
        (1, "made", ""), (2, "made", ""), (3, "made", ""), (4, "refused", "prefix"),
        (5, "refused", "name"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_a_trial_says_what_making_comes_to(user: User, seed: int) -> None:
    """Of a made-up plan with every kind of clash, over a tree that is there already."""
    chance = random.Random(seed)
    outcomes(GOOD, user)
    lines = [GOOD.splitlines()[0]]
    for number in range(120):
        length = chance.choice((8, 9, 12, 16, 17, 20, 24, 26))
        first = chance.choice((10, 11)) << 24 | chance.getrandbits(6) << 18
        network = ipaddress.ip_network((first >> (32 - length) << (32 - length), length))
        tier = chance.choice(("allocation", "region", "region", "pool", "pool"))
        parent = chance.choice(("", "", "", "10.0.0.0/8", "10.0.0.0/16"))
        pool = chance.choice(("", f"p-{number % 9}")) if tier == "pool" else ""
        server, purpose = chance.choice(("aaa-test", "aaa-test", "none")), "dynamic"
        lines.append(
            f"{network},{parent},{tier},N {number},{chance.choice((0, 0, 7))},{pool},{server},"
            f"{chance.choice((purpose, purpose, 'prefix'))},"
        )
    told = outcomes("\n".join(lines) + "\n", user)
    assert {outcome for _, outcome, _ in told} == {"made", "already", "refused"}


def test_a_file_goes_on_where_a_worker_left_it(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_imports, "ROWS_A_BATCH", {True: 2, False: 2})
    monkeypatch.setattr(block_imports._Turn, "is_over", True)
    row = block_imports.submit(
        upload=io.BytesIO(GOOD.encode()), file_name="plan.csv", actor=user, at=NOON
    )
    assert block_imports.read_next(import_id=row.pk, at=NOON)
    row.refresh_from_db()
    assert (row.state, row.rows_done) == ("running", 2)
    trial = done(row)
    assert results(trial) == [(line, "made", "") for line in range(2, 9)]
    making = block_imports.make(trial=trial, actor=user, at=NOON)
    assert block_imports.make(trial=trial, actor=user, at=NOON) == making
    assert block_imports.read_next(import_id=making.pk, at=NOON)
    assert Block.objects.count() == 2
    block_imports.cancel(row=making, actor=user, at=NOON)
    assert not block_imports.read_next(import_id=making.pk, at=NOON + timedelta(days=9))
    assert Block.objects.count() == 2


def test_what_was_not_tried_or_has_nothing_is_not_made(user: User) -> None:
    waiting = block_imports.submit(
        upload=io.BytesIO(GOOD.encode()), file_name="plan.csv", actor=user, at=NOON
    )
    bad = sent("network,tier\n10.0.0.0/33,region\n", user)
    for row in (waiting, bad):
        with pytest.raises(block_imports.NothingToMake):
            block_imports.make(trial=row, actor=user, at=NOON)
    trial = done(waiting)
    assert block_imports.delete_old(at=NOON + timedelta(days=31)) == 2
    trial.refresh_from_db()
    with pytest.raises(block_imports.NothingToMake):
        block_imports.make(trial=trial, actor=user, at=NOON)
    assert not Block.objects.exists()
