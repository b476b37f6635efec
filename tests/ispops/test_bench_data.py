"""The benches fill tables past the verbs, so a new column breaks them where no other test looks."""

import pytest

from ispops.benches import access_lines, accounting, balance, use
from ispops.parties.models import Subscriber

pytestmark = pytest.mark.django_db


def test_accounts_with_a_line_that_may_hold_addresses() -> None:
    assert access_lines.make(2) == ["line-0", "line-1"]
    assert Subscriber.objects.count() == 2


def test_accounts_that_use() -> None:
    plan = accounting._plan()
    assert {owner.offering for owner in use.owners(2, [plan])} == {plan.pk}


def test_accounts_that_hold() -> None:
    assert len(balance._accounts(2)) == 2
