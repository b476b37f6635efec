"""Promising by hand what an answer refused, with a reason."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from ispops.catalog import publishing
from ispops.errors import InvalidInput
from ispops.parties import roles
from ispops.parties.models import AuditEntry, User
from qualification import coverage, overriding, ports, qualify
from qualification.models import AccessPort, QualifiedOffer, ServiceQualification
from qualification.overriding import CannotBeOverridden, Promise
from tests import factories
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp, place

AT = LAUNCH + timedelta(days=1)
LATER = AT + timedelta(hours=2)
WHY = "Surveyed on site: the duct of number 3 is free"
FIBRE = Promise("fibre-500", install_days=20)

pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


@pytest.fixture
def lead(db: None) -> User:
    return factories.staff(roles.CSR_LEAD, at=AT)


def asked(street: str) -> ServiceQualification:
    return factories.qualified(place(street), at=AT)


def override(
    answer: ServiceQualification, lead: User, *promises: Promise, reason: str = WHY, at: Any = LATER
) -> ServiceQualification:
    return overriding.override_answer(
        qualification=answer, promises=promises, actor=lead, reason=reason, at=at
    )


def test_refused_plan_is_promised_in_a_new_answer_beside_the_old(isp: SmallIsp, lead: User) -> None:
    old = asked("1 ELM ST")
    refused = old.offers.get(offering=isp.fast)
    new = override(
        old, lead, Promise("fibre-500", 45, 300_000, 100_000, Decimal(350)), reason=f"  {WHY} "
    )
    offer = new.offers.get(offering=isp.fast)
    assert (offer.eligible, offer.overridden, offer.confidence) == (True, True, "red")
    assert (offer.reason_code, offer.reason, offer.alternative) == ("", "", None)
    assert (offer.download_kbps, offer.upload_kbps) == (300_000, 100_000)
    assert (offer.install_days, offer.construction_fee) == (45, Decimal(350))
    assert (offer.recurring_amount, offer.offering_name) == (Decimal(60), "Fibre 500")
    assert (new.overrides, new.override_reason, new.channel) == (old, WHY, "csr")
    assert (new.asked_at, new.expires_at) == (LATER, old.expires_at)
    assert (new.premises, new.address, new.lines) == (old.premises, old.address, old.lines)
    assert new.offers.count() == old.offers.count()
    refused.refresh_from_db()
    assert (refused.eligible, refused.qualification) == (False, old)
    entry = AuditEntry.objects.get(action="qualification.overridden")
    assert (entry.subject, entry.reason, entry.actor) == (new.public_id, WHY, lead)
    assert entry.detail == {"overrides": old.public_id, "offerings": ["fibre-500"]}


def test_what_was_not_promised_stays_as_it_was(isp: SmallIsp, lead: User) -> None:
    old = asked("1 ELM ST")
    new = override(old, lead, FIBRE)
    columns = [
        field.name
        for field in QualifiedOffer._meta.concrete_fields
        if field.name not in ("id", "qualification")
    ]
    others = [
        list(answer.offers.exclude(offering=isp.fast).order_by("offering").values(*columns))
        for answer in (old, new)
    ]
    assert others[0] == others[1]


@pytest.mark.parametrize(
    ("street", "fee", "state"),
    [
        ("1 ELM ST", "350", "qualified"),  # DSL was there already.
        ("1 ALPINE RD", "0", "qualified"),
        ("1 ALPINE RD", "350", "qualified_with_construction"),
    ],
)
def test_state_counts_what_is_promised(
    isp: SmallIsp, lead: User, street: str, fee: str, state: str
) -> None:
    promise = Promise("fibre-500", 10, construction_fee=Decimal(fee))
    assert override(asked(street), lead, promise).state == state


def test_aggregated_plan_and_partner_product_are_promised(isp: SmallIsp, lead: User) -> None:
    new = override(
        asked("1 ALPINE RD"), lead, Promise("fibre-and-films", 9), Promise("films-streaming")
    )
    bundle = new.offers.get(offering=isp.bundle)
    assert (bundle.provider, bundle.provider_name) == (isp.fibre, "Fast Fibre")
    assert (bundle.technology, bundle.download_kbps, bundle.install_days) == (50, 500_000, 9)
    films = new.offers.get(offering=isp.streaming)
    assert (films.eligible, films.install_days, films.construction_fee) == (True, None, 0)
    assert qualify.require_live_offer(qualification=new, offering=isp.bundle, at=LATER) == bundle


def test_overridden_answer_can_be_overridden_again(isp: SmallIsp, lead: User) -> None:
    first = override(asked("1 ALPINE RD"), lead, FIBRE)
    second = override(first, lead, Promise("dsl-25", 3), reason="Copper too")
    names = second.offers.filter(overridden=True).values_list("offering__code", flat=True)
    assert sorted(names) == ["dsl-25", "fibre-500"]
    assert second.overrides == first


def test_programs_answer_stays_readable_for_its_asker(isp: SmallIsp, lead: User) -> None:
    theirs = qualify.qualify_address(
        premises_id=isp.stowe.public_id, channel="partner", asker="partner_films", at=AT
    )
    assert override(theirs, lead, FIBRE).asker == "partner_films"
    assert override(asked("1 ALPINE RD"), lead, FIBRE).asker == f"user_{lead.pk}"


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 301, "why\x00not", "why\x07not"])
def test_there_must_be_a_reason(isp: SmallIsp, lead: User, reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        override(asked("1 ELM ST"), lead, FIBRE, reason=reason)
    assert refusal.value.field == "reason"
    assert ServiceQualification.objects.count() == 1


@pytest.mark.parametrize(
    ("promises", "field"),
    [
        ([], "offering"),
        ([Promise("nothing")], "offering"),
        ([Promise("dsl-6")], "offering"),  # It is there already.
        ([Promise("fibre-500", -1)], "install_days-fibre-500"),
        ([Promise("fibre-500", 3_651)], "install_days-fibre-500"),
        ([Promise("fibre-500", 1, 500_001)], "download_kbps-fibre-500"),
        ([Promise("fibre-500", 1, 0)], "download_kbps-fibre-500"),
        ([Promise("fibre-500", 1, None, -5)], "upload_kbps-fibre-500"),
        ([Promise("fibre-500", 1, construction_fee=Decimal(-1))], "construction_fee-fibre-500"),
        ([Promise("fibre-500", 1, construction_fee=Decimal("NaN"))], "construction_fee-fibre-500"),
        ([Promise("fibre-500", 1, construction_fee=Decimal(10**8))], "construction_fee-fibre-500"),
        ([FIBRE, Promise("fibre-and-films", 1, 10**9)], "download_kbps-fibre-and-films"),
    ],
)
def test_wrong_promise_names_its_field_and_writes_nothing(
    isp: SmallIsp, lead: User, promises: list[Promise], field: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        override(asked("1 ELM ST"), lead, *promises)
    assert refusal.value.field == field
    assert ServiceQualification.objects.count() == 1
    assert not AuditEntry.objects.filter(action="qualification.overridden").exists()


def test_what_no_network_refuses_is_not_promised(isp: SmallIsp, lead: User) -> None:
    unpriced = publishing.create_offering(
        code="unpriced", name="Unpriced", kind="access", provider=isp.fibre, technology=50,
        download_kbps=1_000, upload_kbps=1_000, at=LAUNCH,
    )  # fmt: skip
    publishing.withdraw_offering(offering=isp.streaming, at=AT - timedelta(hours=1))
    answer = asked("1 ELM ST")
    assert answer.offers.get(offering=unpriced).reason_code == "not_priced"
    for code in ("unpriced", "fibre-office", "fibre-and-films"):
        with pytest.raises(CannotBeOverridden):
            override(answer, lead, Promise(code, 5))


def test_expired_and_unanswered_answers_are_not_overridden(isp: SmallIsp, lead: User) -> None:
    answer = asked("1 ELM ST")
    with pytest.raises(qualify.QualificationExpired, match="Check the address again"):
        override(answer, lead, FIBRE, at=answer.expires_at)
    several = qualify.qualify_address(text="5 Oak Street, Barre, VT 05641", channel="csr", at=AT)
    with pytest.raises(CannotBeOverridden):
        override(several, lead, FIBRE)


def test_overridden_answer_is_never_edited(isp: SmallIsp, lead: User) -> None:
    new = override(asked("1 ELM ST"), lead, FIBRE)

    def attack(change: Callable[[], object]) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            change()

    attack(lambda: ServiceQualification.objects.filter(pk=new.pk).update(override_reason="Other"))
    attack(lambda: new.offers.update(install_days=1))
    attack(lambda: ServiceQualification.objects.create(
        asked_text="x", channel="csr", state="qualified", asked_at=AT, expires_at=LATER,
        overrides=new,
    ))  # fmt: skip


def test_port_is_held_for_a_promise_where_one_is_known(isp: SmallIsp, lead: User) -> None:
    coverage.import_coverage(
        provider=isp.fibre,
        at=AT,
        rows=[{"technology": 50, "premises": isp.elm_1, "max_download_kbps": 100_000,
               "max_upload_kbps": 100_000, "node": isp.fibre_node}],
    )  # fmt: skip
    new = override(factories.qualified(isp.elm_1, at=AT), lead, FIBRE)
    facts = {"provider": isp.fibre, "technology": 50, "until": LATER + timedelta(days=1)}
    assert ports.hold_port(qualification=new, **facts, at=LATER, actor=lead)
    assert AccessPort.objects.held(LATER).count() == 1
    nowhere = override(asked("1 ALPINE RD"), lead, FIBRE)
    assert ports.hold_port(qualification=nowhere, **facts, at=LATER, actor=lead) is None
