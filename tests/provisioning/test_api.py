"""The API: subscribers' product orders and partners' service orders; owners, others, strangers."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from pytest_django import DjangoAssertNumQueries

from ispops.parties.models import Partner, Subscriber
from provisioning.models import ProductOrder, ServiceOrder
from qualification.models import ServiceQualification
from tests import factories
from tests.provisioning import ground
from tests.small_isp import SmallIsp

API = "/api/v1"


@pytest.fixture
def qualification(isp: SmallIsp, now: datetime) -> ServiceQualification:
    return factories.qualified(isp.oak_1, at=now)


def post(web: Client, path: str, body: Any, headers: dict[str, str], key: str = "k1") -> Any:
    return web.post(
        API + path, json.dumps(body), content_type="application/json",
        headers=headers | ({"Idempotency-Key": key} if key else {}),
    )  # fmt: skip


def problem(response: Any, status: int, code: str, field: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{code}", body
    if field:
        assert [error["field"] for error in body["errors"]] == [field]
    return body


class TestPlacing:
    @pytest.fixture
    def body(self, qualification: ServiceQualification) -> dict[str, Any]:
        return {"qualification": qualification.public_id, "offering_codes": ["fibre-and-films"]}

    def test_a_subscriber_s_program_places_an_order(
        self, client: Client, asker: Subscriber, token: Any, body: dict[str, Any]
    ) -> None:
        ada = token(asker.users.get())
        response = post(client, "/product_orders", body, ada)
        assert response.status_code == 201, response.content
        order = ProductOrder.objects.get()
        assert (order.channel, order.placed_by, order.idempotency_key) == (
            "client", asker.users.get(), "k1"
        )  # fmt: skip
        found = response.json()
        assert response.headers["Location"] == f"{API}/product_orders/{order.public_id}"
        assert (found["id"], found["state"]) == (order.public_id, "acknowledged")
        assert found["subscriber"] == asker.public_id
        assert [(item["offering"], item["bundle"]) for item in found["items"]] == [
            ("fibre-500", "fibre-and-films"), ("films-streaming", "fibre-and-films")
        ]  # fmt: skip
        assert found["steps"][0] == {
            "kind": "reserve_port",
            "words": "Reserve your place in the access network",
            "state": "ready",
            "status": "In progress",
            "expected_at": order.expected_at.isoformat().replace("+00:00", "Z"),
            "finished_at": None,
        }
        assert client.get(response.headers["Location"], headers=ada).json() == found
        assert client.get(f"{API}/product_orders", headers=ada).json()["items"] == [found]

    def test_a_repeat_gives_the_first_answer(
        self, client: Client, asker: Subscriber, token: Any, body: dict[str, Any]
    ) -> None:
        ada = token(asker.users.get())
        first = post(client, "/product_orders", body, ada)
        before = ground.rows()
        again = post(client, "/product_orders", body, ada)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Location"] == first.headers["Location"]
        assert ground.rows() == before

    def test_the_key_belongs_to_one_body(
        self, client: Client, asker: Subscriber, token: Any, body: dict[str, Any]
    ) -> None:
        ada = token(asker.users.get())
        post(client, "/product_orders", body, ada)
        other = body | {"offering_codes": ["fibre-500"]}
        problem(post(client, "/product_orders", other, ada), 409, "idempotency_key_reused")
        assert ProductOrder.objects.count() == 1

    def test_a_key_is_needed(
        self, client: Client, asker: Subscriber, token: Any, body: dict[str, Any]
    ) -> None:
        response = post(client, "/product_orders", body, token(asker.users.get()), key="")
        problem(response, 400, "idempotency_key_missing")

    @pytest.mark.parametrize(
        ("change", "status", "code", "field"),
        [
            ({"qualification": None}, 422, "invalid_input", "qualification"),
            ({"qualification": "qlf_1"}, 422, "invalid_input", "qualification"),
            ({"qualification": f"qlf_{'0' * 32}"}, 422, "invalid_input", "qualification"),
            ({"offering_codes": []}, 422, "invalid_input", "offering_codes"),
            ({"offering_codes": "fibre-500"}, 422, "invalid_input", "offering_codes"),
            ({"offering_codes": [1, {}]}, 422, "invalid_input", ""),
            ({"offering_codes": ["a b"]}, 422, "invalid_input", ""),
            ({"offering_codes": ["none"]}, 422, "invalid_input", "offering_codes"),
            ({"offering_codes": ["x"] * 21}, 422, "invalid_input", "offering_codes"),
            ({"offering_codes": ["fibre-office"]}, 409, "offer_not_qualified", "offering"),
            ({"subscriber": "sub_1"}, 422, "invalid_input", "subscriber"),
        ],
    )
    def test_bad_input(
        self,
        client: Client,
        asker: Subscriber,
        token: Any,
        body: dict[str, Any],
        change: dict[str, Any],
        status: int,
        code: str,
        field: str,
    ) -> None:
        ada = token(asker.users.get())
        before = ground.rows()
        problem(post(client, "/product_orders", body | change, ada), status, code, field)
        assert ground.rows() == before

    def test_for_which_account(
        self, client: Client, asker: Subscriber, token: Any, body: dict[str, Any], now: datetime
    ) -> None:
        login = asker.users.get()
        shop = factories.subscriber(at=now, name="Ada's shop")
        ada = token(login)
        foreign = body | {"subscriber": shop.public_id}
        problem(post(client, "/product_orders", foreign, ada), 422, "invalid_input", "subscriber")
        shop.users.add(login)
        problem(post(client, "/product_orders", body, ada), 422, "invalid_input", "subscriber")
        assert post(client, "/product_orders", foreign, ada).status_code == 201
        assert ProductOrder.objects.get().subscriber == shop

    def test_a_login_without_an_account(
        self, client: Client, token: Any, body: dict[str, Any], now: datetime
    ) -> None:
        nobody = token(factories.login(at=now))
        problem(post(client, "/product_orders", body, nobody), 422, "invalid_input", "subscriber")


class TestReadingOrders:
    @pytest.fixture
    def order(self, isp: SmallIsp, asker: Subscriber, now: datetime) -> ProductOrder:
        return factories.order(asker, isp.oak_1, "fibre-and-films", at=now)

    def test_others_see_nothing(
        self, client: Client, order: ProductOrder, token: Any, now: datetime
    ) -> None:
        bob = token(factories.subscriber(at=now, name="Bob").users.get())
        assert client.get(f"{API}/product_orders", headers=bob).json()["items"] == []
        for public_id in (order.public_id, "ord_1", order.public_id.replace("ord", "sor")):
            response = client.get(f"{API}/product_orders/{public_id}", headers=bob)
            problem(response, 404, "not_found")

    def test_it_is_not_for_partners(
        self, client: Client, isp: SmallIsp, order: ProductOrder, token: Any
    ) -> None:
        films = token(isp.films)
        problem(client.get(f"{API}/product_orders", headers=films), 403, "forbidden")
        path = f"{API}/product_orders/{order.public_id}"
        problem(client.get(path, headers=films), 403, "forbidden")
        problem(post(client, "/product_orders", {}, films), 403, "forbidden")

    def test_no_token_and_too_small_a_token(
        self, client: Client, asker: Subscriber, order: ProductOrder, token: Any
    ) -> None:
        reader = token(asker.users.get(), "orders:read")
        stranger = token(asker.users.get(), "usage:read")
        for path in ("/product_orders", f"/product_orders/{order.public_id}"):
            problem(client.get(API + path), 401, "not_authenticated")
            problem(client.get(API + path, headers=stranger), 403, "forbidden")
            assert client.get(API + path, headers=reader).status_code == 200
        problem(post(client, "/product_orders", {}, {}), 401, "not_authenticated")
        problem(post(client, "/product_orders", {}, reader), 403, "forbidden")

    def test_a_list_costs_the_same_for_any_number(
        self,
        client: Client,
        isp: SmallIsp,
        asker: Subscriber,
        order: ProductOrder,
        token: Any,
        django_assert_max_num_queries: DjangoAssertNumQueries,
        now: datetime,
    ) -> None:
        ada = token(asker.users.get())
        for _ in range(3):
            factories.order(asker, isp.oak_1, "fibre-and-films", at=now)
        factories.work(at=now, answer_partners=False)
        with django_assert_max_num_queries(12):
            found = client.get(f"{API}/product_orders?limit=3", headers=ada).json()
        assert len(found["items"]) == 3
        rest = client.get(found["next"], headers=ada).json()
        assert [item["id"] for item in rest["items"]] == [order.public_id]
        assert rest["next"] is None


class TestServiceOrders:
    @pytest.fixture
    def asked(self, isp: SmallIsp, asker: Subscriber, now: datetime) -> ServiceOrder:
        """What the BSP was asked; the network of another line was asked too."""
        factories.order(asker, isp.oak_1, "fibre-and-films", at=now)
        factories.order(asker, isp.elm_1, "dsl-6", at=now)
        factories.work(at=now, answer_partners=False)
        return ServiceOrder.objects.get(kind="entitlement")

    @pytest.fixture
    def films(self, isp: SmallIsp, token: Any) -> dict[str, str]:
        return token(isp.films)

    @pytest.fixture
    def copper(self, isp: SmallIsp, token: Any) -> dict[str, str]:
        return token(isp.copper)

    def test_a_partner_sees_its_own(
        self, client: Client, asker: Subscriber, asked: ServiceOrder, films: dict[str, str]
    ) -> None:
        (found,) = client.get(f"{API}/service_orders", headers=films).json()["items"]
        assert found == client.get(API + f"/service_orders/{asked.public_id}", headers=films).json()
        assert (found["id"], found["kind"], found["state"], found["offering"]) == (
            asked.public_id, "entitlement", "acknowledged", "films-streaming"
        )  # fmt: skip
        assert found["premises"] is None
        assert found["subscriber_ref"] == asked.subscriber_ref
        for secret in (asker.name, asker.email, asker.public_id, "Oak", "OAK"):
            assert secret not in json.dumps(found)

    def test_a_network_sees_the_address(
        self, client: Client, isp: SmallIsp, asked: ServiceOrder, copper: dict[str, str]
    ) -> None:
        (found,) = client.get(f"{API}/service_orders", headers=copper).json()["items"]
        assert (found["kind"], found["premises"]["address"]) == ("line", str(isp.elm_1))

    def test_filters(self, client: Client, asked: ServiceOrder, films: dict[str, str]) -> None:
        def count(query: str) -> int:
            path = f"{API}/service_orders?{query}"
            return len(client.get(path, headers=films).json()["items"])

        assert (count("state=acknowledged"), count("state=completed")) == (1, 0)
        assert (count("kind=entitlement"), count("kind=line")) == (1, 0)
        assert (count("action=add"), count("action=delete")) == (1, 0)
        assert (count("overdue=true"), count("overdue=false")) == (0, 1)
        assert (count(f"subscriber_ref={asked.subscriber_ref}"), count("subscriber_ref=x")) == (
            1,
            0,
        )
        assert (count(f"service_ref={asked.service.public_id}"), count("service_ref=x")) == (1, 0)
        assert count("requested_from=2020-01-01T00:00:00Z&requested_to=2021-01-01T00:00:00Z") == 0
        ServiceOrder.objects.update(expected_at=timezone.now() - timedelta(minutes=1))
        assert count("overdue=true") == 1
        wrong = (("state=open", "state"), ("kind=", "kind"), ("overdue=x", "overdue"))
        for query, field in wrong:
            response = client.get(f"{API}/service_orders?{query}", headers=films)
            problem(response, 422, "invalid_input", field)

    def test_confirming(
        self, client: Client, asked: ServiceOrder, films: dict[str, str], now: datetime
    ) -> None:
        path = f"/service_orders/{asked.public_id}/completion"
        response = post(client, path, {"reference": "F-17"}, films)
        assert response.status_code == 200, response.content
        found = response.json()
        assert (found["state"], found["partner_reference"]) == ("completed", "F-17")
        factories.deliver_events(at=timezone.now())
        asked.refresh_from_db()
        assert asked.task.state == "completed"
        before = ground.rows()
        assert post(client, path, {"reference": "F-17"}, films).content == response.content
        assert ground.rows() == before
        other_key = post(client, path, {"reference": "F-18"}, films, key="k2")
        assert other_key.json()["partner_reference"] == "F-17"
        refusal = f"/service_orders/{asked.public_id}/refusal"
        refused = post(client, refusal, {"reason": "No"}, films, key="k3")
        problem(refused, 409, "service_order_closed")

    def test_saying_how_far_it_is(
        self, client: Client, asked: ServiceOrder, films: dict[str, str], copper: dict[str, str]
    ) -> None:
        path = f"/service_orders/{asked.public_id}/progress"
        later = timezone.now() + timedelta(days=3)
        said = {"progress": "held", "message": "No key.", "expected_at": later.isoformat()}
        found = post(client, path, said, films).json()
        assert (found["progress"], found["message"], found["state"]) == (
            "held", "No key.", "acknowledged",
        )  # fmt: skip
        problem(post(client, path, {}, films, key="b"), 422, "invalid_input", "progress")
        far = said | {"expected_at": "2099-01-01T00:00:00Z"}
        problem(post(client, path, far, films, key="c"), 422, "invalid_input", "expected_at")
        problem(post(client, path, said, copper, key="d"), 404, "not_found")

    def test_refusing(self, client: Client, asked: ServiceOrder, films: dict[str, str]) -> None:
        path = f"/service_orders/{asked.public_id}/refusal"
        problem(post(client, path, {}, films, key="a"), 422, "invalid_input", "reason")
        problem(post(client, path, {"reason": " "}, films, key="b"), 422, "invalid_input", "reason")
        long = {"reason": "x" * 301}
        problem(post(client, path, long, films, key="c"), 422, "invalid_input", "reason")
        response = post(client, path, {"reason": "No licence"}, films, key="d")
        assert (response.status_code, response.json()["state"]) == (200, "failed")
        again = post(client, path, {"reason": "Other"}, films, key="e")
        assert again.json()["reason"] == "No licence"

    def test_another_partner_s_is_not_there(
        self, client: Client, asked: ServiceOrder, copper: dict[str, str]
    ) -> None:
        before = ServiceOrder.objects.order_by("pk").values()
        path = f"/service_orders/{asked.public_id}"
        problem(client.get(API + path, headers=copper), 404, "not_found")
        problem(post(client, f"{path}/completion", {}, copper), 404, "not_found")
        problem(post(client, f"{path}/refusal", {"reason": "No"}, copper), 404, "not_found")
        assert list(ServiceOrder.objects.order_by("pk").values()) == list(before)

    @pytest.mark.parametrize("public_id", ["sor_1", "x", "ord_" + "0" * 32, "sor_" + "0" * 32])
    def test_what_is_no_order(self, client: Client, films: dict[str, str], public_id: str) -> None:
        problem(client.get(f"{API}/service_orders/{public_id}", headers=films), 404, "not_found")
        path = f"/service_orders/{public_id}/completion"
        problem(post(client, path, {}, films), 404, "not_found")

    def test_it_is_not_for_subscribers(
        self, client: Client, asker: Subscriber, asked: ServiceOrder, token: Any
    ) -> None:
        ada = token(asker.users.get())
        problem(client.get(f"{API}/service_orders", headers=ada), 403, "forbidden")
        path = f"/service_orders/{asked.public_id}/completion"
        problem(post(client, path, {}, ada), 403, "forbidden")

    def test_no_token_and_too_small_a_token(
        self, client: Client, isp: SmallIsp, asked: ServiceOrder, token: Any
    ) -> None:
        reader = token(isp.films, "service_orders:read")
        path = f"/service_orders/{asked.public_id}"
        problem(client.get(API + path), 401, "not_authenticated")
        assert client.get(API + path, headers=reader).status_code == 200
        problem(post(client, f"{path}/completion", {}, reader), 403, "forbidden")
        problem(post(client, f"{path}/refusal", {"reason": "No"}, {}), 401, "not_authenticated")
        writer = token(isp.films, "service_orders:write")
        problem(client.get(f"{API}/service_orders", headers=writer), 403, "forbidden")

    def test_a_partner_that_has_left(
        self, client: Client, isp: SmallIsp, asked: ServiceOrder, films: dict[str, str]
    ) -> None:
        Partner.objects.filter(pk=isp.films.pk).update(active=False)
        problem(client.get(f"{API}/service_orders", headers=films), 403, "forbidden")

    def test_a_list_costs_the_same_for_any_number(
        self,
        client: Client,
        isp: SmallIsp,
        asker: Subscriber,
        asked: ServiceOrder,
        films: dict[str, str],
        django_assert_max_num_queries: DjangoAssertNumQueries,
        now: datetime,
    ) -> None:
        for _ in range(3):
            factories.order(asker, isp.oak_1, "fibre-and-films", at=now)
        factories.work(at=now, answer_partners=False)
        with django_assert_max_num_queries(3):
            found = client.get(f"{API}/service_orders", headers=films).json()
        assert len(found["items"]) == 4


def test_the_contract_describes_the_calls() -> None:
    found = SchemaGenerator().get_schema(public=True)["paths"]
    ours = {path: set(found[path]) for path in found if "_orders" in path}
    assert ours == {
        f"{API}/product_orders": {"get", "post"},
        f"{API}/product_orders/{{public_id}}": {"get", "patch"},
        f"{API}/product_orders/{{public_id}}/cancellation": {"post"},
        f"{API}/product_orders/{{public_id}}/install_slots": {"get"},
        f"{API}/product_orders/{{public_id}}/appointment": {"get", "post"},
        f"{API}/service_orders": {"get"},
        f"{API}/service_orders/{{public_id}}": {"get"},
        f"{API}/service_orders/{{public_id}}/completion": {"post"},
        f"{API}/service_orders/{{public_id}}/refusal": {"post"},
        f"{API}/service_orders/{{public_id}}/progress": {"post"},
    }
