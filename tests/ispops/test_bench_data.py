"""The benches fill tables past the verbs, so a new column breaks them where no other test looks."""

import pytest

from ispops.benches import access_lines, accounting, spenders, use
from ispops.parties.models import Subscriber

pytestmark = pytest.mark.django_db


def test_accounts_with_a_line_that_may_hold_addresses() -> None:
    assert access_lines.make(2) == ["line-0", "line-1"]
    assert Subscriber.objects.count() == 2


def test_accounts_that_use() -> None:
    plan = accounting._plan()
    assert {owner.offering for owner in use.owners(2, [plan])} == {plan.pk}


def test_accounts_that_hold() -> None:
    plain, subscribed = spenders.make(2)
    assert Subscriber.objects.count() == len(plain) + len(subscribed) == 4
    spenders.give_history(plain[0], 40)
    assert plain[0].account.charges.count() == 40
