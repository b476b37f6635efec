"""What is sold, kept in memory: never other than what the tables say."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from ispops.catalog import publishing
from ispops.catalog.catalogue import SoldOffering, catalogue_at
from ispops.catalog.models import CatalogueRevision
from ispops.parties.models import Partner
from tests.small_isp import LAUNCH, SmallIsp, make_small_isp, priced

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def isp() -> SmallIsp:
    return make_small_isp()


def sold(at: datetime = LAUNCH, currency: str = "USD") -> dict[str, SoldOffering]:
    return {entry.offering.code: entry for entry in catalogue_at(at, currency)}


def test_it_has_prices_and_parts(isp: SmallIsp) -> None:
    fast = sold()["fibre-500"]
    assert (fast.one_off_amount, fast.recurring_amount) == (Decimal(49), Decimal(60))
    assert fast.usage_terms == "1 TB included, then USD 10.00 for each started 50 GB"
    assert sold()["fibre-and-films"].components == (isp.fast.pk, isp.streaming.pk)
    assert not any(entry.has_price for entry in sold(currency="EUR").values())


def test_each_moment_has_its_own(isp: SmallIsp) -> None:
    priced(isp.fast, "65", LAUNCH + DAY)
    publishing.withdraw_offering(offering=isp.dsl, at=LAUNCH + 2 * DAY)

    def shown(at: datetime) -> tuple[Decimal | None, bool]:
        return sold(at)["fibre-500"].recurring_amount, isp.dsl.code in sold(at)

    for _ in range(2):
        assert sold(LAUNCH - MOMENT) == {}
        assert shown(LAUNCH) == (60, True)
        assert shown(LAUNCH + DAY - MOMENT) == (60, True)
        assert shown(LAUNCH + DAY) == (65, True)
        assert shown(LAUNCH + 2 * DAY - MOMENT) == (65, True)
        assert shown(LAUNCH + 2 * DAY) == (65, False)


def test_it_is_read_once_and_then_known_by_its_number(
    isp: SmallIsp, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(5):
        first = catalogue_at(LAUNCH, "USD")
    with django_assert_num_queries(1):
        assert catalogue_at(LAUNCH + DAY, "USD") is first


def test_every_change_of_what_is_sold_is_seen_at_once(isp: SmallIsp) -> None:
    fast = isp.fast
    assert sold()["fibre-500"].offering.name == fast.name
    type(fast).objects.filter(pk=fast.pk).update(name="Glass 500")
    assert sold()["fibre-500"].offering.name == "Glass 500"
    Partner.objects.filter(pk=fast.provider_id).update(active=False)
    provider = sold()["fibre-500"].offering.provider
    assert provider is not None
    assert not provider.active
    fast.components.all().delete()
    isp.bundle.components.all().delete()
    assert sold()["fibre-and-films"].components == ()


def test_what_was_taken_back_is_not_kept(isp: SmallIsp) -> None:
    """A sequence does not go back with its transaction, so the number is not used again."""
    offering = type(isp.fast).objects.filter(pk=isp.fast.pk)
    for name in ("Never sold", "Sold"):
        with transaction.atomic():
            offering.update(name=name)
            assert sold()["fibre-500"].offering.name == name
            if name == "Never sold":
                transaction.set_rollback(True)
    assert sold()["fibre-500"].offering.name == "Sold"


def test_without_a_number_nothing_is_kept(isp: SmallIsp) -> None:
    """As after the tables were emptied, until the next change."""
    CatalogueRevision.objects.all().delete()
    offering = type(isp.fast).objects.filter(pk=isp.fast.pk)
    assert sold()["fibre-500"].offering.name == isp.fast.name
    CatalogueRevision.objects.all().delete()
    offering.update(name="Glass 500")
    assert sold()["fibre-500"].offering.name == "Glass 500"
    assert CatalogueRevision.objects.count() == 1
