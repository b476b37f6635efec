"""What a line in use carries: judged by its plan, and by what the network was promised to reach."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ispops.catalog.models import Technology
from ispops.parties.models import Subscriber
from provisioning.models import Service
from qualification import coverage
from rating.carriage import offers_on
from tests import factories
from tests.rating.ground import NOON, Shop, product
from tests.small_isp import LAUNCH, cell_of

pytestmark = pytest.mark.django_db
FAR = (44.30, -72.40)


def judge(line: Service, *offerings) -> list[str]:
    verdicts = offers_on(line, offerings)
    return [verdicts[offering.pk].reason_code for offering in offerings]


def test_speed_is_the_plans(shop: Shop, line: Service) -> None:
    just = product("just", "Just", shop.films, LAUNCH, needs_download_kbps=500_000)
    more = product("more", "More", shop.films, LAUNCH, needs_download_kbps=500_001)
    assert judge(line, just, more) == ["", "line_too_slow"]


def test_a_slow_answer_is_the_networks(
    shop: Shop, line: Service, bob: Subscriber, django_assert_max_num_queries
) -> None:
    coverage.import_premises(
        at=NOON,
        rows=[
            {"street": "9 Far Road", "city": "Barre", "region": "VT", "postal_code": "05641",
             "latitude": FAR[0], "longitude": FAR[1]},
        ],
    )  # fmt: skip
    coverage.import_coverage(
        provider=shop.isp.fibre,
        at=NOON - timedelta(hours=1),
        rows=[
            {
                "technology": Technology.FIBRE,
                "h3_res8": cell_of(FAR),
                "max_download_kbps": 1_000_000,
                "max_upload_kbps": 1_000_000,
                "low_latency": False,
            }
        ],
    )
    from tests.small_isp import place

    factories.order(bob, place("9 FAR RD"), shop.isp.fast.code, at=NOON)
    factories.work(at=NOON)
    far = Service.objects.select_related("offering__provider", "subscriber").get(subscriber=bob)
    game = product("game", "Game", shop.films, LAUNCH, needs_low_latency=True)
    assert judge(line, game) == [""]
    with django_assert_max_num_queries(1):
        assert judge(far, game) == ["latency_too_high"]


def test_who_may_have_it(shop: Shop, line: Service) -> None:
    office = product("office", "Office", shop.films, LAUNCH, subscriber_kind="business")
    home = product("home", "Home", shop.films, LAUNCH, subscriber_kind="consumer")
    verdicts = offers_on(line, [office, home])
    assert verdicts[office.pk].reason == "It is not sold to consumer accounts."
    assert verdicts[home.pk].eligible
