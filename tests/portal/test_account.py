"""The account: overview, usage, shop, purchases, bills, and whose they are."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ipam.models import AddressServer
from ispops.catalog import publishing
from ispops.catalog.models import ProductOffering
from ispops.parties import roles
from ispops.parties.models import AuditEntry, Subscriber
from ispops.portal.templatetags.portal import span
from provisioning import accounting, partner_orders
from provisioning.models import Service
from rating import billing, posting, prepaid, usage
from rating.accrual import period_at
from rating.models import Charge, CustomerBill, Purchase
from tests import factories
from tests.portal.pages import page
from tests.small_isp import SmallIsp, make_partner

pytestmark = pytest.mark.django_db
PAGES = (
    "/account/",
    "/account/usage/",
    "/account/shop/",
    "/account/spending/",
    "/account/purchases/",
    "/account/bill/",
    "/account/devices/",
    "/account/messages/",
)


@pytest.fixture
def film(isp: SmallIsp, now: datetime) -> ProductOffering:
    """A product that is bought once."""
    offering = publishing.create_offering(
        code="film", name="A film", kind="bsp", provider=isp.films, at=now
    )
    publishing.set_price(offering=offering, charge="one_off", amount=Decimal("3.99"), at=now)
    publishing.set_settlement_term(
        offering=offering,
        role="bsp",
        partner=isp.films,
        basis="percent_of_net",
        percent=Decimal(70),
        at=now,
    )
    return offering


def buy_url(line: Service, offering: ProductOffering) -> str:
    return f"/account/shop/{line.public_id}/{offering.code}/"


def buy(owner: Client, line: Service, offering: ProductOffering) -> Purchase:
    url = buy_url(line, offering)
    key = page(owner.get(url)).value("idempotency_key")
    response = owner.post(url, {"idempotency_key": key})
    assert response.status_code == 302, response.content
    public_id = response["Location"].strip("/").split("/")[-1]
    return Purchase.objects.get(pk=Purchase.key_of(public_id))


def use(line: Service, down: int, up: int, at: datetime) -> None:
    """A session of which the access server reports these octets."""
    server = AddressServer.objects.first() or factories.address_server(at=at)
    session = {
        "User-Name": line.credential.username,
        "Acct-Session-Id": "5f",
        "NAS-IP-Address": "192.0.2.1",
        "Event-Timestamp": int(at.timestamp()),
    }
    for status, seconds, got, sent in (("Start", 0, 0, 0), ("Interim-Update", 60, down, up)):
        counters = {
            "Acct-Status-Type": status,
            "Acct-Session-Time": seconds,
            "Acct-Input-Octets": sent % 2**32,
            "Acct-Input-Gigawords": sent >> 32,
            "Acct-Output-Octets": got % 2**32,
            "Acct-Output-Gigawords": got >> 32,
        }
        accounting.record_accounting(server=server, attributes=session | counters, received_at=at)
    usage.meter_accounting(at=at)
    usage.rate_usage(at=at)


# --- Overview -----------------------------------------------------------------------------------


def test_the_overview_answers_what_a_subscriber_asks(owner: Client, line: Service) -> None:
    found = page(owner.get("/account/"))
    for said in ("Hello, Ada Lovelace", "Fibre 500", "500 Mbit/s", "Active", "Your bill so far"):
        assert said in found.text, said
    assert str(line.premises) in found.text
    assert found.all("a", **{"aria-current": "page"})[0]["href"] == "/account/"


def test_a_line_on_its_way_leads_to_its_order(
    owner: Client, isp: SmallIsp, ada: Subscriber, now: datetime
) -> None:
    order = factories.order(ada, isp.oak_1, isp.fast.code, at=now)
    found = page(owner.get("/account/"))
    assert "Being set up" in found.text
    assert found.all("a", href=f"/orders/{order.public_id}/")


@pytest.mark.parametrize("path", PAGES)
def test_an_account_without_a_line_is_told_what_to_do(owner: Client, path: str) -> None:
    found = page(owner.get(path))
    links = {attrs["href"] for attrs in found.all("a")}
    assert links & {"/", "/account/", "/account/shop/"}


def test_a_restricted_account_is_told_so(
    owner: Client, line: Service, ada: Subscriber, now: datetime
) -> None:
    factories.accounts.set_standing(
        subscriber_id=ada.pk,
        standing="restricted",
        actor=factories.staff("CSR", at=now),
        reason="Two bills are open",
        at=now,
    )
    assert "Your account is restricted" in page(owner.get("/account/")).text


def test_a_login_without_an_account_is_shown_how_to_get_one(client: Client, now: datetime) -> None:
    client.force_login(factories.login(at=now), backend="django.contrib.auth.backends.ModelBackend")
    for path in PAGES:
        found = page(client.get(path, follow=True))
        assert "You have no service with us yet" in found.text


def test_staff_are_sent_to_their_work(client: Client, now: datetime) -> None:
    client.force_login(
        factories.staff("CSR", at=now), backend="django.contrib.auth.backends.ModelBackend"
    )
    response = client.get("/account/none/")
    assert response["Location"].startswith("/console/")


def test_the_page_for_logins_without_an_account_knows_who_has_one(owner: Client) -> None:
    assert owner.get("/account/none/")["Location"] == "/account/"


# --- Usage --------------------------------------------------------------------------------------


def test_usage_is_shown_by_day_and_against_what_is_included(
    owner: Client, line: Service, now: datetime
) -> None:
    use(line, down=400 * 10**9, up=100 * 10**9, at=now)
    found = page(owner.get("/account/usage/"))
    for said in ("500 GB", "of 1 TB included", "50 % used", "400 GB", "100 GB"):
        assert said in found.text, said
    (bar,) = found.all("progress")
    assert (bar["max"], bar["value"], bar["class"]) == ("100", "50", "")
    assert found.all("svg", role="img")
    assert found.all("table")


def test_a_charge_for_use_shows_the_uses_that_it_adds_up(
    owner: Client, line: Service, now: datetime
) -> None:
    use(line, down=1_200 * 10**9, up=0, at=now)
    posting.post_rated_usage(until=now + timedelta(hours=1))
    charge = Charge.objects.get(kind="usage", service=line)
    found = page(owner.get(f"/account/charges/{charge.public_id}/"))
    assert "The uses that it adds up" in found.text
    assert len(found.all("td", **{"data-label": "Quantity"})) == 1


def test_a_little_use_is_not_said_to_be_none(owner: Client, line: Service, now: datetime) -> None:
    assert "0 % used" in page(owner.get("/account/usage/")).text
    use(line, down=10**9, up=0, at=now)
    assert "Less than 1 % used" in page(owner.get("/account/usage/")).text


@pytest.mark.parametrize(
    ("gigabytes", "tone", "value", "said"),
    [(799, "", "79", "left"), (800, "warn", "80", "left"), (1200, "bad", "100", "200 GB more")],
)
def test_the_bar_warns_before_and_after_the_end(
    owner: Client, line: Service, now: datetime, gigabytes: int, tone: str, value: str, said: str
) -> None:
    use(line, down=gigabytes * 10**9, up=0, at=now)
    found = page(owner.get("/account/"))
    (bar,) = found.all("progress")
    assert (bar["class"], bar["value"]) == (tone, value)
    assert said in found.text


def test_usage_of_products_is_what_partners_reported(
    owner: Client, isp: SmallIsp, ada: Subscriber, now: datetime
) -> None:
    line = factories.live_line(isp, ada, isp.streaming.code, at=now)
    usage.record_usage(
        partner=isp.films,
        events=[
            {
                "event_id": "e-1",
                "subscriber_ref": partner_orders.reference_of(partner=isp.films, subscriber=ada),
                "offering": isp.streaming.code,
                "started_at": now.isoformat(),
                "quantity": 90,
                "unit": "minute",
            }
        ],
        received_at=now,
    )
    usage.rate_usage(at=now)
    assert line.carried.exists()
    found = page(owner.get("/account/usage/"))
    assert "90 minutes" in found.text
    assert "Films" in found.text


# --- Shop and purchases -------------------------------------------------------------------------


def test_the_shop_shows_what_the_line_can_carry(
    owner: Client, isp: SmallIsp, line: Service, film: ProductOffering, now: datetime
) -> None:
    cave = publishing.create_offering(
        code="cave", name="Holo cave", kind="bsp", provider=isp.films,
        needs_download_kbps=5_000_000, at=now,
    )  # fmt: skip
    publishing.set_price(offering=cave, charge="recurring", amount=Decimal(99), at=now)
    found = page(owner.get("/account/shop/"))
    assert found.all("a", href=buy_url(line, film))
    assert found.all("a", href=buy_url(line, isp.streaming))
    assert not found.all("a", href=buy_url(line, cave))
    for said in ("USD 3.99 once", "USD 12.00 a month", "What your line cannot carry, and why (1)"):
        assert said in found.text, said


def test_a_purchase_waits_for_its_partner_and_is_ready(
    owner: Client, isp: SmallIsp, line: Service, now: datetime
) -> None:
    bought = buy(owner, line, isp.streaming)
    url = f"/account/purchases/{bought.public_id}/"
    waiting = page(owner.get(url))
    assert "Waiting for the partner" in waiting.text
    assert "taken back by itself" in waiting.text
    (live,) = waiting.all("div", id="purchase")
    assert owner.get(live["hx-get"]).status_code == 204

    factories.confirm_partner_orders(at=timezone.now())
    factories.deliver_events(at=timezone.now())
    ready = page(owner.get(live["hx-get"], headers={"HX-Request": "true"}))
    assert "Ready to use" in ready.text
    assert "hx-get" not in ready.all("div", id="purchase")[0]
    assert ready.all("p", id="purchase-now", **{"hx-swap-oob": "innerHTML"})
    assert "Active" in page(owner.get("/account/shop/")).text
    assert "Films" in page(owner.get("/account/purchases/")).text


def test_a_purchase_the_partner_refuses_is_taken_back_and_explained(
    owner: Client, line: Service, film: ProductOffering, now: datetime
) -> None:
    bought = buy(owner, line, film)
    partner_orders.fail(
        service_order_id=bought.service_order_id,
        partner=film.provider,
        reason="This film is not available today.",
        at=timezone.now(),
    )
    factories.deliver_events(at=timezone.now())
    found = page(owner.get(f"/account/purchases/{bought.public_id}/"))
    for said in (
        "Reversed",
        "This film is not available today.",
        "A film, taken back",
        "USD -3.99",
    ):
        assert said in found.text, said


def test_a_bundle_is_bought_at_once_and_shows_each_part(
    owner: Client, isp: SmallIsp, line: Service, film: ProductOffering, now: datetime
) -> None:
    songs = make_partner("songs", "Songs", "bsp", now)
    song = publishing.create_offering(
        code="song", name="A song", kind="bsp", provider=songs, at=now
    )
    publishing.set_price(offering=song, charge="one_off", amount=Decimal(2), at=now)
    evening = publishing.create_offering(code="evening", name="Evening", kind="package", at=now)
    publishing.define_bundle(bundle=evening, components=[(film, 2), (song, 1)], at=now)
    publishing.set_price(offering=evening, charge="one_off", amount=Decimal(5), at=now)
    shop = page(owner.get("/account/shop/"))
    assert shop.all("a", href=buy_url(line, evening))
    for said in ("A song from Songs", "USD 5.00 once", "USD 0.99 less than one by one"):
        assert said in shop.text, said
    owner.post(buy_url(line, evening), {"idempotency_key": "k"})
    bought = Purchase.objects.get(offering=evening)
    url = f"/account/purchases/{bought.public_id}/"
    waiting = page(owner.get(url))
    for said in ("everybody who makes a part", "A film from Films", "all of it is taken back"):
        assert said in waiting.text, said
    (live,) = waiting.all("div", id="purchase")
    assert owner.get(live["hx-get"]).status_code == 204
    charge = Charge.objects.get(offering=song)
    why = page(owner.get(f"/account/charges/{charge.public_id}/"))
    assert "1.666667 is the part 1 of 3 of the one price of 5.00" in why.text
    assert why.all("a", href=url)
    assert "Not everybody has confirmed" in page(owner.get(f"{url}cancel/")).text
    partner_orders.complete(
        service_order_id=bought.parts.get(offering=song).service_order_id,
        partner=songs, at=timezone.now(),
    )  # fmt: skip
    factories.deliver_events(at=timezone.now())
    assert "Ready to use" in page(owner.get(live["hx-get"])).text
    assert "Films, Songs" in page(owner.get("/account/purchases/")).text


def test_what_is_paid_ahead_is_shown_and_spent(
    owner: Client, ada: Subscriber, line: Service, film: ProductOffering
) -> None:
    csr, now = factories.staff(roles.CSR, at=timezone.now()), timezone.now()
    assert "Paid ahead" not in page(owner.get("/account/")).text
    prepaid.set_prepaid(subscriber_id=ada.pk, is_prepaid=True, actor=csr, reason="x", at=now)
    refused = page(owner.post(buy_url(line, film), {"idempotency_key": "a"}), status=409)
    assert "Pay in more first" in refused.text
    prepaid.top_up(subscriber_id=ada.pk, amount=Decimal(5), reference="R1", actor=csr, at=now)
    buy(owner, line, film)
    for where in ("/account/", "/account/spending/"):
        found = page(owner.get(where)).text
        assert "USD 1.01 left of USD 5.00" in " ".join(found.split()), where


def test_a_limit_of_ones_own_counts_at_once(
    owner: Client, ada: Subscriber, line: Service, film: ProductOffering
) -> None:
    Subscriber.objects.update(spending_limit=Decimal(50))
    url = "/account/spending/"
    for wrong, why in (("60", "The most that we allow"), ("-1", "or 0"), ("x", "or 0")):
        found = page(owner.post(url, {"amount": wrong}), status=422)
        assert why in found.text, wrong
    owner.post(url, {"amount": "5.00"})
    assert 'value="5.00"' in owner.get(url).content.decode()
    ada.refresh_from_db()
    assert (ada.own_limit, ada.may_spend) == (5, 5)
    noted = AuditEntry.objects.get(action="subscriber.own_limit_set")
    assert (noted.actor, noted.detail["before"], noted.detail["after"]) == (
        ada.users.get(), None, "5.00",
    )  # fmt: skip
    buy(owner, line, film)
    for where in (url, "/account/", "/account/shop/"):
        found = page(owner.get(where))
        assert "USD 3.99" in found.text, where
        assert "USD 1.01" in found.text, where
    refused = page(owner.post(buy_url(line, film), {"idempotency_key": "more"}), status=409)
    assert "spending limit" in refused.text
    offered = page(owner.get(buy_url(line, film)))
    text = " ".join(offered.text.split())
    assert "Charged at once, with tax USD 3.99 Left of your spending limit USD 1.01" in text
    assert offered.all("a", href=url)
    assert "Buy now" not in text
    said = page(owner.post(url, {"amount": "3.00"}, follow=True))
    assert "USD 3.99 are spent or held" in " ".join(said.text.split())
    owner.post(url, {"amount": ""})
    ada.refresh_from_db()
    assert (ada.own_limit, ada.may_spend) == (None, 50)
    buy(owner, line, film)


def test_a_purchase_sent_again_is_one_purchase(
    owner: Client, line: Service, film: ProductOffering
) -> None:
    url = buy_url(line, film)
    key = page(owner.get(url)).value("idempotency_key")
    answers = {owner.post(url, {"idempotency_key": key})["Location"] for _ in range(3)}
    assert len(answers) == 1
    assert Purchase.objects.count() == 1


def test_a_refused_purchase_says_why_and_charges_nothing(
    owner: Client, isp: SmallIsp, line: Service
) -> None:
    buy(owner, line, isp.streaming)
    refused = owner.post(buy_url(line, isp.streaming), {"idempotency_key": "another"})
    found = page(refused, status=409)
    assert "It was not bought" in found.text
    assert "already" in found.text
    assert Purchase.objects.count() == 1


@pytest.mark.parametrize("code", ["fibre-500", "extra-address", "nothing"])
def test_only_partner_products_can_be_bought(owner: Client, line: Service, code: str) -> None:
    url = f"/account/shop/{line.public_id}/{code}/"
    assert owner.get(url).status_code == 404
    assert owner.post(url, {"idempotency_key": "k"}).status_code == 404


# --- Bills --------------------------------------------------------------------------------------


def test_amounts_are_read_to_the_cent_and_explained_to_the_last_digit(
    owner: Client, line: Service, film: ProductOffering
) -> None:
    publishing.set_price(
        offering=film, charge="one_off", amount=Decimal("2.375"), at=timezone.now()
    )
    charge = Charge.objects.get(service=buy(owner, line, film).service)
    why = page(owner.get(f"/account/charges/{charge.public_id}/")).text
    assert "Why USD 2.38 ?" in why
    assert "Before tax USD 2.375" in " ".join(why.split())
    bill = page(owner.get("/account/bill/")).text
    assert "USD 2.38" in bill
    assert "USD 2.375" not in bill


def test_a_charge_says_why_it_is_what_it_is(
    owner: Client, line: Service, film: ProductOffering
) -> None:
    bought = buy(owner, line, film)
    charge = Charge.objects.get(service=bought.service)
    found = page(owner.get(f"/account/charges/{charge.public_id}/"))
    for said in (
        "Why USD 3.99 ?",
        "paid once",
        "Films makes the product",
        "USD 2.793",
        "USD 1.197",
    ):
        assert said in found.text, said
    assert found.all("a", href=f"/account/purchases/{bought.public_id}/")


def test_the_running_bill_shows_lines_and_charges(
    owner: Client, line: Service, film: ProductOffering
) -> None:
    bought = buy(owner, line, film)
    charge = Charge.objects.get(service=bought.service)
    found = page(owner.get("/account/bill/"))
    for said in ("Fibre 500", "A film", "USD 3.99", "To pay"):
        assert said in found.text, said
    assert found.all("a", href=f"/account/charges/{charge.public_id}/")
    assert "There is none yet" in found.text


def test_a_span_of_days_names_a_single_day_once() -> None:
    start = datetime(2026, 11, 25, 20, tzinfo=UTC)
    for hours, days in ((1, "Nov 25, 2026"), (24, "Nov 25, 2026 to Nov 26, 2026")):
        words = re.sub("<[^>]+>", "", span(start, start + timedelta(hours=hours)))
        assert words == days


@pytest.fixture
def issued(ada: Subscriber, line: Service, before: datetime) -> CustomerBill:
    period = period_at(ada, before)
    return billing.issue_bill(subscriber=ada, period=period, at=period.end)


def test_an_issued_bill_shows_its_lines_and_charges(owner: Client, issued: CustomerBill) -> None:
    found = page(owner.get(f"/account/bills/{issued.public_id}/"))
    assert f"Bill {issued.number}" in found.text
    assert f"USD {issued.amount_due:,.2f}" in found.text
    charge = Charge.objects.filter(bill_line__bill=issued).first()
    assert charge is not None
    assert found.all("a", href=f"/account/charges/{charge.public_id}/")
    why = page(owner.get(f"/account/charges/{charge.public_id}/"))
    assert why.all("a", href=f"/account/bills/{issued.public_id}/")
    listed = page(owner.get("/account/bill/"))
    assert listed.all("a", href=f"/account/bills/{issued.public_id}/")


# --- Whose it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_visitor_signs_in_first_and_comes_back(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == f"/accounts/login/?next={path}"


def test_a_strangers_pages_show_nothing_of_others(
    stranger: Client, owner: Client, isp: SmallIsp, line: Service
) -> None:
    buy(owner, line, isp.streaming)
    for path in PAGES:
        found = page(stranger.get(path))
        assert "Ada" not in found.text
        assert "Fibre 500" not in found.text


def test_objects_are_their_owners_alone(
    client: Client,
    stranger: Client,
    owner: Client,
    line: Service,
    film: ProductOffering,
    issued: CustomerBill,
) -> None:
    bought = buy(owner, line, film)
    charge = Charge.objects.filter(service=bought.service).get()
    for address in (
        f"/account/purchases/{bought.public_id}/",
        f"/account/purchases/{bought.public_id}/state/",
        f"/account/charges/{charge.public_id}/",
        f"/account/bills/{issued.public_id}/",
        buy_url(line, film),
    ):
        assert owner.get(address).status_code == 200, address
        assert stranger.get(address).status_code == 404, address
        assert client.get(address).status_code == 302, address
    before = Purchase.objects.count()
    for other in (stranger, client):
        other.post(buy_url(line, film), {"idempotency_key": "theirs"})
    assert Purchase.objects.count() == before


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/account/", 34),
        ("/account/usage/", 30),
        ("/account/shop/", 26),
        ("/account/purchases/", 6),
        ("/account/bill/", 24),
        ("/account/devices/", 12),
    ],
)
def test_the_queries_of_each_page_stay_few(
    owner: Client,
    isp: SmallIsp,
    line: Service,
    film: ProductOffering,
    now: datetime,
    path: str,
    most: int,
    django_assert_max_num_queries: Callable[[int], Any],
) -> None:
    """The budget holds however much there is: everything is there twice, or more often."""
    for _ in range(3):
        buy(owner, line, film)
    buy(owner, line, isp.streaming)
    use(line, down=10**9, up=10**8, at=now)
    with django_assert_max_num_queries(most):
        owner.get(path)
