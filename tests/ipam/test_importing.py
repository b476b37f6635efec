"""Blocks from a file: CSV and NetBox's shape, good rows made together, bad ones with the reason."""

import gzip
import io
import json
from typing import Any

import pytest

from ipam import importing, plan_rows
from ipam.models import Block, Pool
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


def outcomes(text: str, user: User, *, keep: bool = True) -> list[tuple[int, str, str]]:
    if keep:
        results = importing.apply(text=text, file_name="plan.csv", actor=user, at=NOON)
    else:
        results = importing.preview(text=text, actor=user, at=NOON)
    return [(result.line, result.outcome, result.field) for result in results]


def test_a_preview_makes_nothing_and_the_file_all(user: User) -> None:
    told = outcomes(GOOD, user, keep=False)
    assert not Block.objects.exists()
    assert not AuditEntry.objects.exists()
    assert told == outcomes(GOOD, user) == [(line, "made", "") for line in range(2, 9)]
    north = Block.objects.get(name="North 1")
    assert [north.parent.name, north.parent.parent.name] == ["Town", "Country"]
    assert {pool.name: pool.unit_length for pool in Pool.objects.all()} == {
        "north-1": 32,
        "six": 56,
    }
    entry = AuditEntry.objects.get(action="blocks.imported")
    assert entry.detail == {"made": 7, "already": 0, "refused": 0}


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


def test_what_is_sent_packed_is_unpacked(user: User) -> None:
    assert importing.text_of(io.BytesIO(gzip.compress(GOOD.encode()))) == GOOD
