"""Registrations at the same moment: a button pressed twice, two tabs, the last port, a house."""

from __future__ import annotations

from typing import Any

import pytest

from ispops.errors import Refusal
from ispops.parties import accounts, invitations, terms
from ispops.parties.models import Subscriber, User
from ispops.parties.terms import Acceptance
from provisioning import duplicates, registrations
from provisioning.models import ProductOrder, Registration
from qualification.models import AccessPort, Premises, QualifiedOffer
from tests import factories
from tests.concurrency.test_orders import AT, MANY, at_once
from tests.small_isp import SmallIsp, make_small_isp

pytestmark = pytest.mark.django_db(transaction=True)


def promised(isp: SmallIsp) -> QualifiedOffer:
    return factories.qualified(isp.oak_1, at=AT).offers.get(offering=isp.fast)


def begun(offer: QualifiedOffer, user: User, **answers: Any) -> Registration:
    return registrations.begin(
        offer=offer, channel="portal", user=user, at=AT, name=str(user), payment_kind="invoice",
        **answers,
    )  # fmt: skip


def press(row: Registration, key: str = "") -> Any:
    """Press the button of the last page; a refusal is an answer too."""
    try:
        return registrations.place(
            registration_id=row.pk,
            placed_by=row.user,  # type: ignore[arg-type]
            key=key or row.idempotency_key,
            terms_version=terms.FIRST_VERSION,
            acceptance=Acceptance(by=row.user),  # type: ignore[arg-type]
            at=AT,
        )
    except Refusal as refused:
        return refused.code


def people(isp: SmallIsp, **answers: Any) -> list[Registration]:
    """So many people, each with a login of their own, who want a line at the same house."""
    # All have asked before the first keeps a port.
    offers = [promised(isp) for _ in range(MANY)]
    return [begun(offer, factories.login(at=AT), **answers) for offer in offers]


def test_a_button_pressed_many_times_is_one_account_and_one_order() -> None:
    isp = make_small_isp(fibre_ports=MANY)
    row = begun(promised(isp), factories.login(at=AT))
    orders = at_once(lambda _: press(row))
    assert {order.pk for order in orders} == {ProductOrder.objects.get().pk}
    assert Subscriber.objects.get().terms_acceptances.count() == 1
    assert Subscriber.objects.get().payment_methods.count() == 1


def test_what_another_tab_changed_is_not_ordered() -> None:
    isp = make_small_isp(fibre_ports=MANY)
    row = begun(promised(isp), factories.login(at=AT))

    def tab(number: int) -> Any:
        if number:
            return press(row)
        return registrations.answer(registration_id=row.pk, extras=["films-streaming"], at=AT)

    def either(number: int) -> Any:
        try:
            return tab(number)
        except Refusal as refused:
            return refused.code

    changed, *pressed = at_once(either)
    if changed == "registration_ended":
        # The order came first, and so without what was changed too late.
        assert ProductOrder.objects.get().items.count() == 1
    else:
        assert set(pressed) == {"registration_changed"}
        assert not ProductOrder.objects.exists()


def test_two_tabs_of_one_login_leave_one_open_registration() -> None:
    isp = make_small_isp(fibre_ports=MANY)
    user = factories.login(at=AT)
    offers = [promised(isp) for _ in range(2)]

    def begin(number: int) -> Any:
        try:
            return registrations.begin(
                offer=offers[number % 2], channel="portal", user=user, at=AT
            ).pk
        except Refusal as refused:
            return refused.code

    at_once(begin)
    assert Registration.objects.filter(user=user, state="draft").count() == 1


@pytest.mark.parametrize("ports", [1, 3])
def test_the_last_ports_go_to_as_many_registrations(ports: int) -> None:
    isp = make_small_isp(fibre_ports=ports)
    # Nobody holds a port any more: the pages were open for long.
    rows = people(isp, premises_answer="moving_in")
    AccessPort.objects.update(held_for=None, held_until=None)
    got = at_once(lambda number: press(rows[number]))
    placed = [answer for answer in got if isinstance(answer, ProductOrder)]
    assert len(placed) == ports
    assert got.count("no_free_port") == MANY - ports
    assert Subscriber.objects.count() == ports
    assert Registration.objects.filter(state="placed").count() == ports


def test_one_house_at_once_is_one_line_until_somebody_says_more() -> None:
    isp = make_small_isp(fibre_ports=MANY)
    rows = people(isp)
    got = at_once(lambda number: press(rows[number]))
    assert got.count("premises_served") == MANY - 1
    assert ProductOrder.objects.count() == Subscriber.objects.count() == 1


def test_without_the_lock_on_the_house_more_than_one_comes_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: they all look before any of them has written."""
    import threading

    isp = make_small_isp(fibre_ports=MANY)
    rows, looked = people(isp), threading.Barrier(MANY)
    look, lock = duplicates.at_premises, registrations.db.lock

    def look_together(*given: Any) -> Any:
        found = look(*given)
        looked.wait(timeout=20)
        return found

    monkeypatch.setattr(duplicates, "at_premises", look_together)
    monkeypatch.setattr(
        registrations.db, "lock", lambda model, pk: None if model is Premises else lock(model, pk)
    )
    got = at_once(lambda number: press(rows[number]))
    assert sum(isinstance(answer, ProductOrder) for answer in got) > 1


def test_an_invitation_opened_many_times_is_one_login() -> None:
    make_small_isp()
    clerk = factories.staff("CSR", at=AT)
    subscriber = accounts.register_on_behalf(
        name="Nora New", email="nora@example.com", kind="consumer", phone="",
        terms_version=terms.FIRST_VERSION,
        acceptance=Acceptance(by=clerk, channel="csr", how="voice"), at=AT,
    )  # fmt: skip
    row = subscriber.invitations.get()

    def open_it(_: int) -> str:
        try:
            accounts.accept_invitation(invitation_id=row.pk, password="a-quiet-harbour", at=AT)
        except invitations.InvitationOver as over:
            return over.code
        return "made"

    got = at_once(open_it)
    assert sorted(got) == ["invitation_over"] * (MANY - 1) + ["made"]
    assert subscriber.users.count() == 1
