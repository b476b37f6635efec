"""Letters to customer service: one about all that wait, seldom, and none to who wants none."""

import pytest

from ipam import csr_letters, overallocation
from ipam.models import OverallocationRequest
from ispops.notices.models import Notice
from ispops.parties import roles
from ispops.parties.models import User
from tests import factories
from tests.ipam.ground import NOON, Isp, after, an_isp, mac

pytestmark = pytest.mark.django_db
MANY = 30


@pytest.fixture
def csr(db: None) -> User:
    return factories.staff(roles.CSR, at=NOON)


@pytest.fixture
def asking(db: None) -> Isp:
    return an_isp(policy="ask_csr", most_extra_addresses=MANY, most_requests_an_hour=MANY)


def letters() -> list[tuple[str, str]]:
    rows = Notice.objects.filter(kind="csr_address_requests").order_by("pk")
    return list(rows.values_list("recipient", "subject"))


def test_a_flood_of_requests_is_one_letter_and_the_next_one_is_later(
    asking: Isp, csr: User
) -> None:
    for number in range(MANY):
        asking.ask(mac(number))
    assert csr_letters.tell(at=after(minutes=1)) == 1
    assert csr_letters.tell(at=after(minutes=1)) == 0
    assert letters() == [(f"user_{csr.pk}", "29 devices wait for an address")]
    notice = Notice.objects.get(kind="csr_address_requests")
    assert (notice.address, notice.subscriber) == (csr.email, None)
    assert "/console/overallocation/" in notice.body
    # Nothing is new, so there is nothing to tell, however long it waits.
    assert csr_letters.tell(at=after(minutes=40)) == 0


def test_what_comes_meanwhile_is_told_in_the_next_letter(asking: Isp, csr: User) -> None:
    asking.ask(mac(1))
    asking.ask(mac(2))
    csr_letters.tell(at=after(minutes=1))
    asking.ask(mac(3), at=after(minutes=2))
    assert csr_letters.tell(at=after(minutes=3)) == 0
    assert csr_letters.tell(at=after(minutes=17)) == 1
    assert [subject for _, subject in letters()] == [
        "One device waits for an address", "2 devices wait for an address",
    ]  # fmt: skip


def test_a_request_of_this_moment_waits_for_the_next_look(asking: Isp, csr: User) -> None:
    asking.ask(mac(1))
    asking.ask(mac(2))
    assert csr_letters.tell(at=after(seconds=1)) == 0
    assert csr_letters.tell(at=after(seconds=31)) == 1


def test_who_switched_them_off_or_has_another_desk_gets_none(asking: Isp, csr: User) -> None:
    lead = factories.staff(roles.CSR_LEAD, at=NOON)
    factories.staff(roles.FINANCE, at=NOON)
    csr_letters.set_wanted(user=csr, wanted=False)
    asking.ask(mac(1))
    asking.ask(mac(2))
    assert csr_letters.tell(at=after(minutes=1)) == 1
    assert [recipient for recipient, _ in letters()] == [f"user_{lead.pk}"]
    assert (csr_letters.wants(csr), csr_letters.wants(lead)) == (False, True)
    csr_letters.set_wanted(user=csr, wanted=True)
    assert csr_letters.tell(at=after(minutes=2)) == 1


def test_what_is_not_for_customer_service_or_is_over_is_not_told(isp: Isp, csr: User) -> None:
    isp.ask(mac(1))
    isp.ask(mac(2))
    assert OverallocationRequest.objects.filter(state="pending").exists()
    assert csr_letters.tell(at=after(minutes=1)) == 0


def test_what_was_answered_is_not_told(asking: Isp, csr: User) -> None:
    asking.ask(mac(1))
    asking.ask(mac(2))
    request = OverallocationRequest.objects.get()
    overallocation.decline(
        request_id=request.pk, actor=csr, decided_by="csr", at=after(seconds=20), reason="No"
    )
    assert csr_letters.tell(at=after(minutes=1)) == 0
