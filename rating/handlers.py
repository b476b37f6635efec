"""What rating does when something happened; registered when Django starts."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from ispops import events
from ispops.errors import Refusal
from ispops.money import format_money, round_to_minor_unit
from ispops.notices import notify
from ispops.periods import day_in_words
from provisioning.models import Service, ServiceOrder, Slowdown
from rating import notice_kinds, offers, purchases, telling, watching
from rating.models import (
    Charge,
    CustomerBill,
    Dispute,
    Purchase,
    PurchaseRequest,
    Reservation,
)


@events.on("service_order.completed", name="rating.partner_confirmed")
def partner_confirmed(event: Any) -> None:
    """A purchase is completed when its partner has granted what was bought."""
    key = ServiceOrder.key_of(event.subject)
    if key is not None:
        purchases.complete_purchase(service_order_id=key, at=event.occurred_at)


def _reverse(event: Any) -> None:
    key = ServiceOrder.key_of(event.subject)
    if key is not None:
        because = event.payload.get("reason") or "The partner did not deliver."
        purchases.reverse_purchase(service_order_id=key, because=because, at=event.occurred_at)


@events.on("service_order.failed", name="rating.partner_refused")
def partner_refused(event: Any) -> None:
    """A purchase that the partner refused is taken back."""
    _reverse(event)


@events.on("service_order.timed_out", name="rating.partner_timed_out")
def partner_timed_out(event: Any) -> None:
    """A purchase that the partner did not confirm in time is taken back."""
    _reverse(event)


@events.on("service_order.cancelled", name="rating.partner_order_withdrawn")
def partner_order_withdrawn(event: Any) -> None:
    """A purchase whose line ended before the partner confirmed is taken back."""
    _reverse(event)


@events.on("bill.issued", name="rating.write_bill_issued")
def write_bill_issued(event: Any) -> None:
    """Whoever pays hears how much, and by when."""
    key = CustomerBill.key_of(event.subject)
    bill = CustomerBill.objects.select_related("subscriber").filter(pk=key).first() if key else None
    if bill is None:
        return
    page = reverse("portal:issued_bill", args=[bill.public_id])
    notify.send(
        kind=notice_kinds.BILL_ISSUED.code,
        subscriber=bill.subscriber,
        cause=bill.public_id,
        at=event.occurred_at,
        bill_number=str(bill.number),
        amount=format_money(bill.amount_due, bill.currency),
        due_date=f"{bill.due_date:%B %-d, %Y}",
        bill_url=settings.BASE_URL.rstrip("/") + page,
    )


@events.on("charge.refunded", name="rating.write_charge_refunded")
def write_charge_refunded(event: Any) -> None:
    """Whoever paid hears what is given back, unless it is the answer to their own dispute."""
    key = Charge.key_of(event.subject)
    rows = Charge.objects.select_related("subscriber", "offering")
    refund = rows.filter(pk=key, upholds__isnull=True).first() if key else None
    if refund is not None:
        notify.send(
            kind=notice_kinds.CHARGE_REFUNDED.code,
            subscriber=refund.subscriber,
            cause=refund.public_id,
            at=event.occurred_at,
            product=refund.offering.name,
            amount=_given_back(refund),
            reason=str(refund.explanation.get("because", "")),
            charge_url=_charge_url(refund),
        )


@events.on("dispute.upheld", name="rating.write_dispute_upheld")
def write_dispute_upheld(event: Any) -> None:
    """Who disputed a charge hears that they get something back."""
    _write_answer(event)


@events.on("dispute.rejected", name="rating.write_dispute_rejected")
def write_dispute_rejected(event: Any) -> None:
    """Who disputed a charge hears why it stays."""
    _write_answer(event)


def _write_answer(event: Any) -> None:
    key = Dispute.key_of(event.subject)
    rows = Dispute.objects.select_related("subscriber", "charge__offering", "correction")
    dispute = rows.filter(pk=key, partner__isnull=True).first() if key else None
    if dispute is None:
        return
    back = dispute.correction
    notify.send(
        kind=notice_kinds.DISPUTE_ANSWERED.code,
        subscriber=dispute.subscriber,
        cause=dispute.public_id,
        at=event.occurred_at,
        product=dispute.charge.offering.name,
        outcome=f"You get {_given_back(back)} back." if back else "The charge is right.",
        answer=dispute.answer,
        charge_url=_charge_url(dispute.charge),
    )


def _given_back(refund: Charge) -> str:
    back = -(refund.amount_net + refund.amount_tax)
    return format_money(round_to_minor_unit(back, refund.currency), refund.currency)


def _charge_url(charge: Charge) -> str:
    return _address("portal:charge", charge.public_id)


@events.on("purchase_request.waiting", name="rating.write_purchase_asked_for")
def write_purchase_asked_for(event: Any) -> None:
    """Whoever is asked to buy something hears of it, unless it is answered already."""
    key = PurchaseRequest.key_of(event.subject)
    rows = PurchaseRequest.objects.select_related("partner", "subscriber", "line", "offering")
    waiting = rows.filter(pk=key, state=PurchaseRequest.State.WAITING).first() if key else None
    if waiting is None:
        return
    try:
        shown = offers.offer(
            subscriber=waiting.subscriber,
            line=waiting.line,
            offering=waiting.offering,
            at=event.occurred_at,
        )
    except Refusal:
        return
    notify.send(
        kind=notice_kinds.PURCHASE_ASKED_FOR.code,
        subscriber=waiting.subscriber,
        cause=waiting.public_id,
        at=event.occurred_at,
        partner=str(waiting.partner),
        product=waiting.offering.name,
        price=shown.in_words,
        words=waiting.words,
        expires_on=day_in_words(waiting.expires_at, zone=settings.BILLING_TIME_ZONE),
        request_url=_address("portal:purchase_request", waiting.public_id),
    )


@events.on("purchase_request.agreed", name="rating.write_bought_by_standing_consent")
def write_bought_by_standing_consent(event: Any) -> None:
    """What was bought without asking is told; what somebody agreed to, they know."""
    key = PurchaseRequest.key_of(event.subject)
    rows = PurchaseRequest.objects.select_related("partner", "subscriber", "offering", "consent")
    agreed = rows.filter(pk=key, consent__standing__isnull=False).first() if key else None
    if agreed is None:
        return
    amount = round_to_minor_unit(agreed.consent.amount, agreed.subscriber.currency)
    notify.send(
        kind=notice_kinds.BOUGHT_BY_STANDING_CONSENT.code,
        subscriber=agreed.subscriber,
        cause=agreed.public_id,
        at=event.occurred_at,
        partner=str(agreed.partner),
        product=agreed.offering.name,
        amount=format_money(amount, agreed.subscriber.currency),
        purchase_url=_address("portal:purchase", event.payload["purchase"]),
        consents_url=_address("portal:consents"),
    )


@events.on("reservation.used", name="rating.write_charged_by_standing_consent")
def write_charged_by_standing_consent(event: Any) -> None:
    """What is charged of a reservation is told: by its first part, how much it can come to."""
    key, charge = Reservation.key_of(event.subject), Charge.key_of(event.payload["charge"])
    rows = Reservation.objects.select_related("partner", "subscriber", "offering")
    row = rows.filter(pk=key).first() if key else None
    if row is None or charge is None:
        return
    most = round_to_minor_unit(row.amount, row.currency)
    notify.send(
        kind=notice_kinds.CHARGED_BY_STANDING_CONSENT.code,
        subscriber=row.subscriber,
        cause=row.public_id,
        at=event.occurred_at,
        partner=str(row.partner),
        product=row.offering.name,
        most=format_money(most, row.currency),
        charge_url=_address("portal:charge", event.payload["charge"]),
        consents_url=_address("portal:consents"),
    )
    telling.spending(subscriber=row.subscriber, at=event.occurred_at)


def _address(page: str, *ids: str) -> str:
    return settings.BASE_URL.rstrip("/") + reverse(page, args=ids)


@events.on("purchase.completed", name="rating.make_room_by_pack")
def make_room_by_pack(event: Any) -> None:
    """A line that a pack of data makes room for has its speed back at once."""
    key = Purchase.key_of(event.subject)
    bought = Purchase.objects.filter(pk=key, pack__isnull=False).first() if key else None
    if bought is not None:
        watching.settle(line_id=bought.line_id, at=event.occurred_at)


@events.on("purchase.placed", name="rating.write_spending_limit")
def write_spending_limit(event: Any) -> None:
    """Who has nearly spent what they may spend on partners' products hears of it."""
    key = Purchase.key_of(event.subject)
    rows = Purchase.objects.select_related("subscriber").filter(pk=key) if key else None
    bought = rows.first() if rows is not None else None
    if bought is not None:
        telling.spending(subscriber=bought.subscriber, at=event.occurred_at)


@events.on("service.changed", name="rating.follow_changed_plan")
def follow_changed_plan(event: Any) -> None:
    """A line that has another plan now is slow by that one's rule, or not at all."""
    key = Service.key_of(event.subject)
    if key is not None:
        watching.settle(line_id=key, at=event.occurred_at)


@events.on("line.slowed", name="rating.write_line_slowed")
def write_line_slowed(event: Any) -> None:
    """Whoever has the line hears how slow it is, until when, and what helps."""
    row = _slowdown(event)
    if row is not None and row.ended_at is None:
        telling.line_slowed(slowdown=row, at=event.occurred_at)


@events.on("line.restored", name="rating.write_line_restored")
def write_line_restored(event: Any) -> None:
    """Whoever has the line hears that it is fast again, and why."""
    row = _slowdown(event)
    if row is not None:
        telling.line_restored(slowdown=row, at=event.occurred_at)


def _slowdown(event: Any) -> Slowdown | None:
    rows = Slowdown.objects.select_related(
        "service__subscriber", "service__offering", "service__bundle"
    )
    return rows.filter(pk=event.payload["slowdown"]).first()
