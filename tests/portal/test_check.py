"""Figure 1: asking what an address can have."""

from datetime import date, datetime, timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from ispops.catalog import publishing
from ispops.parties import limits
from provisioning.models import Service
from qualification.models import CoverageArea, Premises, ServiceQualification, WaitlistEntry
from tests import factories
from tests.portal.pages import Page, page
from tests.small_isp import ELM_POINT, LAUNCH, SmallIsp, priced

pytestmark = pytest.mark.django_db


def ask(client: Client, text: str, premises: str = "") -> ServiceQualification:
    response = client.post("/", {"address": text, "premises": premises})
    assert response.status_code == 302, response.content
    key = ServiceQualification.key_of(response["Location"].split("/")[2])
    return ServiceQualification.objects.get(pk=key)


def test_the_first_page_asks_one_question(client: Client) -> None:
    found = page(client.get("/"))
    (field,) = found.all("input", type="text")
    assert field["name"] == "address"
    assert field["role"] == "combobox"
    assert "Check availability" in found.text


def test_a_known_address_leads_to_offers_with_prices(client: Client, house: Premises) -> None:
    asked = ask(client, str(house))
    assert (asked.state, asked.channel, asked.asker) == ("qualified", "portal", "")
    assert asked.premises == house
    found = page(client.get(f"/check/{asked.public_id}/"))
    for said in (
        "Fiber on the network of Fast Fibre",
        "DSL on the network of Old Copper",
        "500 Mbit/s",
        "USD 60.00 a month",
        "USD 49.00 once",
        "1 TB included, then USD 10.00 for each started 50 GB",
        "No limit on data",
        "Ready in about 5 days",
        "Fibre and films",
        "Extra address",
    ):
        assert said in found.text, said
    assert found.text.count("No limit on data") == 2, "each DSL plan, and not the bundle"
    codes = {button["value"] for button in found.all("button", name="offering")}
    assert codes == {"fibre-500", "dsl-25", "dsl-6", "fibre-and-films"}


def test_an_address_of_several_units_lets_the_visitor_choose(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, "5 Oak Street, Barre, VT 05641")
    assert asked.state == "choose"
    found = page(client.get(f"/check/{asked.public_id}/"))
    units = found.all("button", name="premises")
    assert len(units) == 2
    chosen = ask(client, found.value("address"), premises=units[0]["value"])
    assert chosen.state == "qualified"


def test_a_picked_suggestion_is_taken_as_the_place(client: Client, house: Premises) -> None:
    asked = ask(client, "anything", premises=house.public_id)
    assert asked.premises == house


def test_the_place_where_the_browser_is(client: Client, isp: SmallIsp) -> None:
    north, east = ELM_POINT
    response = client.post("/", {"latitude": f"{north:.6f}", "longitude": f"{east:.6f}"})
    found = page(client.get(response["Location"]))
    assert "you can be connected" in found.text
    assert str(isp.elm_1) in found.text


def test_places_around_the_browser_are_shown_with_their_distance(
    client: Client, isp: SmallIsp
) -> None:
    north, east = ELM_POINT
    where = {"latitude": f"{north + 0.001:.6f}", "longitude": f"{east:.6f}"}
    response = client.post("/", where)
    found = page(client.get(response["Location"]))
    assert "closest to where you are" in found.text
    assert "111 m away" in found.text
    chosen = found.all("button", name="premises")[0]["value"]
    assert chosen == isp.elm_1.public_id
    assert not found.all("input", name="address")
    picked = client.post("/", {"premises": chosen})
    assert str(isp.elm_1) in page(client.get(picked["Location"])).text


def test_nowhere_around_the_browser(client: Client, isp: SmallIsp) -> None:
    response = client.post("/", {"latitude": "0.5", "longitude": "-0.5"})
    found = page(client.get(response["Location"]))
    assert "Not yet, sorry" in found.text
    assert "Around 0.500000, -0.500000" in found.text


def test_an_old_answer_for_a_point_is_asked_for_again(client: Client, isp: SmallIsp) -> None:
    response = client.post("/", {"latitude": "0.5", "longitude": "-0.5"})
    asked = ServiceQualification.objects.get()
    with time_machine.travel(asked.expires_at + timedelta(seconds=1)):
        found = page(client.get(response["Location"]))
        names = ("latitude", "longitude")
        again = client.post("/", {name: found.value(name) for name in names})
    assert again.status_code == 302
    latest = ServiceQualification.objects.latest("asked_at")
    assert (latest.latitude, latest.longitude) == (asked.latitude, asked.longitude)


def test_a_visitor_may_say_that_the_address_is_right(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, "1 Oka Street, Barre, VT 05641")
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert "Did you mean one of these?" in found.text
    assert found.all("input", name="as_written")
    again = client.post("/", {"address": asked.asked_text, "as_written": "on"})
    found = page(client.get(again["Location"]))
    assert "We do not have this address on our list" in found.text
    building = ask(client, "5 Oak Street, Barre, VT 05641")
    found = page(client.get(f"/check/{building.public_id}/"))
    assert not found.all("input", name="as_written"), "nothing is guessed there"


BAD = [
    ({}, "Enter an address"),
    ({"address": "1 Oak Street", "latitude": "1", "longitude": "1"}, "but not both"),
    ({"latitude": "91", "longitude": "0"}, "Give the latitude in degrees from -90 to 90."),
    ({"latitude": "nan", "longitude": "0"}, "Give the latitude in degrees"),
    ({"latitude": "here", "longitude": "0"}, "Give the latitude in degrees"),
    ({"latitude": "1", "longitude": "1e999"}, "Give the longitude in degrees"),
    ({"latitude": "1"}, "Give the longitude in degrees from -180 to 180."),
    ({"address": "", "premises": "x" * 41}, "at most 40 characters"),
    ({"address": "1 Oak\x00 Street"}, "Null characters are not allowed."),
    ({"address": "1 Oak\x07 Street, Barre, VT 05641"}, "control characters"),
    ({"address": "x" * 10_000}, "too long for an address"),
    ({"address": "x" * 400}, "400 characters; up to 300"),
    ({"address": "улица Ленина 1, Москва"}, "Latin letters"),
    ({"address": "PO Box 12, Barre, VT 05641"}, "PO box"),
    ({"address": "Oak Street, Barre, VT 05641"}, "lacks the street number"),
    ({"address": "1 Nowhere Street, Barre, VT"}, "Add the ZIP code"),
    ({"premises": "prm_" + "0" * 32}, "There is no place with this id."),
    ({"premises": "1"}, "There is no place with this id."),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_what_cannot_be_used_is_said_at_the_field(
    client: Client, isp: SmallIsp, given: dict[str, str], words: str
) -> None:
    found = page(client.post("/", given), status=422)
    assert words in found.text
    assert found.all("a", href="#id_address")
    assert not ServiceQualification.objects.exists()
    assert not Premises.objects.filter(source=Premises.Source.ASKED).exists()


def test_a_subscriber_asks_what_else_the_place_can_have(
    client: Client, owner: Client, line: Service, isp: SmallIsp
) -> None:
    overview = page(owner.get("/account/"))
    assert "See what else you can have here" in overview.text
    url = f"/account/lines/{line.public_id}/check/"
    response = owner.post(url)
    asked = ServiceQualification.objects.latest("asked_at")
    assert response["Location"] == f"/check/{asked.public_id}/"
    assert (asked.premises, asked.channel) == (line.premises, "portal")
    assert asked.asker.startswith("user_")
    assert "DSL on the network" in page(owner.get(response["Location"])).text
    count = ServiceQualification.objects.count()
    assert owner.get(url).status_code == 405
    assert client.post(url)["Location"].startswith("/accounts/login/")
    eve = Client()
    eve.force_login(factories.subscriber(at=LAUNCH).users.get())
    assert eve.post(url).status_code == 404
    assert owner.post("/account/lines/svc_1/check/").status_code == 404
    assert ServiceQualification.objects.count() == count


def test_an_answer_tells_nothing_of_who_lives_there(
    client: Client, line: object, house: Premises
) -> None:
    asked = ask(client, str(house))
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert "Ada" not in found.text
    assert "svc_" not in found.html


@pytest.mark.parametrize("text", ["", "   ", "x" * 501])
def test_a_question_that_cannot_be_read_says_so_at_the_field(client: Client, text: str) -> None:
    found = page(client.post("/", {"address": text}), status=422)
    (field,) = found.all("input", name="address")
    assert field["aria-invalid"] == "true"
    assert field["value"] == text
    assert found.all("a", href="#id_address")
    assert not ServiceQualification.objects.exists()


def test_a_part_that_is_missing_is_named(client: Client, house: Premises) -> None:
    found = page(client.post("/", {"address": "1 Oak Street"}), status=422)
    assert found.all("a", href="#id_address")
    assert "ZIP" in found.text


def test_a_place_that_does_not_exist_is_said_at_the_field(client: Client, house: object) -> None:
    response = client.post("/", {"address": "1 Main Street", "premises": "prm_" + "0" * 32})
    assert page(response, status=422).all("div", id="error-summary")


def test_where_nothing_is_the_waitlist_is_offered(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, str(isp.stowe))
    assert asked.state == "not_qualified"
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert "Not yet, sorry" in found.text
    assert not found.all("button", name="offering")
    url = f"/check/{asked.public_id}/wait/"
    wrong = page(client.post(url, {"email": "not an address"}), status=422)
    assert wrong.all("a", href="#id_email")
    assert not WaitlistEntry.objects.exists()
    for _ in range(2):
        joined = client.post(url, {"email": "eve@example.com", "name": "Eve"}, follow=True)
        assert "You are on the list" in page(joined).text
    assert WaitlistEntry.objects.get().email == "eve@example.com"


def test_what_is_not_available_has_a_reason(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, str(isp.elm_1))
    refused = asked.offers.filter(eligible=False)
    assert refused.count() >= 3
    found = page(client.get(f"/check/{asked.public_id}/"))
    assert f"What is not available here, and why ({refused.count()})" in found.text
    for offer in refused:
        assert offer.reason in found.text
        assert not found.all("button", name="offering", value=offer.offering.code)


def test_addresses_are_shown_as_addons_and_more_speed_is_not(
    client: Client, isp: SmallIsp, before: datetime
) -> None:
    boost = publishing.create_offering(
        code="boost", name="More speed", kind="addon", addon_type="speed_boost",
        download_kbps=1_000, upload_kbps=1_000, at=before,
    )  # fmt: skip
    priced(boost, "10", before)
    static = publishing.create_offering(
        code="static-address", name="Static address", kind="addon", addon_type="static_address",
        at=before,
    )  # fmt: skip
    priced(static, "9", before)
    asked = ask(client, str(isp.oak_1))
    assert asked.offers.filter(eligible=True, offering=static).exists()
    found = page(client.get(f"/check/{asked.public_id}/"))
    shown, explained = found.text.split("How we worked this out")
    assert "Static address" in shown
    assert "9.00" in shown.split("Static address", 1)[1][:200]
    assert "Subscriptions and a static address can go with your order" in shown
    assert "Static address" in explained
    assert "More speed" not in found.text
    assert "An extra address is offered there when a device asks" in found.text


def test_an_answer_is_explained_on_its_page(client: Client, isp: SmallIsp) -> None:
    asked = ask(client, "1 Oak Street, Barre, VT 05641")
    found = page(client.get(f"/check/{asked.public_id}/"))
    _, explained = found.text.split("How we worked this out")
    for said in (
        asked.public_id,
        "1 Oak Street, Barre, VT 05641",
        "We know this address",
        "Fast Fibre",
        "1 Gbit/s and 1 Gbit/s",
        "900 m of copper",
        "40 Mbit/s and 8 Mbit/s",  # What so long a copper line reaches.
        "10 days",
        "It is for businesses only.",
        "Closest that you can have: Fibre 500, 500 Mbit/s",
        "Known for the area; we confirm it for this address before we install.",
    ):
        assert said in explained, said
    assert found.all("button", **{"data-print": ""})
    # What staff know of the network is none of a visitor's business.
    assert "barre-1" not in found.html


def test_a_network_that_passes_by_or_is_planned_is_explained(client: Client, isp: SmallIsp) -> None:
    facts = {"technology": 50, "valid_from": LAUNCH, "premises": isp.stowe}
    CoverageArea.objects.create(
        provider=isp.fibre, max_download_kbps=1_000_000, max_upload_kbps=1_000_000,
        planned_date=date(2031, 3, 31), **facts,
    )  # fmt: skip
    CoverageArea.objects.create(
        provider=isp.copper, max_download_kbps=0, max_upload_kbps=0, **facts | {"technology": 10}
    )
    found = page(client.get(f"/check/{ask(client, str(isp.stowe)).public_id}/"))
    for said in (
        "Fast Fibre plans to reach this place: the date for it is Mar 31, 2031",
        "planned for Mar 31, 2031",
        "passes this place by",
        "It is planned for March 31, 2031.",
    ):
        assert said in found.text, said


def test_an_answer_that_has_expired_cannot_be_ordered_from(client: Client, house: Premises) -> None:
    asked = ask(client, str(house))
    with time_machine.travel(asked.expires_at + timedelta(seconds=1)):
        found = page(client.get(f"/check/{asked.public_id}/"))
    assert "no longer valid" in found.text
    assert not found.all("button", name="offering")
    assert found.all("input", name="premises", value=house.public_id)


@pytest.mark.parametrize("address", ["qlf_" + "0" * 32, "qlf_x", "ord_" + "0" * 32, "nothing"])
def test_an_answer_that_was_never_given_is_not_found(client: Client, address: str) -> None:
    for response in (
        client.get(f"/check/{address}/"),
        client.post(f"/check/{address}/wait/"),
        client.post(f"/check/{address}/choose/", {"offering": "fibre-500"}),
    ):
        assert "There is nothing here" in page(response, status=404).text


def test_suggestions_are_options_with_their_place(client: Client, house: Premises) -> None:
    response = client.get("/check/suggestions/", {"address": "3 oak"})
    found = page(response)
    (option,) = found.all("li", role="option")
    assert option["data-id"].startswith("prm_")
    assert option["data-text"].startswith("3 Oak St")
    assert "1 address found" in found.text


@pytest.mark.parametrize("text", ["", "1", "12"])
def test_nothing_is_suggested_for_too_little(client: Client, house: Premises, text: str) -> None:
    assert not page(client.get("/check/suggestions/", {"address": text})).all("li")


def test_a_visitor_is_slowed_down_and_nobody_else_by_that(
    client: Client, house: Premises, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUALIFY", limits.Limit("qualify", amount=2, seconds=3600))
    for _ in range(2):
        ask(client, str(house))
    refused = client.post("/", {"address": str(house)})
    assert "a bit fast" in page(refused, status=429).text
    assert 0 < int(refused["Retry-After"]) <= 3_600
    assert ServiceQualification.objects.count() == 2
    ask(owner, str(house))
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    ask(elsewhere, str(house))


def test_without_redis_a_visitor_is_let_through(
    client: Client, house: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUALIFY", limits.Limit("qualify", amount=1, seconds=3600))
    with away_cache():
        for _ in range(3):
            assert ask(client, str(house)).state == "qualified"
    ask(client, str(house))
    assert client.post("/", {"address": str(house)}).status_code == 429


def away_cache() -> object:
    """The product's cache, with nobody listening where Redis should be."""
    from django.test import override_settings

    from ispops.cache import ForgivingRedisCache

    path = f"{ForgivingRedisCache.__module__}.{ForgivingRedisCache.__qualname__}"
    return override_settings(
        CACHES={"default": {"BACKEND": path, "LOCATION": "redis://127.0.0.1:1/0"}}
    )


def test_the_cache_that_is_away_answers_as_an_empty_one() -> None:
    with away_cache():
        assert cache.get("key", "default") == "default"
        assert cache.add("key", 1) is True
        assert cache.incr("key") == 1
        assert cache.get_many(["key"]) == {}
        assert cache.set_many({"key": 1}) == []
        assert cache.delete("key") is False
        assert cache.has_key("key") is False
        cache.set("key", 1)
        cache.touch("key")
        cache.delete_many(["key"])
        cache.clear()


def test_signing_in_works_without_redis(client: Client, ada: object) -> None:
    user = ada.users.get()  # type: ignore[attr-defined]
    with away_cache():
        response = client.post(
            "/accounts/login/", {"login": user.email, "password": "lovelace-1843"}
        )
    assert response.status_code == 302, response.content


def test_the_queries_of_the_pages_stay_few(
    client: Client, house: Premises, django_assert_max_num_queries: object
) -> None:
    asked = ask(client, str(house))
    with django_assert_max_num_queries(0):  # type: ignore[operator]
        client.get("/")
    with django_assert_max_num_queries(1):  # type: ignore[operator]
        client.get("/check/suggestions/", {"address": "3 oak"})
    with django_assert_max_num_queries(2):  # type: ignore[operator]
        client.get(f"/check/{asked.public_id}/")


def test_bundles_of_products_stand_beside_the_answer(
    client: Client, house: Premises, isp: SmallIsp
) -> None:
    music = publishing.create_offering(
        code="music", name="Music", kind="bsp", provider=isp.films, is_subscription=True, at=LAUNCH
    )
    evening = publishing.create_offering(
        code="evening", name="An evening", kind="package", is_subscription=True, at=LAUNCH
    )
    publishing.define_bundle(
        bundle=evening, components=[(isp.streaming, 12), (priced(music, "5", LAUNCH), 5)], at=LAUNCH
    )
    priced(evening, "14", LAUNCH)

    asked = ask(client, str(house))
    (place,) = page(client.get(f"/check/{asked.public_id}/")).all("div", **{"hx-trigger": "load"})
    said = Page(client.get(place["hx-get"]).content.decode()).text
    for words in ("An evening", "USD 14.00 a month", "USD 3.00 less than one by one"):
        assert words in said

    slow = ask(client, str(isp.elm_1))
    assert "An evening" not in client.get(f"/check/{slow.public_id}/packages/").content.decode()
