"""A partner sees its own messages and has them sent again; and hears of what it delivers."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from ispops.parties.models import AuditEntry, Partner, Subscriber, WebhookDelivery
from provisioning import services
from provisioning.models import Service
from tests import factories
from tests.small_isp import SmallIsp

API = "/api/v1/webhook_deliveries"


@pytest.fixture
def line(isp: SmallIsp, ada: Subscriber, now: datetime) -> Service:
    """A line with films, whose partner takes webhooks."""
    for partner in (isp.films, isp.copper):
        Partner.objects.filter(pk=partner.pk).update(
            webhook_url=f"https://{partner.code}.example/hooks"
        )
    return factories.live_line(isp, ada, isp.streaming.code, at=now)


def kinds(partner: Partner) -> list[str]:
    return list(partner.webhooks.order_by("created_at", "pk").values_list("kind", flat=True))


class TestNews:
    def test_the_partner_hears_what_becomes_of_its_service(
        self, isp: SmallIsp, line: Service, now: datetime
    ) -> None:
        films = Service.objects.get(offering=isp.streaming)
        later = now + timedelta(minutes=1)
        services.cease(service=films, at=later)
        factories.deliver_events(at=later + timedelta(minutes=1))
        assert kinds(isp.films) == [
            "service_order.created", "service.activated", "service_order.cancelled",
            "service.ceased",
        ]  # fmt: skip
        told = WebhookDelivery.objects.get(kind="service.activated").body["data"]
        assert told["id"] == told["service_ref"] == films.public_id
        assert (told["state"], told["offering"], told["sequence"]) == (
            "activated", isp.streaming.code, 1,
        )  # fmt: skip

    def test_nobody_hears_of_what_they_were_not_asked_for(
        self, isp: SmallIsp, line: Service
    ) -> None:
        assert kinds(isp.copper) == kinds(isp.fibre) == []


class TestApi:
    def test_it_sees_its_own(
        self, client: Client, isp: SmallIsp, line: Service, token: Any
    ) -> None:
        films = token(isp.films, "webhooks:read")
        found = client.get(API, headers=films).json()["items"]
        assert [row["kind"] for row in found] == ["service.activated", "service_order.created"]
        assert found[0]["body"]["data"]["offering"] == isp.streaming.code
        one = client.get(f"{API}/{found[0]['id']}", headers=films).json()
        assert one == found[0]
        copper = token(isp.copper, "webhooks:read")
        assert client.get(API, headers=copper).json()["items"] == []
        assert client.get(f"{API}/{found[0]['id']}", headers=copper).status_code == 404
        assert client.get(f"{API}/msg_x", headers=films).status_code == 404

    def test_filters(
        self, client: Client, isp: SmallIsp, line: Service, token: Any, now: datetime
    ) -> None:
        films = token(isp.films, "webhooks:read")

        def count(**query: str) -> int:
            return len(client.get(API, query, headers=films).json()["items"])

        subject = WebhookDelivery.objects.get(kind="service.activated").subject
        assert (count(state="pending"), count(state="parked")) == (2, 0)
        assert count(kind="service.activated") == count(subject=subject) == 1
        after = (now + timedelta(hours=1)).isoformat()
        assert (count(created_from=after), count(created_to=after)) == (0, 2)
        answer = client.get(API, {"state": "x"}, headers=films)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "state")

    def test_it_has_one_sent_again(
        self, client: Client, isp: SmallIsp, line: Service, token: Any, now: datetime
    ) -> None:
        row = WebhookDelivery.objects.get(kind="service_order.created")
        WebhookDelivery.objects.filter(pk=row.pk).update(state="parked", next_attempt_at=None)
        path = f"{API}/{row.public_id}/redeliver"
        films = token(isp.films, "webhooks:read", "webhooks:write")

        def post(headers: dict[str, str], key: str = "k1") -> Any:
            return client.post(
                path, content_type="application/json",
                headers={**headers, "Idempotency-Key": key},
            )  # fmt: skip

        assert post(token(isp.films, "webhooks:read")).status_code == 403
        assert post(token(isp.copper, "webhooks:write")).status_code == 404
        answer = post(films)
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        assert post(films).headers["Idempotent-Replay"] == "true"
        [entry] = AuditEntry.objects.filter(action="webhook.replayed")
        assert entry.actor == isp.films.service_user
        WebhookDelivery.objects.filter(pk=row.pk).update(leased_until=now + timedelta(hours=1))
        assert post(films, "k2").status_code == 409

    def test_it_has_a_span_sent_again(
        self, client: Client, isp: SmallIsp, line: Service, token: Any, now: datetime
    ) -> None:
        WebhookDelivery.objects.update(state="delivered", delivered_at=now, next_attempt_at=None)
        films = token(isp.films, "webhooks:write")
        span = {
            "created_from": (now - timedelta(hours=1)).isoformat(),
            "created_to": (now + timedelta(hours=1)).isoformat(),
        }

        def post(body: dict[str, Any], key: str) -> Any:
            return client.post(
                f"{API}/redeliver", body, content_type="application/json",
                headers={**films, "Idempotency-Key": key},
            )  # fmt: skip

        assert post(span | {"parked_only": True}, "a").json() == {"count": 0}
        assert post(span, "b").json() == {"count": 2}
        assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"pending"}
        backwards = {"created_from": span["created_to"], "created_to": span["created_from"]}
        assert post(backwards, "c").status_code == 422
        assert post({}, "d").status_code == 422
