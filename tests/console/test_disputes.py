"""Disputes, refunds and purchases in the console: found, answered, and kept in the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from ispops.catalog import publishing
from ispops.parties import roles
from ispops.parties.models import AuditEntry
from rating import disputes
from rating.models import Charge, Dispute, Purchase
from tests.console.conftest import EARLIER, NOW, World
from tests.rating.plenty import data_pack

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]


@pytest.fixture
def csr(as_role: Callable[[str], Client]) -> Client:
    return as_role(roles.CSR)


@pytest.fixture
def film(world: World) -> Charge:
    return Charge.objects.filter(offering=world.film, amount_net__gt=0).latest("pk")


@pytest.fixture
def dispute(film: Charge, world: World) -> Dispute:
    return disputes.open_dispute(
        charge=film, words="=I never saw it.", actor=world.ada.users.get(), at=NOW
    )


def text(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined]


def test_the_queue_lists_what_waits_and_filters(csr: Client, dispute: Dispute) -> None:
    queue = reverse("admin:console_disputes")
    assert "I never saw it." in text(csr.get(queue))
    assert "I never saw it." in text(csr.get(queue, {"by": "subscriber"}))
    assert "Nobody disputes a charge." in text(csr.get(queue, {"by": "partner"}))
    assert "None." in text(csr.get(queue, {"state": "upheld"}))
    file = b"".join(csr.get(reverse("admin:console_disputes_file"))).decode()
    assert "'=I never saw it." in file
    assert "Disputes to answer" in text(csr.get(reverse("admin:index")))


def test_one_click_upholds_in_part(csr: Client, dispute: Dispute, film: Charge) -> None:
    address = reverse("admin:console_answer_dispute", args=[dispute.public_id])
    csr.post(address, {"verdict": "uphold", "amount": "half", "reason": "It broke off."})
    csr.post(address, {"verdict": "uphold", "amount": "40 %", "reason": ""})
    dispute.refresh_from_db()
    assert dispute.state == "open"
    csr.post(address, {"verdict": "uphold", "amount": "40 %", "reason": "It broke off."})
    dispute.refresh_from_db()
    assert dispute.state == "upheld"
    assert dispute.correction is not None
    assert dispute.correction.amount_net == -film.amount_net * 40 / 100
    assert AuditEntry.objects.filter(action="dispute.upheld", actor__is_staff=True).count() == 1
    again = csr.post(address, {"verdict": "reject", "reason": "No."}, follow=True)
    assert "This was answered: upheld." in text(again)


def test_a_charge_is_given_back_once_from_the_page(csr: Client, film: Charge, world: World) -> None:
    page = reverse("admin:console_subscriber", args=[world.ada.public_id])
    assert "Give back…" in text(csr.get(page))
    address = reverse("admin:console_refund", args=[film.public_id])
    form = {"amount": "1,25", "reason": "It broke off.", "idempotency_key": "one"}
    for _ in range(2):
        csr.post(address, form)
    [back] = film.corrections.all()
    assert back.amount_net + back.amount_tax == Decimal("-1.25")
    refused = csr.post(address, form | {"amount": "999", "idempotency_key": "two"}, follow=True)
    assert "are left to give back" in text(refused)
    assert "A part of a charge that was given back" in text(csr.get(page))


def test_a_bundle_is_bought_on_behalf_and_given_back_as_a_whole(csr: Client, world: World) -> None:
    parts = [(world.film, 3), (world.isp.streaming, 1)]
    world.film.is_subscription = True
    world.film.save(update_fields=["is_subscription"])
    both = publishing.create_offering(
        code="both", name="Films and more", kind="package", is_subscription=True, at=EARLIER
    )
    publishing.define_bundle(bundle=both, components=parts, at=EARLIER)
    publishing.set_price(offering=both, charge="one_off", amount=Decimal(8), at=EARLIER)
    world.line.carried.update(state="ceased")
    shop = text(csr.get(reverse("admin:console_shop", args=[world.line.public_id])))
    assert "Films and more" in shop
    form = {"offering": "both", "idempotency_key": "console-1"}
    csr.post(reverse("admin:console_buy", args=[world.line.public_id]), form)
    bought = Purchase.objects.get(offering=both)
    page = reverse("admin:console_subscriber", args=[world.ada.public_id])
    address = reverse("admin:console_refund_purchase", args=[bought.public_id])
    assert address in text(csr.get(page))
    form = {"amount": "50 %", "reason": "It came late.", "idempotency_key": "two"}
    for _ in range(2):
        csr.post(address, form)
    back = Charge.objects.filter(corrects__bundle=both)
    assert sum(row.amount_net for row in back) == -4
    assert back.count() == 2


def test_more_data_is_bought_on_behalf(csr: Client, world: World) -> None:
    pack = data_pack(world.line.offering)
    shop = text(csr.get(reverse("admin:console_shop", args=[world.line.public_id])))
    assert "More data for" in shop
    form = {"offering": pack.code, "idempotency_key": "console-1"}
    for _ in range(2):
        csr.post(reverse("admin:console_buy", args=[world.line.public_id]), form)
    bought = Purchase.objects.get(offering=pack)
    assert (bought.state, bought.channel, bought.pack.service) == ("completed", "csr", world.line)
    assert bought.placed_by.is_staff


def test_a_product_is_bought_and_cancelled_on_behalf(csr: Client, world: World) -> None:
    shop = reverse("admin:console_shop", args=[world.line.public_id])
    assert world.film.name in text(csr.get(shop))
    form = {"offering": world.film.code, "idempotency_key": "console-1"}
    for _ in range(2):
        csr.post(reverse("admin:console_buy", args=[world.line.public_id]), form)
    [bought] = Purchase.objects.filter(channel="csr")
    assert (bought.state, bought.subscriber) == ("pending", world.ada)
    cancel = reverse("admin:console_cancel_purchase", args=[bought.public_id])
    csr.post(cancel, {"reason": "Wrong film"})
    bought.refresh_from_db()
    assert (bought.state, bought.reason) == ("cancelled", "Wrong film")
    wrong = csr.post(
        reverse("admin:console_buy", args=[world.line.public_id]), {"offering": "x"}, follow=True
    )
    assert "Choose a product." in text(wrong)
