"""What must hold for every place and every catalogue, and a few examples in words."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from qualification import eligibility
from qualification.eligibility import REASON_CODES, Line, Offer, Product, judge, usable_kbps

SPEEDS = some.sampled_from([0, 1_000, 10_000, 25_000, 100_000, 1_000_000])
PROVIDERS = some.integers(min_value=1, max_value=3)
TECHNOLOGIES = some.sampled_from([10, 40, 50])
KINDS = some.sampled_from(["", "consumer", "business"])


@some.composite
def lines(draw: some.DrawFn) -> Line:
    days = draw(some.sampled_from([0, 0, 30]))
    return Line(
        key=draw(some.integers(min_value=1)),
        provider=draw(PROVIDERS),
        provider_name="A network",
        technology=draw(TECHNOLOGIES),
        technology_name="Glass",
        max_download_kbps=draw(SPEEDS),
        max_upload_kbps=draw(SPEEDS),
        low_latency=draw(some.booleans()),
        install_days=draw(some.integers(min_value=0, max_value=30)),
        loop_length_m=draw(some.none() | some.integers(min_value=0, max_value=8_000)),
        construction_fee=Decimal(draw(some.sampled_from([0, 0, 500]))),
        construction_days=days,
        has_free_port=draw(some.booleans()),
        planned_date=draw(some.sampled_from([None, None, None, date(2027, 3, 31)])),
    )


@some.composite
def catalogues(draw: some.DrawFn) -> list[Product]:
    kinds = draw(
        some.lists(some.sampled_from(["access", "access", "bsp", "addon", "bundle"]), max_size=12)
    )
    products: list[Product] = []
    for key, kind in enumerate(kinds, start=1):
        products.append(
            Product(
                key=key,
                name=f"Product {key}",
                kind=kind,
                has_price=draw(some.sampled_from([True, True, True, False])),
                subscriber_kind=draw(KINDS),
                provider=draw(PROVIDERS),
                technology=draw(TECHNOLOGIES),
                download_kbps=draw(SPEEDS),
                upload_kbps=draw(SPEEDS),
                needs_download_kbps=draw(SPEEDS),
                needs_low_latency=draw(some.booleans()),
                components=_parts(draw, products) if kind == "bundle" else (),
            )
        )
    return products


def _parts(draw: some.DrawFn, products: list[Product]) -> tuple[int, ...]:
    access = [product.key for product in products if product.kind == "access"]
    other = [product.key for product in products if product.kind in ("bsp", "addon")]
    parts = [draw(some.sampled_from(access))] if access else []
    return tuple(parts + (draw(some.lists(some.sampled_from(other), unique=True)) if other else []))


def eligible(offers: list[Offer]) -> set[int]:
    return {offer.product.key for offer in offers if offer.eligible}


PLACES = some.lists(lines(), max_size=5)
SUBSCRIBERS = some.sampled_from(["consumer", "business"])


@given(PLACES, SUBSCRIBERS, catalogues(), some.data())
def test_more_speed_never_removes_an_offer(
    place: list[Line], kind: str, catalogue: list[Product], data: some.DataObject
) -> None:
    faster = [
        replace(
            line,
            max_download_kbps=line.max_download_kbps + data.draw(SPEEDS),
            max_upload_kbps=line.max_upload_kbps + data.draw(SPEEDS),
        )
        for line in place
    ]
    assert eligible(judge(place, kind, catalogue)) <= eligible(judge(faster, kind, catalogue))


@given(PLACES, SUBSCRIBERS, catalogues(), some.data())
def test_removing_coverage_never_adds_an_offer(
    place: list[Line], kind: str, catalogue: list[Product], data: some.DataObject
) -> None:
    kept = [line for line in place if data.draw(some.booleans())]
    assert eligible(judge(kept, kind, catalogue)) <= eligible(judge(place, kind, catalogue))


@given(PLACES, SUBSCRIBERS, catalogues())
def test_every_product_has_one_offer_and_every_refusal_a_reason(
    place: list[Line], kind: str, catalogue: list[Product]
) -> None:
    offers = judge(place, kind, catalogue)
    assert [offer.product for offer in offers] == catalogue
    for offer in offers:
        if offer.eligible:
            assert not offer.reason
        else:
            assert offer.reason_code in REASON_CODES
            assert offer.reason.endswith(".")


@given(PLACES, SUBSCRIBERS, catalogues())
def test_eligible_line_can_really_deliver(
    place: list[Line], kind: str, catalogue: list[Product]
) -> None:
    for offer in judge(place, kind, catalogue):
        if offer.eligible and offer.product.kind in ("access", "bundle"):
            assert offer.line in place
            assert offer.plan is not None
            assert offer.line.provider == offer.plan.provider
            download, upload = usable_kbps(offer.line)
            assert download >= offer.plan.download_kbps
            assert upload >= offer.plan.upload_kbps
            assert offer.line.has_free_port
            assert offer.line.planned_date is None
            assert offer.product.subscriber_kind in ("", kind)


@given(PLACES, SUBSCRIBERS, catalogues())
def test_outcome_agrees_with_the_offers(
    place: list[Line], kind: str, catalogue: list[Product]
) -> None:
    offers = judge(place, kind, catalogue)
    with_line = [offer.line for offer in offers if offer.eligible and offer.line]
    outcome = eligibility.outcome(offers)
    assert (outcome == "not_qualified") == (not with_line)
    if any(not line.needs_construction for line in with_line):
        assert outcome == "qualified"


@given(PLACES, SUBSCRIBERS, catalogues())
def test_every_alternative_can_be_had_and_is_another_plan(
    place: list[Line], kind: str, catalogue: list[Product]
) -> None:
    offers = judge(place, kind, catalogue)
    can_be_had = eligible(offers)
    for offer in offers:
        if offer.alternative:
            assert not offer.eligible
            assert offer.product.kind in ("access", "bundle")
            assert offer.alternative.kind in ("access", "bundle")
            assert offer.alternative.key in can_be_had - {offer.product.key}


@given(PLACES, SUBSCRIBERS, catalogues())
def test_no_refused_plan_is_left_alone_and_its_own_network_comes_first(
    place: list[Line], kind: str, catalogue: list[Product]
) -> None:
    offers = judge(place, kind, catalogue)
    had = [offer.product for offer in offers if offer.eligible and offer.product.kind == "access"]
    for offer in offers:
        wanted = offer.product
        if offer.eligible or wanted.kind != "access" or not had:
            continue
        assert offer.alternative is not None
        own = [product for product in had if product.provider == wanted.provider]
        if own and offer.alternative.kind == "access":
            assert offer.alternative.provider == wanted.provider
            away = abs(offer.alternative.download_kbps - wanted.download_kbps)
            assert away == min(abs(one.download_kbps - wanted.download_kbps) for one in own)


@given(some.integers(min_value=0, max_value=9_000), some.integers(min_value=0, max_value=9_000))
def test_longer_copper_is_never_faster(one: int, other: int) -> None:
    short, long = sorted((one, other))
    near, far = (usable_kbps(copper(length)) for length in (short, long))
    assert near[0] >= far[0]
    assert near[1] >= far[1]


SPRING = date(2027, 3, 31)


def copper(length: int | None, **facts: object) -> Line:
    base = Line(1, 1, "Old Copper", 10, "DSL", 100_000, 40_000, loop_length_m=length)
    return replace(base, **facts)


def plan(download: int, upload: int = 1_000, **facts: object) -> Product:
    base = Product(
        1, "Plan", "access", provider=1, provider_name="Old Copper", technology=10,
        technology_name="DSL", download_kbps=download, upload_kbps=upload,
    )  # fmt: skip
    return replace(base, **facts)


@pytest.mark.parametrize(
    ("line", "product", "code", "words"),
    [
        (copper(900), plan(25_000), "", ""),
        (copper(2_000), plan(25_000), "loop_too_long", "The copper line is 2,000 m long"),
        (copper(9_000), plan(1_000), "loop_too_long", "has 0 Mbit/s down"),
        (copper(None, max_download_kbps=20_000), plan(25_000), "too_slow", "has 20 Mbit/s down"),
        (copper(900, has_free_port=False), plan(1_000), "no_free_port", "are taken"),
        (copper(900, provider=2), plan(1_000), "no_coverage", "Old Copper does not reach"),
        (copper(900, technology=40), plan(1_000), "no_coverage", "with DSL"),
        (copper(900, max_download_kbps=0), plan(0), "no_coverage", "does not reach"),
        (copper(900), plan(1_000, subscriber_kind="business"), "subscriber_kind", "businesses"),
        (copper(900), plan(1_000, has_price=False), "not_priced", "no price"),
        (copper(900, planned_date=SPRING), plan(1_000), "planned", "planned for March 31, 2027."),
        (copper(900, planned_date=SPRING), plan(90_000), "loop_too_long", "900 m long"),
        (
            copper(None, planned_date=SPRING, max_download_kbps=9_000),
            plan(25_000),
            "too_slow",
            "The line that is planned here will have 9 Mbit/s down",
        ),
        (
            copper(900, planned_date=SPRING, has_free_port=False),
            plan(1_000),
            "planned",
            "not built",
        ),
    ],
)
def test_access_plan(line: Line, product: Product, code: str, words: str) -> None:
    (offer,) = judge([line], "consumer", [product])
    assert offer.reason_code == code
    assert words in offer.reason


def test_line_that_needs_nothing_built_is_preferred() -> None:
    built = copper(100, key=1, construction_days=30)
    ready = copper(100, key=2, install_days=20)
    (offer,) = judge([built, ready], "consumer", [plan(1_000)])
    assert offer.line == ready
    assert eligibility.outcome([offer]) == "qualified"


def test_nearest_refusal_is_told() -> None:
    slow, full = copper(9_000, key=1), copper(100, key=2, has_free_port=False)
    (offer,) = judge([slow, full], "consumer", [plan(25_000)])
    assert offer.reason_code == "no_free_port"


def test_line_that_is_there_is_told_before_one_that_is_planned() -> None:
    planned, full = copper(100, planned_date=SPRING), copper(100, key=2, has_free_port=False)
    (offer,) = judge([planned, full], "consumer", [plan(1_000)])
    assert offer.line == full
    (offer,) = judge([planned, copper(100, key=3)], "consumer", [plan(1_000)])
    assert offer.eligible


def test_refused_plan_names_the_closest_of_its_network_that_can_be_had() -> None:
    wanted, near, far = plan(90_000), replace(plan(25_000), key=2), replace(plan(6_000), key=3)
    other = replace(plan(90_000), key=4, provider=2)
    glass = replace(copper(None), provider=2)
    offers = judge([copper(900), glass], "consumer", [wanted, far, near, other])
    assert [offer.eligible for offer in offers] == [False, True, True, True]
    assert offers[0].alternative == near
    offers = judge([glass], "consumer", [wanted, far, near, other])
    assert [offer.alternative for offer in offers] == [other, other, other, None]


def test_aggregated_plan_has_another_one_as_its_alternative() -> None:
    slow, fast, film = plan(6_000), replace(plan(90_000), key=2), Product(3, "Films", "bsp")
    both = Product(4, "Both", "bundle", components=(2, 3))
    small = Product(5, "Small", "bundle", components=(1, 3))
    offers = judge([copper(900)], "consumer", [slow, fast, film, both, small])
    assert [offer.product.name for offer in offers if not offer.eligible] == ["Plan", "Both"]
    assert offers[1].alternative == slow
    assert offers[3].alternative == small
    lost = Product(6, "Lost", "bundle", components=(9,))
    (_, refused) = judge([copper(900)], "consumer", [slow, lost])
    assert (refused.reason_code, refused.alternative) == ("part_not_available", None)


def test_partner_product_names_the_fastest_line_that_is_too_slow_for_it() -> None:
    film = Product(2, "Films", "bsp", needs_download_kbps=50_000)
    offers = judge([copper(900)], "consumer", [plan(5_000), replace(plan(25_000), key=3), film])
    assert offers[2].reason_code == "line_too_slow"
    assert "It needs 50 Mbit/s; the fastest line here has 25 Mbit/s." in offers[2].reason


def test_game_needs_a_line_with_a_short_response_time() -> None:
    game = Product(2, "Game", "bsp", needs_low_latency=True)
    far = judge([copper(900, low_latency=False)], "consumer", [plan(5_000), game])
    near = judge([copper(900)], "consumer", [plan(5_000), game])
    assert (far[1].reason_code, near[1].eligible) == ("latency_too_high", True)


def test_bundle_is_refused_for_the_part_that_does_not_fit() -> None:
    film = Product(2, "Films", "bsp", needs_download_kbps=50_000)
    bundle = Product(3, "Both", "bundle", components=(1, 2))
    offers = judge([copper(900)], "consumer", [plan(25_000), film, bundle])
    assert offers[2].reason_code == "line_too_slow"
    assert offers[2].reason.startswith("Films, a part of it: ")
    withdrawn = judge([copper(900)], "consumer", [plan(25_000), bundle])
    assert withdrawn[1].reason_code == "part_not_available"


def test_bundle_is_sold_though_its_plan_alone_has_no_price() -> None:
    bundle = Product(3, "Both", "bundle", components=(1,))
    offers = judge([copper(900)], "consumer", [plan(25_000, has_price=False), bundle])
    assert [offer.reason_code for offer in offers] == ["not_priced", ""]


@pytest.mark.parametrize(
    ("kbps", "words"),
    [(0, "0 Mbit/s"), (1_500, "1.5 Mbit/s"), (25_000, "25 Mbit/s"), (1_000_000, "1 Gbit/s"),
     (2_500_000, "2.5 Gbit/s"), (10_000_000, "10 Gbit/s")],
)  # fmt: skip
def test_speed_in_words(kbps: int, words: str) -> None:
    assert eligibility.in_mbits(kbps) == words
