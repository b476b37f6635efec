"""The console's lists of this department: everybody sees what they may, verbs do the writing."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.idp.oidc.models import Client as ApiClient
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from unfold.admin import ModelAdmin

from ispops import events
from ispops.models import Event, EventDelivery
from ispops.parties import accounts, roles, terms, webhooks
from ispops.parties.models import AuditEntry, Partner, Subscriber, User, WebhookDelivery

NOW = datetime(2025, 3, 3, 12, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db
LISTS = ["user", "subscriber", "partner", "webhookdelivery", "auditentry"]


@pytest.fixture(autouse=True)
def one_factor_will_do(settings: Settings) -> None:
    settings.STAFF_NEED_SECOND_FACTOR = False


def staff(role: str) -> Client:
    user = accounts.create_login(
        email=f"{role.replace(' ', '.').lower()}@isp.example", groups=[role], is_staff=True, at=NOW
    )
    web = Client()
    web.force_login(user)
    return web


@pytest.fixture
def boss(db: None) -> Client:
    web = Client()
    web.force_login(User.objects.create_superuser("boss@isp.example"))
    return web


@pytest.fixture
def delivery(partner: Partner) -> WebhookDelivery:
    made = webhooks.queue_webhook(partner=partner, kind="k", subject="sor_1", data={}, at=NOW)
    assert made is not None
    WebhookDelivery.objects.update(state="parked", next_attempt_at=None, attempts=12)
    return made


def act(web: Client, model: str, action: str, *keys: Any) -> Any:
    return web.post(
        reverse(f"admin:{model}_changelist"), {"action": action, "_selected_action": keys}
    )


def test_every_list_is_styled_like_the_others() -> None:
    assert [m for m, a in admin.site._registry.items() if not isinstance(a, ModelAdmin)] == []


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_pages_open(
    boss: Client, ada: User, delivery: WebhookDelivery, name: str
) -> None:
    accounts.register_subscriber(user=ada, name="Ada", terms_version=terms.FIRST_VERSION, at=NOW)
    answer = boss.get(reverse(f"admin:parties_{name}_changelist"), {"q": "a"})
    assert answer.status_code == 200
    model = {a._meta.model_name: a for a in admin.site._registry}[name]
    row = model.objects.first()
    page = boss.get(reverse(f"admin:parties_{name}_change", args=[row.pk]), follow=True)
    assert page.status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "allauth_idp_oidc_client", "allauth_idp_oidc_token", "account_emailaddress",
        "mfa_authenticator", "usersessions_usersession", "auth_group", "ispops_event",
        "ispops_eventdelivery", "ispops_workerheartbeat",
    ],
)  # fmt: skip
def test_lists_of_others_open(boss: Client, name: str) -> None:
    assert boss.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (roles.CSR, {"subscriber", "partner", "webhookdelivery", "auditentry"}),
        (roles.OPERATIONS, {"user", "subscriber", "partner", "webhookdelivery", "auditentry"}),
        (roles.FINANCE, {"subscriber", "partner", "auditentry"}),
        (roles.CATALOGUE_MANAGER, {"partner"}),
    ],
)
def test_each_role_sees_its_lists_and_no_other(role: str, may: set[str]) -> None:
    web = staff(role)
    opened = {
        name
        for name in LISTS
        if web.get(reverse(f"admin:parties_{name}_changelist")).status_code == 200
    }
    assert opened == may


def test_secrets_are_on_no_page(boss: Client, partner: Partner, cara: User) -> None:
    Authenticator.objects.create(user=cara, type="totp", data={"secret": "TOTPSECRET"})
    page = boss.get(reverse("admin:parties_partner_change", args=[partner.pk])).content.decode()
    assert partner.webhook_secret not in page
    assert "whsec_" not in page
    page = boss.get(reverse("admin:parties_user_change", args=[cara.pk])).content.decode()
    assert cara.password not in page
    row = Authenticator.objects.get()
    page = boss.get(reverse("admin:mfa_authenticator_change", args=[row.pk])).content.decode()
    assert "TOTPSECRET" not in page


def test_the_trail_cannot_be_edited_or_deleted_in_the_console(boss: Client, cara: User) -> None:
    entry = AuditEntry.objects.first()
    assert entry is not None
    change = reverse("admin:parties_auditentry_change", args=[entry.pk])
    assert boss.post(change, {"reason": "never happened"}).status_code == 403
    delete = reverse("admin:parties_auditentry_delete", args=[entry.pk])
    assert boss.post(delete, {"post": "yes"}).status_code == 403
    assert boss.get(reverse("admin:parties_auditentry_add")).status_code == 403
    entry.refresh_from_db()
    assert entry.reason == ""


class TestWebhooks:
    def test_operations_send_a_parked_message_again(self, delivery: WebhookDelivery) -> None:
        act(staff(roles.OPERATIONS), "parties_webhookdelivery", "send_again", delivery.pk)
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts) == ("pending", 0)
        entry = AuditEntry.objects.get(action="webhook.replayed")
        assert entry.actor == User.objects.get(email="operations@isp.example")

    def test_nobody_else_does(self, delivery: WebhookDelivery) -> None:
        act(staff(roles.CSR), "parties_webhookdelivery", "send_again", delivery.pk)
        delivery.refresh_from_db()
        assert delivery.state == "parked"

    def test_opening_an_address_sends_nothing(
        self, boss: Client, delivery: WebhookDelivery
    ) -> None:
        query = {"action": "send_again", "_selected_action": str(delivery.pk)}
        boss.get(reverse("admin:parties_webhookdelivery_changelist"), query)
        delivery.refresh_from_db()
        assert delivery.state == "parked"

    def test_a_refusal_is_told(self, boss: Client, delivery: WebhookDelivery) -> None:
        Partner.objects.update(active=False)
        answer = boss.post(
            reverse("admin:parties_webhookdelivery_changelist"),
            {"action": "send_again", "_selected_action": [delivery.pk]},
            follow=True,
        )
        assert "no longer active" in answer.content.decode()


class TestEvents:
    def test_operations_take_up_a_parked_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "_handlers", {})
        events.on("tea", name="tests.tea")(lambda event: None)
        events.publish("tea", subject="cup_1", at=NOW)
        EventDelivery.objects.update(next_attempt_at=None, attempts=20)
        row = EventDelivery.objects.get()
        act(staff(roles.CSR), "ispops_eventdelivery", "retry", row.pk)
        row.refresh_from_db()
        assert row.next_attempt_at is None
        act(staff(roles.OPERATIONS), "ispops_eventdelivery", "retry", row.pk)
        row.refresh_from_db()
        assert (row.attempts, row.next_attempt_at is not None) == (0, True)
        assert AuditEntry.objects.get(action="event.retried").subject == "cup_1"
        assert Event.objects.count() == 1


class TestLogins:
    def test_a_colleague_is_added_without_a_password(self, boss: Client) -> None:
        csr = Group.objects.get(name=roles.CSR)
        boss.post(
            reverse("admin:parties_user_add"),
            {"email": "Nina@isp.example", "first_name": "Nina", "last_name": "Case",
             "groups": [csr.pk]},
        )  # fmt: skip
        made = User.objects.get(email="nina@isp.example")
        assert made.is_staff
        assert not made.has_usable_password()
        assert list(made.groups.all()) == [csr]
        entry = AuditEntry.objects.get(action="login.created", subject=f"user_{made.pk}")
        assert entry.actor == User.objects.get(email="boss@isp.example")

    def test_an_address_that_is_taken_is_said_beside_the_field(
        self, boss: Client, cara: User
    ) -> None:
        answer = boss.post(reverse("admin:parties_user_add"), {"email": cara.email})
        assert answer.status_code == 200
        assert "already exists" in answer.content.decode()
        answer = boss.post(reverse("admin:parties_user_add"), {"email": cara.email.upper()})
        assert answer.status_code == 200
        assert User.objects.count() == 2

    def test_roles_do_not_make_logins(self) -> None:
        for role in roles.STAFF_ROLES:
            assert staff(role).get(reverse("admin:parties_user_add")).status_code == 403

    def test_people_are_locked_out_and_let_in(self, boss: Client, ada: User) -> None:
        act(boss, "parties_user", "lock_out", ada.pk)
        ada.refresh_from_db()
        assert not ada.is_active
        act(boss, "parties_user", "let_in", ada.pk)
        ada.refresh_from_db()
        assert ada.is_active
        act(staff(roles.OPERATIONS), "parties_user", "lock_out", ada.pk)
        ada.refresh_from_db()
        assert ada.is_active

    def test_a_lost_second_factor_is_removed(self, boss: Client, cara: User) -> None:
        Authenticator.objects.create(user=cara, type="totp", data={})
        act(boss, "parties_user", "remove_second_factor", cara.pk)
        assert not Authenticator.objects.exists()


class TestPartners:
    FORM = {"code": "newflix", "name": "Newflix", "kind": "bsp", "contact_email": "",
            "webhook_url": "https://newflix.example/hooks"}  # fmt: skip

    def test_a_partner_is_added(self, boss: Client) -> None:
        boss.post(reverse("admin:parties_partner_add"), self.FORM)
        made = Partner.objects.get()
        assert (made.code, made.webhook_url) == ("newflix", "https://newflix.example/hooks")
        assert made.service_user is not None
        assert AuditEntry.objects.get(action="partner.created").actor is not None

    def test_an_address_inside_our_network_is_refused_beside_the_field(
        self, boss: Client, settings: Settings
    ) -> None:
        settings.WEBHOOKS_MAY_STAY_LOCAL = False
        form = self.FORM | {"webhook_url": "https://10.0.0.1/"}
        answer = boss.post(reverse("admin:parties_partner_add"), form)
        assert "public internet" in answer.content.decode()
        assert not Partner.objects.exists()

    def test_operations_move_the_webhooks_and_nothing_else(self, partner: Partner) -> None:
        web = staff(roles.OPERATIONS)
        page = reverse("admin:parties_partner_change", args=[partner.pk])
        web.post(page, {"webhook_url": "https://new.example/", "name": "Mine", "active": ""})
        partner.refresh_from_db()
        assert (partner.webhook_url, partner.name) == ("https://new.example/", "Cinebox")
        assert partner.active
        assert AuditEntry.objects.get(action="partner.webhook_moved").actor is not None

    def test_the_secret_for_another_host_is_shown_once(self, partner: Partner) -> None:
        web = staff(roles.OPERATIONS)
        page = reverse("admin:parties_partner_change", args=[partner.pk])
        web.post(page, {"webhook_url": "https://one.example/"}, follow=True)
        shown = web.post(page, {"webhook_url": "https://two.example/"}, follow=True)
        partner.refresh_from_db()
        assert html.unescape(shown.content.decode()).count(partner.webhook_secret) == 1
        assert partner.webhook_secret not in html.unescape(web.get(page).content.decode())

    def test_operations_say_what_the_fcc_knows_a_network_by(self, partner: Partner) -> None:
        network = Partner.objects.create(code="net", name="Net", kind="network_provider")
        web = staff(roles.OPERATIONS)
        page = reverse("admin:parties_partner_change", args=[network.pk])
        form = {"webhook_url": "", "fcc_provider_id": "130317", "brand_name": " Net Fiber "}
        web.post(page, form)
        network.refresh_from_db()
        assert (network.fcc_provider_id, network.brand_name) == ("130317", "Net Fiber")
        entry = AuditEntry.objects.get(action="partner.fcc_identity_set")
        assert entry.actor is not None
        wrong = web.post(page, form | {"fcc_provider_id": "1303"})
        assert "It has six digits." in wrong.content.decode()
        web.post(
            reverse("admin:parties_partner_change", args=[partner.pk]),
            {"webhook_url": partner.webhook_url, "fcc_provider_id": "130317", "brand_name": "X"},
        )
        partner.refresh_from_db()
        assert (partner.fcc_provider_id, partner.brand_name) == ("", "")

    def test_a_partner_is_stopped_and_resumed(self, boss: Client, partner: Partner) -> None:
        act(boss, "parties_partner", "stop", partner.pk)
        partner.refresh_from_db()
        assert not partner.active
        act(boss, "parties_partner", "resume", partner.pk)
        partner.refresh_from_db()
        assert partner.active


def test_a_new_api_client_shows_its_secret_once_and_is_noted(
    boss: Client, partner: Partner
) -> None:
    answer = boss.post(
        reverse("admin:allauth_idp_oidc_client_add"),
        {"id": "films", "name": "Films", "scopes": "usage:read", "default_scopes": "",
         "type": "confidential", "grant_types": "client_credentials", "redirect_uris": "",
         "cors_origins": "", "response_types": "code", "owner": partner.service_user_id,
         "data": "null"},
        follow=True,
    )  # fmt: skip
    made = ApiClient.objects.get(pk="films")
    assert made.owner == partner.service_user
    assert "only shown once" in answer.content.decode()
    assert AuditEntry.objects.get(action="api_client.created").subject == "api_client_films"


def test_subscribers_are_found_by_name_mail_and_id(boss: Client, ada: User) -> None:
    account = accounts.register_subscriber(
        user=ada, name="Ada Lovelace", terms_version=terms.FIRST_VERSION, at=NOW
    )
    for term in ("lovelace", "ada@example.com", account.public_id):
        page = boss.get(reverse("admin:parties_subscriber_changelist"), {"q": term})
        assert "Ada Lovelace" in page.content.decode()
    assert Subscriber.objects.count() == 1
