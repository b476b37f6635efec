"""The API: a partner reports and sees its own; another partner, a reader and a stranger do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from allauth.idp.oidc.models import Token
from django.test import Client
from django.urls import reverse

from ispops import db
from ispops.catalog import publishing
from ispops.parties import programs
from ispops.parties.models import Partner, Subscriber
from provisioning import partner_orders
from provisioning.models import Service
from rating import consents, settlement, standing
from rating.models import Charge, Purchase, Usage, UsagePack
from tests.rating.calls import token
from tests.rating.ground import (
    JUNE,
    MAY,
    NOON,
    Shop,
    buy,
    event,
    package,
    posted,
    product,
    rate,
    report,
    subscribed,
)
from tests.rating.plenty import data_pack
from tests.small_isp import LAUNCH

pytestmark = pytest.mark.django_db
ALL = [
    "usage:read", "usage:write", "purchases:read", "purchases:write", "settlement:read",
    "settlement:write",
]  # fmt: skip
Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """The API takes the time from the clock."""
    with time_machine.travel(NOON + timedelta(hours=2), tick=False):
        yield


@pytest.fixture
def ask(db: None, client: Client) -> Ask:
    """Call the API as a partner's program, or as nobody."""

    def call(partner: Partner | None, name: str, body: Any = None, **how: Any) -> Any:
        headers = dict(how.get("headers", {}))
        if partner is not None:
            headers["Authorization"] = f"Bearer {token(partner, how.get('scopes', ALL))}"
        address = reverse(name, args=how.get("args", [])) + how.get("query", "")
        if body is None:
            return client.get(address, headers=headers)
        return client.post(address, body, content_type="application/json", headers=headers)

    return call


@pytest.fixture
def watching(shop: Shop, line: Service) -> Service:
    return subscribed(line, shop.minutes)


class TestReportingUse:
    def test_one_event(self, shop: Shop, line: Service, watching: Service, ask: Ask) -> None:
        told = event(line, shop.minutes, 150)
        answer = ask(shop.films, "usage", told)
        assert answer.status_code == 200
        assert answer.json() == {
            "accepted": 1,
            "duplicates": 0,
            "conflicts": 0,
            "in_error": 0,
            "rejected": 0,
            "results": [
                {
                    "event_id": told["event_id"],
                    "status": "accepted",
                    "code": "",
                    "reason": "",
                    "field": "",
                }
            ],
        }
        assert Usage.objects.get().service == watching

    def test_many_events_each_with_its_answer(
        self, shop: Shop, line: Service, watching: Service, ask: Ask
    ) -> None:
        good = event(line, shop.minutes)
        events = [good, good, good | {"quantity": 11}, event(line, shop.minutes, 0), 7]
        answer = ask(shop.films, "usage", {"events": events}).json()
        assert [row["status"] for row in answer["results"]] == [
            "accepted",
            "duplicate",
            "conflict",
            "rejected",
            "rejected",
        ]
        assert (answer["accepted"], answer["duplicates"], answer["conflicts"]) == (1, 1, 1)
        assert (answer["rejected"], answer["results"][3]["field"]) == (2, "quantity")
        assert Usage.objects.count() == 1

    def test_the_first_answer_to_a_key_is_repeated(
        self, shop: Shop, line: Service, watching: Service, ask: Ask
    ) -> None:
        told = event(line, shop.minutes)
        key = {"headers": {"Idempotency-Key": "k1"}}
        first = ask(shop.films, "usage", told, **key)
        again = ask(shop.films, "usage", told, **key)
        assert (again.content, again.headers["Idempotent-Replay"]) == (first.content, "true")
        other = ask(shop.films, "usage", told | {"quantity": 3}, **key)
        assert other.status_code == 409
        without = ask(shop.films, "usage", told).json()
        assert without["duplicates"] == 1

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ("[]", 422, "invalid_input"),
            ('"event"', 422, "invalid_input"),
            ('{"events": {}}', 422, "invalid_input"),
            ('{"events": []}', 422, "invalid_input"),
            ('{"events": [', 400, "parse_error"),
        ],
    )
    def test_a_body_that_is_no_report(
        self, shop: Shop, ask: Ask, body: str, status: int, code: str
    ) -> None:
        answer = ask(shop.films, "usage", body)
        assert (answer.status_code, answer.headers["Content-Type"]) == (
            status,
            "application/problem+json",
        )
        assert answer.json()["type"] == f"/problems/{code}"

    def test_use_of_another_partners_product_is_not_taken(
        self, shop: Shop, line: Service, watching: Service, ask: Ask
    ) -> None:
        told = event(line, shop.minutes)
        answer = ask(shop.backup, "usage", told).json()
        assert answer["results"][0]["code"] == "unknown_subscriber"
        assert Usage.objects.get().subscriber is None

    def test_the_list_shows_own_reports_and_how_far_they_are(
        self, shop: Shop, line: Service, watching: Service, ask: Ask
    ) -> None:
        told = event(line, shop.minutes, 150)
        report(shop.films, told)
        rate()
        report(shop.films, event(line, shop.minutes, unit="hour"))
        rate()
        items = ask(shop.films, "usage").json()["items"]
        assert [i["id"] for i in items] == [
            db.opaque_id("usg", use.pk) for use in Usage.objects.order_by("-pk")
        ]
        assert [(i["state"], i["error_code"], i["is_charged"]) for i in items] == [
            ("error", "no_price", False),
            ("rated", "", False),
        ]
        assert items[1]["share"] == "0.700000"
        posted(line.subscriber)
        items = ask(shop.films, "usage").json()["items"]
        assert [item["is_charged"] for item in items] == [False, True]
        assert (items[1]["event_id"], items[1]["offering"]) == (told["event_id"], "minutes")
        [found] = ask(shop.films, "usage", query="?state=rated").json()["items"]
        assert found["subscriber_ref"] == told["subscriber_ref"]
        assert ask(shop.films, "usage", query="?event_id=none").json()["items"] == []
        assert ask(shop.films, "usage", query="?state=lost").status_code == 422
        assert ask(shop.backup, "usage").json()["items"] == []


class TestMoney:
    def test_shares_are_the_callers_own_and_nothing_else(
        self, shop: Shop, line: Service, watching: Service, ask: Ask
    ) -> None:
        buy(line, shop.film)
        report(shop.films, event(line, shop.minutes, 150))
        rate()
        posted(line.subscriber)
        items = ask(shop.films, "settlement-shares").json()["items"]
        assert [(i["offering"], i["share"], i["currency"]) for i in items] == [
            ("minutes", "0.700000", "USD"),
            ("film", "3.493000", "USD"),
        ]
        assert set(items[0]) == {
            "id", "kind", "subscriber_ref", "offering", "quantity", "unit", "period_start",
            "period_end", "share", "currency", "charged_at", "reverses", "corrects",
        }  # fmt: skip
        for retail in ("4.99", "1.00", "0.499", "Ada"):
            assert retail not in json.dumps(items)
        assert ask(shop.backup, "settlement-shares").json()["items"] == []
        [use] = ask(shop.films, "settlement-shares", query="?kind=usage").json()["items"]
        assert use["quantity"] == 150

    def test_purchases_are_of_own_products(self, shop: Shop, line: Service, ask: Ask) -> None:
        film = buy(line, shop.film)
        buy(line, shop.storage)
        [item] = ask(shop.films, "purchases").json()["items"]
        assert (item["id"], item["state"], item["offering"]) == (
            film.public_id,
            "pending",
            "film",
        )
        assert item["service_order"] == film.service_order.public_id
        one = {"args": [film.public_id]}
        assert ask(shop.films, "purchase", **one).json() == item
        assert ask(shop.backup, "purchase", **one).status_code == 404
        assert ask(shop.films, "purchase", args=["pur_none"]).status_code == 404
        assert ask(shop.films, "purchases", query="?state=completed").json()["items"] == []

    def test_statements_are_the_callers_own(self, shop: Shop, line: Service, ask: Ask) -> None:
        buy(line, shop.film)
        [statement] = settlement.settle_period(partner=shop.films, period=MAY, at=JUNE.end)
        [item] = ask(shop.films, "statements").json()["items"]
        assert (item["id"], Decimal(item["amount"]), item["charge_count"]) == (
            statement.public_id,
            Decimal("3.493"),
            1,
        )
        assert ask(shop.backup, "statements").json()["items"] == []

    def test_pages_follow_each_other(self, shop: Shop, line: Service, ask: Ask) -> None:
        for _ in range(5):
            buy(line, shop.film)
        seen = []
        page = ask(shop.films, "settlement-shares", query="?limit=2").json()
        while True:
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            query = "?" + page["next"].partition("?")[2]
            page = ask(shop.films, "settlement-shares", query=query).json()
        assert seen == [c.public_id for c in Charge.objects.order_by("-pk")]


@pytest.mark.parametrize("name", ["usage", "purchases", "settlement-shares", "statements"])
class TestWhoMayAsk:
    def test_a_stranger_needs_a_token(self, ask: Ask, name: str) -> None:
        answer = ask(None, name)
        assert (answer.status_code, "Bearer" in answer.headers["WWW-Authenticate"]) == (401, True)

    def test_a_token_for_something_else_is_not_enough(
        self, shop: Shop, ask: Ask, name: str
    ) -> None:
        assert ask(shop.films, name, scopes=["orders:read"]).status_code == 403

    def test_a_partner_that_has_left(self, shop: Shop, ask: Ask, name: str) -> None:
        Partner.objects.filter(pk=shop.films.pk).update(active=False)
        assert ask(shop.films, name).status_code == 403

    def test_the_number_of_queries_does_not_grow(
        self, shop: Shop, line: Service, ask: Ask, name: str, django_assert_max_num_queries
    ) -> None:
        for _ in range(5):
            buy(line, shop.film)
        film = event(line, shop.film)
        report(shop.films, *[film | {"event_id": f"{n}"} for n in range(5)])
        made = token(shop.films, ALL)
        with django_assert_max_num_queries(6):
            answer = Client().get(reverse(name), headers={"Authorization": f"Bearer {made}"})
        assert answer.status_code == 200


def test_reading_is_not_writing(shop: Shop, line: Service, ask: Ask) -> None:
    told = event(line, shop.minutes)
    assert ask(shop.films, "usage", told, scopes=["usage:read"]).status_code == 403
    assert Usage.objects.count() == 0


def test_the_contract_names_every_call_and_field() -> None:
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(request=None, public=True)
    report_call = schema["paths"]["/api/v1/usage"]["post"]
    assert set(report_call["responses"]) >= {"200"}
    schemas = schema["components"]["schemas"]
    [row] = [schemas[name]["properties"] for name in schemas if name.startswith("RowResult")]
    assert set(row) == {"event_id", "status", "code", "reason", "field"}
    for path in ("purchases", "purchases/{public_id}", "settlement_shares", "statements"):
        assert "get" in schema["paths"][f"/api/v1/{path}"]


class TestClaims:
    """A partner cancels, gives back and disputes what is its own, and nothing else."""

    KEY = {"Idempotency-Key": "k-1"}

    def test_cancelling_an_own_purchase(self, shop: Shop, line: Service, ask: Ask) -> None:
        film = buy(line, shop.film)
        how = {"args": [film.public_id], "headers": self.KEY}
        said = {"reason": "Not licensed here"}
        assert ask(shop.backup, "purchase-cancellation", said, **how).status_code == 404
        answer = ask(shop.films, "purchase-cancellation", said, **how)
        assert answer.json()["state"] == "cancelled"
        assert ask(shop.films, "purchase-cancellation", said, **how).json() == answer.json()
        assert sum(c.amount_net for c in Charge.objects.all()) == 0

    def test_giving_a_part_back_and_disputing(self, shop: Shop, line: Service, ask: Ask) -> None:
        buy(line, shop.film)
        share = ask(shop.films, "settlement-shares").json()["items"][0]["id"]
        how = {"args": [share], "headers": self.KEY}
        assert ask(shop.backup, "share-refunds", {"reason": "x"}, **how).status_code == 404
        wrong = ask(shop.films, "share-refunds", {"reason": "x", "percent": "NaN"}, **how)
        assert wrong.status_code == 422
        answer = ask(shop.films, "share-refunds", {"reason": "x", "percent": "50"}, **how)
        assert (answer.status_code, answer.json()["share"]) == (201, "-1.746500")
        assert answer.json()["corrects"] == share
        more = ask(shop.films, "share-refunds", {"reason": "x", "percent": "60"},
                   args=[share], headers={"Idempotency-Key": "k-2"})  # fmt: skip
        assert (more.status_code, more.json()["errors"][0]["field"]) == (409, "percent")
        how["headers"] = {"Idempotency-Key": "k-3"}
        opened = ask(shop.films, "share-disputes", {"words": "80 % was agreed"}, **how)
        assert (opened.status_code, opened.json()["state"]) == (201, "open")
        listed = ask(shop.films, "disputes", query="?state=open").json()["items"]
        assert listed == [opened.json()]
        assert ask(shop.films, "disputes", query="?state=x").status_code == 422
        one = opened.json()["id"]
        assert ask(shop.films, "dispute", args=[one]).json() == opened.json()
        assert ask(shop.backup, "dispute", args=[one]).status_code == 404

    def test_reading_is_not_enough(self, shop: Shop, line: Service, ask: Ask) -> None:
        film = buy(line, shop.film)
        for name, ref in (("purchase-cancellation", film), ("share-refunds", film)):
            how = {"args": [ref.public_id], "headers": self.KEY}
            scopes = ["purchases:read", "settlement:read"]
            assert ask(shop.films, name, {"reason": "x"}, scopes=scopes, **how).status_code == 403


class TestPurchaseRequests:
    def body(self, shop: Shop, ada: Subscriber, **other: str) -> dict[str, str]:
        reference = partner_orders.reference_of(partner=shop.films, subscriber=ada)
        return {"subscriber_ref": reference, "offering": "film", **other}

    def test_asking_and_taking_it_back(
        self, shop: Shop, line: Service, ada: Subscriber, ask: Ask
    ) -> None:
        body = self.body(shop, ada, words="The one you looked for")
        how = {"headers": {"Idempotency-Key": "r-1"}}
        asked = ask(shop.films, "purchase-requests", body, **how)
        assert (asked.status_code, asked.json()["state"]) == (201, "waiting")
        assert ask(shop.films, "purchase-requests", body, **how).json() == asked.json()
        [listed] = ask(shop.films, "purchase-requests", query="?state=waiting").json()["items"]
        assert (listed, asked["Location"]) == (asked.json(), asked.json()["href"])
        assert "Ada" not in json.dumps(listed)
        one = {"args": [listed["id"]]}
        assert ask(shop.backup, "purchase-request", **one).status_code == 404
        back = ask(shop.films, "purchase-request-withdrawal", {}, **one,
                   headers={"Idempotency-Key": "r-2"})  # fmt: skip
        assert back.json()["state"] == "withdrawn"
        assert ask(shop.films, "purchase-request", **one).json() == back.json()

    def test_what_is_not_its_own_names_the_field(
        self, shop: Shop, line: Service, ada: Subscriber, ask: Ask
    ) -> None:
        for number, (other, field) in enumerate(
            (({"offering": "storage"}, "offering"), ({"subscriber_ref": "x"}, "subscriber_ref"))
        ):
            how = {"headers": {"Idempotency-Key": f"r-{number}"}}
            wrong = ask(shop.films, "purchase-requests", self.body(shop, ada, **other), **how)
            assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, field)


class TestReservations:
    def test_hold_use_and_release(
        self, shop: Shop, line: Service, ada: Subscriber, ask: Ask
    ) -> None:
        reference = partner_orders.reference_of(partner=shop.films, subscriber=ada)
        body = {
            "subscriber_ref": reference, "offering": "film", "net": "10",
            "held_until": (NOON + timedelta(hours=3)).isoformat(),
        }  # fmt: skip
        keys = ({"Idempotency-Key": f"v-{n}"} for n in range(9))
        assert ask(shop.films, "reservations", body, headers=next(keys)).status_code == 409
        standing.give(
            subscriber=ada, partner=shop.films, monthly_limit=Decimal(20), user=ada.users.get(),
            at=NOON,
        )  # fmt: skip
        made = ask(shop.films, "reservations", body, headers=next(keys))
        assert (made.status_code, made.json()["is_live"]) == (201, True)
        one = {"args": [made.json()["id"]]}
        used = ask(shop.films, "reservation-uses", {"net": "4"}, headers=next(keys), **one)
        assert used.json()["used_net"] == "4.000000"
        more = ask(shop.films, "reservation-uses", {"net": "7"}, headers=next(keys), **one)
        assert (more.status_code, more.json()["errors"][0]["field"]) == (409, "net")
        [bucket] = ask(shop.films, "partner-balance", args=[reference]).json()["buckets"]
        assert (bucket["used"], bucket["reserved"], bucket["remaining"]) == (
            "4.400000", "6.600000", "9.000000",
        )  # fmt: skip
        assert ask(shop.backup, "partner-balance", args=[reference]).status_code == 404
        assert ask(shop.backup, "reservation", **one).status_code == 404
        over = ask(shop.films, "reservation-release", {}, headers=next(keys), **one).json()
        assert not over["is_live"]
        assert ask(shop.films, "reservations", query="?live=true").json()["items"] == []
        assert ask(shop.films, "reservations", query="?live=false").json()["items"] == [over]
        wrong = ask(shop.films, "reservations", body | {"net": "x"}, headers=next(keys))
        assert wrong.status_code == 422


class TestAccounts:
    """A subscriber's program buys, cancels and disputes of its own accounts."""

    @pytest.fixture
    def call(self, ada: Subscriber, client: Client) -> Ask:
        def call(
            name: str, body: Any = None, *, user: Any = None, key: str = "k", **how: Any
        ) -> Any:
            user = user or ada.users.get()
            made = Token(
                type=Token.Type.ACCESS_TOKEN, user=user, client_id=programs.CLIENT_SOFTWARE
            )
            made.set_value(value := f"user-token-{Token.objects.count()}")
            made.set_scopes(["purchases:read", "purchases:write"])
            made.save()
            headers = {"Authorization": f"Bearer {value}", "Idempotency-Key": key}
            address = reverse(name, args=how.get("args", []))
            if body is None:
                return client.get(address, headers=headers)
            return client.post(address, body, content_type="application/json", headers=headers)

        return call

    def test_buying_and_cancelling(self, shop: Shop, line: Service, call: Ask) -> None:
        asked = {"line": line.public_id, "offering": "film"}
        bought = call("account-purchases", asked)
        assert (bought.status_code, bought.json()["state"]) == (201, "pending")
        assert call("account-purchases", asked).json() == bought.json()
        assert call("account-purchases").json()["items"] == [bought.json()]
        wrong = call("account-purchases", asked | {"line": "svc_x"}, key="other")
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "line")
        one = {"args": [bought.json()["id"]], "key": "k-2"}
        assert call("account-purchase-cancellation", {}, **one).json()["state"] == "cancelled"

    def test_a_bundle_is_one_purchase(self, shop: Shop, line: Service, call: Ask) -> None:
        song = product("song", "A song", shop.backup, LAUNCH)
        evening = package("evening", (shop.film, 2), (song, 1))
        publishing.set_price(offering=evening, charge="one_off", amount=Decimal(5), at=LAUNCH)
        asked = {"line": line.public_id, "offering": "evening"}
        bought = call("account-purchases", asked).json()
        assert [(part["offering"], part["state"]) for part in bought["parts"]] == [
            ("film", "pending"), ("song", "pending"),
        ]  # fmt: skip
        assert call("account-purchases").json()["items"] == [bought]
        part = {"args": [bought["parts"][0]["id"]], "key": "k-2"}
        assert call("account-purchase-cancellation", {}, **part).status_code == 404
        one = {"args": [bought["id"]], "key": "k-3"}
        ended = call("account-purchase-cancellation", {}, **one).json()
        assert {ended["state"], *(part["state"] for part in ended["parts"])} == {"cancelled"}

    def test_more_data_is_there_at_once(self, shop: Shop, line: Service, call: Ask) -> None:
        asked = {"line": line.public_id, "offering": data_pack(shop.isp.fast).code}
        bought = call("account-purchases", asked)
        assert (bought.status_code, bought.json()["state"]) == (201, "completed")
        assert call("account-purchases", asked).json() == bought.json()
        assert UsagePack.objects.get().service == line

    def test_a_charge_says_why_and_can_be_disputed(
        self, shop: Shop, line: Service, bob: Subscriber, call: Ask
    ) -> None:
        buy(line, shop.film)
        [charge] = call("account-charges").json()["items"]
        assert charge["why"]["rule"] == "A price that is paid once"
        how = {"args": [charge["id"]]}
        opened = call("charge-disputes", {"words": "I never saw it."}, **how)
        assert opened.status_code == 201
        assert call("account-disputes").json()["items"] == [opened.json()]
        other = bob.users.get()
        assert call("account-charges", user=other).json()["items"] == []
        assert call("charge-disputes", {"words": "x"}, user=other, **how).status_code == 404

    def test_what_a_partner_asks_for_is_answered(
        self, shop: Shop, line: Service, ada: Subscriber, bob: Subscriber, call: Ask
    ) -> None:
        asked = consents.request_purchase(
            partner=shop.films,
            subscriber_ref=partner_orders.reference_of(partner=shop.films, subscriber=ada),
            offering_code="film", idempotency_key="r", at=NOON,
        )  # fmt: skip
        one = {"args": [asked.public_id]}
        assert len(call("account-purchase-requests").json()["items"]) == 1
        seen = call("account-purchase-request", **one).json()
        assert seen["offer"]["in_words"] == "USD 5.49 once, with tax"
        said = {"shown": seen["offer"]["shown"]}
        other = {"user": bob.users.get(), "key": "b"}
        assert call("purchase-request-agreement", said, **one, **other).status_code == 404
        agreed = call("purchase-request-agreement", said, **one).json()
        assert (agreed["state"], agreed["purchase"]) == ("agreed", Purchase.objects.get().public_id)
        late = call("purchase-request-refusal", {}, **one, key="late")
        assert late.status_code == 409

    def test_a_standing_consent(self, shop: Shop, line: Service, call: Ask) -> None:
        wrong = call("standing-consents", {"partner": "nobody", "monthly_limit": "1"})
        assert wrong.json()["errors"][0]["field"] == "partner"
        body = {"partner": shop.films.code, "monthly_limit": "20.00"}
        given = call("standing-consents", body, key="s").json()
        assert (given["left"], given["ended_at"]) == ("20.000000", None)
        ended = call("standing-consent-withdrawal", {}, args=[given["id"]], key="w").json()
        assert ended["ended_at"] is not None
        assert call("standing-consents").json()["items"] == [ended]

    def test_what_is_left(self, shop: Shop, line: Service, ada: Subscriber, call: Ask) -> None:
        buy(line, shop.film)
        [balance] = call("account-balances").json()
        spending = balance["buckets"][0]
        assert (balance["subscriber"], balance["owed"]) == (ada.public_id, "0.000000")
        assert (spending["kind"], spending["used"], spending["allowed"]) == (
            "spending_limit", "5.489000", None,
        )  # fmt: skip
