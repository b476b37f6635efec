"""Months of charges: made ahead, closed when all is billed, detached and attached again."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ispops.errors import InvalidInput
from ispops.parties.models import Subscriber
from provisioning.models import Service
from rating import billing, charge_months, charges, disputes, months
from rating.models import Charge, Dispute, UsedPrice
from tests.rating.ground import JUNE, MAY, NOON, Shop, buy, execute, refused
from tests.rating.test_guards import a_charge

pytestmark = pytest.mark.django_db
LATER = JUNE.end + timedelta(days=30)


@pytest.fixture
def month() -> datetime:
    """The coming month: what it holds was written in it, and what is written now is not in it."""
    return months.after(months.month_of(timezone.now()))


@pytest.fixture
def kept(shop: Shop, line: Service, ada: Subscriber, month: datetime) -> Charge:
    """A charge of that month, on a bill."""
    buy(line, shop.film)
    bill = billing.issue_bill(subscriber=ada, period=MAY, at=JUNE.start)
    # It adds up now; what is put on it by hand later is not looked at again.
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("SET CONSTRAINTS ALL DEFERRED")
    return written(month, shop, ada, bill_line=bill.lines.first())


def written(month: datetime, shop: Shop, ada: Subscriber, **other: Any) -> Charge:
    there = UUID(int=charge_months.first_id(month).int + 1)
    charge = a_charge(shop, ada, **({"id": there, "kind": "one_off"} | other))
    charge.save(force_insert=True)
    return Charge.objects.get(pk=charge.pk)


def closed(month: datetime) -> datetime:
    at = months.after(month) + timedelta(days=62)
    charge_months.close_month(month=month, at=at)
    return at


def test_what_is_charged_now_and_in_months_has_a_place(month: datetime) -> None:
    before = charge_months.open_months()
    assert before[:2] == [months.month_of(timezone.now()), month]
    charge_months.tend_months(at=before[-1])
    made = [one for one in charge_months.open_months() if one > before[-1]]
    assert len(made) == charge_months.AHEAD


def test_a_month_is_closed_when_it_is_billed_and_takes_nothing_more(
    shop: Shop, line: Service, ada: Subscriber, kept: Charge, month: datetime
) -> None:
    with pytest.raises(months.MonthNotOver, match="Close this month after"):
        charge_months.close_month(month=month, at=months.after(month))
    waits = written(month, shop, ada, id=UUID(int=kept.pk.int + 1))
    with pytest.raises(months.MonthNotOver, match="on no bill yet"):
        closed(month)
    Charge.objects.filter(pk=waits.pk).update(bill_line=kept.bill_line)
    # What is charged now waits for its bill, which keeps its own month open and no other.
    buy(line, shop.film, key="later", at=JUNE.start)
    assert month in charge_months.tend_months(at=months.after(month) + timedelta(days=62))
    with refused("is closed"):
        written(month, shop, ada, id=UUID(int=kept.pk.int + 3))
    back = charges.reverse(charge=kept, because="It broke off.", at=NOON)
    assert Charge.objects.get(pk=back.pk).reverses == kept


def test_a_month_goes_and_comes_back_and_nothing_is_charged_twice_meanwhile(
    shop: Shop, line: Service, ada: Subscriber, kept: Charge, month: datetime
) -> None:
    price = shop.film.prices.first()
    span = {"kind": "recurring", "service": line, "period_start": JUNE.end, "period_end": LATER}
    again: dict[str, Any] = {"bill_line": kept.bill_line, "price": price, **span}
    written(month, shop, ada, id=UUID(int=kept.pk.int + 1), **again)
    years_later = months.after(month) + timedelta(days=800)
    with pytest.raises(InvalidInput, match="Name a month that is closed"):
        charge_months.detach_month(month=month, at=years_later)
    at = closed(month)
    with pytest.raises(months.MonthNotOver, match="Detach this month after"):
        charge_months.detach_month(month=month, at=at)
    [name] = charge_months.detach_month(month=month, at=years_later)
    assert not Charge.objects.filter(pk=kept.pk).exists()
    assert UsedPrice.objects.filter(price=price).exists()
    with refused("charged_once"):
        a_charge(shop, ada, cause=kept.cause).save()
    with refused("a_moment_is_charged_once"):
        a_charge(shop, ada, **span).save()
    with refused("is not the opposite"):
        charges.reverse(charge=kept, because="No.", at=NOON)
    with refused("there is no charge"):
        Dispute.objects.create(charge=kept, subscriber=ada, words="No.", opened_at=NOON)
    assert charge_months.attach_month(month=month) == [name]
    assert Charge.objects.filter(pk=kept.pk).exists()
    with refused("is closed"):
        written(month, shop, ada, id=UUID(int=kept.pk.int + 3))
    disputes.open_dispute(charge=kept, words="It broke off.", actor=None, at=NOON)


def test_the_command_lists_them_and_says_what_hinders(month: datetime) -> None:
    out = StringIO()
    call_command("usage_months", "--charges", stdout=out)
    assert f"{month:%Y-%m}  open\n" in out.getvalue()
    for option, words in (("--close", "Close this"), ("--detach", "Detach this"),
                          ("--attach", "Name a month that was detached")):  # fmt: skip
        with pytest.raises(CommandError, match=words):
            call_command("usage_months", "--charges", option, f"{month:%Y-%m}", stdout=out)
