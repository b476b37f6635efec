"""The usage page: what is included, what it will come to, what helps, each partner's product."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client

from ispops.catalog import fair_use, publishing
from ispops.parties.models import Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import billing, posting, purchases, usage, watching
from rating.accrual import period_at
from rating.models import Purchase, UsagePack
from tests import factories
from tests.portal.pages import page
from tests.portal.test_account import use
from tests.rating.plenty import data_pack, moderate
from tests.small_isp import SmallIsp

pytestmark = pytest.mark.django_db
GB, TB = 10**9, 10**12
URL = "/account/usage/"


@pytest.fixture
def streaming(isp: SmallIsp, ada: Subscriber, line: Service, now: datetime) -> Service:
    """A product by the minute that the line carries: 100 are included, then 0.333 each."""
    product = publishing.create_offering(
        code="minutes", name="Game hours", kind="bsp", provider=isp.films, is_subscription=True,
        at=now,
    )  # fmt: skip
    publishing.set_price(
        offering=product, charge="usage", amount=Decimal("0.333"), unit="minute", allowance=100,
        at=now,
    )  # fmt: skip
    bought = purchases.place_purchase(
        subscriber=ada, line=line, offering=product, channel="portal", placed_by=None,
        idempotency_key="k", at=now,
    )  # fmt: skip
    assert bought.service_order_id is not None
    purchases.complete_purchase(service_order_id=bought.service_order_id, at=now)
    return bought.service  # type: ignore[return-value]


def play(
    service: Service,
    minutes: int,
    now: datetime,
    unit: str = "minute",
    reported: datetime | None = None,
) -> None:
    offering = service.offering
    usage.record_usage(
        partner=offering.provider,  # type: ignore[arg-type]
        events=[
            {
                "event_id": f"e-{minutes}",
                "subscriber_ref": partner_orders.reference_of(
                    partner=offering.provider,  # type: ignore[arg-type]
                    subscriber=service.subscriber,
                ),
                "offering": offering.code,
                "started_at": now.isoformat(),
                "quantity": minutes,
                "unit": unit,
            }
        ],
        received_at=reported or now,
    )
    usage.rate_usage(at=reported or now)


def test_what_use_has_cost_is_what_the_bill_says(
    owner: Client, ada: Subscriber, line: Service, streaming: Service, now: datetime
) -> None:
    play(streaming, 107, now)
    use(line, down=TB + 25 * GB, up=0, at=now)
    found = page(owner.get(URL)).text
    preview = billing.running_bill(subscriber=ada, at=now)
    amounts = {x.offering: x.amount_net for x in preview.lines if x.charge_kind == "usage"}
    assert amounts[streaming.offering] == Decimal("2.33")
    assert amounts[line.offering] > 0
    for amount in amounts.values():
        assert f"USD {amount:.2f}" in found
    for said in ("107 minutes", "100 minutes, all used", "25 GB more"):
        assert said in found, said
    bill = page(owner.get("/account/bill/")).text
    assert all(f"USD {amount:.2f}" in bill for amount in amounts.values())


def test_what_was_reported_wrongly_costs_nothing_yet(
    owner: Client, streaming: Service, now: datetime
) -> None:
    play(streaming, 107, now)
    play(streaming, 31, now, unit="event")
    found = page(owner.get(URL)).text
    assert found.count("Not charged yet: being looked into") == 1
    assert "107 minutes" in found
    assert "USD 2.33" in found
    assert "USD 0.00" not in found


def test_an_issued_bill_is_what_counts_for_its_period(
    owner: Client, ada: Subscriber, line: Service, streaming: Service, now: datetime
) -> None:
    play(streaming, 107, now)
    period = period_at(ada, now)
    billing.issue_bill(subscriber=ada, period=period, at=period.end)
    later = period.end + timedelta(days=3)
    with time_machine.travel(later, tick=False):
        owner.force_login(ada.users.get(), backend="django.contrib.auth.backends.ModelBackend")
        running = page(owner.get(URL)).text
        first_day = period.start.date().isoformat()
        before = page(owner.get(URL, {"period": first_day})).text
        unknown = page(owner.get(URL, {"period": "never"})).text
    assert "USD 2.33" not in running
    assert "USD 2.33" in before
    assert "107 minutes" in before
    assert "Starts again" not in before
    assert "107 minutes" not in unknown


def test_what_is_reported_late_is_no_cost_of_the_running_period(
    owner: Client, ada: Subscriber, streaming: Service, now: datetime
) -> None:
    play(streaming, 107, now)
    period = period_at(ada, now)
    billing.issue_bill(subscriber=ada, period=period, at=period.end)
    later = period.end + timedelta(days=3)
    play(streaming, 10, now, reported=later)
    play(streaming, 103, later)
    with time_machine.travel(later, tick=False):
        owner.force_login(ada.users.get(), backend="django.contrib.auth.backends.ModelBackend")
        bill = page(owner.get("/account/bill/")).text
        running = page(owner.get(URL)).text
        after = period_at(ada, later)
        billing.issue_bill(subscriber=ada, period=after, at=after.end)
        issued = page(owner.get(URL)).text
    assert bill.count("reported late") == 2
    for said in ("USD 3.33", "USD 1.00"):
        assert said in bill
    for found in (running, issued):
        assert "103 minutes" in found
        assert "USD 1.00" in found
        assert "USD 3.33" not in found
        assert "USD 4.33" not in found


def test_it_says_how_it_goes_on(owner: Client, line: Service, now: datetime) -> None:
    start = period_at(line.subscriber, now).start
    use(line, down=100 * GB, up=0, at=start + timedelta(hours=1))
    with time_machine.travel(start + timedelta(days=1), tick=False):
        early = page(owner.get(URL)).text
    with time_machine.travel(start + timedelta(days=10), tick=False):
        found = page(owner.get(URL)).text
    assert "after the first two days" in early
    assert "if it goes on like this" in found
    assert "You used 10 GB a day in the 10 days gone." in found
    assert "That is within what is included." in found


def test_fair_use_is_announced_said_and_helped(
    owner: Client, isp: SmallIsp, line: Service, now: datetime
) -> None:
    moderate(isp.fast, TB + 500 * GB, at=now)
    pack = data_pack(isp.fast)
    assert "from 1.5 TB in a period on" in page(owner.get(URL)).text
    use(line, down=2 * TB, up=0, at=now)
    watching.look(at=now)
    for address in (URL, "/account/"):
        found = page(owner.get(address)).text
        assert "Your line is slower until" in found
        assert "8 Mbit/s download and 2 Mbit/s upload" in found
        assert "100 GB more, USD 5.00" in found
    more = f"/account/usage/{line.public_id}/more/{pack.code}/"
    asked = page(owner.get(more))
    assert "USD 5.00 once" in asked.text
    key = asked.value("idempotency_key")
    for _ in range(2):
        answer = owner.post(more, {"idempotency_key": key})
        assert answer.status_code == 302
    assert (Purchase.objects.count(), UsagePack.objects.count()) == (1, 1)
    bought = page(owner.get(answer["Location"])).text
    assert "It is there, for all that you use from now on." in bought
    assert "USD 5.00" in bought
    factories.deliver_events(at=now + timedelta(minutes=1))
    found = page(owner.get(URL)).text
    assert "Your line is slower until" not in found
    assert "1 TB with your plan, 100 GB bought" in found
    fair_use.end_fair_use(offering=isp.fast, at=now + timedelta(minutes=1))


def test_hours_that_do_not_count_are_told_apart(
    owner: Client, isp: SmallIsp, line: Service, now: datetime
) -> None:
    before = period_at(line.subscriber, now).start
    isp.fast.prices.filter(charge="usage").update(valid_to=before)
    all_day = {"name": "Always", "days": list(range(7)), "start": "00:00", "end": "23:59",
               "amount": "0", "counts": False}  # fmt: skip
    publishing.set_price(
        offering=isp.fast, charge="usage", amount=Decimal(1), unit="byte", bands=[all_day],
        allowance=TB, block_size=GB, at=before,
    )  # fmt: skip
    found = page(owner.get(URL)).text
    assert "were used in hours that do not count: Always (00:00 to 23:59)." in found


def test_as_a_file(
    owner: Client, stranger: Client, line: Service, streaming: Service, now: datetime
) -> None:
    use(line, down=7 * GB, up=3 * GB, at=now)
    play(streaming, 30, now)
    play(streaming, 4, now, unit="evening")
    (link,) = [a for a in page(owner.get(URL)).all("a") if a.get("href", "").endswith(".csv")]
    answer = owner.get(link["href"])
    rows: list[Any] = list(csv.DictReader(io.StringIO(answer.content.decode())))
    names = ("Product", "Unit", "Download", "Quantity", "Counted")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("Fibre 500", "byte", str(7 * GB), str(10 * GB), "yes"),
        ("Game hours", "evening", "0", "4", "no, being looked into"),
        ("Game hours", "minute", "0", "30", "yes"),
    ]
    assert stranger.get(link["href"]).status_code == 404
    assert owner.get(link["href"].replace(".csv", "-9.csv")).status_code == 404


def test_what_cost_nothing_is_folded_away_on_the_bill(
    owner: Client, line: Service, now: datetime
) -> None:
    use(line, down=7 * GB, up=3 * GB, at=now)
    posting.post_rated_usage(until=now + timedelta(hours=1))
    found = page(owner.get("/account/bill/"))
    assert "What cost nothing (1)" in found.text
    assert found.text.index("What cost nothing") < found.text.index("Fibre 500, 10 GB")


def test_what_cannot_be_bought_is_not_there(
    owner: Client, stranger: Client, isp: SmallIsp, line: Service
) -> None:
    more = f"/account/usage/{line.public_id}/more/"
    assert owner.get(f"{more}nothing/").status_code == 404
    pack = data_pack(isp.fast)
    assert stranger.get(f"{more}{pack.code}/").status_code == 404
    Subscriber.objects.filter(pk=line.subscriber_id).update(standing="restricted")
    refused = owner.post(f"{more}{pack.code}/", {"idempotency_key": "k"})
    assert "Nothing is charged." in page(refused, 409).text
    assert not Purchase.objects.exists()
