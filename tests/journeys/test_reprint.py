"""An answer reads the same years later, whatever has become of the catalogue and the place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from allauth.idp.oidc.models import Token
from django.test import Client
from django.utils import timezone

from ispops.catalog import publishing
from ispops.catalog.models import BundleComponent, ProductOffering
from ispops.parties import partners
from ispops.parties.models import Partner
from qualification import coverage, qualify
from qualification.models import AccessNode, CoverageArea, Premises, ServiceQualification
from tests import factories
from tests.small_isp import LAUNCH, OAK, SmallIsp, make_small_isp, priced

pytestmark = pytest.mark.django_db
NOW = LAUNCH + timedelta(days=10)
WHILE_IT_HOLDS = NOW + timedelta(days=5)
YEARS_LATER = NOW + timedelta(days=2_000)
A_TOKEN = "a-token-that-lives-for-years"


@pytest.fixture
def isp() -> Iterator[SmallIsp]:
    with time_machine.travel(NOW, tick=False):
        small = make_small_isp()
        ProductOffering.objects.filter(pk=small.bundle.pk).update(description="All in one.")
        coverage.import_premises(
            at=NOW, rows=[{"street": "1 Elm Street", **OAK, "location_id": "1037392925"}]
        )
        coverage.import_coverage(
            provider=small.fibre,
            at=NOW,
            rows=[
                {"technology": 50, "premises": small.elm_1, "max_download_kbps": 1_000_000,
                 "max_upload_kbps": 1_000_000, "construction_days": 60, "construction_fee": "350"}
            ],
        )  # fmt: skip
        yield small


def change_everything(isp: SmallIsp, at: datetime) -> None:
    """Do to the catalogue, the networks and the place what years do."""
    for model in (ProductOffering, Partner, AccessNode):
        for row in model.objects.all():
            model.objects.filter(pk=row.pk).update(name=f"New {row.pk}")
    ProductOffering.objects.update(
        description="Another text.", download_kbps=1, upload_kbps=1, needs_download_kbps=1,
        is_subscription=False, subscriber_kind="business",
    )  # fmt: skip
    BundleComponent.objects.update(revenue_weight=1)
    BundleComponent.objects.first().delete()
    for offering in (isp.fast, isp.dsl, isp.bundle):
        priced(offering, "999", at)
    publishing.set_price(offering=isp.fast, charge="one_off", amount=Decimal(7), at=at)
    for offering in (isp.fast, isp.slow_dsl, isp.streaming):
        publishing.withdraw_offering(offering=offering, at=at)
    CoverageArea.objects.filter(valid_to=None).update(valid_to=at)
    Premises.objects.update(
        street="Renamed Street", city="Newtown", postal_code="99999", location_id=None
    )
    Partner.objects.update(active=False, is_on_net=False)


def without_tokens(page: bytes) -> str:
    """A page without what protects its forms: that is new each time."""
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page.decode())


def portal(answer: ServiceQualification) -> str:
    page = Client().get(f"/check/{answer.public_id}/")
    assert page.status_code == 200
    return without_tokens(page.content)


def api(answer: ServiceQualification) -> str:
    page = Client().get(
        f"/api/v1/service_qualifications/{answer.public_id}",
        headers={"Authorization": f"Bearer {A_TOKEN}"},
    )
    assert page.status_code == 200
    return page.content.decode()


def allow(partner: Partner) -> None:
    client, _ = partners.create_api_client(
        partner=partner, name="Program", scopes=["qualification:read"], at=timezone.now()
    )
    token = Token(client=client, type=Token.Type.ACCESS_TOKEN)
    token.set_scopes(["qualification:read"])
    token.set_value(A_TOKEN)
    token.save()


@pytest.mark.parametrize("street", ["1 OAK ST", "1 ELM ST", "1 ALPINE RD"])
@pytest.mark.parametrize("reprint", [portal, api])
@pytest.mark.parametrize("when", [WHILE_IT_HOLDS, YEARS_LATER])
def test_reprint_is_the_same_byte_for_byte(
    isp: SmallIsp, street: str, reprint: Callable[[ServiceQualification], str], when: datetime
) -> None:
    place = Premises.objects.get(match_key__startswith=f"{street}, ")
    answer = factories.qualified(place, at=NOW)
    if reprint is api:
        allow(isp.films)
        answer = answer_of(isp.films, place)
    with time_machine.travel(when, tick=False):
        before = reprint(answer)
        change_everything(isp, when)
        if reprint is api:
            Partner.objects.filter(pk=isp.films.pk).update(active=True)
        after = reprint(answer)
    assert str(place) in before
    assert "New " not in after
    assert after == before


def answer_of(partner: Partner, place: Premises) -> ServiceQualification:
    return qualify.qualify_address(
        premises_id=place.public_id, channel="partner", asker=f"partner_{partner.code}", at=NOW
    )


def test_answer_of_the_api_says_what_a_page_says(isp: SmallIsp) -> None:
    allow(isp.films)
    answer = answer_of(isp.films, isp.oak_1)
    body, page = json.loads(api(answer)), portal(answer)
    for offer in body["offers"]:
        assert offer["name"] in page
        assert offer["reason"] in page
