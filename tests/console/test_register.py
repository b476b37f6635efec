"""Figure 6: a CSR registers somebody on their behalf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from ispops.notices.models import Notice
from ispops.parties import roles, terms
from ispops.parties.models import AuditEntry, Subscriber
from provisioning.models import ProductOrder, Registration
from qualification.models import AccessPort, Premises
from tests import factories
from tests.console.conftest import NOW, World

pytestmark = pytest.mark.django_db
DETAILS = {
    "plan": "fibre-500", "extras": ["films-streaming"], "name": "Nora New",
    "email": "nora@example.com", "phone": "802 555 0199", "payment_kind": "bank_transfer",
    "terms_how": "voice",
}  # fmt: skip


@pytest.fixture
def desk(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def begin(world: World) -> str:
    """The page on which a free house of Oak Street is registered for."""
    house = Premises.objects.filter(match_key__startswith="5 OAK ST").order_by("pk")[0]
    answer = factories.qualified(house, at=NOW)
    return f"/console/qualify/{answer.public_id}/register/"


def fill_in(desk: Client, begin: str, **changes: Any) -> str:
    sent = desk.post(begin, DETAILS | changes)
    assert sent.status_code == 302, sent.content
    return str(sent["Location"])


def button(desk: Client, review: str, **more: str) -> Any:
    row = Registration.objects.latest("created_at")
    sent = {"key": row.idempotency_key, "terms_version": terms.in_force().version, **more}
    return desk.post(f"{review}place/", sent)


def test_from_the_answer_to_the_order_and_the_invitation(desk: Client, begin: str) -> None:
    answer = begin.removesuffix("register/")
    assert begin.encode() in desk.get(answer).content
    assert b"version 2026-11" in desk.get(begin).content
    review = fill_in(desk, begin)
    shown = desk.get(review).content.decode()
    for said in ("USD 72.00", "USD 49.00", "Nora New", "Bank transfer", "by voice", "Films"):
        assert said in shown, said
    assert not Subscriber.objects.filter(name="Nora New").exists()
    placed = button(desk, review)
    order = ProductOrder.objects.latest("placed_at")
    assert placed["Location"] == f"/console/orders/{order.public_id}/"
    assert (order.channel, order.placed_by.is_staff) == ("csr", True)  # type: ignore[union-attr]
    nora = order.subscriber
    assert nora.payment_methods.get().kind == "bank_transfer"
    assert nora.terms_acceptances.get().how == "voice"
    assert AuditEntry.objects.filter(subscriber=nora, action="order.placed").exists()
    factories.deliver_events(at=NOW)
    assert Notice.objects.get(kind="invitation").address == "nora@example.com"
    page = desk.get(f"/console/subscribers/{nora.public_id}/").content.decode()
    for said in ("Send the invitation again", "Bank transfer, mandate", "by voice, noted by"):
        assert said in page, said
    assert button(desk, review)["Location"] == placed["Location"]
    assert ProductOrder.objects.filter(subscriber=nora).count() == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"plan": "fibre-office"}, "id_plan"),
        ({"plan": ""}, "id_plan"),
        ({"name": " "}, "id_name"),
        ({"email": "nora"}, "id_email"),
        ({"phone": "5" * 41}, "id_phone"),
        ({"phone": "none"}, "id_phone"),
        ({"payment_kind": "gold"}, "id_payment_kind"),
        ({"terms_how": "screen"}, "id_terms_how"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(
    desk: Client, begin: str, wrong: dict[str, str], field: str
) -> None:
    answer = desk.post(begin, DETAILS | wrong)
    assert answer.status_code == 422
    assert f'href="#{field}"'.encode() in answer.content
    assert not Registration.objects.exists()


def test_it_is_changed_as_a_whole(desk: Client, begin: str) -> None:
    review = fill_in(desk, begin)
    form = desk.get(f"{review}change/").content.decode()
    assert 'value="nora@example.com"' in form
    other = desk.post(f"{review}change/", DETAILS | {"plan": "dsl-25", "extras": []})["Location"]
    assert "USD 45.00" in desk.get(other).content.decode()
    assert "given up" in desk.get(review).content.decode()
    assert button(desk, review).status_code == 302
    assert not ProductOrder.objects.filter(channel="csr").exists()


def test_a_colleague_s_change_is_seen_first(desk: Client, begin: str) -> None:
    review = fill_in(desk, begin)
    refused = button(desk, review, key="of yesterday")
    assert refused.status_code == 409
    assert b"check it again" in refused.content
    assert not ProductOrder.objects.filter(channel="csr").exists()


def test_the_same_person_is_shown_with_the_reasons(desk: Client, begin: str, world: World) -> None:
    review = fill_in(desk, begin, name="Ada Lovelace", email="ADA@example.com")
    shown = desk.get(review).content.decode()
    assert world.ada.public_id in shown
    assert "the same e-mail" in shown
    assert button(desk, review).status_code == 409
    assert button(desk, review, is_another_person="on").status_code == 302
    assert Subscriber.objects.filter(email="ada@example.com").count() == 2


def test_a_number_alone_is_shown_to_staff_and_stops_nothing(
    desk: Client, begin: str, world: World
) -> None:
    review = fill_in(desk, begin, phone=world.ada.phone)
    assert "the same phone" in desk.get(review).content.decode()
    assert button(desk, review).status_code == 302


def test_a_line_at_the_address_is_asked_about(desk: Client, world: World) -> None:
    answer = factories.qualified(world.isp.oak_1, at=NOW)
    review = fill_in(desk, f"/console/qualify/{answer.public_id}/register/")
    assert world.ada.public_id in desk.get(review).content.decode()
    refused = button(desk, review)
    assert refused.status_code == 409
    assert b"a second line, or whether you are moving in" in refused.content
    assert button(desk, review, premises_answer="moving_in").status_code == 302


def test_new_terms_are_read_out_first(desk: Client, begin: str) -> None:
    review = fill_in(desk, begin)
    terms.publish_terms(version="2027-01", text="New.", actor=None, at=NOW)
    refused = button(desk, review, terms_version=terms.FIRST_VERSION)
    assert refused.status_code == 409
    assert not Subscriber.objects.filter(name="Nora New").exists()
    assert button(desk, review).status_code == 302


def test_it_is_deleted_with_its_names(desk: Client, begin: str) -> None:
    review = fill_in(desk, begin)
    held = AccessPort.objects.held(NOW).count()
    desk.post(f"{review}give-up/")
    row = Registration.objects.get()
    assert (row.state, row.name, row.email) == ("abandoned", "", "")
    assert AccessPort.objects.held(NOW).count() == held - 1


def test_what_a_visitor_fills_in_is_not_for_staff_to_open(desk: Client, world: World) -> None:
    from provisioning import registrations

    offer = factories.qualified(world.isp.oak_1, at=NOW).offers.get(offering=world.isp.fast)
    row = registrations.begin(offer=offer, channel="portal", user=world.bob.users.get(), at=NOW)
    assert desk.get(f"/console/registrations/{row.public_id}/").status_code == 404


def test_the_invitation_is_sent_again_with_a_reason(desk: Client, begin: str) -> None:
    button(desk, fill_in(desk, begin))
    nora = Subscriber.objects.get(name="Nora New")
    desk.post(f"/console/subscribers/{nora.public_id}/invite/")
    assert nora.invitations.count() == 1
    desk.post(f"/console/subscribers/{nora.public_id}/invite/", {"reason": "Lost"})
    assert nora.invitations.filter(withdrawn_at__isnull=True).count() == 1
    assert nora.invitations.count() == 2
